"""Profiles: what their YAML declares of studies and stages, and reading it."""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

from deepaug import plain
from deepaug.declared import read, some
from deepaug.studies import ALL, arms, rulebook
from deepaug.training import registry
from deepaug.training.trial import CHOICES, TRANSFORMS, WAYS, Trial
from deepaug.validation import one_of, share

PROFILES = Path(__file__).parent / "profiles"
# In the order in which one may choose for another; what is exploratory judges nothing.
STAGES = ("quick", *rulebook.rules()["stages"], "exploratory")
# What a stage may say of its targets in the place of names.
LAYERS = {"all": arms.targets, "middle": lambda trial: (arms.middle(trial),)}
CUTS = LAYERS | {"all": arms.cuts}
FIXED = ("seed", "protocol", "cut")  # of a trial's settings those that no profile sets by name


def _names(what: str, allowed: Iterable[str]) -> Any:
    """The type of a text that is one of `allowed`."""
    return Annotated[str, functools.partial(one_of, what, allowed=tuple(allowed))]


def _lone(given: Any) -> Any:
    return [given] if isinstance(given, str) and given in LAYERS else given


def _single(given: Any) -> Any:
    if isinstance(given, list | dict):
        raise ValueError(f"must hold text or numbers, not {given!r}")
    return given


def _duration(given: Any) -> Any:
    if type(given) not in (int, float) or not 0 < given < 1e9:
        raise ValueError(f"must be a number above 0, not {given!r}")
    return given


ArmControl = _names("control of an arm", arms.ARM_CONTROLS)
# Of the chosen arms: both families', the primary one, or that at its best target after the input.
ChosenArms = _names("arms", ("both", "primary", "deep"))
Control = _names("control", arms.CONTROLS)
Modality = _names("modality", registry.NAMES)
Objective = _names("objective", (name for name in CHOICES["objective"] if name != "untrained"))
Setting = _names("trial setting", (f.name for f in fields(Trial) if f.name not in FIXED))
StageName = _names("stage", STAGES)
Share = Annotated[float, functools.partial(share, "share of the augmentation")]
Strength = Annotated[float, functools.partial(share, "p")]
Transform = _names("transform", TRANSFORMS)
Value = Annotated[Any, _single]
Way = _names("way", WAYS)
# Targets by name, or "all", or "middle".
Layers = Annotated[tuple[str, ...], _lone]
Settings = dict[Setting, Any]  # `Trial` checks their values


def _check_alone(layers: tuple[str, ...]) -> None:
    if len(layers) > 1 and (alone := [name for name in layers if name in LAYERS]):
        raise ValueError(f"{alone[0]!r} stands for layers by itself, not in a list")


@dataclass(frozen=True)
class Grid:
    """Arms and seeds of a stage, as a profile gives them, or a caller in its place."""

    layers: Annotated[Layers | dict[Modality, Layers], some] = ()  # of all bases, or by modality
    transforms: tuple[Transform, ...] = ()
    strengths: tuple[Strength, ...] = ()  # of the grid; or, alone, further ones of chosen arms
    seeds: tuple[int, ...] = ()  # none: those of the rules

    def __post_init__(self):
        for layers in self.layers.values() if isinstance(self.layers, dict) else (self.layers,):
            _check_alone(layers)


@dataclass(frozen=True)
class Stage(Grid):
    """One stage of a study."""

    settings: Settings = field(default_factory=dict, metadata={"key": "trial"})  # of all its trials
    bases: tuple[str, ...] = ()  # of these bases alone, by label; none: of all
    objectives: tuple[Objective, ...] = ()  # train each arm by each; none: by the study's own
    controls: tuple[Control, ...] = ()
    ways: tuple[Way, ...] = ()  # none: both views
    variants: dict[str, Annotated[Settings, some]] = field(default_factory=dict)  # of the baseline
    tune: dict[Setting, tuple[Value, ...]] = field(default_factory=dict)  # a factorial of baselines
    chosen_from: str = ""  # the stage whose records settle the baseline and the arms
    arms: ChosenArms = "both"
    everywhere: bool = False  # the chosen arms at all other targets, too
    # Baseline and arms again: with these shares of the baseline's input augmentation; and with the
    # settings that no stage has tuned. Each is paired with a baseline of its own.
    augmentation: tuple[Share, ...] = ()
    untuned: bool = False
    arm_controls: tuple[ArmControl, ...] = ()  # of each arm that has a transform
    # Networks of baselines and arms are split after these layers, and copies retrained; supervised
    # twins have no arms then.
    cuts: Layers = ()

    def __post_init__(self):
        super().__post_init__()
        grid = [n for n in ("layers", "transforms", "strengths") if getattr(self, n)]
        of_chosen = self.chosen_from and grid == ["strengths"]
        if len(grid) in (1, 2) and not of_chosen:
            raise ValueError(
                f"layers, transforms and strengths need each other (where arms are chosen from "
                f"another stage, strengths may stand alone); given: {grid}"
            )
        _check_alone(self.cuts)
        if self.cuts and self.arm_controls:
            raise ValueError("networks of arm_controls are not split; leave out these or cuts")
        if self.untuned and not self.chosen_from:
            raise ValueError("untuned is the baseline before tuning; give chosen_from too")
        if self.ways and not self.transforms:
            raise ValueError("ways are of layers, transforms and strengths; give these too")
        for where, settings in {"trial": self.settings, "tune": self.tune, **self.variants}.items():
            if "objective" in settings:
                raise ValueError(f"objective stands under objectives, not under {where}")
        for name in self.variants:
            if name in ("baseline", *arms.CONTROLS):
                raise ValueError(f"variant {name!r} has a name that is taken; choose another")
        for name, values in self.tune.items():
            if len({arms.short(value) for value in values}) < len(values):
                raise ValueError(f"values of {name} to tune are too close: {list(values)}")

    def layers_of(self, base: Trial) -> tuple[str, ...]:
        """The targets of this stage in the encoder of `base`."""
        named = self.layers
        return _named(named.get(base.modality, ()) if isinstance(named, dict) else named, base)

    def cuts_of(self, base: Trial) -> tuple[str, ...]:
        """The layers of the encoder of `base` after which networks are split."""
        return _named(self.cuts, base, CUTS)

    def baselines(self, base: Trial, tuned: Settings, objective: str = "") -> dict[str, Trial]:
        """The baselines of this stage; what each changes of the tuned one -> it, "" for itself."""
        plain = self.applied(replace(base, **tuned), objective)
        found = {"": plain}
        for part in self.augmentation:
            weaker = replace(plain, view_strength=part * plain.view_strength)
            found[f"{part:g} of the input augmentation"] = weaker
        untuned = self.applied(base, objective)
        if self.untuned and untuned != plain:  # tuning may have kept it
            found["untuned"] = untuned
        return found

    def applied(self, base: Trial, objective: str = "") -> Trial:
        """The base with the settings of this stage."""
        return replace(base, **self.settings, objective=objective or base.objective)


def _named(names: tuple[str, ...], base: Trial, standing: Mapping = LAYERS) -> tuple[str, ...]:
    """Layers by name, or those of the encoder of `base` that a single name stands for."""
    return standing[names[0]](base) if names and names[0] in standing else names


@dataclass(frozen=True)
class Declared:
    """A study: stages on bases of its own, or on those of other studies."""

    stages: dict[StageName, Stage]
    settings: Settings = field(default_factory=dict, metadata={"key": "trial"})
    bases: Annotated[dict[str, Settings], some] = field(default_factory=dict)
    of: Annotated[dict[str, Settings], some] = field(default_factory=dict)

    def __post_init__(self):
        if self.of and (self.settings or self.bases):
            raise ValueError("of takes the place of trial and bases; leave these out")


@dataclass(frozen=True)
class Profile:
    """Studies sized for one kind of machine."""

    studies: Annotated[dict[str, Declared], some]
    settings: Settings = field(default_factory=dict, metadata={"key": "trial"})  # of all studies
    seconds: Annotated[float, _duration] = 100.0  # that a trial takes, until some are recorded

    def __post_init__(self):
        if ALL in self.studies:
            raise ValueError(f"{ALL!r} stands for all studies; choose another name for this one")


def packaged() -> list[str]:
    """Names of the profiles that come with the package."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load(profile: str) -> tuple[str, Profile]:
    """Label and content of a profile by name or by path; a ValueError in one line if it is bad."""
    if not isinstance(profile, str):
        raise ValueError(f"profile must be a name or a YAML file, not {profile!r}")
    path = Path(profile)
    if path.suffix not in (".yaml", ".yml"):
        path = PROFILES / f"{one_of('profile', profile, packaged(), 'or a .yaml file')}.yaml"
    if not re.fullmatch(r"\w[\w.+-]*", path.stem):  # its records lie in a folder of that name
        raise ValueError(
            f"profile {profile!r} cannot name a folder of records; rename the file, to letters, "
            f"digits and . + - _"
        )
    return path.stem, read(f"profile {path.stem}", _content(path), Profile)


def _content(path: Path) -> Any:
    """What a file says, with what it extends."""
    try:
        content = plain.read(f"profile {path}", path)
    except OSError as error:
        raise ValueError(f"cannot read profile {path}: {error.strerror}") from None
    if not isinstance(content, dict) or content.get("extends") is None:
        return content
    others = [name for name in packaged() if name != path.stem]
    extended = one_of("profile to extend", content["extends"], others)
    change = {key: value for key, value in content.items() if key != "extends"}
    return _merged(_content(PROFILES / f"{extended}.yaml"), change)


def _merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
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
