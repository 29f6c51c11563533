"""Running the trials of a sweep, one after another or by worker processes."""

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

from deepaug import records
from deepaug.records import Store
from deepaug.studies import Entry
from deepaug.trial import Trial

POLL = 1.0  # seconds after which a trial that somebody else is at is looked at again


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
    todo = list({e.trial.key: e.trial for e in entries if store.read(e.trial) is None}.values())
    if not todo:
        return []
    store.check_writable()
    try:
        return _run(todo, store, min(workers, len(todo)), accelerator)
    finally:
        store.forget_empty()


def _run(todo: list[Trial], store: Store, workers: int, accelerator: str) -> list[dict[str, Any]]:
    costs = {trial.key: cost(trial) for trial in todo}
    new = []
    with tqdm(
        total=sum(costs.values()),
        desc=f"{len(todo)} trials",
        file=sys.stderr,
        leave=False,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
        mininterval=0.5 if sys.stderr.isatty() else 30,
        delay=1,  # what is refused at once is refused in one line
    ) as bar:
        shares = _Shares(bar, costs)

        def done(taken: Taken) -> None:
            shares(taken.record["key"], 1.0)
            if taken.here:
                new.append(taken.record)
                bar.set_postfix_str(f"{len(new)} recorded", refresh=False)

        if workers == 1:
            _run_here(todo, store, accelerator, shares, done)
        else:
            _run_in_processes(todo, store, workers, accelerator, shares, done)
    return new


@dataclass(frozen=True)
class Taken:
    """A trial's record, and whether it was computed here rather than by somebody else meanwhile."""

    record: dict[str, Any]
    here: bool


def take(
    trial: Trial,
    store: Store,
    accelerator: str = "auto",
    device: int | None = None,
    tick: Callable[[float], None] = lambda share: None,
) -> Taken | None:
    """Compute a trial's record, unless it is there by now; None while somebody else is at it."""
    with store.claim(trial.key) as claimed:
        if not claimed:
            return None
        if (record := store.read(trial)) is not None:
            store.checkpoint(trial.key).unlink(missing_ok=True)  # a kill came between the two
            return Taken(record, here=False)
        return Taken(compute(trial, store, accelerator, device, tick), here=True)


def _run_here(
    todo: list[Trial],
    store: Store,
    accelerator: str,
    shares: "_Shares",
    done: Callable[[Taken], None],
) -> None:
    while todo:
        elsewhere = []
        for trial in todo:
            taken = take(trial, store, accelerator, tick=partial(shares, trial.key))
            if taken is None:
                elsewhere.append(trial)
            else:
                done(taken)
        if len(elsewhere) == len(todo):
            time.sleep(POLL)
        todo = elsewhere


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


def cost(trial: Trial) -> float:
    """Relative duration of a trial within its study."""
    return 1 + trial.epochs * (trial.samples or 50_000) / 1000


def compute(
    trial: Trial,
    store: Store,
    accelerator: str = "auto",
    device: int | None = None,
    tick: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """Train one trial and write its record."""
    from deepaug import training

    start = time.monotonic()
    # As it is when training begins: who edits meanwhile does not change what made the record.
    code = {"source_digest": records.source_digest(), "revision": records.revision()}
    outcome = training.run(trial, accelerator, device, store.checkpoint(trial.key), tick)
    fields = trial.to_dict()
    record = records.sealed(
        {
            "key": trial.key,
            "trial": fields,
            "status": outcome.status,
            "metrics": outcome.metrics,
            "curve": outcome.curve,
            "seconds": round(time.monotonic() - start, 2),
            "training_seconds": round(outcome.training_seconds, 2),
            "samples_per_second": round(outcome.samples_per_second, 1),
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "device": outcome.device,
            "versions": records.versions(trial.modality) | {"protocol": str(fields["protocol"])},
            "data_digest": outcome.data_digest,
            **code,
        }
    )
    store.write(record)
    store.checkpoint(trial.key).unlink(missing_ok=True)
    return record


_worker: dict[str, Any] = {}


def _start_worker(numbers, ticks, accelerator: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker.update(number=numbers.get(), ticks=ticks, accelerator=accelerator)


def _end_with_parent() -> None:
    """A sweep that is killed leaves no worker behind to train on unseen."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(trial: Trial, root: Path, profile: str) -> Taken | None:
    import torch

    device = _worker["number"] % torch.cuda.device_count() if torch.cuda.is_available() else None
    return take(
        trial,
        Store(root, profile),
        _worker["accelerator"],
        device,
        tick=lambda share: _worker["ticks"].put((trial.key, share)),
    )


def _run_in_processes(
    todo: list[Trial],
    store: Store,
    workers: int,
    accelerator: str,
    shares: _Shares,
    done: Callable[[Taken], None],
) -> None:
    context = multiprocessing.get_context("spawn")
    numbers, ticks = context.Queue(), context.Queue()
    for number in range(workers):
        numbers.put(number)
    pool = ProcessPoolExecutor(
        workers, context, initializer=_start_worker, initargs=(numbers, ticks, accelerator)
    )
    try:
        root, profile = store.folder.parent, store.folder.name

        def submit(trials: Iterable[Trial]) -> dict[Future, Trial]:
            return {pool.submit(_work, trial, root, profile): trial for trial in trials}

        running, elsewhere, since = submit(todo), [], time.monotonic()
        while running or elsewhere:
            finished, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            while True:
                try:
                    shares(*ticks.get_nowait())
                except queue.Empty:
                    break
            for future in finished:
                trial = running.pop(future)
                if (taken := future.result()) is None:
                    elsewhere.append(trial)
                else:
                    done(taken)
            if elsewhere and time.monotonic() - since > POLL:
                running |= submit(elsewhere)
                elsewhere, since = [], time.monotonic()
            if not running:
                time.sleep(0.1)
    except BaseException as error:
        # What is recorded stays; what is in flight is given up, or resumes from its checkpoint.
        processes = list(pool._processes.values())
        for process in processes:
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.join()
        store.tidy(trial.key for trial in todo)
        if isinstance(error, BrokenProcessPool):
            raise OSError(
                "a worker was ended from outside, for want of memory perhaps; what is recorded "
                "stays, go on with fewer --workers"
            ) from None
        raise
    pool.shutdown()
