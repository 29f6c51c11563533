"""Training: one trial in, one outcome out, whatever the modality."""

import contextlib
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import LightningEnvironment
from torch import Tensor, nn
from torch.nn import functional as F

from deepaug.method import attach, transforms
from deepaug.method.layers import below, call
from deepaug.training import devices, origin, registry
from deepaug.training.contrastive import nt_xent
from deepaug.training.trial import Trial, derive

TRANSFORMS: dict[str, Callable[[float], transforms.Transform]] = {
    "dropout": transforms.Dropout,
    "dropout-feature": lambda p: transforms.Dropout(p, "feature"),
    "pca": transforms.PCA,
    "pca-truncate": lambda p: transforms.PCA(p, "truncate"),
    "noise": transforms.GaussianNoise,
    "noise-centred": lambda p: transforms.GaussianNoise(p, centred=True),
}
# Lightning announces the precision for each trial; `deepaug run` has said it once for all.
for _name in ("lightning.fabric", "lightning.pytorch"):
    logging.getLogger(_name).setLevel(logging.WARNING)
CURVE_POINTS = 50
CHECKPOINT_SECONDS = 60
SLOWER = 1.2  # an epoch may take so many times the longest before it, and still fits
WARMUP = 1 / 16  # share of the steps in which "warmup-cosine" lets the rate rise


class OutOfTime(Exception):
    """A deadline came before a trial's end; how far it is, its checkpoint keeps."""


class Task(Protocol):
    """What a modality prepares for one trial: data on the device, encoder, views, evaluation."""

    digest: str  # of the data set
    classes: int  # 0 where there are no labels
    target: str  # what `trial.layer` is called among the encoder's modules, or "input"
    dim: int | None  # `dim`, `mask` and `groups` of `deepaug.attach` at this target
    mask: Callable[..., Tensor] | None
    groups: Callable[..., Tensor] | None

    def encoder(self) -> nn.Module:
        """A module from a view to features (n, f), with f as its attribute `features`."""

    def head(self, features: int) -> nn.Module:
        """The projection head of contrastive training, on features (n, `features`)."""

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        """The training samples' indices for one epoch, in batches and an order drawn."""

    def views(self, epoch: int) -> Callable[[Tensor], tuple[Any, Any]]:
        """A function from a batch's indices to its two views, as `layers.call` takes them.

        What happens to a sample depends on seed, epoch and sample alone.
        """

    def labels(self, index: Tensor) -> Tensor:
        """Classes (n,) on the device; -100 for a sample without one."""

    def evaluate(self, embed: Callable[[Any], Tensor], final: bool) -> dict[str, dict]:
        """split -> metric -> value, "validation" and, if `final`, "test".

        In mid-training (`final` false) a metric that takes long may be left out.
        """


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


@dataclass
class Progress:
    """State after some epochs: what a checkpoint keeps besides model and optimiser."""

    epoch: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)


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
    accelerator = devices.resolve(accelerator).type
    which = 1 if device is None or accelerator == "cpu" else [device]
    # Trials are single processes: on a SLURM node Fabric is not to look for others of its job.
    alone = LightningEnvironment()
    return Fabric(accelerator=accelerator, devices=which, precision=precision, plugins=[alone])


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
            which on the CPU gives bit for bit what an undisturbed run gives. It is the caller's to
            remove.
        tick: called with the share of the epochs done, as training goes on.
        deadline: when to have ended, by `time.monotonic()`. An epoch that would not fit is not
            begun; what is trained goes into the checkpoint, and OutOfTime is raised.
        evaluation: seconds that evaluating at the end may take; where they would not fit, the
            trained network waits in the checkpoint.
    """
    training = prepare(trial, accelerator, device)
    task = training.task
    progress = training.fit(checkpoint, tick, deadline, evaluation)
    diverged = progress is None
    outcome = Outcome(
        status="diverged" if diverged else "ok",
        metrics={} if diverged else task.evaluate(training.embed, final=True),
        curve=training.progress.curve,
        data_digest=task.digest,
        device=devices.name(training.fabric.device),
        training_seconds=training.progress.seconds,
        resumed_seconds=training.resumed_seconds,
        encoder=training.encoder.eval(),
    )
    if outcome.training_seconds:
        seen = training.progress.epoch * training.samples
        outcome.samples_per_second = seen / outcome.training_seconds
    if training.handle is not None:
        training.handle.remove()
    return outcome


class Training:
    """One trial's network, optimiser and attached transform, trained an epoch at a time."""

    def __init__(self, trial: Trial, task: Task, fabric: Fabric, network: Network):
        self.trial, self.task, self.fabric = trial, task, fabric
        batches = task.batches(torch.Generator())
        self.samples = sum(map(len, batches))  # in an epoch
        self.total = max(1, trial.epochs * len(batches))  # steps
        optimizer = _optimizer(trial, network)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        self.network, self.optimizer = fabric.setup(network, optimizer)
        self.encoder = network.encoder
        self.progress = Progress()
        self.resumed_seconds = 0.0
        self.handle = None
        self.below: list[nn.Parameter] | None = None  # parameters whose gradient passes the target
        if trial.layer != "none":
            self.handle = attach.attach(
                self.encoder,
                task.target,
                TRANSFORMS[trial.transform](trial.strength),
                dim=task.dim,
                mask=task.mask,
                groups=task.groups,
            )

    def _rate(self, step: int) -> float:
        done = step / self.total
        if self.trial.schedule == "warmup-cosine":
            if (risen := (step + 1) / (WARMUP * self.total)) < 1:
                return risen
            return (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP))) / 2
        if self.trial.schedule == "cosine":
            return (1 + torch.cos(torch.tensor(torch.pi * done)).item()) / 2
        return 1 - done if self.trial.schedule == "linear" else 1.0

    def fit(
        self,
        checkpoint: Path | None,
        tick: Callable[[float], None],
        deadline: float = math.inf,
        evaluation: float = 0.0,
    ) -> Progress | None:
        """Train to the last epoch; None if the loss stopped being finite.

        Raises OutOfTime, with a checkpoint, before an epoch or an evaluation that would not end by
        the deadline; arguments as in `run`.
        """
        self._resume(checkpoint)
        trial, progress = self.trial, self.progress
        # The curve has at most 50 points, the last epoch among them; some have the metric too.
        points = set(range(trial.epochs, 0, -max(1, -(-trial.epochs // CURVE_POINTS))))
        # Evaluating a short training at every quarter would take a good part of its time.
        quarters = {
            min(points, key=lambda epoch: abs(epoch - round(trial.epochs * q / 4)), default=0)
            for q in ((1, 2, 3) if trial.epochs >= 8 else (2,))
        }
        saved = time.monotonic()
        longest = 0.0  # epoch of this call, with what comes before the next
        while progress.epoch < trial.epochs:
            start = time.monotonic()
            if start + SLOWER * longest > deadline:
                if longest:
                    self._save(checkpoint)
                raise OutOfTime
            loss = self.epoch(progress.epoch)
            progress.seconds += time.monotonic() - start
            progress.epoch += 1
            if not math.isfinite(loss):
                return None
            last = progress.epoch == trial.epochs
            if progress.epoch in points:
                point = {"epoch": progress.epoch, "loss": round(loss, 5)}
                if self.below:
                    point["gradient_below"] = float(f"{self._gradient_below():.4g}")
                if progress.epoch in quarters and not last:
                    primary = registry.primary(trial)
                    metrics = self.task.evaluate(self.embed, final=False)["validation"]
                    if primary in metrics:
                        point[primary] = round(metrics[primary], 3)
                progress.curve.append(point)
            tick(progress.epoch / trial.epochs)
            if checkpoint and not last and time.monotonic() - saved > CHECKPOINT_SECONDS:
                self._save(checkpoint)
                saved = time.monotonic()
            longest = max(longest, time.monotonic() - start)
        # Where nothing was trained there is nothing to keep: evaluation has all the time there is.
        if longest and (left := deadline - time.monotonic()) < 2 * evaluation:
            self._save(checkpoint)  # it may take longer than expected
            if left < evaluation:
                raise OutOfTime
        return progress

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

    def _gradient_below(self) -> float:
        """Norm of the last step's gradient in the layers up to the target; 0 if it was stopped."""
        norms = [p.grad.norm() for p in self.below if p.grad is not None]
        return torch.stack(norms).norm().item() if norms else 0.0

    @contextlib.contextmanager
    def _transforming(self, view: int) -> Iterator[None]:
        """The transform as the trial wants it for view 0 or 1."""
        if self.handle is None:
            yield
            return
        trial = self.trial
        self.handle.stop_gradient = trial.stop_gradient == "both" or (
            trial.stop_gradient == "one" and view == 0
        )
        with contextlib.ExitStack() as stack:
            if view == 1 and trial.transformed == "one":
                stack.enter_context(self.handle.paused())
            elif view == 1 and trial.transformed == "same":
                stack.enter_context(self.handle.repeated())
            yield

    @torch.no_grad()
    def embed(self, batch: Any) -> Tensor:
        """Features in evaluation mode, float32."""
        self.encoder.eval()
        with self.fabric.autocast():
            return call(self.encoder, batch).float()

    def _save(self, checkpoint: Path | None) -> None:
        if checkpoint is None:
            return
        state = {
            "key": self.trial.key,
            "source_digest": origin.source_digest(),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "progress": vars(self.progress),
        }
        partial = checkpoint.with_suffix(f".{os.getpid()}.tmp")
        try:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, partial)
            partial.replace(checkpoint)
        except (OSError, RuntimeError) as error:  # torch's writer raises the latter on a full disk
            with contextlib.suppress(OSError):
                partial.unlink()
            reason = str(error).splitlines()[0]
            print(
                f"deepaug: no checkpoint in {checkpoint.parent}: {reason}; training goes on",
                file=sys.stderr,
            )

    def _resume(self, checkpoint: Path | None) -> None:
        if checkpoint is None or not checkpoint.exists():
            return
        try:
            state = torch.load(checkpoint, map_location=self.fabric.device, weights_only=True)
            if state["key"] != self.trial.key or state["source_digest"] != origin.source_digest():
                return  # half a training by one code and half by another is a training by neither
        except Exception:  # a damaged checkpoint costs its epochs, not the trial
            return
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.progress = Progress(**state["progress"])
        self.resumed_seconds = self.progress.seconds


def _optimizer(trial: Trial, network: nn.Module) -> torch.optim.Optimizer:
    common = {"lr": trial.learning_rate, "weight_decay": trial.weight_decay}
    if trial.optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), momentum=0.9, **common)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[trial.optimizer]
    # The unfused update is a good part of a small network's step.
    return kind(network.parameters(), fused=True, **common)
