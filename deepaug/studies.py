"""Studies: the grid of trials behind a notebook, as a profile sizes it."""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from deepaug import modalities, records
from deepaug.trial import CHOICES, TRANSFORMS, Trial
from deepaug.validation import one_of, share

PROFILES = Path(__file__).parent / "profiles"
STAGES = ("quick", "scale", "pilot", "screen", "confirm", "longer")
CONTROLS: dict[str, dict[str, Any]] = {
    "untrained": {"objective": "untrained", "epochs": 0},
    "no-augmentation": {"view_strength": 0.0},
    "bag-of-words": {"objective": "untrained", "epochs": 0, "encoder": "bag-of-words"},
    "tf-idf": {"objective": "untrained", "epochs": 0, "encoder": "tf-idf"},
    "lsa": {"objective": "untrained", "epochs": 0, "encoder": "lsa"},
    "counts": {"objective": "untrained", "epochs": 0, "encoder": "counts"},
    "raw-features": {"objective": "untrained", "epochs": 0, "encoder": "raw-features"},
}
# The noise that changes an activation by the norm that a transform changes it by.
NOISE = {"dropout": "noise", "dropout-feature": "noise", "pca": "noise-centred"}
# What an arm is held against: each isolates one ingredient of it.
ARM_CONTROLS: dict[str, Callable[[Trial], Trial]] = {
    "same-mask": lambda arm: replace(arm, transformed="same"),
    "noise": lambda arm: replace(
        arm, transform=NOISE[one_of("transform with a noise of its norm", arm.transform, NOISE)]
    ),
    "alone": lambda arm: replace(arm, view_strength=0.0),
    "at-input": lambda arm: replace(arm, layer=modalities.layers(arm.modality, arm.encoder)[0]),
    "one-view": lambda arm: replace(arm, transformed="one"),
    "detached": lambda arm: replace(arm, stop_gradient="both"),
    "detached-one": lambda arm: replace(arm, stop_gradient="one"),
    "one-view-detached": lambda arm: replace(arm, transformed="one", stop_gradient="one"),
}


@dataclass(frozen=True)
class Stage:
    """One stage of a study, as a profile gives it."""

    seeds: tuple[int, ...] = ()
    trial: dict[str, Any] = field(default_factory=dict)  # settings of all its trials
    bases: tuple[str, ...] = ()  # of these bases alone, by label; none: of all
    objectives: tuple[str, ...] = ()  # train each arm by each of these; none: by the study's own
    controls: tuple[str, ...] = ()
    layers: tuple[str, ...] | dict[str, tuple[str, ...]] = ()  # of all, or by modality; or "all"
    transforms: tuple[str, ...] = ()
    strengths: tuple[float, ...] = ()
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)  # of the baseline
    tune: dict[str, tuple] = field(default_factory=dict)  # a factorial of baselines
    chosen_from: str = ""  # the stage whose records choose one arm per transform and the baseline
    everywhere: bool = False  # the chosen transforms and strengths at all other layers, too
    arm_controls: tuple[str, ...] = ()  # of each arm that has a transform

    def layers_of(self, base: Trial) -> tuple[str, ...]:
        """The targets of this stage in the encoder of `base`."""
        named = self.layers
        if isinstance(named, dict):
            named = named.get(base.modality, ())
        everywhere = modalities.layers(base.modality, base.encoder)
        return everywhere if named == ("all",) else named


@dataclass(frozen=True)
class Base:
    """The plain trial that a study's arms are changes of; a study has one or several."""

    label: str  # "" where the study has but one
    trial: Trial
    origin: "Study | None" = None  # the study it is taken from, which chooses the arms


@dataclass(frozen=True)
class Entry:
    """A trial at its place in a study."""

    stage: str
    base: str
    objective: str  # of the twins the arm belongs to; random initialisation belongs to both
    arm: str
    trial: Trial
    profile: str = ""

    @property
    def name(self) -> str:
        """The arm, told apart from those of the study's other bases and objectives."""
        twin = "supervised" if self.objective == "supervised" else ""
        return " ".join(filter(None, (self.base, twin, self.arm)))


@dataclass(frozen=True)
class Study:
    """The stages of one study at one profile, and the store their records lie in."""

    name: str
    profile: str
    bases: tuple[Base, ...]
    stages: dict[str, Stage]
    store: records.Store
    seconds: float = 100.0  # that a trial takes, roughly, until some are recorded
    whole: "Study | None" = None  # with all its bases, where `parts` leaves some out

    @property
    def base(self) -> Trial:
        """The base; of several the first."""
        return self.bases[0].trial

    @property
    def live_stage(self) -> str:
        """The stage that a page runs while it is built."""
        return "quick" if "quick" in self.stages else "pilot"

    def entries(self) -> list[Entry]:
        """All trials that are settled; stages that wait for a choice have none yet."""
        return [entry for name in self.stages for entry in self.stage_entries(name)]

    def stage_entries(self, name: str) -> list[Entry]:
        """The trials of a stage, but for bases whose choice is not recorded yet."""
        stage = self.stages[name]
        arms = [
            (base.label, objective, arm, trial)
            for base in self._bases(stage)
            for objective in stage.objectives or (base.trial.objective,)
            for arm, trial in self._arms(stage, replace(base, trial=_own(base, stage, objective)))
        ]
        return [
            Entry(name, label, objective, arm, replace(trial, seed=seed), self.profile)
            for seed in stage.seeds
            for label, objective, arm, trial in arms
        ]

    def waits_for(self, name: str) -> list[str]:
        """Stages, as "screen" or "screen of vision", that must be recorded before this one."""
        stage = self.stages[name]
        if not stage.chosen_from:
            return []
        chosen_from = stage.chosen_from
        waiting = [b for b in self._bases(stage) if not self._choosing(b).choice(chosen_from)]
        names = (f"{chosen_from} of {b.origin.name}" if b.origin else chosen_from for b in waiting)
        return list(dict.fromkeys(names))

    def progress(self, name: str) -> str:
        """How far a stage is, as "3 of 8 recorded" or what it waits for."""
        keys = {entry.trial.key for entry in self.stage_entries(name)}
        waiting = self.waits_for(name)
        told = []
        if keys or not waiting:
            told.append(f"{len(keys) - len(self.missing(name))} of {len(keys)} recorded")
        if waiting:
            told.append("waits for all records of " + ", ".join(waiting))
        return "; ".join(told)

    def choice(self, stage: str) -> "Choice | None":
        """What the records of a stage choose, by validation alone; None until all are there.

        The mean is over seeds and, where the study has several data sets, over all of these. An
        arm that diverged once is not chosen.
        """
        if self.whole is not None:
            return self.whole.choice(stage)
        controls = tuple(f" {control}" for control in self.stages[stage].arm_controls)
        scores: dict[str, list[float]] = {}
        changes: dict[str, dict[str, Any]] = {}
        for entry in self.stage_entries(stage):
            record = self.store.read(entry.trial)
            if record is None:
                return None
            diverged = record["status"] == "diverged"
            primary = modalities.primary(entry.trial)
            score = float("-inf") if diverged else record["metrics"]["validation"][primary]
            scores.setdefault(entry.arm, []).append(score)
            base = next(b for b in self.bases if b.label == entry.base)
            own = _own(base, self.stages[stage], entry.objective)
            # A value that one base has of itself may be a change of another.
            changes.setdefault(entry.arm, {}).update(_difference(entry.trial, own))
        means = {arm: fmean(values) for arm, values in scores.items()}
        best: dict[str, str] = {}
        for arm, change in changes.items():
            transform = change.get("transform", "none")
            if arm in self.stages[stage].controls or arm.endswith(controls):
                continue
            if means[arm] == float("-inf"):
                continue
            if transform not in best or means[arm] > means[best[transform]]:
                best[transform] = arm
        if "none" not in best:
            raise ValueError(f"every baseline of stage {stage} diverged: it chooses nothing")
        baseline = best.pop("none")
        return Choice(changes[baseline], {t: changes[arm] for t, arm in best.items()})

    def missing(self, stage: str | None = None) -> list[Entry]:
        """Entries without a valid record, each key once."""
        entries = self.entries() if stage is None else self.stage_entries(stage)
        todo = {e.trial.key: e for e in entries if self.store.read(e.trial) is None}
        return list(todo.values())

    def recorded(self, stage: str | None = None) -> list[tuple[Entry, dict[str, Any]]]:
        """Entries, of one stage or all, that have a record, with it."""
        entries = self.entries() if stage is None else self.stage_entries(stage)
        found = ((entry, self.store.read(entry.trial)) for entry in entries)
        return [(entry, record) for entry, record in found if record is not None]

    def _bases(self, stage: Stage) -> list[Base]:
        return [base for base in self.bases if not stage.bases or base.label in stage.bases]

    def _choosing(self, base: Base) -> "Study":
        return base.origin or self

    def _arms(self, stage: Stage, base: Base) -> Iterator[tuple[str, Trial]]:
        """Name and trial of each arm of a base, without its seeds."""
        plain, tuned = base.trial, base.trial
        arms: list[Trial] = []
        elsewhere: list[Trial] = []
        if stage.chosen_from:
            choice = self._choosing(base).choice(stage.chosen_from)
            if choice is None:
                return
            arms = [replace(plain, **change) for change in choice.arms.values()]
            if stage.everywhere:
                layers = modalities.layers(plain.modality, plain.encoder)
                elsewhere = [
                    replace(arm, layer=layer)
                    for arm in arms
                    for layer in layers
                    if layer != arm.layer
                ]
            if base.origin is None:
                tuned = replace(plain, **choice.baseline)
        else:
            grid = itertools.product(stage.layers_of(plain), stage.transforms, stage.strengths)
            arms = [replace(plain, layer=la, transform=t, strength=p) for la, t, p in grid]
        yield "baseline", tuned
        # Derived studies hold an arm against what differs from it in the transform alone.
        if stage.chosen_from and base.origin is None:
            yield "baseline untuned", plain
        for control in stage.controls:
            if control in _CONTROL_OF and _CONTROL_OF[control] != plain.modality:
                continue
            yield control, replace(tuned, **CONTROLS[control])
        for name, change in stage.variants.items():
            yield name, replace(plain, **change)
        for values in itertools.product(*stage.tune.values()) if stage.tune else ():
            change = dict(zip(stage.tune, values, strict=True))
            if (trial := replace(plain, **change)) != plain:
                told = (f"{n}={v if isinstance(v, str) else f'{v:g}'}" for n, v in change.items())
                yield f"tune {' '.join(told)}", trial
        controls: dict[str, Trial] = {}
        for arm in arms:
            yield arm_name(arm), arm
            for control in stage.arm_controls:
                changed = ARM_CONTROLS[control](arm)
                name = f"{arm_name(replace(arm, layer=changed.layer))} {control}"
                if name not in controls:  # two targets of a transform have one arm at the input
                    controls[name] = changed
                    yield name, changed
        for arm in elsewhere:
            yield arm_name(arm), arm


@dataclass(frozen=True)
class Choice:
    """What the tuned baseline and each transform's chosen arm change in a study's base."""

    baseline: dict[str, Any]
    arms: dict[str, dict[str, Any]]


# Controls that exist in one modality alone are passed over in the others.
_CONTROL_OF = {
    control: modality
    for modality in modalities.NAMES
    for control in CONTROLS
    if control in modalities.encoders(modality)
}


def _own(base: Base, stage: Stage, objective: str | None = None) -> Trial:
    """The base's trial with the settings of a stage."""
    return replace(base.trial, **stage.trial, objective=objective or base.trial.objective)


def _difference(trial: Trial, base: Trial) -> dict[str, Any]:
    fields = (n for n in Trial.__dataclass_fields__ if n != "seed")
    return {n: value for n in fields if (value := getattr(trial, n)) != getattr(base, n)}


def arm_name(trial: Trial) -> str:
    return f"{trial.layer} {trial.transform} {trial.strength:g}"


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
        for base in bases:
            _own(base, stage)
            if stage.chosen_from:
                chooser = (base.origin or study).stages
                settled = [n for n, s in chooser.items() if not s.chosen_from]
                one_of(f"stage for {stage_name} to be chosen from", stage.chosen_from, settled)
        if not stage.chosen_from:
            study.stage_entries(stage_name)
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


def rules() -> dict[str, Any]:
    """The verdict rules, as claims.yaml has them."""
    import yaml

    return yaml.safe_load((PROFILES.parent / "claims.yaml").read_text())


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
        "arm_controls": str,
    }
    layers = spec.get("layers", [])
    if isinstance(layers, dict):
        for modality in layers:
            one_of(f"modality in profile {where}: layers", modality, modalities.NAMES)
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
    return stage


def _layers(where: str, given: Any) -> tuple[str, ...]:
    if given is None:
        raise ValueError(f"profile {where} must be given, and not as null")
    return ("all",) if given == "all" else _list_of(f"profile {where}", given, str)


def _check(stage: Stage, bases: tuple[Base, ...]) -> Stage:
    for base in (b.trial for b in bases if not stage.bases or b.label in stage.bases):
        if isinstance(stage.layers, dict) and base.modality not in stage.layers:
            raise ValueError(
                f"layers are given for {' and '.join(stage.layers)}, none for {base.modality}, of "
                f"which the study has a base; add some, or name the stage's bases"
            )
        for layer in stage.layers_of(base):
            allowed = ("all", *modalities.layers(base.modality, base.encoder))
            one_of("layer", layer, allowed, f"of {base.encoder}")
    for transform in stage.transforms:
        one_of("transform", transform, TRANSFORMS)
    for strength in stage.strengths:
        share("strengths", strength)
    for objective in stage.objectives:
        one_of("objective", objective, [o for o in CHOICES["objective"] if o != "untrained"])
    if "objective" in stage.trial:
        raise ValueError("what a stage trains by stands under objectives, not under trial")
    for control in stage.controls:
        one_of("control", control, CONTROLS)
    for control in stage.arm_controls:
        one_of("control of an arm", control, ARM_CONTROLS)
    settable = [n for n in Trial.__dataclass_fields__ if n not in ("seed", "protocol")]
    for name in (*stage.trial, *stage.tune, *itertools.chain(*stage.variants.values())):
        one_of("trial setting", name, settable)
    return stage


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
    from deepaug import plain  # YAML is not among the core dependencies

    content = plain.load(f"profile {path}", text)
    if not isinstance(content, dict):
        raise ValueError(f"profile {path} must be a mapping with the key 'studies'")
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
