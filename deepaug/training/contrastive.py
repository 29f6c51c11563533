"""Contrastive learning: the NT-Xent loss and the projection head of SimCLR."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LARGE = 4096  # rows of similarities from which on they are taken in blocks of ROWS
ROWS = 256


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """Normalised temperature-scaled cross-entropy (Chen et al. 2020, arXiv 2002.05709, eq. 1).

    Args:
        first, second: projections of the two views of the same n samples, each (n, d).
        temperature: divides the cosine similarities; > 0.

    Returns:
        The loss averaged over the 2n views, a float32 scalar: each view picks its partner out of
        the 2n - 1 others. log(2n - 1) where all projections are equal. Beyond 4,096 views its
        memory grows with n instead of n², and it has a first derivative only.

    >>> z = torch.ones(4, 2)  # each view picks one of seven others at random
    >>> round(nt_xent(z, z).exp().item(), 4)
    7.0
    """
    if first.shape != second.shape:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"first and second must have one shape, not {shapes}")
    with torch.autocast(first.device.type, enabled=False):
        z = F.normalize(torch.cat([first, second]).float(), dim=1)
        if len(z) > LARGE:
            loss: Tensor = _InBlocks.apply(z, temperature)
            return loss
        logits = (z @ z.mT / temperature).fill_diagonal_(-torch.inf)
        partner = torch.arange(len(z), device=z.device).roll(len(first))
        return F.cross_entropy(logits, partner)


class _InBlocks(torch.autograd.Function):
    """NT-Xent of unit vectors z, (2n, d), over blocks of rows that fit a processor's cache.

    The gradient is worked out on the way, while a block's softmax is at hand: with P the softmax
    and Y the partners as one-hot rows, it is ((P - Y) + (P - Y)ᵀ) z / (2n · temperature).
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, temperature: float) -> Tensor:
        partners = z.roll(len(z) // 2, dims=0)
        loss = -torch.einsum("ij,ij->", z, partners) / temperature
        gradient = partners.mul(-2) if ctx.needs_input_grad[0] else None  # Y is symmetric
        for start in range(0, len(z), ROWS):
            rows = z[start : start + ROWS]
            logits = (rows / temperature) @ z.mT
            logits.diagonal(start).fill_(-torch.inf)
            largest = logits.amax(dim=1, keepdim=True)
            softmax = logits.sub_(largest).exp_()
            total = softmax.sum(dim=1, keepdim=True)
            loss += (total.log() + largest).sum()
            if gradient is not None:
                softmax /= total
                gradient[start : start + ROWS].addmm_(softmax, z)
                gradient.addmm_(softmax.mT, rows)
        if gradient is not None:
            ctx.save_for_backward(gradient / (len(z) * temperature))
        return loss / len(z)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return upstream * gradient, None


class ProjectionHead(nn.Sequential):
    """Linear, BatchNorm, ReLU, Linear, BatchNorm, as in lightly's SimCLR: (n, f) to (n, out).

    The encoder's features are what is evaluated; the head serves the loss alone.

    >>> ProjectionHead(512)(torch.randn(8, 512)).shape
    torch.Size([8, 128])
    """

    def __init__(self, features: int, out: int = 128):
        super().__init__(
            nn.Linear(features, features, bias=False),
            nn.BatchNorm1d(features),
            nn.ReLU(inplace=True),
            nn.Linear(features, out, bias=False),
            nn.BatchNorm1d(out),
        )
