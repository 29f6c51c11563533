"""How long trials take, reckoned from those recorded: batches of enough work, and the budget."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepaug.studies.study import Entry, Study
from deepaug.training.trial import Trial

# Share of a trial's time that goes to data and evaluation, where none of its kind is recorded.
OVERHEAD = 0.15
ALL = 50_000  # samples of a data set that is taken whole, to compare with a part of it


@dataclass(frozen=True)
class Expected:
    """Seconds that a trial may take: each epoch, and all else (data, evaluation)."""

    epochs: int
    epoch: float
    rest: float

    @property
    def seconds(self) -> float:
        return self.epochs * self.epoch + self.rest


def work(trial: Trial) -> int:
    """Samples that a trial is trained on, each as often as it comes."""
    return trial.epochs * (trial.samples or ALL)


def cost(trial: Trial) -> float:
    """Relative duration of a trial within its study."""
    return 1 + work(trial) / 1000


class Durations:
    """What recorded trials took, and what others of their kind will.

    Of one kind are trials of like data, encoder and width, trained or not; their training takes
    time in proportion to epochs and samples.

    Args:
        share: of the trials of a kind that took less than what is expected of it.
    """

    def __init__(self, share: float = 0.5):
        self.share = share
        self._rest: dict[tuple, list[float]] = defaultdict(list)
        self._training: dict[tuple, list[float]] = defaultdict(list)  # seconds a sample
        self._typical: dict[tuple, tuple[float, float]] = {}
        self._here: set[tuple] = set()

    def add(self, trial: Trial, record: dict[str, Any], here: bool = False) -> None:
        """Count a record; one made `here` and now takes the place of what others' machines say."""
        if record["status"] != "ok":  # it ended early
            return
        for kind in _kinds(trial):
            if here and kind not in self._here:
                self._here.add(kind)
                self._rest[kind], self._training[kind] = [], []
            elif not here and kind in self._here:
                continue
            self._rest[kind].append(max(0.0, record["seconds"] - record["training_seconds"]))
            self._training[kind].append(record["training_seconds"] / max(1, work(trial)))
            self._typical.pop(kind, None)

    def of(self, trial: Trial, base: Trial, seconds: float) -> Expected:
        """What a trial may take.

        Args:
            base: the plain trial that takes `seconds`, roughly, where none of the kind is recorded.
        """
        kind = next((kind for kind in _kinds(trial) if kind in self._rest), None)
        if kind is not None:
            if kind not in self._typical:
                self._typical[kind] = tuple(
                    float(np.quantile(of[kind], self.share)) for of in (self._rest, self._training)
                )
            rest, training = self._typical[kind]
            return Expected(trial.epochs, training * (trial.samples or ALL), rest)
        rest = OVERHEAD * seconds if base.epochs else seconds
        training = (seconds - rest) / work(base) if base.epochs else 0.0
        return Expected(trial.epochs, training * (trial.samples or ALL), rest)


def _kinds(trial: Trial) -> list[tuple]:
    """Kinds that a trial's duration is told from: of its own objective, or of any that trains."""
    whole = not trial.samples
    encoder = trial.encoder, trial.width, trial.objective == "untrained"
    kind = trial.modality, trial.data, trial.pairs, whole, *encoder
    return [(*kind, trial.objective), kind]


def base_of(study: Study, entry: Entry) -> Trial:
    """The plain trial that an entry is a change of."""
    return next((b.trial for b in study.bases if b.label == entry.base), study.base)


def expected_seconds(study: Study) -> dict[str, float]:
    """Seconds that each settled trial of a study may take, by key.

    From the recorded trials of the same kind (`Durations`); where none is recorded, what the
    profile says of its trials.
    """
    entries = study.entries()
    durations = Durations()
    for entry in {e.trial.key: e for e in entries}.values():
        if (record := study.store.read(entry.trial)) is not None:
            durations.add(entry.trial, record)
    return {
        e.trial.key: durations.of(e.trial, base_of(study, e), study.seconds).seconds
        for e in entries
    }


def of(entries: list[Entry], seconds: dict[str, float], least: float) -> dict[str, int]:
    """The batch, from 0, of each trial by key: in order, until one has `least` seconds of work.

    What is left at the end joins the last batch.
    """
    batches: list[list[str]] = [[]]
    work = 0.0
    for key in dict.fromkeys(entry.trial.key for entry in entries):
        if work >= least:
            batches.append([])
            work = 0.0
        batches[-1].append(key)
        work += seconds[key]
    if work < least and len(batches) > 1:
        batches[-2:] = [batches[-2] + batches[-1]]
    return {key: number for number, batch in enumerate(batches) for key in batch}


def planned(study: Study, stage: str) -> tuple[list[Entry], dict[str, str]]:
    """All entries that a stage has or will have; and what those wait for that it will, by base.

    What waits for a choice is counted by one that is assumed.
    """
    settled = study.stage_entries(stage)
    if not (waits := study.waits_for(stage)):
        return settled, {}
    known = {entry.base for entry in settled}
    waiting = [entry for entry in study.planned(stage) if entry.base not in known]
    bases = {entry.base for entry in waiting}
    return settled + waiting, dict.fromkeys(bases, ", ".join(waits))


def budget(agenda: Iterable[tuple[Study, str]]) -> list[dict[str, Any]]:
    """What the stages of an agenda cost, a row for each stage and part (base, or modality).

    Returns:
        Rows with the fields study, part, stage, arms, seeds, trials, recorded, core_hours
        (of all trials, recorded or not), core_hours_left, and waits_for: the stages whose choice
        a row waits for, "" if none; what then counts is a choice that is assumed. Trials that an
        earlier row has as well are counted there alone, in `trials` and all after it.

    Hours are those of a machine that does nothing else: of the trials of a kind the quarter that
    took least, since many were recorded beside other work.
    """
    listed = [(study, stage, *planned(study, stage)) for study, stage in agenda]
    durations, recorded = Durations(share=0.25), set()
    for study, _, entries, _ in listed:
        for trial in {e.trial.key: e.trial for e in entries}.values():
            if trial.key not in recorded and (record := study.store.read(trial)) is not None:
                recorded.add(trial.key)
                durations.add(trial, record)
    rows, counted = [], set()
    for study, stage, entries, waiting in listed:
        parts: dict[str, list[Entry]] = {}
        for entry in entries:
            parts.setdefault(entry.base or entry.trial.modality, []).append(entry)
        for part, own in parts.items():
            new = {e.trial.key: e for e in own if e.trial.key not in counted}
            counted |= new.keys()
            hours = {key: _core_hours(e, study, durations) for key, e in new.items()}
            rows.append(
                {
                    "study": study.name,
                    "part": part,
                    "stage": stage,
                    "arms": len({(e.objective, e.arm) for e in own}),
                    "seeds": len({e.trial.seed for e in own}),
                    "trials": len(new),
                    "recorded": len(recorded & new.keys()),
                    "core_hours": sum(hours.values()),
                    "core_hours_left": sum(h for key, h in hours.items() if key not in recorded),
                    "waits_for": waiting.get(own[0].base, ""),
                }
            )
    return rows


def _core_hours(entry: Entry, study: Study, durations: Durations) -> float:
    expected = durations.of(entry.trial, base_of(study, entry), study.seconds)
    return expected.seconds * entry.trial.threads / 3600
