"""Running the trials of a sweep, one after another or by worker processes."""

import math
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from tqdm import tqdm

from deepaug.studies import backlog
from deepaug.studies.backlog import Backlog
from deepaug.studies.records import Store, StoreError
from deepaug.studies.study import Entry
from deepaug.studies.workers import ThisProcess, WorkerProcesses
from deepaug.training.trial import Trial

POLL = 1.0  # seconds after which a trial that somebody else is at is looked at again


@dataclass(frozen=True)
class Limit:
    """When a sweep has to have ended, by `time.monotonic()`."""

    trials: float = math.inf  # trials are to have ended by themselves
    workers: float = math.inf  # workers are ended
    spare: float = 0.0  # seconds between what a trial is expected to take and what it may

    @classmethod
    def of(cls, started: float, minutes: float) -> "Limit":
        """So that the process that began at `started` has ended `minutes` later.

        Of short times more is left for ending: a busy machine takes seconds to end workers, and
        a process that has come to its end.
        """
        seconds = 60 * minutes
        workers = started + seconds - min(20.0, max(3.0, 0.05 * seconds))
        spare = min(5.0, 0.02 * seconds)
        return cls(workers - spare, workers, spare)


@dataclass(frozen=True)
class Resources:
    """What a sweep may use.

    Args:
        workers: processes that train side by side. On the CPU each uses its trial's `threads`; on
            GPUs worker i uses device i modulo their number.
        accelerator: as Lightning names them: "cpu", "cuda", "mps" or "auto".
        limit: when to have ended; what is left then stays in the backlog.
    """

    workers: int = 1
    accelerator: str = "auto"
    limit: Limit = Limit()

    @property
    def in_process(self) -> bool:
        """Whether trials are trained in this very process."""
        # Only a process can be ended from outside when time is up.
        return self.workers == 1 and math.isinf(self.limit.workers)


def run(
    entries: list[Entry], store: Store, workers: int = 1, accelerator: str = "auto"
) -> list[dict[str, Any]]:
    """Compute and store the record of every entry that has none.

    Args:
        workers, accelerator: as in `Resources`.

    Returns:
        The new records. Raises ValueError or OSError, in one line, for what no trial can do
        without: data, a place to write.
    """
    return run_backlog(backlog.of_entries(entries, store), store, Resources(workers, accelerator))


def run_backlog(
    work: Backlog,
    store: Store,
    resources: Resources,
    pass_over: Callable[[Trial, Exception], None] | None = None,
    begun: Callable[[str, str], None] = lambda kind, name: None,
) -> list[dict[str, Any]]:
    """Compute and store the records of a backlog, and of what these settle meanwhile.

    Args:
        pass_over: called with a trial that cannot be prepared, and why, to pass it over. Without it
            the sweep ends there.
        begun: called with the kind and the name of each worker process's device as it is ready.
            This process imports no torch for them, which may take it as long as it takes them.

    Returns:
        The new records; raises as `run`.
    """
    if not work.pending:
        return []
    store.check_writable()
    if not work.waiting:
        resources = replace(resources, workers=min(resources.workers, len(work.pending)))
    limit, accelerator = resources.limit, resources.accelerator
    try:
        with _bar() as bar:
            shares = _Shares(bar, {})
            if resources.in_process:
                crew = ThisProcess(store, accelerator, shares)
            else:
                crew = WorkerProcesses(
                    resources.workers, store, accelerator, limit.trials, shares, begun
                )
            driver = _Driver(work, crew, shares, pass_over)
            try:
                driver.drive(limit)
            finally:
                crew.end(work.found)
                if bar.drawn:
                    bar.clear()  # closing clears no bar that a line printed past it alone has drawn
    finally:
        store.forget_empty()
    return driver.new


def local_workers(trial: Trial) -> int:
    """How many such trials this machine trains side by side: its GPUs, or cores over `threads`."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.device_count()
    affinity = getattr(os, "sched_getaffinity", None)  # what this process may use; Linux alone
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // trial.threads)


class _Bar(tqdm):
    """A progress bar that knows whether it has ever been drawn."""

    drawn = False

    def display(self, *args, **kwargs) -> None:
        self.drawn = True
        super().display(*args, **kwargs)


def _bar() -> _Bar:
    return _Bar(
        total=0,
        file=sys.stderr,
        leave=False,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
        mininterval=0.5 if sys.stderr.isatty() else 30,
        delay=1,  # what is refused at once is refused in one line
    )


class _Shares:
    """Moves the bar by what each trial's share of done has grown.

    Args:
        costs: seconds that each trial is expected to take, by key.
    """

    def __init__(self, bar: tqdm, costs: dict[str, float]):
        self.bar, self.costs, self.seen = bar, costs, dict[str, float]()

    def look(self, work: Backlog) -> None:
        """The bar grows longer by what has been settled."""
        for key in work.pending.keys() - self.costs.keys():
            self.costs[key] = work.expected(key).seconds
            self.bar.total += self.costs[key]
        self.bar.set_description_str(f"{len(self.costs)} trials", refresh=False)

    def __call__(self, key: str, share: float) -> None:
        grown = max(0.0, share - self.seen.get(key, 0.0))
        self.seen[key] = self.seen.get(key, 0.0) + grown
        # Sums of shares may come out larger than the whole, by rounding.
        self.bar.update(min(grown * self.costs[key], max(0.0, self.bar.total - self.bar.n)))


@dataclass
class _Driver:
    """Hands a backlog's trials to those who train them, and takes in their records, `new`."""

    work: Backlog
    crew: ThisProcess | WorkerProcesses
    shares: _Shares
    pass_over: Callable[[Trial, Exception], None] | None
    running: dict[Future, Trial] = field(default_factory=dict)
    new: list[dict[str, Any]] = field(default_factory=list)

    def drive(self, limit: Limit) -> None:
        """Hand out trials until none is left, or none fits the time that is left."""
        work, crew = self.work, self.crew
        self.shares.look(work)
        since = time.monotonic()
        while (now := time.monotonic()) < limit.workers:
            while (trial := work.fitting(limit.trials - now, limit.spare)) and crew.ready:
                work.take(trial)
                self.running[crew.submit(trial, work.expected(trial.key).rest)] = trial
            if work.stale:  # only now: nobody is kept waiting for it
                self._look()
                continue
            if trial is None and not self.running:
                if work.others:
                    time.sleep(min(POLL, 0.1))
                elif work.waiting and self._look():
                    continue
                else:
                    break
            if trial:
                crew.begin(len(work.pending))
            crew.wait(self.running, min(0.5, limit.workers - now))
            self._collect()
            if work.others and time.monotonic() - since > POLL:
                work.again()
                since = time.monotonic()
        work.ended = list(self.running.values())

    def _look(self) -> bool:
        """Look up what is settled by now; whether it is more than before."""
        known = len(self.work.found)
        self.work.look()
        self.shares.look(self.work)
        return len(self.work.found) > known

    def _collect(self) -> None:
        """Take in what has come of the trials that have ended."""
        for future in [future for future in self.running if future.done()]:
            trial = self.running.pop(future)
            try:
                taken = future.result()
            except StoreError:
                raise
            except (ValueError, OSError, ModuleNotFoundError) as error:
                if self.pass_over is None:
                    raise
                self.pass_over(trial, error)
                continue
            if taken is None:
                self.work.elsewhere(trial)
            elif taken.record:
                self._done(trial, taken.record, taken.here)

    def _done(self, trial: Trial, record: dict[str, Any], here: bool) -> None:
        self.shares(trial.key, 1.0)
        self.work.recorded(trial, record, here)
        if here:
            self.new.append(record)
            self.shares.bar.set_postfix_str(f"{len(self.new)} recorded", refresh=False)
