"""Training: one trial in, one outcome out, whatever the modality."""

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import LightningEnvironment
from torch import Tensor, nn
from torch.nn import functional as F

from deepaug.method import attach, transforms
from deepaug.method.layers import below, call
from deepaug.training import checkpoint as checkpoints
from deepaug.training import devices, optimisation, registry
from deepaug.training.checkpoint import Progress
from deepaug.training.contrastive import nt_xent
from deepaug.training.task import Task
from deepaug.training.trial import TRANSFORMS as NAMED
from deepaug.training.trial import Trial, derive

TRANSFORMS: dict[str, Callable[[float], transforms.Transform]] = {
    name: partial(getattr(transforms, named.of), **named.settings)
    for name, named in NAMED.items()
}
# Lightning announces the precision for each trial; `deepaug run` has said it once for all.
for name in ("lightning.fabric", "lightning.pytorch"):
    logging.getLogger(name).setLevel(logging.WARNING)
CURVE_POINTS = 50
CHECKPOINT_SECONDS = 60
SLOWER = 1.2  # an epoch may take so many times the longest before it, and still fits


class OutOfTime(Exception):
    """A deadline came before a trial's end; how far it is, its checkpoint keeps."""


class NotFinite(Exception):
    """A loss is not finite; or features are not, after a step whose loss came before it."""


@dataclass
class Outcome:
    """What a trial came to; times in seconds."""

    status: str  # "ok" or "diverged"
    metrics: dict[str, dict[str, float]]
    curve: list[dict[str, float]]
    data_digest: str
    device: str
    training_seconds: float = 0.0
    samples_per_second: float = 0.0
    resumed_seconds: float = 0.0  # of the training, those of earlier calls
    encoder: nn.Module | None = None  # as trained, for who wants to look at it or go on with it


class Network(nn.Module):
    """Encoder and, for training alone, the head its loss needs."""

    def __init__(self, encoder: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, view: Any) -> Tensor:
        return self.head(call(self.encoder, view))


def build(trial: Trial, task: Task) -> Network:
    """The network at its initialisation, which depends on the seed and the architecture alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(trial.seed, "initialisation"))
        encoder = task.encoder()
        if trial.objective == "supervised":
            return Network(encoder, nn.Linear(encoder.features, task.classes))
        return Network(encoder, task.head(encoder.features))


def fabric_on(accelerator: str = "auto", device: int | None = None, precision="32-true") -> Fabric:
    """Lightning's Fabric on one device; names as in `run`."""
    kind = devices.resolve(accelerator).type
    which = 1 if device is None or kind == "cpu" else [device]
    # Trials are single processes: on a SLURM node Fabric is not to look for others of its job.
    alone = [LightningEnvironment()]
    return Fabric(accelerator=kind, devices=which, precision=precision, plugins=alone)


def prepare(trial: Trial, accelerator: str = "auto", device: int | None = None) -> "Training":
    """A trial's training, at its beginning: data, network and optimiser on the device."""
    torch.set_num_threads(trial.threads)
    precision = {"float32": "32-true", "bfloat16": "bf16-mixed"}[trial.precision]
    fabric = fabric_on(accelerator, device, precision)
    task = registry.load(trial.modality).prepare(trial, fabric.device)
    return Training(trial, task, fabric, build(trial, task))


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
    training = prepare(trial, accelerator, device)
    if checkpoint and (state := checkpoints.load(checkpoint, trial.key, training.fabric.device)):
        training.load_state_dict(state)
    task, progress = training.task, training.progress
    resumed_seconds = progress.seconds
    try:
        _fit(training, checkpoint, tick, deadline, evaluation)
        metrics = task.evaluate(training.embed, final=True)
    except NotFinite:
        metrics = {}
    if training.handle is not None:
        training.handle.remove()
    return Outcome(
        status="ok" if metrics else "diverged",
        metrics=metrics,
        curve=progress.curve,
        data_digest=task.digest,
        device=devices.name(training.fabric.device),
        training_seconds=progress.seconds,
        samples_per_second=progress.epoch * training.samples / (progress.seconds or 1.0),
        resumed_seconds=resumed_seconds,
        encoder=training.encoder.eval(),
    )


def _fit(
    training: "Training",
    checkpoint: Path | None,
    tick: Callable[[float], None],
    deadline: float,
    evaluation: float,
) -> None:
    """Train to the last epoch.

    Raises NotFinite where the loss stops being so; and OutOfTime, with a checkpoint, before an
    epoch or an evaluation that would not end by the deadline. Arguments as in `run`.
    """
    trial, progress = training.trial, training.progress
    points, evaluated = _points(trial.epochs)
    saved = time.monotonic()
    longest = 0.0  # epoch of this call, with what comes before the next

    def save() -> None:
        if checkpoint is not None:
            checkpoints.save(checkpoint, trial.key, training.state_dict())

    while progress.epoch < trial.epochs:
        start = time.monotonic()
        if start + SLOWER * longest > deadline:
            if longest:
                save()
            raise OutOfTime
        loss = training.epoch(progress.epoch)
        progress.seconds += time.monotonic() - start
        progress.epoch += 1
        if not math.isfinite(loss):
            raise NotFinite
        if progress.epoch in points:
            progress.curve.append(training.point(loss, progress.epoch in evaluated))
        tick(progress.epoch / trial.epochs)
        if progress.epoch < trial.epochs and time.monotonic() - saved > CHECKPOINT_SECONDS:
            save()
            saved = time.monotonic()
        longest = max(longest, time.monotonic() - start)
    # Where nothing was trained there is nothing to keep: evaluation has all the time there is.
    if longest and (left := deadline - time.monotonic()) < 2 * evaluation:
        save()  # it may take longer than expected
        if left < evaluation:
            raise OutOfTime


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


class Training:
    """One trial's network, optimiser and attached transform, trained an epoch at a time."""

    def __init__(self, trial: Trial, task: Task, fabric: Fabric, network: Network):
        self.trial, self.task, self.fabric = trial, task, fabric
        batches = task.batches(torch.Generator())
        self.samples = sum(map(len, batches))  # in an epoch
        steps = max(1, trial.epochs * len(batches))
        optimizer = optimisation.build(trial, network)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: optimisation.factor(trial.schedule, step, steps)
        )
        self.network, self.optimizer = fabric.setup(network, optimizer)
        self.encoder = network.encoder
        self.progress = Progress()
        self.handle = _attached(trial, task, network.encoder)
        self.below: list[nn.Parameter] | None = None  # parameters whose gradient passes the target

    def epoch(self, epoch: int) -> float:
        """One pass over the training subset, the `epoch`-th from 0; the mean loss."""
        trial, task = self.trial, self.task
        # Seeded anew each epoch, so that a resumed run goes on as an undisturbed one would. The
        # transform has a stream of its own: the network's own dropout is the same in every arm.
        torch.manual_seed(derive(trial.seed, "dropout", epoch))
        if self.handle is not None:
            self.handle.seed(derive(trial.seed, "transform", epoch))
        order = torch.Generator().manual_seed(derive(trial.seed, "order", epoch))
        views = task.views(epoch)
        loss_of = self._supervised if trial.objective == "supervised" else self._contrastive
        self.network.train()
        total = torch.zeros((), device=self.fabric.device)
        batches = task.batches(order)
        for index in batches:
            first, second = views(index)
            if self.handle is not None and self.below is None:
                self.below = below(self.encoder, task.target, first)
            loss = loss_of(index, first, second)
            self.optimizer.zero_grad(set_to_none=True)
            self.fabric.backward(loss)
            self.optimizer.step()
            self.schedule.step()
            total += loss.detach()
        return total.item() / len(batches)

    def _contrastive(self, index: Tensor, first: Any, second: Any) -> Tensor:
        # One forward pass for each view: BatchNorm and PCA see the statistics of one view.
        with self._transforming(view=0):
            z1 = self.network(first)
        with self._transforming(view=1):
            z2 = self.network(second)
        return nt_xent(z1, z2, self.trial.temperature)

    def _supervised(self, index: Tensor, first: Any, second: Any) -> Tensor:
        # Both views, as in the contrastive twin: the same samples and the same compute.
        labels, losses = self.task.labels(index), []
        for number, view in enumerate((first, second)):
            with self._transforming(view=number):
                # The mean over what has a label; a batch without any teaches nothing.
                total = F.cross_entropy(self.network(view).float(), labels, reduction="sum")
                losses.append(total / (labels >= 0).sum().clamp_min(1))
        return sum(losses) / 2

    def point(self, loss: float, evaluated: bool) -> dict[str, float]:
        """The curve's point after an epoch of that mean loss; `evaluated`, with the metric too."""
        point = {"epoch": self.progress.epoch, "loss": round(loss, 5)}
        if self.below:
            # Of the last step's gradient in the layers up to the target; 0 if it was stopped.
            norms = [p.grad.norm() for p in self.below if p.grad is not None]
            norm = torch.stack(norms).norm().item() if norms else 0.0
            point["gradient_below"] = float(f"{norm:.4g}")
        if evaluated:
            metrics = self.task.evaluate(self.embed, final=False)["validation"]
            if (primary := registry.primary(self.trial)) in metrics:
                point[primary] = round(metrics[primary], 3)
        return point

    def _transforming(self, view: int) -> AbstractContextManager:
        """A context for the forward pass of view 0 or 1: the transform as the trial wants it."""
        if self.handle is None:
            return nullcontext()
        stopped = {"none": (), "one": (0,), "both": (0, 1)}[self.trial.stop_gradient]
        self.handle.stop_gradient = view in stopped
        if view == 0 or self.trial.transformed == "both":
            return nullcontext()
        one = self.trial.transformed == "one"
        return self.handle.paused() if one else self.handle.repeated()

    @torch.no_grad()
    def embed(self, batch: Any) -> Tensor:
        """Features in evaluation mode, float32. Raises NotFinite if they are not."""
        self.encoder.eval()
        with self.fabric.autocast():
            features = call(self.encoder, batch).float()
        if not features.isfinite().all():
            raise NotFinite
        return features

    def state_dict(self) -> dict[str, Any]:
        """All that a training interrupted between two epochs goes on from."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        return state | {"progress": vars(self.progress)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.progress = Progress(**state["progress"])

    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "optimizer": self.optimizer, "schedule": self.schedule}


def _attached(trial: Trial, task: Task, encoder: nn.Module) -> attach.Handle | None:
    """The trial's transform at its target, if it has one."""
    if trial.layer == "none":
        return None
    transform = TRANSFORMS[trial.transform](trial.strength)
    return attach.attach(
        encoder, task.target, transform, dim=task.dim, mask=task.mask, groups=task.groups
    )
