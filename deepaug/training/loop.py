"""Training: one trial in, one outcome out, whatever the modality."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from deepaug.training import batchnorm, devices, split
from deepaug.training import checkpoint as checkpoints
from deepaug.training.checkpoint import Progress
from deepaug.training.steps import NotFinite, Training, prepare
from deepaug.training.trial import Trial

CURVE_POINTS = 50
CHECKPOINT_SECONDS = 60
SLOWER = 1.2  # an epoch may take so many times the longest before it, and still fits
WHOLE = "whole"  # the training of a trial, before any of copies of its network


class OutOfTime(Exception):
    """A deadline came before a trial's end; its checkpoint keeps how far it got."""


@dataclass
class Outcome:
    """What a trial came to; times in seconds."""

    status: str  # "ok" or "diverged"
    metrics: dict[str, dict[str, float]]
    curve: list[dict[str, float]]
    data_digest: str
    device: str
    accelerator: str = "cpu"  # the kind of device
    emulated: bool = False  # in bfloat16 on a processor without it; see `bfloat16.Emulated`
    training_seconds: float = 0.0
    samples_per_second: float = 0.0
    resumed_seconds: float = 0.0  # of the training, those of earlier calls
    encoder: nn.Module | None = None  # as trained, to be looked at or trained further
    similarity: dict[str, list] | None = None  # of its layers, where it is cut; see `split`


@dataclass
class Job:
    """The trainings of a trial: of its network and, where that is cut, of two copies of it."""

    whole: Training
    checkpoint: Path | None  # as in `run`, like the next three
    tick: Callable[[float], None]
    deadline: float
    evaluation: float
    longest: float = 0.0  # that an epoch of this call took, with what comes before the next

    def __post_init__(self) -> None:
        trial, device = self.whole.trial, self.whole.fabric.device
        kept = self.checkpoint and checkpoints.load(self.checkpoint, trial.key, device)
        self.begun = kept or {}
        self.names = (WHOLE, *split.COPIES) if trial.cut != "none" else (WHOLE,)
        self.ended: dict[str, tuple[dict, Progress]] = {}  # training -> metrics, how it went
        for name, (metrics, progress) in self.begun.pop("ended", {}).items():
            self.ended[name] = metrics, Progress(**progress)
        if trained := self.begun.pop(WHOLE, None):
            self.whole.load_state_dict(trained)

    @property
    def progress(self) -> list[Progress]:
        """Of each training that has ended or, in an earlier call, begun."""
        begun = [Progress(**self.begun["progress"])] if self.begun else []
        return [progress for _, progress in self.ended.values()] + begun

    def train(self, name: str) -> None:
        """Train and evaluate one, from its beginning or from where an earlier call left it."""
        training = self.whole if name == WHOLE else split.copy(self.whole, name)
        metrics = {}
        if self.begun:
            training.load_state_dict(self.begun)
            self.begun = {}
        if name != WHOLE:
            self.save(training)  # and with it what the network itself has come to
        try:
            self._fit(training)
            if training.trial.statistics == "plain":
                batchnorm.reestimate(training)
            metrics = training.task.evaluate(training.embed, final=True)
        except NotFinite:
            pass
        self.ended[name] = metrics, training.progress

    def _fit(self, training: Training) -> None:
        """Train to the last epoch.

        Raises NotFinite where the loss stops being so; and OutOfTime, with a checkpoint, before an
        epoch or an evaluation that would not end by the deadline.
        """
        progress, epochs = training.progress, training.trial.epochs
        points, evaluated = _points(epochs)
        saved = time.monotonic()
        while progress.epoch < epochs:
            start = time.monotonic()
            if start + SLOWER * self.longest > self.deadline:
                if self.longest:
                    self.save(training)
                raise OutOfTime
            loss = training.epoch(progress.epoch)
            progress.seconds += time.monotonic() - start
            progress.epoch += 1
            if not math.isfinite(loss):
                raise NotFinite
            if progress.epoch in points:
                progress.curve.append(training.point(loss, progress.epoch in evaluated))
            self.tick((len(self.ended) + progress.epoch / epochs) / len(self.names))
            if progress.epoch < epochs and time.monotonic() - saved > CHECKPOINT_SECONDS:
                self.save(training)
                saved = time.monotonic()
            self.longest = max(self.longest, time.monotonic() - start)
        # Where nothing was trained there is nothing to keep: evaluation has all the time there is.
        if self.longest and (left := self.deadline - time.monotonic()) < 2 * self.evaluation:
            self.save(training)  # it may take longer than expected
            if left < self.evaluation:
                raise OutOfTime

    def save(self, training: Training) -> None:
        """Keep all that has ended, and the training under way, in the checkpoint."""
        if self.checkpoint is None:
            return
        ended = {name: (metrics, vars(how)) for name, (metrics, how) in self.ended.items()}
        trained = {WHOLE: self.whole.state_dict()} if ended else {}
        state = training.state_dict() | {"ended": ended} | trained
        checkpoints.save(self.checkpoint, training.trial.key, state)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Those of the network, and in their names those of its copies, which may lack any."""
        found = {part: dict(values) for part, values in self.ended[WHOLE][0].items()}
        for name, (metrics, _) in self._copies():
            for part, values in metrics.items():
                found[part] |= {f"{metric}_{name}": value for metric, value in values.items()}
        return found

    def curve(self) -> list[dict[str, float]]:
        """The network's, with the losses of its copies at the same epochs."""
        points = [dict(point) for point in self.ended[WHOLE][1].curve]
        for name, (_, progress) in self._copies():
            for point, copied in zip(points, progress.curve, strict=False):  # one may diverge
                point[f"loss_{name}"] = copied["loss"]
        return points

    def _copies(self) -> list[tuple[str, tuple[dict, Progress]]]:
        return [(name, ended) for name, ended in self.ended.items() if name != WHOLE]


def run(
    trial: Trial,
    accelerator: str = "auto",
    device: int | None = None,
    checkpoint: Path | None = None,
    tick: Callable[[float], None] = lambda share: None,
    deadline: float = math.inf,
    evaluation: float = 0.0,
) -> Outcome:
    """Train and evaluate a trial.

    Args:
        accelerator: as Lightning names them: "cpu", "cuda", "mps" or "auto".
        device: index of the accelerator; by default the first.
        checkpoint: a file to keep the state of a long training in, and resumed from if it is there,
            which on the CPU gives bit for bit what an undisturbed run gives. The caller removes it.
        tick: called with the share of the epochs done, as training goes on.
        deadline: when to have ended, by `time.monotonic()`. An epoch that would not fit is not
            begun; what is trained goes into the checkpoint, and OutOfTime is raised.
        evaluation: seconds that evaluating at the end may take; where they would not fit, the
            trained network waits in the checkpoint.
    """
    job = Job(prepare(trial, accelerator, device), checkpoint, tick, deadline, evaluation)
    whole, resumed_seconds = job.whole, sum(progress.seconds for progress in job.progress)
    for name in job.names:
        if name not in job.ended:
            job.train(name)
        if not job.ended[WHOLE][0]:
            break  # there is nothing to copy
    metrics, seconds = job.metrics(), sum(progress.seconds for progress in job.progress)
    similarity = split.similarity(whole) if metrics and trial.cut != "none" else None
    if whole.handle is not None:
        whole.handle.remove()
    return Outcome(
        status="ok" if metrics else "diverged",
        metrics=metrics,
        curve=job.curve(),
        data_digest=whole.task.digest,
        device=devices.name(whole.fabric.device),
        accelerator=whole.fabric.device.type,
        emulated=devices.emulates(trial.precision, whole.fabric.device.type),
        training_seconds=seconds,
        samples_per_second=sum(p.epoch for p in job.progress) * whole.samples / (seconds or 1.0),
        resumed_seconds=resumed_seconds,
        encoder=whole.encoder.eval(),
        similarity=similarity,
    )


def _points(epochs: int) -> tuple[set[int], set[int]]:
    """Epochs, from 1, that are points of the curve; and those of them with the metric too.

    The curve has at most 50 points, the last epoch among them. The last has no metric: there the
    trial itself is evaluated.
    """
    points = set(range(epochs, 0, -max(1, -(-epochs // CURVE_POINTS))))
    # Evaluating a short training at every quarter would take a good part of its time.
    quarters = (1, 2, 3) if epochs >= 8 else (2,)
    nearest = {
        min(points, key=lambda epoch: abs(epoch - round(epochs * q / 4)), default=0)
        for q in quarters
    }
    return points, nearest - {epochs}
