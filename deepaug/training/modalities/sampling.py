"""Random draws that modalities have in common."""

import torch
from torch import Generator, Tensor

from deepaug.training.trial import derive


def generator(seed: int, purpose: str, step: int = 0) -> Generator:
    """A trial's stream of random numbers, on the CPU, for one purpose; see `trial.derive`."""
    return Generator().manual_seed(derive(seed, purpose, step))


def hold_out(total: int, count: int) -> tuple[Tensor, Tensor]:
    """The indices of `total` samples in two parts: those that stay, and `count` held out.

    Both ascending, int64, and the same in every trial, whatever its seed.
    """
    order = torch.randperm(total, generator=Generator().manual_seed(0))
    return order[count:].sort().values, order[:count].sort().values


def full_batches(total: int, size: int, draws: Generator) -> list[Tensor]:
    """Shuffled batches of `size` indices; the remainder is left for another epoch's order."""
    order = torch.randperm(total, generator=draws)
    return list(order[: total // size * size].split(size))
