"""What trains a sweep's trials: this very process, or worker processes."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
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
    fields, result = trial.to_dict(), ("status", "metrics", "curve", "device", "data_digest")
    record = records.with_checksum(
        {
            "key": trial.key,
            "trial": fields,
            **{name: getattr(outcome, name) for name in result},
            "seconds": round(seconds, 2),
            "training_seconds": round(outcome.training_seconds, 2),
            "samples_per_second": round(outcome.samples_per_second, 1),
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "versions": origin.versions(trial.modality) | {"protocol": str(fields["protocol"])},
            **code,
            **({"accelerator": outcome.accelerator} if outcome.accelerator != "cpu" else {}),
            **({"emulated": True} if outcome.emulated else {}),
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

        future: Future = Future()
        self.ready = 0
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


@dataclass
class WorkerProcesses:
    """Worker processes, begun as there is work for them, each at the other end of a pipe.

    Pools, queues and locks of `multiprocessing` need a /dev/shm that can be written; pipes do not.
    """

    count: int
    store: Store
    accelerator: str
    deadline: float  # when trials are to have ended, by `time.monotonic()`
    tick: Tick
    begun: Callable[[str, str], None]  # told kind and name of each ready device
    processes: dict[Connection, BaseProcess] = field(default_factory=dict)
    idle: list[Connection] = field(default_factory=list)
    training: dict[Connection, Future] = field(default_factory=dict)

    @property
    def ready(self) -> int:
        """How many workers wait for a trial."""
        return len(self.idle)

    def begin(self, trials: int) -> None:
        """Begin workers for so many trials; a trial is chosen for one once it is ready."""
        context = multiprocessing.get_context("spawn")
        begun = len(self.idle) + len(self.training)
        for number in range(len(self.processes), min(self.count, begun + trials)):
            try:
                pipe, its_end = context.Pipe()
                process = context.Process(target=_work, args=(its_end, number, self.accelerator))
                process.start()
            except OSError as error:  # limits on open files, processes or memory
                raise OSError(
                    f"worker {number + 1} cannot begin: {error.strerror}; give fewer --workers"
                ) from None
            its_end.close()  # or its death would not be heard
            self.processes[pipe] = process

    def submit(self, trial: Trial, rest: float) -> Future:
        """Train a trial whose evaluation is expected to take `rest` seconds."""
        pipe, folder = self.idle.pop(), self.store.folder
        try:
            pipe.send((trial, folder.parent, folder.name, self.deadline, rest))
        except OSError:
            raise self._lost(pipe) from None
        self.training[pipe] = Future()
        return self.training[pipe]

    def wait(self, running: Iterable[Future], seconds: float) -> None:
        """Until a worker has something to say, or seconds have passed.

        Raises OSError for one that has died.
        """
        heard: list[Any] = connection.wait(list(self.processes), seconds)
        for pipe in heard:
            try:
                what, said = pipe.recv()
            except (EOFError, OSError):
                raise self._lost(pipe) from None
            self._heed(pipe, what, said)

    def _heed(self, pipe: Connection, what: str, said: Any) -> None:
        """Act on one message of a worker's."""
        if what == "tick":
            self.tick(*said)
            return
        future = self.training.pop(pipe, None)
        if what == "failed" and future is None:
            raise said
        self.idle.append(pipe)
        if future is None:
            self.begun(*said)
        elif what == "failed":
            future.set_exception(said)
        else:
            future.set_result(said)

    def _lost(self, pipe: Connection) -> OSError:
        process = self.processes[pipe]
        process.join(10)
        how = f"ended with exit code {process.exitcode}, see above"
        if (code := process.exitcode or 0) < 0:
            name = signal.Signals(-code).name
            how = f"was ended from outside by {name}, for want of memory perhaps"
        return OSError(f"a worker {how}; what is recorded stays, go on with fewer --workers")

    def end(self, keys: Iterable[str]) -> None:
        """End the workers; what is in flight is given up, or resumes from its checkpoint."""
        for process in self.processes.values():
            process.terminate()
        for pipe, process in self.processes.items():
            process.join()
            pipe.close()
        self.store.tidy(keys)


def _work(pipe: Connection, number: int, accelerator: str) -> None:
    """A worker process: says that it has begun, then trains what it is told to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    what, task = "begun", partial(_begin, number, accelerator)
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent has died
        while True:
            try:
                said = what, task()
            except Exception as error:
                error.add_note(traceback.format_exc())  # pickled with it, unlike its traceback
                said = "failed", error
            pipe.send(said)
            what, task = "done", partial(_train, pipe, number, accelerator, *pipe.recv())


def _end_with_parent() -> None:
    """A sweep that is killed leaves no worker behind to train on unseen."""
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)


def _begin(number: int, accelerator: str) -> tuple[str, str]:
    """Load what training needs, and reach the device; its kind and its name."""
    import torch

    from deepaug.training import devices, steps

    device = steps.fabric_on(accelerator, _device(number)).device
    torch.zeros(1, device=device)
    return device.type, devices.name(device)


def _device(number: int) -> int | None:
    import torch

    return number % torch.cuda.device_count() if torch.cuda.is_available() else None


def _train(
    pipe: Connection,
    number: int,
    accelerator: str,
    trial: Trial,
    root: Path,
    profile: str,
    deadline: float,
    evaluation: float,
) -> Taken | None:
    from deepaug.training import loop

    train = partial(
        loop.run,
        accelerator=accelerator,
        device=_device(number),
        tick=lambda share: pipe.send(("tick", (trial.key, share))),
        deadline=deadline,
        evaluation=evaluation,
    )
    try:
        return take(trial, Store(root, profile), train)
    except loop.OutOfTime:
        return Taken(None, here=True)
