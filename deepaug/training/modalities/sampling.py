"""Random draws that modalities have in common."""

import numpy as np
import torch
from torch import Generator, Tensor

from deepaug.training.trial import derive
from deepaug.validation import UnsuitedData


def generator(seed: int, purpose: str, step: int = 0) -> Generator:
    """A trial's stream of random numbers, on the CPU, for one purpose; see `trial.derive`."""
    return Generator().manual_seed(derive(seed, purpose, step))


def hold_out(total: int, count: int) -> tuple[Tensor, Tensor]:
    """The indices of `total` samples in two parts: those that stay, and `count` held out.

    Both ascending, int64, and the same in every trial, whatever its seed.
    """
    order = torch.randperm(total, generator=Generator().manual_seed(0))
    return order[count:].sort().values, order[:count].sort().values


def subset(labels: Tensor, count: int, draws: Generator) -> Tensor:
    """The first `count` samples of a random order, (count,) int64, with every class among them.

    The first of each class is taken, and of the others the earliest: a class that the first `count`
    lack could be no neighbour of the samples that are held out, and nothing would say so.

    Args:
        labels: (n,), int64; below 0 for a sample without a class.

    Raises UnsuitedData if there are more classes than `count`.
    """
    order = torch.randperm(len(labels), generator=draws)
    classes, first = (torch.from_numpy(x) for x in np.unique(labels[order], return_index=True))
    first = first[classes >= 0]
    if len(first) > count:
        raise UnsuitedData(
            f"samples {count} is less than the {len(first)} classes, each of which needs one; "
            f"raise samples, or take data of fewer classes"
        )
    others = torch.ones(len(order), dtype=torch.bool).index_fill(0, first, False)
    others = others.nonzero().squeeze(1)[: count - len(first)]
    return order[torch.cat([first, others]).sort().values]


def full_batches(total: int, size: int, draws: Generator) -> list[Tensor]:
    """Shuffled batches of `size` indices; the remainder is left for another epoch's order."""
    order = torch.randperm(total, generator=draws)
    return list(order[: total // size * size].split(size))
