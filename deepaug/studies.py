"""Studies: the grid of trials behind a notebook, as a profile sizes it."""

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deepaug import arms, choice, modalities, records
from deepaug.choice import Choice
from deepaug.trial import CHOICES, TRANSFORMS, WAYS, Trial
from deepaug.validation import one_of, share

PROFILES = Path(__file__).parent / "profiles"
# In the order in which one may choose for another.
STAGES = (
    "quick",
    "scale",
    "pilot",
    "tuning",
    "screen",
    "targets",
    "confirm",
    "controls",
    "longer",
)
CHOSEN_ARMS = ("both", "primary", "deep")
# A setting that a stage's `layers` may have in the place of names.
LAYERS = {"all": arms.targets, "middle": lambda trial: (arms.middle(trial),)}


@dataclass(frozen=True)
class Stage:
    """One stage of a study, as a profile gives it."""

    seeds: tuple[int, ...] = ()
    trial: dict[str, Any] = field(default_factory=dict)  # settings of all its trials
    bases: tuple[str, ...] = ()  # of these bases alone, by label; none: of all
    objectives: tuple[str, ...] = ()  # train each arm by each of these; none: by the study's own
    controls: tuple[str, ...] = ()
    # Targets of all bases, or by modality; or "all", or "middle".
    layers: tuple[str, ...] | dict[str, tuple[str, ...]] = ()
    transforms: tuple[str, ...] = ()
    strengths: tuple[float, ...] = ()
    ways: tuple[str, ...] = ()  # none: both views
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)  # of the baseline
    tune: dict[str, tuple] = field(default_factory=dict)  # a factorial of baselines
    chosen_from: str = ""  # the stage whose records settle the baseline and the arms
    # Of the chosen arms: "both" families', the "primary" one, or that at its best target after the
    # input ("deep").
    arms: str = "both"
    everywhere: bool = False  # the chosen arms at all other targets, too
    arm_controls: tuple[str, ...] = ()  # of each arm that has a transform

    def layers_of(self, base: Trial) -> tuple[str, ...]:
        """The targets of this stage in the encoder of `base`."""
        named = self.layers
        if isinstance(named, dict):
            named = named.get(base.modality, ())
        return LAYERS[named[0]](base) if named and named[0] in LAYERS else named


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
    # "baseline", "tune" (a configuration of it), "variant", "control", "reference" (nothing of it
    # is trained), "arm" or "arm control".
    role: str = ""

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
    _listed: dict[tuple[str, str], list[Entry]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

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
        return self._entries(name, self._settled)

    def planned(self, name: str) -> list[Entry]:
        """As many trials as a stage will have, by an assumed choice where none is recorded.

        Assumed is what asks for most: arms at the middle target, in a detached way.
        """
        return self._entries(name, lambda base, stage: self._settled(base, stage) or _assumed(base))

    def _entries(self, name: str, settled: Callable[[Base, str], Choice | None]) -> list[Entry]:
        stage = self.stages[name]
        nothing = Choice({}, {}, {})
        found = [
            (base, settled(base, stage.chosen_from) if stage.chosen_from else nothing)
            for base in self._bases(stage)
        ]
        # Listing is done anew whenever a record has come; what it depends on seldom changes.
        key = name, repr([(base.label, chosen) for base, chosen in found])
        if key not in self._listed:
            self._listed[key] = self._list(name, found)
        return self._listed[key]

    def _list(self, name: str, found: list[tuple[Base, Choice | None]]) -> list[Entry]:
        stage = self.stages[name]
        entries = []
        for base, chosen in found:
            for objective in stage.objectives or (base.trial.objective,) if chosen else ():
                plain = replace(_own(base, stage, objective), **chosen.baseline)
                for role, arm, trial in _arms(stage, plain, chosen):
                    place = (name, base.label, objective, arm)
                    entries.append(Entry(*place, trial, self.profile, role))
        return [
            replace(entry, trial=replace(entry.trial, seed=seed))
            for seed in stage.seeds
            for entry in entries
        ]

    def waits_for(self, name: str) -> list[str]:
        """Stages, as "screen" or "screen of vision", that must be recorded before this one."""
        stage = self.stages[name]
        if not stage.chosen_from:
            return []
        waiting = [b for b in self._bases(stage) if not self._settled(b, stage.chosen_from)]
        names = (
            f"{stage.chosen_from} of {b.origin.name}" if b.origin else stage.chosen_from
            for b in waiting
        )
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

    def choice(self, stage: str) -> Choice | None:
        """What the records of a stage choose, by validation alone; None until all are there.

        A stage that tunes chooses the baseline; one with arms the best of each family, and where
        these have several targets, which family is the primary one. What an earlier stage has
        chosen stays. The mean is over seeds and, where the study has several data sets, over all
        of these. An arm that diverged once is not chosen.
        """
        if self.whole is not None:
            return self.whole.choice(stage)
        if self.waits_for(stage):
            return None
        scores: dict[str, list[float]] = {}
        found: dict[str, list[Entry]] = {}
        for entry in self.stage_entries(stage):
            record = self.store.read(entry.trial)
            if record is None:
                return None
            diverged = record["status"] == "diverged"
            primary = modalities.primary(entry.trial)
            score = float("-inf") if diverged else record["metrics"]["validation"][primary]
            scores.setdefault(entry.arm, []).append(score)
            found.setdefault(entry.arm, []).append(entry)
        return self._chosen(stage, scores, found)

    def _chosen(
        self, stage: str, scores: dict[str, list[float]], found: dict[str, list[Entry]]
    ) -> Choice:
        """The choice, given each arm's scores and entries."""

        def best(entries: Callable[[Entry], bool]) -> str | None:
            return choice.best({n: scores[n] for n, es in found.items() if entries(es[0])})

        def changes(arm: str) -> dict[str, Any]:
            # A value that one base has of itself may be a change of another.
            every: dict[str, Any] = {}
            for entry in found[arm]:
                base = next(b for b in self.bases if b.label == entry.base)
                own = replace(_own(base, self.stages[stage], entry.objective), **settled.baseline)
                every |= _difference(entry.trial, own)
            return every

        earlier = self.stages[stage].chosen_from
        settled = self.choice(earlier) if earlier else Choice({}, {}, {})
        baseline = best(lambda e: e.role in ("baseline", "tune", "variant"))
        if baseline is None:
            raise ValueError(f"every baseline of stage {stage} diverged: it chooses nothing")
        tuned = settled.baseline | changes(baseline)
        own = {
            name: entries[0].trial for name, entries in found.items() if entries[0].role == "arm"
        }

        def by_family(names: Iterable[str]) -> dict[str, str]:
            few = {name: scores[name] for name in names}
            return choice.best_by_family(few, {name: own[name].transform for name in few})

        chosen = by_family(own)
        after = by_family(n for n, trial in own.items() if trial.layer != arms.targets(trial)[0])
        primary = choice.best({family: scores[arm] for family, arm in chosen.items()})
        changed = {family: changes(arm) for family, arm in chosen.items()}
        deep = {family: changes(after.get(family, arm)) for family, arm in chosen.items()}
        return Choice(tuned, changed or settled.arms, deep or settled.deep, primary or "")

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

    def _settled(self, base: Base, stage: str) -> Choice | None:
        return (base.origin or self).choice(stage)


def _arms(stage: Stage, plain: Trial, chosen: Choice) -> Iterator[tuple[str, str, Trial]]:
    """Role, name and trial of each arm of a base, without its seeds.

    Args:
        plain: the baseline, tuned where the stage is chosen from another.
    """
    yield "baseline", "baseline", plain
    for control in stage.controls:
        if control in _CONTROL_OF and _CONTROL_OF[control] != plain.modality:
            continue
        role = "reference" if "encoder" in arms.CONTROLS[control] else "control"
        yield role, control, replace(plain, **arms.CONTROLS[control])
    for name, change in stage.variants.items():
        yield "variant", name, replace(plain, **change)
    for values in itertools.product(*stage.tune.values()) if stage.tune else ():
        change = dict(zip(stage.tune, values, strict=True))
        if (trial := replace(plain, **change)) != plain:
            told = (f"{n}={v if isinstance(v, str) else f'{v:g}'}" for n, v in change.items())
            yield "tune", f"tune {' '.join(told)}", trial
    own, elsewhere = _transformed(stage, plain, chosen)
    controls: dict[str, Trial] = {}
    for arm in own:
        yield "arm", arms.name(arm), arm
        for name, trial in arms.controls(arm, stage.arm_controls):
            if name not in controls:  # two targets of a transform have one arm at the input
                controls[name] = trial
                yield "arm control", name, trial
    for arm in elsewhere:
        yield "arm", arms.name(arm), arm


def _transformed(stage: Stage, plain: Trial, chosen: Choice) -> tuple[list[Trial], list[Trial]]:
    """The arms of a stage, which have controls; and those at all other targets."""
    if stage.transforms:  # a grid
        layers = stage.layers_of(plain)
        return arms.grid(plain, layers, stage.transforms, stage.strengths, stage.ways), []
    changes = chosen.deep if stage.arms == "deep" else chosen.arms
    if stage.arms != "both":
        changes = {f: change for f, change in changes.items() if f == chosen.primary}
    own = [replace(plain, **change) for change in changes.values()]
    elsewhere = [
        replace(arm, layer=layer)
        for arm in own
        for layer in arms.targets(plain)
        if stage.everywhere and layer != arm.layer
    ]
    return own, elsewhere


def _assumed(base: Base) -> Choice:
    layer = arms.middle(base.trial)
    changes = {
        family: {"layer": layer, "transform": family, "strength": 0.5, **WAYS["one-view-detached"]}
        for family in choice.FAMILIES
    }
    return Choice({}, changes, changes, "dropout")


# Controls that exist in one modality alone are passed over in the others.
_CONTROL_OF = {
    control: modality
    for modality in modalities.NAMES
    for control in arms.CONTROLS
    if control in modalities.encoders(modality)
}


def _own(base: Base, stage: Stage, objective: str | None = None) -> Trial:
    """The base's trial with the settings of a stage."""
    return replace(base.trial, **stage.trial, objective=objective or base.trial.objective)


def _difference(trial: Trial, base: Trial) -> dict[str, Any]:
    fields = (n for n in Trial.__dataclass_fields__ if n != "seed")
    return {n: value for n in fields if (value := getattr(trial, n)) != getattr(base, n)}


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


def rules() -> dict[str, Any]:
    """The verdict rules, as claims.yaml has them."""
    import yaml

    return yaml.safe_load((PROFILES.parent / "claims.yaml").read_text())


def agenda(profile: str, root: Path | None = None) -> list[tuple[Study, str]]:
    """Studies and stages of a profile in the order in which the rules have them run.

    A study may come several times, each time with the bases of one modality alone. What the rules
    do not name, pages' own studies for instance, comes at the end.
    """
    ordered = rules()["order"]
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
            one_of("layer", layer, (*LAYERS, *arms.targets(base)), f"of {base.encoder}")
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
