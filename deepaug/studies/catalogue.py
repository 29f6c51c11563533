"""The catalogue of studies: what profiles declare, read and checked."""

import functools
import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepaug.studies import arms, records, rulebook
from deepaug.studies.study import CHOSEN_ARMS, LAYERS, STAGES, Base, Stage, Study, _own
from deepaug.training import registry
from deepaug.training.trial import CHOICES, TRANSFORMS, WAYS, Trial
from deepaug.validation import one_of, share

PROFILES = Path(__file__).parent / "profiles"


def load(
    name: str,
    profile: str = "quick",
    root: Path | None = None,
    *,
    data: str | None = None,
    pairs: str | None = None,
    parts: list[str] | None = None,
    layers: list[str] | None = None,
    transforms: list[str] | None = None,
    strengths: list[float] | None = None,
    seeds: list[int] | None = None,
) -> Study:
    """A study at a profile, its grid changed where a parameter is given.

    Args:
        name: the study, one of the profile's.
        profile: "quick", "cpu", "gpu" or the path of a YAML file.
        root: the folder of all records; by default `$DEEPAUG_RESULTS` or results/.
        data: another data set, by name or path, in place of the study's own.
        pairs: other scored sentence pairs to evaluate text on.
        parts: of a study of several modalities or data sets, these alone.
        layers, transforms, strengths, seeds: other targets, transforms, p and seeds, in all stages
            that have any.

    Raises:
        ValueError: in one line, for anything unknown, misspelt or of wrong type.
    """
    label, content = _read_profile(profile)
    one_of(f"study in profile {label}", name, content["studies"])
    spec = content["studies"][name]
    store = records.Store(root or records.default_root(), label)
    bases = _bases(name, profile, root, content, {"data": data, "pairs": pairs})
    for wanted in _list_of("parts", parts, str) or ():
        one_of(f"part of study {name}", wanted, [p for base in bases for p in _parts(base)])
    every, bases = bases, tuple(b for b in bases if parts is None or set(_parts(b)) & set(parts))
    grid = {
        "layers": _list_of("layers", layers, str),
        "transforms": _list_of("transforms", transforms, str),
        "strengths": _list_of("strengths", strengths, float),
        "seeds": _list_of("seeds", seeds, int),
    }
    stages = {}
    for stage_name, stage_spec in spec["stages"].items():
        stage = _stage(f"{label}: {name}: {stage_name}", stage_spec)
        changes = {n: v for n, v in grid.items() if v is not None and getattr(stage, n)}
        if data is not None:  # the one set given takes the place of all bases
            stage = replace(stage, bases=())
        for base in stage.bases:
            one_of(f"base of {name}", base, [b.label for b in every])
        stages[stage_name] = _check(replace(stage, **changes), bases)
    whole = Study(name, label, every, stages, store, content.get("seconds", Study.seconds))
    study = whole if bases == every else replace(whole, bases=bases, whole=whole)
    for stage_name, stage in stages.items():
        # Every trial is valid before any of them runs.
        for base in study._bases(stage):
            _own(base, stage)
            if stage.chosen_from:
                before = STAGES[
                    : STAGES.index(stage_name)
                ]  # no stage waits for one that waits for it
                choosers = base.origin.stages if base.origin else [n for n in before if n in stages]
                one_of(f"stage for {stage_name} to be chosen from", stage.chosen_from, choosers)
        study.planned(stage_name)
    return study


def _bases(
    name: str, profile: str, root: Path | None, content: dict[str, Any], given: dict[str, Any]
) -> tuple[Base, ...]:
    """The bases a study's specification names: its own, or those `of` other studies."""
    spec = content["studies"][name]
    given = {field: value for field, value in given.items() if value is not None}
    if "of" not in spec:
        settings = {**content.get("trial", {}), **spec.get("trial", {})}
        several = {} if "data" in given else spec.get("bases", {})
        changes = several or {"": {}}
        return tuple(
            Base(label, Trial.from_dict({**settings, **change, **given}))
            for label, change in changes.items()
        )
    if given:
        raise ValueError(
            f"study {name} has the data of {', '.join(spec['of'])}; "
            f"{' and '.join(given)} can be given for those studies, not for this one"
        )
    found = []
    studies = content["studies"]
    for other, change in spec["of"].items():
        one_of(f"study that {name} is of", other, [n for n in studies if "of" not in studies[n]])
        origin = load(other, profile, root)
        for base in origin.bases:
            label = " ".join(filter(None, (other, base.label)))
            trial = Trial.from_dict({**base.trial.to_dict(), **change})
            found.append(Base(label, trial, origin))
    return tuple(found)


def _parts(base: Base) -> list[str]:
    """What `parts` may call a base."""
    return list(dict.fromkeys(filter(None, (base.label, base.trial.modality))))


def parts(study: Study) -> list[str]:
    """What the modalities and data sets of a study are called, as `load` takes them."""
    return list(dict.fromkeys(part for base in study.bases for part in _parts(base)))


def agenda(profile: str, root: Path | None = None) -> list[tuple[Study, str]]:
    """Studies and stages of a profile in the order in which the rules have them run.

    A study may come several times, each time with the bases of one modality alone. What the rules
    do not name, pages' own studies for instance, comes at the end.
    """
    ordered = rulebook.rules()["order"]
    every = {name: load(name, profile, root) for name in names(profile)}
    todo, seen = [], set()

    def add(study: Study, stage: str, origin: str | None = None) -> None:
        bases = tuple(
            base
            for base in study._bases(study.stages[stage])
            if origin in (None, base.origin.name if base.origin else None, study.name)
            and (study.name, stage, base.label) not in seen
        )
        if bases:
            seen.update((study.name, stage, base.label) for base in bases)
            some = replace(study, bases=bases, whole=study)
            todo.append((study if bases == study.bases else some, stage))

    for modality in ordered["modalities"]:
        for step in ordered["stages"]:
            name, stage = step.split()
            study = every.get(modality if name == "own" else name)
            if study is not None and stage in study.stages:
                add(study, stage, modality)
    for study in every.values():
        for stage in study.stages:
            add(study, stage)
    return todo


def names(profile: str) -> list[str]:
    """The studies of a profile."""
    return list(_read_profile(profile)[1]["studies"])


def _list_of(name: str, values: Any, kind: type) -> tuple | None:
    if values is None:
        return None
    allowed = (int, float) if kind is float else (kind,)
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"{name} must be a list of one {kind.__name__} or more, not {values!r}")
    for value in values:
        if type(value) not in allowed:
            raise ValueError(f"{name} must be a list of {kind.__name__}; {value!r} is none")
    return tuple(dict.fromkeys(kind(value) for value in values))


def _stage(where: str, spec: Any) -> Stage:
    if not isinstance(spec, dict):
        raise ValueError(f"profile {where} must be a mapping, not {spec!r}")
    for key in spec:
        one_of(f"key in profile {where}", key, Stage.__dataclass_fields__)
    spec = dict(spec)
    for key, value in {"seeds": None, **spec}.items():
        if value is None:
            raise ValueError(f"profile {where}: {key} must be given, and not as null")
    kinds = {
        "seeds": int,
        "bases": str,
        "objectives": str,
        "controls": str,
        "transforms": str,
        "strengths": float,
        "ways": str,
        "arm_controls": str,
    }
    layers = spec.get("layers", [])
    if isinstance(layers, dict):
        for modality in layers:
            one_of(f"modality in profile {where}: layers", modality, registry.NAMES)
        spec["layers"] = {m: _layers(f"{where}: layers: {m}", given) for m, given in layers.items()}
    elif "layers" in spec:
        spec["layers"] = _layers(f"{where}: layers", layers)
    for key, kind in kinds.items():
        if key in spec:
            spec[key] = _list_of(f"profile {where}: {key}", spec[key], kind)
    if not isinstance(spec.get("everywhere", False), bool):
        raise ValueError(f"profile {where}: everywhere must be true or false")
    for key in ("trial", "variants", "tune"):
        if not isinstance(spec.get(key, {}), dict):
            raise ValueError(f"profile {where}: {key} must be a mapping, not {spec[key]!r}")
    for kind in ("variants", "tune"):
        wanted = dict if kind == "variants" else list
        for key, value in spec.get(kind, {}).items():
            if not isinstance(key, str) or not isinstance(value, wanted) or not value:
                raise ValueError(
                    f"profile {where}: {kind}: {key!r} must be text, with a {wanted.__name__}, "
                    f"not {value!r}"
                )
    stage = Stage(**spec)
    grid = [name for name in ("layers", "transforms", "strengths") if getattr(stage, name)]
    if len(grid) in (1, 2):
        raise ValueError(
            f"profile {where}: layers, transforms and strengths go together; given: {grid}"
        )
    if stage.ways and not grid:
        raise ValueError(f"profile {where}: ways are of layers, transforms and strengths")
    return stage


def _layers(where: str, given: Any) -> tuple[str, ...]:
    if given is None:
        raise ValueError(f"profile {where} must be given, and not as null")
    return (
        (given,)
        if isinstance(given, str) and given in LAYERS
        else _list_of(f"profile {where}", given, str)
    )


def _check(stage: Stage, bases: tuple[Base, ...]) -> Stage:
    for base in (b.trial for b in bases if not stage.bases or b.label in stage.bases):
        if isinstance(stage.layers, dict) and base.modality not in stage.layers:
            raise ValueError(
                f"layers are given for {' and '.join(stage.layers)}, none for {base.modality}, of "
                f"which the study has a base; add some, or name the stage's bases"
            )
        for layer in stage.layers_of(base):
            if layer not in LAYERS:
                registry.check_layer(base.modality, base.encoder, layer)
    for transform in stage.transforms:
        one_of("transform", transform, TRANSFORMS)
    for strength in stage.strengths:
        share("strengths", strength)
    for objective in stage.objectives:
        one_of("objective", objective, [o for o in CHOICES["objective"] if o != "untrained"])
    if "objective" in stage.trial:
        raise ValueError("what a stage trains by stands under objectives, not under trial")
    for way in stage.ways:
        one_of("way", way, WAYS)
    one_of("arms", stage.arms, CHOSEN_ARMS)
    for control in stage.controls:
        one_of("control", control, arms.CONTROLS)
    for control in stage.arm_controls:
        one_of("control of an arm", control, arms.ARM_CONTROLS)
    settable = [n for n in Trial.__dataclass_fields__ if n not in ("seed", "protocol")]
    for name in (*stage.trial, *stage.tune, *itertools.chain(*stage.variants.values())):
        one_of("trial setting", name, settable)
    return stage


@functools.lru_cache(maxsize=8)
def _parsed(path: str, text: str) -> Any:
    from deepaug import plain  # YAML is not among the core dependencies

    return plain.load(f"profile {path}", text)


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `change`: mappings key by key, a null takes a key away."""
    merged = dict(base)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = _merged(base[key], value)
        else:
            merged[key] = value
    return merged


def _read_profile(profile: str) -> tuple[str, dict[str, Any]]:
    """Label and content of a profile by name or by path."""
    if not isinstance(profile, str):
        raise ValueError(f"profile must be a name or a YAML file, not {profile!r}")
    path = Path(profile)
    if path.suffix not in (".yaml", ".yml"):
        names = sorted(p.stem for p in PROFILES.glob("*.yaml"))
        path = PROFILES / f"{one_of('profile', profile, names, 'or a .yaml file')}.yaml"
    if not re.fullmatch(r"\w[\w.+-]*", path.stem):  # its records lie in a folder of that name
        raise ValueError(
            f"profile {profile!r} cannot name a folder of records; rename the file, to letters, "
            f"digits and . + - _"
        )
    try:
        text = path.read_text()
    except OSError as error:
        raise ValueError(f"cannot read profile {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"profile {path} is not plain YAML: {error}") from None
    content = _parsed(str(path), text)
    if not isinstance(content, dict):
        raise ValueError(f"profile {path} must be a mapping with the key 'studies'")
    content = dict(content)
    if (extended := content.pop("extends", None)) is not None:
        names = sorted(p.stem for p in PROFILES.glob("*.yaml") if p.stem != path.stem)
        content = _merged(_read_profile(one_of("profile to extend", extended, names))[1], content)
    for key in content:
        one_of(f"key in profile {path.name}", key, ("trial", "seconds", "studies"))
    seconds = content.get("seconds", 1)
    if type(seconds) not in (int, float) or not 0 < seconds < 1e9:
        raise ValueError(f"profile {path}: seconds must be a number above 0, not {seconds!r}")
    studies = content.get("studies")
    if not isinstance(studies, dict) or not studies:
        raise ValueError(f"profile {path} names no study under 'studies'")
    for name, spec in studies.items():
        if not isinstance(spec, dict) or not isinstance(spec.get("stages"), dict):
            raise ValueError(f"profile {path}: study {name!r} needs a mapping 'stages'")
        for key in spec:
            one_of(f"key in profile {path.name}: {name}", key, ("trial", "bases", "of", "stages"))
        for key in ("bases", "of"):
            parts = spec.get(key, {})
            if not isinstance(parts, dict) or (key in spec and not parts):
                raise ValueError(f"profile {path}: {name}: {key} must be a mapping of mappings")
            for part, change in parts.items():
                if not isinstance(part, str) or not isinstance(change, dict):
                    raise ValueError(
                        f"profile {path}: {name}: {key}: {part!r} must be text, with a mapping"
                    )
        if "of" in spec and len(spec) > 2:
            raise ValueError(f"profile {path}: {name}: of takes the place of trial and bases")
        for where in (content, spec):
            if not isinstance(where.get("trial", {}), dict):
                raise ValueError(f"profile {path}: trial must be a mapping, not {where['trial']!r}")
        for stage in spec["stages"]:
            one_of(f"stage in profile {path.name}: {name}", stage, STAGES)
    return path.stem, content
