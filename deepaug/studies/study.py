"""Studies: the grid of trials behind a notebook, as a profile sizes it."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from deepaug.studies import arms, choice, records
from deepaug.studies.choice import Choice
from deepaug.training import registry
from deepaug.training.trial import WAYS, Trial

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
            primary = registry.primary(entry.trial)
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
    for modality in registry.NAMES
    for control in arms.CONTROLS
    if control in registry.encoders(modality)
}


def _own(base: Base, stage: Stage, objective: str | None = None) -> Trial:
    """The base's trial with the settings of a stage."""
    return replace(base.trial, **stage.trial, objective=objective or base.trial.objective)


def _difference(trial: Trial, base: Trial) -> dict[str, Any]:
    fields = (n for n in Trial.__dataclass_fields__ if n != "seed")
    return {n: value for n in fields if (value := getattr(trial, n)) != getattr(base, n)}
