"""What trains a sweep's trials: this very process, or worker processes."""

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepaug.studies import records
from deepaug.studies.records import Store
from deepaug.training import origin
from deepaug.training.trial import Trial

if TYPE_CHECKING:
    from deepaug.training.loop import Outcome

Tick = Callable[[str, float], None]  # told a trial's key, and the share of its epochs done
# `deepaug.training.loop.run` with where, and until when, to train: called with a trial and the
# file of its `checkpoint`.
Train = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Taken:
    """A trial's record, and whether it was computed here rather than by somebody else meanwhile.

    None where time ran out.
    """

    record: dict[str, Any] | None
    here: bool


def take(trial: Trial, store: Store, train: Train) -> Taken | None:
    """Compute a trial's record, unless it is there by now; None while somebody else is at it."""
    with store.claim(trial.key) as claimed:
        if not claimed:
            return None
        if (record := store.read(trial)) is not None:
            store.checkpoint(trial.key).unlink(missing_ok=True)  # a kill came between the two
            return Taken(record, here=False)
        return Taken(compute(trial, store, train), here=True)


def compute(trial: Trial, store: Store, train: Train) -> dict[str, Any]:
    """Train one trial and write its record."""
    start = time.monotonic()
    # As it is when training begins: who edits meanwhile does not change what made the record.
    code = {"source_digest": origin.source_digest(), "revision": origin.revision()}
    checkpoint = store.checkpoint(trial.key)
    outcome = train(trial, checkpoint=checkpoint)
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
            **({"similarity": outcome.similarity} if outcome.similarity else {}),
        }
    )
    store.write(record)
    checkpoint.unlink(missing_ok=True)
    return record


class ThisProcess:
    """Trains what is submitted at once, in this process."""

    def __init__(self, store: Store, accelerator: str, tick: Tick):
        self.store, self.accelerator, self.tick = store, accelerator, tick
        self.ready = 1

    def begin(self, trials: int) -> None:
        pass

    def submit(self, trial: Trial, rest: float) -> Future:
        from deepaug.training import loop

        self.ready, future = 0, Future()
        tick = partial(self.tick, trial.key)
        train = partial(loop.run, accelerator=self.accelerator, tick=tick)
        try:
            future.set_result(take(trial, self.store, train))
        except Exception as error:
            future.set_exception(error)
        return future

    def wait(self, running: Iterable[Future], seconds: float) -> None:
        self.ready = 1

    def end(self, keys: Iterable[str]) -> None:
        pass


class WorkerProcesses:
    """Worker processes, begun as there is work for them.

    Args:
        count: of the processes.
        deadline: when trials are to have ended, by `time.monotonic()`.
        begun: called with the kind and the name of each process's device as it is ready.
    """

    def __init__(
        self,
        count: int,
        store: Store,
        accelerator: str,
        deadline: float,
        tick: Tick,
        begun: Callable[[str, str], None],
    ):
        context = multiprocessing.get_context("spawn")
        numbers, self.ticks = context.Queue(), context.Queue()
        for number in range(count):
            numbers.put(number)
        self.pool = ProcessPoolExecutor(
            count, context, initializer=_start_worker, initargs=(numbers, self.ticks, accelerator)
        )
        self.store, self.deadline, self.tick, self.begun = store, deadline, tick, begun
        self.absent, self.ready = count, 0
        self.beginning: set[Future] = set()

    def begin(self, trials: int) -> None:
        """Begin workers for so many trials; a trial is chosen for one once it is ready."""
        while self.absent and len(self.beginning) < trials:
            self.absent -= 1
            self.beginning.add(self.pool.submit(_begin))

    def submit(self, trial: Trial, rest: float) -> Future:
        """Train a trial whose evaluation is expected to take `rest` seconds."""
        self.ready -= 1
        folder = self.store.folder
        return self.pool.submit(_work, trial, folder.parent, folder.name, self.deadline, rest)

    def wait(self, running: Iterable[Future], seconds: float) -> None:
        """Until a worker has something to say, or seconds have passed."""
        finished, _ = wait([*running, *self.beginning], seconds, FIRST_COMPLETED)
        self.ready += len(finished)
        for future in self.beginning & finished:
            self.begun(*future.result())
        self.beginning -= finished
        while True:
            try:
                self.tick(*self.ticks.get_nowait())
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


# Within a worker process

_worker: dict[str, Any] = {}


def _start_worker(numbers, ticks, accelerator: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker.update(number=numbers.get(), ticks=ticks, accelerator=accelerator)


def _end_with_parent() -> None:
    """A sweep that is killed leaves no worker behind to train on unseen."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _begin() -> tuple[str, str]:
    """Load what training needs, and reach the device; its kind and its name."""
    import torch

    from deepaug.training import devices, steps

    device = steps.fabric_on(_worker["accelerator"], _device()).device
    torch.zeros(1, device=device)
    return device.type, devices.name(device)


def _device() -> int | None:
    import torch

    return _worker["number"] % torch.cuda.device_count() if torch.cuda.is_available() else None


def _work(
    trial: Trial, root: Path, profile: str, deadline: float, evaluation: float
) -> Taken | None:
    from deepaug.training import loop

    train = partial(
        loop.run,
        accelerator=_worker["accelerator"],
        device=_device(),
        tick=lambda share: _worker["ticks"].put((trial.key, share)),
        deadline=deadline,
        evaluation=evaluation,
    )
    try:
        return take(trial, Store(root, profile), train)
    except loop.OutOfTime:
        return Taken(None, here=True)
