"""Running the trials of a sweep, one after another or by worker processes."""

import math
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deepaug.studies import backlog, records
from deepaug.studies.backlog import Backlog
from deepaug.studies.records import Store, StoreError
from deepaug.studies.study import Entry
from deepaug.training import origin
from deepaug.training.trial import Trial
from deepaug.validation import one_line

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


def run(
    entries: list[Entry], store: Store, workers: int = 1, accelerator: str = "auto"
) -> list[dict[str, Any]]:
    """Compute and store the record of every entry that has none.

    Args:
        workers: processes that train side by side. On the CPU each uses its trial's `threads`; on
            GPUs worker i uses device i modulo their number.
        accelerator: as Lightning names them: "cpu", "cuda", "mps" or "auto".

    Returns:
        The new records. Raises ValueError or OSError, in one line, for what no trial can do
        without: data, a place to write.
    """
    return run_backlog(backlog.of_entries(entries, store), store, workers, accelerator)


def run_backlog(
    work: Backlog,
    store: Store,
    workers: int = 1,
    accelerator: str = "auto",
    limit: Limit = Limit(),
    lacking: Callable[[Trial, str], None] | None = None,
    begun: Callable[[str], None] = lambda device: None,
) -> list[dict[str, Any]]:
    """Compute and store the records of a backlog, and of what these settle meanwhile.

    Args:
        limit: when to have ended; what is left then stays in the backlog.
        lacking: called with a trial whose data cannot be prepared, and why; it is passed over,
            with all that lack the same. Without it the sweep ends there.
        begun: called with each worker process's device, by name, as it is ready. This process
            imports no torch for them, which may take it as long as it takes them.

    Returns:
        The new records; raises as `run`.
    """
    if not work.pending:
        return []
    store.check_writable()
    try:
        return _run(work, store, workers, accelerator, limit, lacking, begun)
    finally:
        store.forget_empty()


def _run(
    work: Backlog,
    store: Store,
    workers: int,
    accelerator: str,
    limit: Limit,
    lacking: Callable[[Trial, str], None] | None,
    begun: Callable[[str], None],
) -> list[dict[str, Any]]:
    new = []
    with tqdm(
        total=0,
        file=sys.stderr,
        leave=False,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
        mininterval=0.5 if sys.stderr.isatty() else 30,
        delay=1,  # what is refused at once is refused in one line
    ) as bar:
        shares = _Shares(bar, {})

        def looked() -> None:
            """The bar grows by what has been settled."""
            for key in work.pending.keys() - shares.costs.keys():
                shares.costs[key] = work.expected(key).seconds
                bar.total += shares.costs[key]
            bar.set_description_str(f"{len(shares.costs)} trials", refresh=False)

        def done(trial: Trial, taken: Taken) -> None:
            shares(trial.key, 1.0)
            work.recorded(trial, taken.record, taken.here)
            if taken.here:
                new.append(taken.record)
                bar.set_postfix_str(f"{len(new)} recorded", refresh=False)

        looked()
        if not work.waiting:
            workers = min(workers, len(work.pending))
        # Only a process can be ended from outside when time is up.
        if in_process(workers, limit):
            crew = _Here(store, accelerator, shares)
        else:
            crew = _Processes(workers, store, accelerator, limit, shares, begun)
        try:
            _drive(work, crew, limit, looked, done, lacking)
        except BrokenProcessPool:
            raise OSError(
                "a worker was ended from outside, for want of memory perhaps; what is recorded "
                "stays, go on with fewer --workers"
            ) from None
        finally:
            crew.end(work.found)
            if bar.format_dict["elapsed"] > bar.delay:
                bar.clear()  # closing clears no bar that was drawn anew past a printed line alone
    return new


def in_process(workers: int, limit: Limit) -> bool:
    """Whether trials are trained in this very process."""
    return workers == 1 and math.isinf(limit.workers)


def _drive(
    work: Backlog,
    crew: "_Here | _Processes",
    limit: Limit,
    looked: Callable[[], None],
    done: Callable[[Trial, "Taken"], None],
    lacking: Callable[[Trial, str], None] | None,
) -> None:
    """Hand out trials until none is left, or none fits the time that is left."""
    running: dict[Future, Trial] = {}
    since = time.monotonic()
    while (now := time.monotonic()) < limit.workers:
        while (trial := work.fitting(limit.trials - now, limit.spare)) and crew.ready:
            work.take(trial)
            running[crew.submit(trial, work.expected(trial.key).rest)] = trial
        if work.stale:  # only now: nobody is kept waiting for it
            work.look()
            looked()
            continue
        if trial is None and not running:
            if work.others:
                time.sleep(min(POLL, 0.1))
            elif work.waiting:
                known = len(work.found)
                work.look()
                looked()
                if len(work.found) == known:
                    break
                continue
            else:
                break
        if trial:
            crew.begin(len(work.pending))
        crew.wait(running, min(0.5, limit.workers - now))
        for future in [future for future in running if future.done()]:
            trial = running.pop(future)
            try:
                taken = future.result()
            except StoreError:
                raise
            except (ValueError, OSError, ModuleNotFoundError) as error:
                if lacking is None:
                    raise
                lacking(trial, one_line(error))
                continue
            if taken is None:
                work.elsewhere(trial)
            elif taken.record:
                done(trial, taken)
        if work.others and time.monotonic() - since > POLL:
            work.again()
            since = time.monotonic()
    work.ended = list(running.values())


@dataclass(frozen=True)
class Taken:
    """A trial's record, and whether it was computed here rather than by somebody else meanwhile.

    None where time ran out.
    """

    record: dict[str, Any] | None
    here: bool


def take(
    trial: Trial,
    store: Store,
    accelerator: str = "auto",
    device: int | None = None,
    tick: Callable[[float], None] = lambda share: None,
    deadline: float = math.inf,
    evaluation: float = 0.0,
) -> Taken | None:
    """Compute a trial's record, unless it is there by now; None while somebody else is at it.

    Arguments as in `deepaug.training.loop.run`, which raises OutOfTime.
    """
    with store.claim(trial.key) as claimed:
        if not claimed:
            return None
        if (record := store.read(trial)) is not None:
            store.checkpoint(trial.key).unlink(missing_ok=True)  # a kill came between the two
            return Taken(record, here=False)
        made = compute(trial, store, accelerator, device, tick, deadline, evaluation)
        return Taken(made, here=True)


def local_workers(trial: Trial) -> int:
    """How many such trials this machine trains side by side: its GPUs, or cores over `threads`."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.device_count()
    affinity = getattr(os, "sched_getaffinity", None)  # what this process may use; Linux alone
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // trial.threads)


class _Shares:
    """Moves the bar by what each trial's share of done has grown."""

    def __init__(self, bar: tqdm, costs: dict[str, float]):
        self.bar, self.costs, self.seen = bar, costs, {}

    def __call__(self, key: str, share: float) -> None:
        grown = max(0.0, share - self.seen.get(key, 0.0))
        self.seen[key] = self.seen.get(key, 0.0) + grown
        self.bar.update(grown * self.costs[key])


def compute(
    trial: Trial,
    store: Store,
    accelerator: str = "auto",
    device: int | None = None,
    tick: Callable[[float], None] = lambda share: None,
    deadline: float = math.inf,
    evaluation: float = 0.0,
) -> dict[str, Any]:
    """Train one trial and write its record."""
    from deepaug.training import loop

    start = time.monotonic()
    # As it is when training begins: who edits meanwhile does not change what made the record.
    code = {"source_digest": origin.source_digest(), "revision": origin.revision()}
    checkpoint = store.checkpoint(trial.key)
    outcome = loop.run(trial, accelerator, device, checkpoint, tick, deadline, evaluation)
    seconds = outcome.resumed_seconds + time.monotonic() - start
    fields = trial.to_dict()
    record = records.with_checksum(
        {
            "key": trial.key,
            "trial": fields,
            "status": outcome.status,
            "metrics": outcome.metrics,
            "curve": outcome.curve,
            "seconds": round(seconds, 2),
            "training_seconds": round(outcome.training_seconds, 2),
            "samples_per_second": round(outcome.samples_per_second, 1),
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "device": outcome.device,
            "versions": origin.versions(trial.modality) | {"protocol": str(fields["protocol"])},
            "data_digest": outcome.data_digest,
            **code,
        }
    )
    store.write(record)
    checkpoint.unlink(missing_ok=True)
    return record


class _Here:
    """Trains what is submitted at once, in this process."""

    def __init__(self, store: Store, accelerator: str, shares: _Shares):
        self.store, self.accelerator, self.shares = store, accelerator, shares
        self.ready = 1

    def begin(self, trials: int) -> None:
        pass

    def submit(self, trial: Trial, rest: float) -> Future:
        self.ready, future = 0, Future()
        tick = partial(self.shares, trial.key)
        try:
            future.set_result(take(trial, self.store, self.accelerator, tick=tick))
        except Exception as error:
            future.set_exception(error)
        return future

    def wait(self, running: dict[Future, Trial], seconds: float) -> None:
        self.ready = 1

    def end(self, keys: Iterable[str]) -> None:
        pass


class _Processes:
    """Worker processes, begun as there is work for them."""

    def __init__(
        self,
        workers: int,
        store: Store,
        accelerator: str,
        limit: Limit,
        shares: _Shares,
        begun: Callable[[str], None],
    ):
        context = multiprocessing.get_context("spawn")
        numbers, self.ticks = context.Queue(), context.Queue()
        for number in range(workers):
            numbers.put(number)
        self.pool = ProcessPoolExecutor(
            workers, context, initializer=_start_worker, initargs=(numbers, self.ticks, accelerator)
        )
        self.store, self.limit, self.shares, self.begun = store, limit, shares, begun
        self.absent, self.ready = workers, 0
        self.beginning: set[Future] = set()

    def begin(self, trials: int) -> None:
        """Begin workers for so many trials; a trial is chosen for one once it is ready."""
        while self.absent and len(self.beginning) < trials:
            self.absent -= 1
            self.beginning.add(self.pool.submit(_begin))

    def submit(self, trial: Trial, rest: float) -> Future:
        self.ready -= 1
        folder = self.store.folder
        return self.pool.submit(_work, trial, folder.parent, folder.name, self.limit.trials, rest)

    def wait(self, running: dict[Future, Trial], seconds: float) -> None:
        """Until a worker has something to tell, or seconds have passed."""
        finished, _ = wait([*running, *self.beginning], seconds, FIRST_COMPLETED)
        self.ready += len(finished)
        for future in self.beginning & finished:
            self.begun(future.result())
        self.beginning -= finished
        while True:
            try:
                self.shares(*self.ticks.get_nowait())
            except queue.Empty:
                break

    def end(self, keys: Iterable[str]) -> None:
        """End the workers; what is in flight is given up, or resumes from its checkpoint."""
        processes = list(self.pool._processes.values())
        for process in processes:
            process.terminate()
        self.pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.join()
        self.store.tidy(keys)


_worker: dict[str, Any] = {}


def _start_worker(numbers, ticks, accelerator: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker.update(number=numbers.get(), ticks=ticks, accelerator=accelerator)


def _end_with_parent() -> None:
    """A sweep that is killed leaves no worker behind to train on unseen."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _begin() -> str:
    """Load what training needs, and reach the device; its name."""
    import torch

    from deepaug.training import devices, loop

    device = loop.fabric_on(_worker["accelerator"], _device()).device
    torch.zeros(1, device=device)
    return devices.name(device)


def _device() -> int | None:
    import torch

    return _worker["number"] % torch.cuda.device_count() if torch.cuda.is_available() else None


def _work(
    trial: Trial, root: Path, profile: str, deadline: float, evaluation: float
) -> Taken | None:
    from deepaug.training import loop

    def tick(share: float) -> None:
        _worker["ticks"].put((trial.key, share))

    store = Store(root, profile)
    try:
        return take(trial, store, _worker["accelerator"], _device(), tick, deadline, evaluation)
    except loop.OutOfTime:
        return Taken(None, here=True)
