"""Co-adaptation of layers: how alike what two of them represent is."""

from collections.abc import Sequence

import torch
from torch import Tensor

FEWEST = 4  # samples that the unbiased estimator needs


@torch.no_grad()
def cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment of two representations of the same samples, unbiased.

    Kornblith et al. 2019 (arXiv 1905.00414, eq. 2) with the unbiased estimator of HSIC of Song et
    al. 2012 (JMLR 13, eq. 5). The usual estimator is biased upwards where there are few samples for
    many features: independent Gaussian data of 32 samples and 10 features have some 0.25 by it.

    Args:
        x, y: (n, p) and (n, q), a row for each sample, n >= 4; floating-point, on one device.

    Returns:
        1 for equal representations, also if one is rotated, shifted or scaled as a whole; around 0
        for independent ones, sometimes a little below.

    Raises:
        ValueError: other shapes, fewer than four samples, features that are not finite, or that
            tell no pair of samples from another.

    >>> x = torch.randn(50, 8)
    >>> round(cka(x, 3 * x + 1), 4)
    1.0
    """
    for name, features in (("x", x), ("y", y)):
        if features.ndim != 2 or not features.is_floating_point():
            raise ValueError(
                f"{name} must be floating-point of shape (samples, features), "
                f"not {features.dtype} of shape {tuple(features.shape)}"
            )
        if not torch.isfinite(features).all():
            raise ValueError(f"{name} has features that are not finite")
    if len(x) != len(y) or len(x) < FEWEST:
        raise ValueError(f"x and y must have as many samples, 4 or more, not {len(x)} and {len(y)}")
    found = hsic([x, y])
    own = found.diagonal()
    for name, norm in zip("xy", own, strict=True):
        if not norm:
            raise ValueError(f"{name} has no pair of samples that is more alike than another")
    return (found[0, 1] / (own[0].sqrt() * own[1].sqrt())).item()  # their product may overflow


def hsic(features: Sequence[Tensor]) -> Tensor:
    """Unbiased HSIC of each of k representations with each: (n, f) tensors -> (k, k), float64.

    The mean inner product of their U-centred kernels (Székely and Rizzo 2014). 0 where the samples
    all differ alike, so that nothing but rounding is left.
    """
    n, device = len(features[0]), features[0].device  # layers may lie on several
    kernels = torch.stack([_kernel(x).to(device) for x in features]).flatten(1)
    found = kernels @ kernels.mT / (n * (n - 3))
    found = (found + found.mT) / 2  # a product is symmetric but for rounding
    # Of a sample: rounding in float32 leaves some 1e-28 of its square, whatever the offset.
    energy = torch.stack([x.double().square().sum().to(device) / n for x in features])
    empty = found.diagonal() <= 1e-24 * energy**2
    return found.masked_fill(empty | empty[:, None], 0)


def _kernel(x: Tensor) -> Tensor:
    """Linear kernel (n, n) in float64, U-centred: every row sums to 0, the diagonal left out."""
    x = x.double()
    x = x - x.mean(0)
    kernel = x @ x.mT
    kernel.fill_diagonal_(0)
    n, sums = len(x), kernel.sum(0)
    kernel = kernel - (sums[:, None] + sums) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    return kernel.fill_diagonal_(0)
