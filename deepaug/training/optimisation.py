"""The optimiser of a trial, and the course of its learning rate."""

import math
from typing import Any

import torch
from torch import nn

from deepaug.training.trial import Trial

# Of SGD. With the default learning rate and weight decay of `Trial` it is lightly's recipe of
# SimCLR for CIFAR-10; no study varies it.
MOMENTUM = 0.9
WARMUP = 1 / 16  # share of the steps in which "warmup-cosine" lets the rate rise


def build(trial: Trial, network: nn.Module) -> torch.optim.Optimizer:
    """The trial's optimiser over all parameters of a network."""
    common: dict[str, Any] = {"lr": trial.learning_rate, "weight_decay": trial.weight_decay}
    if trial.optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), momentum=MOMENTUM, **common)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[trial.optimizer]
    # The unfused update is a good part of a small network's step.
    return kind(network.parameters(), fused=True, **common)


def factor(schedule: str, step: int, total: int) -> float:
    """What the learning rate is multiplied by at `step`, from 0, of `total` steps.

    Args:
        schedule: "constant"; "linear", from 1 to 0; "cosine", half a period from 1 to 0
            (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts); or "warmup-cosine",
            the same after a linear rise to 1 in the first sixteenth of the steps.
    """
    done = step / total
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return 1 - done
    if schedule == "cosine":
        # In float32, as ever: the last bits of recorded results depend on it.
        return (1 + torch.cos(torch.tensor(torch.pi * done)).item()) / 2
    if (risen := (step + 1) / (WARMUP * total)) < 1:
        return risen
    return (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP))) / 2
