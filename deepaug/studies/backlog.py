"""What a sweep runs next: the trials of an agenda that are settled, in its order."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from deepaug.studies.durations import Durations, Expected, cost
from deepaug.studies.records import Store
from deepaug.studies.study import Entry, Study
from deepaug.training.trial import Trial

MARGIN = 1.15  # a trial may take so many times what was expected, and still fits
EPOCHS = 2  # that have to fit for a trial to be begun, or gone on with, that is trained in pieces


@dataclass
class Item:
    """A stage of a study, or entries that are given."""

    study: Study | None
    stage: str
    store: Store
    entries: list[Entry] = field(default_factory=list)  # settled ones
    settled: bool = False  # whether these are all
    open: set[str] = field(default_factory=set)  # keys without a record
    reported: int | None = None  # how many trials it had when it was last reported

    @property
    def name(self) -> str:
        """What messages call the stage, as "vision screen"."""
        if self.study is None:
            return self.stage
        parts = [base.label for base in self.study.bases] if self.study.whole else []
        return " ".join(filter(None, (self.study.name, *parts, self.stage)))

    def look(self, wanted: Callable[[Entry], bool]) -> None:
        """Find out which of its entries are settled by now."""
        if self.study is not None:
            self.entries = [e for e in self.study.stage_entries(self.stage) if wanted(e)]
            self.settled = not self.study.waits_for(self.stage)

    def has_grown(self, done: set[str]) -> bool:
        """Whether there are more trials than it had when last asked; `done` are keys recorded."""
        keys = self.trials().keys()
        if self.reported is not None and len(keys) <= self.reported:
            return False
        self.open, self.reported = keys - done, len(keys)
        return True

    def expected(self, entry: Entry, durations: Durations) -> Expected:
        if self.study is None:
            return durations.of(entry.trial, entry.trial, cost(entry.trial))
        return durations.of_entry(self.study, entry)

    def waiting(self) -> list[Entry]:
        """Entries that wait for a choice, by one that is assumed; wanted or not."""
        if self.settled or self.study is None:
            return []
        return waiting(self.study, self.stage, self.entries)

    def trials(self) -> dict[str, Trial]:
        """Its settled trials by key."""
        return {entry.trial.key: entry.trial for entry in self.entries}


class Backlog:
    """The trials that are left to run, by key, in the order of the agenda.

    `take` takes a trial out. Then it is `recorded`; or somebody else is at it (`elsewhere`), to be
    looked at again (`again`); or it is given up for this sweep.

    Args:
        wanted: which of the items' entries are to run.
        report: called as `report(item, trials, missing)`, with how many trials an item has and how
            many of them are to run, when it is first looked up and when more of it is settled.
    """

    def __init__(
        self,
        items: list[Item],
        wanted: Callable[[Entry], bool] = lambda entry: True,
        report: Callable[[Item, int | None, int], None] = lambda item, trials, missing: None,
    ):
        self.items, self.wanted, self.report = items, wanted, report
        self.durations = Durations()
        self.found: dict[str, tuple[Entry, Item]] = {}
        self.pending: dict[str, Trial] = {}
        self.done: set[str] = set()
        self.out: set[str] = set()  # being run, or no longer in this sweep
        self.others: dict[str, Trial] = {}  # that somebody else is at
        self.lacking: set[tuple | str] = set()  # data, and trials, that cannot be prepared
        self.begun = False
        self.ended: list[Trial] = []  # by force, when time was up
        self.stale = False
        self.longest = 0.0  # time there ever was for a trial
        self.look()

    @property
    def waiting(self) -> bool:
        """Whether there are stages that a choice may yet settle."""
        return not all(item.settled for item in self.items)

    def look(self) -> None:
        """Look up again what is settled; cheap, since only stages that wait are listed anew."""
        self.stale = False
        for item in self.items:
            if not item.settled:
                item.look(self.wanted)
            for entry in item.entries:
                trial = entry.trial
                if trial.key not in self.found:
                    self.found[trial.key] = entry, item
                    if (record := item.store.read(trial)) is not None:
                        self.done.add(trial.key)
                        self.durations.add(trial, record)
            if item.has_grown(self.done):
                self.report(item, item.reported, len(item.open))
        self.pending = {
            key: trial
            for item in self.items
            for key, trial in item.trials().items()
            if not (key in self.done or key in self.out or key in self.others)
            if not _lacks(trial, self.lacking)
        }

    def expected(self, key: str) -> Expected:
        entry, item = self.found[key]
        return item.expected(entry, self.durations)

    def fitting(self, left: float = math.inf, spare: float = 0.0) -> Trial | None:
        """The first trial that may be begun with `left` seconds to go, if any.

        A trial fits that is expected to end `spare` seconds before. One that would not fit even
        now, when there has never been more time, is trained in pieces, as long as some epochs fit.
        One that was begun before is gone on with likewise.
        """
        if math.isinf(left):
            return next(iter(self.pending.values()), None)
        left -= spare
        self.longest = max(self.longest, left)
        candidates = (
            (trial, self.expected(key), self.found[key][1].store.checkpoint(key).exists())
            for key, trial in self.pending.items()
        )
        return _first_fitting(candidates, left, self.longest)

    def take(self, trial: Trial) -> None:
        self.begun = True
        del self.pending[trial.key]
        self.out.add(trial.key)

    def recorded(self, trial: Trial, record: dict[str, Any], here: bool) -> None:
        """Count a record, made `here` or by somebody else."""
        key = trial.key
        self.done.add(key)
        self.out.discard(key)
        self.durations.add(trial, record, here)
        for item in self.items:
            if key in item.open:
                item.open.remove(key)
                self.stale |= not item.open and self.waiting

    def elsewhere(self, trial: Trial) -> None:
        self.out.discard(trial.key)
        self.others[trial.key] = trial

    def again(self) -> None:
        """Try those once more that somebody else was at."""
        self.pending |= self.others
        self.others = {}

    def pass_over(self, trial: Trial, of_data: bool) -> tuple[int, list[str]]:
        """Leave out a trial, or all of its data: how many there are, and of which stages."""
        self.lacking.add(_data(trial) if of_data else trial.key)
        left_out = {key for key, other in self.pending.items() if _lacks(other, self.lacking)}
        for key in left_out:
            del self.pending[key]
        left_out.add(trial.key)
        return len(left_out), [item.name for item in self.items if item.open & left_out]

    def left(self) -> tuple[int, float]:
        """How many trials are left, those that wait for a choice among them, and their seconds.

        Without those that lack what they need.
        """
        seconds = {
            key: self.expected(key).seconds
            for key, (entry, _) in self.found.items()
            if key not in self.done and not _lacks(entry.trial, self.lacking)
        }
        for item in self.items:
            for entry in filter(self.wanted, item.waiting()):
                if (key := entry.trial.key) not in self.done:
                    seconds[key] = item.expected(entry, self.durations).seconds
        return len(seconds), sum(seconds.values())


def _first_fitting(
    candidates: Iterable[tuple[Trial, Expected, bool]], left: float, longest: float
) -> Trial | None:
    """The first trial that fits `left` seconds, where there were never more than `longest`.

    Args:
        candidates: trials, what is expected of each, and whether it was begun before.
    """
    last_resort = None
    for trial, expected, begun in candidates:
        need = MARGIN * expected.seconds
        piece = MARGIN * max(expected.rest, EPOCHS * expected.epoch)
        in_pieces = trial.epochs and (begun or need > longest)
        if need <= left or (in_pieces and piece <= left):
            return trial
        # Not even an epoch, or the evaluation, is expected to fit. With nothing else to do,
        # and all the time there is, it is tried: what is expected may be wrong.
        if last_resort is None and piece > longest and left > 0.9 * longest > 0:
            last_resort = trial
    return last_resort


def of_entries(entries: Iterable[Entry], store: Store) -> Backlog:
    """Of a list of entries, nothing of which waits."""
    return Backlog([Item(None, "", store, list(entries), settled=True)])


def waiting(study: Study, stage: str, settled: Iterable[Entry]) -> list[Entry]:
    """Entries beside the `settled` ones that a stage will have, by a choice that is assumed."""
    bases = {entry.base for entry in settled}
    return [entry for entry in study.planned(stage) if entry.base not in bases]


def _lacks(trial: Trial, lacking: set[tuple | str]) -> bool:
    return trial.key in lacking or _data(trial) in lacking


def _data(trial: Trial) -> tuple:
    """The data that a trial reads, and the encoder, which may be one to be fetched."""
    return trial.modality, trial.data, trial.pairs, trial.encoder
