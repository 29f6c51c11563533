"""A trial's training: its network, optimiser and transform, an epoch at a time."""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepaug.method.layers import below, call
from deepaug.training import devices, optimisation, registry
from deepaug.training.bfloat16 import EmulatedPrecision, NativePrecision
from deepaug.training.checkpoint import Progress
from deepaug.training.contrastive import nt_xent
from deepaug.training.fabric import Fabric, LightningEnvironment
from deepaug.training.networks import Network, attached, build
from deepaug.training.task import Task
from deepaug.training.trial import Trial, derive

# Lightning announces the precision for each trial; `deepaug run` has said it once for all.
# Whichever of its packages was imported last announces it.
for name in ("lightning_fabric", "lightning.fabric", "lightning.pytorch", "pytorch_lightning"):
    logging.getLogger(name).setLevel(logging.WARNING)


class NotFinite(Exception):
    """A loss is not finite; or features are not, after a step whose loss came before it."""


def fabric_on(
    accelerator: str = "auto", device: int | None = None, precision: str = "float32"
) -> Fabric:
    """Lightning's Fabric on one device; names as in `loop.run`, the precision's as in `Trial`."""
    kind = devices.resolve(accelerator).type
    which = 1 if device is None or kind == "cpu" else [device]
    # Trials are single processes: on a SLURM node Fabric is not to look for others of its job.
    alone = LightningEnvironment()
    if precision == "bfloat16" and kind == "cpu":
        emulated = devices.emulates(precision, kind)
        precision_plugin = EmulatedPrecision() if emulated else NativePrecision()
        return Fabric(accelerator=kind, devices=which, plugins=[alone, precision_plugin])
    mixed = {"float32": "32-true", "bfloat16": "bf16-mixed"}[precision]
    return Fabric(accelerator=kind, devices=which, precision=mixed, plugins=[alone])


def prepare(trial: Trial, accelerator: str = "auto", device: int | None = None) -> "Training":
    """A trial's training, at its beginning: data, network and optimiser on the device."""
    torch.set_num_threads(trial.threads)
    fabric = fabric_on(accelerator, device, trial.precision)
    task = registry.load(trial.modality).prepare(trial, fabric.device)
    return Training(trial, task, fabric, build(trial, task))


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
        self.handle = attached(trial, task, network.encoder)
        self.below: list[nn.Parameter] | None = None  # parameters whose gradient passes the target
        self.at_rest: list[nn.Module] = []  # modules that stay in evaluation mode

    def train(self) -> None:
        """Put the network into training mode, but for what rests."""
        self.network.train()
        for module in self.at_rest:
            module.eval()

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
        self.train()
        total = torch.zeros((), device=self.fabric.device)
        batches = task.batches(order)
        for index in batches:
            first, second = views(index)
            if self.handle is not None and self.below is None:
                self.below = below(self.encoder, task.module(trial.layer), first)
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
        return (losses[0] + losses[1]) / 2

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
