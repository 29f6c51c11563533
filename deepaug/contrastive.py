"""Contrastive learning: the NT-Xent loss and the projection head of SimCLR."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """Normalised temperature-scaled cross-entropy (Chen et al. 2020, arXiv 2002.05709, eq. 1).

    Args:
        first, second: projections of the two views of the same n samples, each (n, d).
        temperature: divides the cosine similarities; > 0.

    Returns:
        The loss averaged over the 2n views, a float32 scalar: each view picks its partner out of
        the 2n - 1 others. log(2n - 1) where all projections are equal.
    """
    if first.shape != second.shape:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"first and second must have one shape, not {shapes}")
    with torch.autocast(first.device.type, enabled=False):
        z = F.normalize(torch.cat([first, second]).float(), dim=1)
        logits = (z @ z.mT / temperature).fill_diagonal_(-torch.inf)
        partner = torch.arange(len(z), device=z.device).roll(len(first))
        return F.cross_entropy(logits, partner)


class ProjectionHead(nn.Sequential):
    """Linear, BatchNorm, ReLU, Linear, BatchNorm, as in lightly's SimCLR: (n, f) to (n, out).

    The encoder's features are what is evaluated; the head serves the loss alone.
    """

    def __init__(self, features: int, out: int = 128):
        super().__init__(
            nn.Linear(features, features, bias=False),
            nn.BatchNorm1d(features),
            nn.ReLU(inplace=True),
            nn.Linear(features, out, bias=False),
            nn.BatchNorm1d(out),
        )
