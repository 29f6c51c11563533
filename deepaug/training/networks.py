"""The network of a trial: encoder, head, and the transform at its target."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deepaug.method import attach, transforms
from deepaug.method.layers import call
from deepaug.training.task import Task
from deepaug.training.trial import TRANSFORMS as NAMED
from deepaug.training.trial import Trial, derive

TRANSFORMS: dict[str, Callable[[float], transforms.Transform]] = {
    name: partial(getattr(transforms, named.of), **named.settings) for name, named in NAMED.items()
}


class Network(nn.Module):
    """Encoder and, for training alone, the head its loss needs."""

    def __init__(self, encoder: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, view: Any) -> Tensor:
        return self.head(call(self.encoder, view))


def build(trial: Trial, task: Task, purpose: str = "initialisation") -> Network:
    """The network at its initialisation, which depends on the seed and the architecture alone.

    Args:
        purpose: of the stream that weights are drawn from; see `trial.derive`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(trial.seed, purpose))
        encoder: Any = task.encoder()
        if trial.objective == "supervised":
            return Network(encoder, nn.Linear(encoder.features, task.classes))
        return Network(encoder, task.head(encoder.features))


def attached(trial: Trial, task: Task, encoder: nn.Module) -> attach.Handle | None:
    """The trial's transform at its target, if it has one."""
    if trial.layer == "none":
        return None
    transform = TRANSFORMS[trial.transform](trial.strength)
    target = task.module(trial.layer)
    return attach.attach(
        encoder, target, transform, dim=task.dim, mask=task.mask, groups=task.groups
    )
