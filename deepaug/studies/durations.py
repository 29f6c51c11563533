"""How long trials take, estimated from those recorded."""

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


def samples_of(trial: Trial) -> int:
    """Samples in an epoch."""
    return trial.samples or ALL


def work(trial: Trial) -> int:
    """Samples that a trial is trained on, each as often as it comes."""
    return trial.trainings * trial.epochs * samples_of(trial)


def cost(trial: Trial) -> float:
    """Relative duration of a trial within its study."""
    return 1 + work(trial) / 1000


class Durations:
    """What recorded trials took, and what others of their kind will.

    Of one kind are trials of like data, encoder and width, trained or not; their training takes
    time in proportion to epochs and samples, and all else in proportion to the trainings, each of
    which is evaluated.

    Args:
        share: of the trials of a kind that took less than what is expected of it.
    """

    def __init__(self, share: float = 0.5):
        self.share = share
        self._rest: dict[tuple, list[float]] = defaultdict(list)  # seconds a training
        self._training: dict[tuple, list[float]] = defaultdict(list)  # seconds a sample
        self._typical: dict[tuple, tuple[float, float]] = {}
        self._here: set[tuple] = set()

    def add(self, trial: Trial, record: dict[str, Any], here: bool = False) -> None:
        """Count a record; one made `here` and now takes the place of what others' machines say.

        One that is emulated counts only where it is made.
        """
        if record["status"] != "ok" or ("emulated" in record and not here):
            return  # it ended early; or took longer than on the processors that it is meant for
        for kind in _kinds(trial):
            if here and kind not in self._here:
                self._here.add(kind)
                self._rest[kind], self._training[kind] = [], []
            elif not here and kind in self._here:
                continue
            rest = max(0.0, record["seconds"] - record["training_seconds"])
            self._rest[kind].append(rest / trial.trainings)
            self._training[kind].append(record["training_seconds"] / max(1, work(trial)))
            self._typical.pop(kind, None)

    def of(self, trial: Trial, base: Trial, seconds: float) -> Expected:
        """What a trial may take.

        Args:
            base: the plain trial that takes `seconds`, roughly, where none of the kind is recorded.
        """
        kind = next((kind for kind in _kinds(trial) if kind in self._rest), None)
        if kind is not None:
            rest, training = self._typical_of(kind)
            rest *= trial.trainings
        elif base.epochs:
            rest = OVERHEAD * seconds * trial.trainings / base.trainings
            training = (1 - OVERHEAD) * seconds / work(base)
        else:
            rest, training = seconds, 0.0
        return Expected(trial.trainings * trial.epochs, training * samples_of(trial), rest)

    def of_entry(self, study: Study, entry: Entry) -> Expected:
        """What a trial of a study may take; the profile says what its plain trials do."""
        base = next((b.trial for b in study.bases if b.label == entry.base), study.base)
        return self.of(entry.trial, base, study.seconds)

    def _typical_of(self, kind: tuple) -> tuple[float, float]:
        if kind not in self._typical:
            of = (self._rest[kind], self._training[kind])
            rest, training = (float(np.quantile(seconds, self.share)) for seconds in of)
            self._typical[kind] = rest, training
        return self._typical[kind]


def from_records(
    entries: Iterable[tuple[Study, Entry]], share: float = 0.5
) -> tuple[Durations, set[str]]:
    """The durations of those entries that have a record, and their keys; each key counts once."""
    durations, keys = Durations(share), set()
    for study, entry in entries:
        key = entry.trial.key
        if key not in keys and (record := study.store.read(entry.trial)) is not None:
            keys.add(key)
            durations.add(entry.trial, record)
    return durations, keys


def _kinds(trial: Trial) -> list[tuple]:
    """Kinds that a trial's duration is known by: of its own objective, or of any that trains."""
    whole = not trial.samples
    encoder = trial.encoder, trial.width, trial.objective == "untrained"
    kind = trial.modality, trial.data, trial.pairs, whole, *encoder
    return [(*kind, trial.objective, trial.trainings), kind]
