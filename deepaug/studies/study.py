"""Studies: the grid of trials behind a notebook, and what its records choose."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from deepaug.studies import arms, choosing, records
from deepaug.studies.choice import Choice
from deepaug.studies.profile import Stage
from deepaug.training import registry
from deepaug.training.trial import Trial


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
    arm: str  # its name, to be shown and never taken apart
    trial: Trial
    profile: str = ""
    # "baseline", "tune" (a configuration of it), "variant", "control", "reference" (nothing of it
    # is trained), "arm" or "arm control".
    role: str = ""
    control: str = ""  # of an arm's control, which of `arms.ARM_CONTROLS` it is
    of: tuple[str, ...] = ()  # and the arms that are held against it
    setting: str = ""  # what its baseline changes of the tuned one, as `Stage.baselines` names it

    @property
    def name(self) -> str:
        """The arm, told apart from those of the study's other bases and objectives."""
        twin = "supervised" if self.objective == "supervised" else ""
        return " ".join(filter(None, (self.unit, twin, self.arm)))

    @property
    def unit(self) -> str:
        """Base and setting: runs are held against the baseline of their own."""
        return ", ".join(filter(None, (self.base, self.setting)))


@dataclass(frozen=True)
class Study:
    """The stages of one study at one profile, and the store their records lie in."""

    name: str
    profile: str
    bases: tuple[Base, ...]
    stages: dict[str, Stage]
    store: records.Store
    seconds: float  # that a trial takes, roughly, until some are recorded
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

    def bases_of(self, stage: Stage) -> tuple[Base, ...]:
        """The bases that a stage is of."""
        return tuple(b for b in self.bases if not stage.bases or b.label in stage.bases)

    def part(self, bases: tuple[Base, ...]) -> "Study":
        """The study with some of its bases; what is chosen stays that of all."""
        return self if bases == self.bases else replace(self, bases=bases, whole=self)

    def entries(self) -> list[Entry]:
        """All trials that are settled; stages that wait for a choice have none yet."""
        return [entry for name in self.stages for entry in self.stage_entries(name)]

    def stage_entries(self, name: str) -> list[Entry]:
        """The trials of a stage, but for bases whose choice is not recorded yet."""
        return self._entries(name, self._settled(name))

    def planned(self, name: str) -> list[Entry]:
        """As many trials as a stage will have, by an assumed choice where none is recorded.

        Assumed is what asks for most: arms at the middle target, in a detached way.
        """
        settled = self._settled(name)
        return self._entries(name, [(b, c or choosing.assumed(b.trial)) for b, c in settled])

    def _settled(self, name: str) -> list[tuple[Base, Choice | None]]:
        """The bases of a stage, each with what is chosen for it; None while nothing is."""
        stage, choices = self.stages[name], {}
        bases = [(base, base.origin or self) for base in self.bases_of(stage)]
        for chooser in {chooser.name: chooser for _, chooser in bases}.values():
            with contextlib.suppress(choosing.NothingChosen):
                asked = stage.chosen_from
                choices[chooser.name] = chooser.choice(asked) if asked else Choice()
        return [(base, choices.get(chooser.name)) for base, chooser in bases]

    def _entries(self, name: str, settled: list[tuple[Base, Choice | None]]) -> list[Entry]:
        # Listing is done anew whenever a record has come; what it depends on seldom changes.
        key = name, repr([(base.label, chosen) for base, chosen in settled])
        if key not in self._listed:
            self._listed[key] = self._list(name, settled)
        return self._listed[key]

    def _list(self, name: str, found: list[tuple[Base, Choice | None]]) -> list[Entry]:
        stage, entries = self.stages[name], list[Entry]()
        for base, chosen in found:
            if chosen is None:
                continue
            for objective in stage.objectives or (base.trial.objective,):
                plains = stage.baselines(base.trial, chosen.baseline, objective)
                for setting, plain in plains.items():
                    place = name, base.label, objective, "baseline", plain, self.profile, "baseline"
                    baseline = Entry(*place, setting=setting)
                    listed = _arms(stage, baseline, chosen, plains[""])
                    entries += _split(stage, base, listed) if stage.cuts else listed
        return [
            replace(entry, trial=replace(entry.trial, seed=seed))
            for seed in stage.seeds
            for entry in entries
        ]

    def waits_for(self, name: str) -> list[str]:
        """Stages, as "screen" or "screen of vision", that must be recorded before this one."""
        asked = self.stages[name].chosen_from
        names = (
            f"{asked} of {base.origin.name}" if base.origin else asked
            for base, chosen in self._settled(name)
            if chosen is None
        )
        return list(dict.fromkeys(names))

    def choice(self, stage: str) -> Choice | None:
        """What the records of a stage choose, by validation alone; None until all are there.

        A stage that tunes chooses the baseline; one with arms the best of each family, and where
        these have several targets, which family is the primary one. What an earlier stage has
        chosen stays. The mean is over seeds and, where the study has several data sets, over all
        of these. An arm that diverged once is not chosen. Raises NothingChosen, a ValueError.
        """
        if self.whole is not None:
            return self.whole.choice(stage)
        settled = self._settled(stage)
        choices = [choice for _, choice in settled if choice is not None]
        if len(choices) < len(settled):
            return None
        found = []
        for entry in self._entries(stage, settled):
            if (record := self.store.read(entry.trial)) is None:
                return None
            found.append((entry, record))
        return choosing.chosen(self, stage, found, choices[0] if choices else Choice())

    def missing(self, stage: str | None = None) -> list[Entry]:
        """Entries without a valid record, each key once."""
        return list({e.trial.key: e for e, record in self._read(stage) if record is None}.values())

    def recorded(self, stage: str | None = None) -> list[tuple[Entry, dict[str, Any]]]:
        """Entries, of one stage or all, that have a record, with it."""
        return [(entry, record) for entry, record in self._read(stage) if record is not None]

    def _read(self, stage: str | None) -> Iterator[tuple[Entry, dict[str, Any] | None]]:
        for entry in self.entries() if stage is None else self.stage_entries(stage):
            yield entry, self.store.read(entry.trial)


def obstacles(study: Study, name: str) -> Iterator[str]:
    """Why a stage will never be settled, if its choosers have chosen nothing."""
    stage = study.stages[name]
    for base in study.bases_of(stage) if stage.chosen_from else ():
        try:
            (base.origin or study).choice(stage.chosen_from)
        except choosing.NothingChosen as error:
            yield str(error)


def progress(study: Study, stage: str) -> str:
    """How far a stage is, as "3 of 8 recorded" or what it waits for."""
    keys = {entry.trial.key for entry in study.stage_entries(stage)}
    waiting = study.waits_for(stage)
    said = []
    if keys or not waiting:
        said.append(f"{len(keys) - len(study.missing(stage))} of {len(keys)} recorded")
    if waiting:
        said.append("waits for all records of " + ", ".join(waiting))
    return "; ".join(said)


# The arms


def _arms(stage: Stage, baseline: Entry, chosen: Choice, tuned: Trial) -> Iterator[Entry]:
    """Each arm of a base and objective, without its seeds.

    Args:
        baseline: the tuned one where the stage is chosen from another, or a change of it.
        tuned: that one itself. Controls are its own whatever has changed: most train nothing.
    """
    plain = baseline.trial
    yield baseline
    for control in stage.controls:
        is_reference = control in arms.REFERENCES
        if is_reference and control not in registry.MODALITIES[plain.modality].encoders:
            continue  # it is of another modality
        role = "reference" if is_reference else "control"
        trial = replace(tuned, **arms.CONTROLS[control])
        yield replace(baseline, role=role, arm=control, trial=trial)
    for name, change in stage.variants.items():
        yield replace(baseline, role="variant", arm=name, trial=replace(plain, **change))
    for values in itertools.product(*stage.tune.values()) if stage.tune else ():
        change = dict(zip(stage.tune, values, strict=True))
        if (trial := replace(plain, **change)) != plain:
            settings = " ".join(f"{n}={arms.short(value)}" for n, value in change.items())
            yield replace(baseline, role="tune", arm=f"tune {settings}", trial=trial)
    own, others = _transformed(stage, plain, chosen)
    if baseline.setting:  # its arms are held against it alone
        stage, others = replace(stage, arm_controls=()), []
    yield from _with_controls(own, stage, baseline)
    for arm in others:
        yield replace(baseline, role="arm", arm=arms.name(arm), trial=arm)


def _split(stage: Stage, base: Base, entries: Iterable[Entry]) -> Iterator[Entry]:
    """Entries of a stage whose networks are split, one for each cut."""
    for entry in entries:
        if entry.role not in ("baseline", "arm"):
            yield entry
        elif entry.role == "baseline" or entry.objective == base.trial.objective:
            for cut in stage.cuts_of(base.trial):
                name = f"{entry.arm}, cut after {cut}"
                yield replace(entry, arm=name, trial=replace(entry.trial, cut=cut))


def _with_controls(own: list[Trial], stage: Stage, baseline: Entry) -> list[Entry]:
    """The arms, each followed by those of its controls that no arm before it has."""
    held_against: dict[Entry, list[str]] = {}
    for arm in own:
        name = arms.name(arm)
        held_against[replace(baseline, role="arm", arm=name, trial=arm)] = []
        for kind, trial in arms.controls(arm, stage.arm_controls):
            called = arms.control_name(arm, kind, trial)
            entry = replace(baseline, role="arm control", arm=called, trial=trial, control=kind)
            # Two targets of a transform have one arm at the input.
            held_against.setdefault(entry, []).append(name)
    return [replace(entry, of=tuple(names)) for entry, names in held_against.items()]


def _transformed(stage: Stage, plain: Trial, chosen: Choice) -> tuple[list[Trial], list[Trial]]:
    """The arms of a stage, which have controls; and these at other targets and strengths."""
    if stage.transforms:  # a grid
        layers = stage.layers_of(plain)
        return arms.grid(plain, layers, stage.transforms, stage.strengths, stage.ways), []
    changes = chosen.deep if stage.arms == "deep" else chosen.arms
    if stage.arms != "both":
        changes = {f: change for f, change in changes.items() if f == chosen.primary}
    own = [replace(plain, **change) for change in changes.values()]
    layers = arms.targets(plain) if stage.everywhere else ()
    others = [replace(arm, layer=layer) for arm in own for layer in layers]
    others += [replace(arm, strength=p) for arm in own for p in stage.strengths]
    return own, [arm for arm in others if arm not in own]
