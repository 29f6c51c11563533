"""Studies: the grid of trials behind a notebook, as a profile sizes it."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from deepaug import modalities, records
from deepaug.trial import TRANSFORMS, Trial
from deepaug.validation import one_of, share

PROFILES = Path(__file__).parent / "profiles"
STAGES = ("quick", "scale", "pilot", "screen", "confirm", "longer")
CONTROLS: dict[str, dict[str, Any]] = {
    "untrained": {"objective": "untrained", "epochs": 0},
    "no-augmentation": {"view_strength": 0.0},
}
# Controls of an arm already chosen: what of its gain is augmentation, what any noise of that norm.
ARM_CONTROLS: dict[str, Callable[[Trial], Trial]] = {
    "same-mask": lambda arm: replace(arm, transformed="same"),
    "noise": lambda arm: replace(
        arm, transform="noise-centred" if arm.transform.startswith("pca") else "noise"
    ),
}


@dataclass(frozen=True)
class Stage:
    """One stage of a study, as a profile gives it."""

    seeds: tuple[int, ...] = ()
    trial: dict[str, Any] = field(default_factory=dict)  # settings of all its trials
    controls: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()  # "all" for every layer of the encoder
    transforms: tuple[str, ...] = ()
    strengths: tuple[float, ...] = ()
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)  # of the baseline
    tune: dict[str, tuple] = field(default_factory=dict)  # a factorial of baselines
    chosen_from: str = ""  # the stage whose records choose one arm per transform and the baseline
    arm_controls: tuple[str, ...] = ()  # of each chosen arm


@dataclass(frozen=True)
class Entry:
    """A trial at its place in a study."""

    stage: str
    arm: str
    trial: Trial


@dataclass(frozen=True)
class Study:
    """The stages of one study at one profile, and the store their records lie in."""

    name: str
    profile: str
    base: Trial
    stages: dict[str, Stage]
    store: records.Store

    def entries(self) -> list[Entry]:
        """All trials that are settled; stages that wait for a choice have none yet."""
        return [entry for name in self.stages for entry in self.stage_entries(name)]

    def stage_entries(self, name: str) -> list[Entry]:
        stage = self.stages[name]
        base = replace(self.base, **stage.trial)
        if stage.chosen_from:
            choice = self.choice(stage.chosen_from)
            arms = [] if choice is None else list(_chosen_arms(stage, base, choice))
        else:
            arms = list(_arms(stage, base))
        return [
            Entry(name, arm, replace(trial, seed=seed))
            for seed in stage.seeds
            for arm, trial in arms
        ]

    def choice(self, stage: str) -> "Choice | None":
        """What the records of a stage choose, by validation alone; None until all are there."""
        primary = modalities.PRIMARY[self.base.modality]
        scores: dict[str, list[float]] = {}
        trials: dict[str, Trial] = {}
        for entry in self.stage_entries(stage):
            record = self.store.read(entry.trial)
            if record is None:
                return None
            diverged = record["status"] == "diverged"
            score = float("-inf") if diverged else record["metrics"]["validation"][primary]
            scores.setdefault(entry.arm, []).append(score)
            trials[entry.arm] = entry.trial
        means = {arm: fmean(values) for arm, values in scores.items()}
        best: dict[str, str] = {}
        for arm, trial in trials.items():
            if arm in self.stages[stage].controls or means[arm] == float("-inf"):
                continue
            if trial.transform not in best or means[arm] > means[best[trial.transform]]:
                best[trial.transform] = arm
        if "none" not in best:
            raise ValueError(f"every baseline of stage {stage} diverged: it chooses nothing")
        baseline = best.pop("none")
        return Choice(trials[baseline], {t: trials[arm] for t, arm in best.items()})

    def missing(self, stage: str | None = None) -> list[Entry]:
        """Entries without a valid record, each key once."""
        entries = self.entries() if stage is None else self.stage_entries(stage)
        todo = {e.trial.key: e for e in entries if self.store.read(e.trial) is None}
        return list(todo.values())

    def recorded(self) -> list[tuple[Entry, dict[str, Any]]]:
        """Entries that have a record, with it."""
        found = ((entry, self.store.read(entry.trial)) for entry in self.entries())
        return [(entry, record) for entry, record in found if record is not None]


@dataclass(frozen=True)
class Choice:
    """The tuned baseline and the chosen arm of each transform, of any one seed."""

    baseline: Trial
    arms: dict[str, Trial]


def _arms(stage: Stage, base: Trial) -> Iterator[tuple[str, Trial]]:
    yield "baseline", base
    for control in stage.controls:
        yield control, replace(base, **CONTROLS[control])
    for name, changes in stage.variants.items():
        yield name, replace(base, **changes)
    for values in itertools.product(*stage.tune.values()) if stage.tune else ():
        changes = dict(zip(stage.tune, values, strict=True))
        if (trial := replace(base, **changes)) != base:
            told = (f"{n}={v if isinstance(v, str) else f'{v:g}'}" for n, v in changes.items())
            yield f"tune {' '.join(told)}", trial
    everywhere = modalities.layers(base.modality, base.encoder)
    layers = everywhere if stage.layers == ("all",) else stage.layers
    for layer, transform, strength in itertools.product(layers, stage.transforms, stage.strengths):
        arm = replace(base, layer=layer, transform=transform, strength=strength)
        yield arm_name(arm), arm


def _chosen_arms(stage: Stage, base: Trial, choice: Choice) -> Iterator[tuple[str, Trial]]:
    tuned = replace(choice.baseline, **stage.trial)
    yield "baseline", tuned
    yield "baseline untuned", base  # differs from the chosen arms in their transform alone
    for control in stage.controls:
        yield control, replace(tuned, **CONTROLS[control])
    for trial in choice.arms.values():
        arm = replace(trial, **stage.trial)
        yield arm_name(arm), arm
        for control in stage.arm_controls:
            yield f"{arm_name(arm)} {control}", ARM_CONTROLS[control](arm)


def arm_name(trial: Trial) -> str:
    return f"{trial.layer} {trial.transform} {trial.strength:g}"


def load(
    name: str,
    profile: str = "quick",
    root: Path | None = None,
    *,
    data: str | None = None,
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
        data: another data set, by name or folder.
        layers, transforms, strengths, seeds: other targets, transforms, p and seeds, in all stages
            that have any.

    Raises:
        ValueError: in one line, for anything unknown, misspelt or of wrong type.
    """
    label, content = _read_profile(profile)
    one_of(f"study in profile {label}", name, content["studies"])
    spec = content["studies"][name]
    settings = {**content.get("trial", {}), **spec.get("trial", {})}
    if data is not None:
        settings["data"] = data
    base = Trial.from_dict(settings)
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
        stages[stage_name] = _check(replace(stage, **changes), base)
    study = Study(name, label, base, stages, records.Store(root or records.default_root(), label))
    for stage_name, stage in stages.items():
        # Every trial is valid before any of them runs.
        replace(base, **stage.trial)
        if stage.chosen_from:
            settled = [n for n, s in stages.items() if not s.chosen_from and n != stage_name]
            one_of(f"stage for {stage_name} to be chosen from", stage.chosen_from, settled)
        else:
            study.stage_entries(stage_name)
    return study


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
        raise ValueError(f"{name} must be a list of {kind.__name__}, not {values!r}")
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
        "controls": str,
        "transforms": str,
        "strengths": float,
        "arm_controls": str,
    }
    if spec.get("layers") == "all":
        spec["layers"] = ("all",)
    else:
        kinds["layers"] = str
    for key, kind in kinds.items():
        if key in spec:
            spec[key] = _list_of(f"profile {where}: {key}", spec[key], kind)
    for key in ("trial", "variants", "tune"):
        if not isinstance(spec.get(key, {}), dict):
            raise ValueError(f"profile {where}: {key} must be a mapping, not {spec[key]!r}")
    for kind in ("variants", "tune"):
        wanted = dict if kind == "variants" else list
        for key, value in spec.get(kind, {}).items():
            if not isinstance(value, wanted) or not value:
                raise ValueError(
                    f"profile {where}: {kind}: {key} must be a {wanted.__name__}, not {value!r}"
                )
    stage = Stage(**spec)
    grid = [name for name in ("layers", "transforms", "strengths") if getattr(stage, name)]
    if len(grid) in (1, 2):
        raise ValueError(
            f"profile {where}: layers, transforms and strengths go together; given: {grid}"
        )
    return stage


def _check(stage: Stage, base: Trial) -> Stage:
    for layer in stage.layers:
        one_of("layer", layer, ("all", *modalities.layers(base.modality, base.encoder)))
    for transform in stage.transforms:
        one_of("transform", transform, TRANSFORMS)
    for strength in stage.strengths:
        share("strengths", strength)
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
    import yaml  # not among the core dependencies; the command line says what to install

    path = Path(profile)
    if path.suffix not in (".yaml", ".yml"):
        names = sorted(p.stem for p in PROFILES.glob("*.yaml"))
        path = PROFILES / f"{one_of('profile', profile, names, 'or a .yaml file')}.yaml"
    try:
        # Safe loading: a tag that would build an object is an error.
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ValueError(f"cannot read profile {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"profile {path} is not plain YAML: {reason}") from None
    if not isinstance(content, dict):
        raise ValueError(f"profile {path} must be a mapping with the key 'studies'")
    for key in content:
        one_of(f"key in profile {path.name}", key, ("trial", "studies"))
    studies = content.get("studies")
    if not isinstance(studies, dict) or not studies:
        raise ValueError(f"profile {path} names no study under 'studies'")
    for name, spec in studies.items():
        if not isinstance(spec, dict) or not isinstance(spec.get("stages"), dict):
            raise ValueError(f"profile {path}: study {name!r} needs a mapping 'stages'")
        for key in spec:
            one_of(f"key in profile {path.name}: {name}", key, ("trial", "stages"))
        for where in (content, spec):
            if not isinstance(where.get("trial", {}), dict):
                raise ValueError(f"profile {path}: trial must be a mapping, not {where['trial']!r}")
        for stage in spec["stages"]:
            one_of(f"stage in profile {path.name}: {name}", stage, STAGES)
    return path.stem, content
