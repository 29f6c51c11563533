"""Transforms of a layer's activations: dropout, PCA and the noise that controls for them.

Source: Brüel-Gabrielsson, Wang, Baradad and Solomon, "Deep Augmentation: Self-Supervised Learning
with Transformations in Activation Space", arXiv 2303.14537. The abstract names the idea (dropout or
PCA at a targeted layer, optionally with a stop-gradient); what it leaves open is chosen here and
said in each docstring.

Randomness comes from torch's global generators, as with `torch.nn.Dropout`, so that
`torch.manual_seed`, `fork_rng` and activation checkpointing treat a transform like any other layer;
`Handle.seed` gives a transform a stream of its own.
"""

from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor
from torch.amp import is_autocast_available
from torch.nn import functional as F

from deepaug.validation import one_of, share


class Transform:
    """A random change of an activation; the base of `Dropout`, `PCA` and `GaussianNoise`.

    Called as `transform(x, dim=None, mask=None, groups=None)`, where

    - x is a floating-point activation with samples along axis 0 and features along `dim`.
      Everything else (pixels, tokens) is a position; a *row* is the feature vector of one position.
    - dim is the feature axis, by default 1 for 4-D activations (n, c, h, w), the last otherwise.
    - mask holds booleans in the shape of `x` without its feature axis: which rows count. The others
      (padding) enter no statistic and are returned as they came.
    - groups holds integers of that same shape: the sample each row belongs to, where that is not
      axis 0 (the nodes of a batched graph).

    Returns a tensor of the shape, dtype, device and memory format of `x`. Raises ValueError for an
    activation without features, or a mask or groups of another shape. One of your own:

    >>> class Sign(Transform):
    ...     def transform(self, x, mask, groups):
    ...         return x.sign()
    >>> Sign()(torch.tensor([[3.0, -2.0]]))
    tensor([[ 1., -1.]])
    """

    def __init__(self, p: float = 0.5):
        self.p = share("p", p)

    @property
    def elementwise(self) -> bool:
        """Whether nothing depends on where samples and features lie."""
        return False

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"

    def __call__(
        self,
        x: Tensor,
        dim: int | None = None,
        mask: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> Tensor:
        dim = _feature_axis(x, dim)
        for name, rows in (("mask", mask), ("groups", groups)):
            wanted = x.shape[:dim] + x.shape[dim + 1 :]
            if rows is not None and rows.shape != wanted:
                raise ValueError(f"{name} has shape {tuple(rows.shape)}, not {tuple(wanted)}")
        if self.p == 0 or x.numel() == 0 or x.is_meta:  # of the last there are no numbers
            return x
        mask = None if mask is None else mask.bool()
        rows = x.movedim(dim, -1)
        kind = x.device.type
        with torch.autocast(kind, enabled=False) if is_autocast_available(kind) else nullcontext():
            out = self.transform(rows, mask, groups)
        if mask is not None:
            out = torch.where(mask.unsqueeze(-1), out, rows)
        out = out.movedim(-1, dim)
        # A product comes back features-last, where a model that goes on with `.view` would fail.
        return out if out.stride() == x.stride() else torch.empty_like(x).copy_(out)

    def transform(self, x: Tensor, mask: Tensor | None, groups: Tensor | None) -> Tensor:
        """Transform `x` of shape (n, ..., features)."""
        raise NotImplementedError


class Dropout(Transform):
    """Zero activations at random; the survivors are scaled by 1 / (1 - p), as in `nn.Dropout`.

    Args:
        p: probability that an element (or a feature) is zeroed, 0 <= p < 1. On the CPU elements
            are zeroed with the nearest probability that is a multiple of 2⁻¹⁶.
        granularity: "element" draws for every number by itself; "feature" draws once for each
            sample and feature, and zeroes that feature at all the sample's positions (for images,
            whole activation maps, as in `nn.Dropout2d`).

    >>> Dropout(0.5)(torch.ones(4, 1000)).unique()
    tensor([0., 2.])
    """

    def __init__(self, p: float = 0.5, granularity: Literal["element", "feature"] = "element"):
        super().__init__(p)
        self.granularity = one_of("granularity", granularity, ("element", "feature"))

    @property
    def elementwise(self) -> bool:
        return self.granularity == "element"

    def transform(self, x: Tensor, mask: Tensor | None, groups: Tensor | None) -> Tensor:
        if self.granularity == "element" and x.device.type == "cpu":
            return x * self._factors(x)
        if self.granularity == "element":
            return F.dropout(x, self.p, training=True)
        return x * _survivors(x, self.p, x.shape[-1], groups).to(x.dtype)

    def _factors(self, x: Tensor) -> Tensor:
        """Inverted-dropout factors in the shape of `x`.

        torch's own dropout draws a whole number for each element, one after another, which on the
        CPU takes much longer than cutting each 64-bit draw into four.
        """
        lost = min(round(self.p * 2**16), 2**16 - 1)
        # Not `random_`, which vmap refuses; the sign is turned for the draws to be its.
        draws = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 4),), device=x.device)
        draws = draws.bitwise_xor_(-(2**63)).view(torch.int16)[: x.numel()]
        kept = draws.view(x.shape) >= lost - 2**15
        return kept.to(x.dtype).mul_(2**16 / (2**16 - lost))


class PCA(Transform):
    """Remove principal components of the activations: dropout in the batch's own eigenbasis.

    With mean μ and principal directions V (f, k) of the batch's rows, a row x becomes

        x + (x − μ)·V(M − I)Vᵀ,   M diagonal: what a component is multiplied by.

    V and the draw of M are constants of the batch: no gradient flows through them. The gradient
    flows through x and μ, so that a shift that all rows share passes as if nothing were there, and
    so does what no component spans, where there are fewer rows than features.

    Args:
        p: for "drop", the probability that a sample loses a component; for "truncate", the share
            of the components, counted from the weakest, that every sample loses. 0 <= p < 1.
        mode: "drop": each sample loses its own random subset of components, the same at all its
            positions; the kept ones are scaled by 1 / (1 - p), so that the expectation is x.
            "truncate": the leading round((1 - p)·k) of the k components are kept for all samples,
            at least one, and nothing is rescaled: a deterministic projection. k is the largest
            rank the rows can have: min(rows - 1, features).

    μ and V come from the rows of the batch at hand, in float32 or better. Where eigenvalues repeat
    the basis is any one of their eigenspace. Non-finite activations are returned as they came, for
    the training loop to notice.

    >>> x = torch.randn(100, 8, dtype=torch.float64)
    >>> kept = PCA(0.75, "truncate")(x) - x.mean(0)  # the two leading components of eight
    >>> int(torch.linalg.matrix_rank(kept))
    2
    """

    def __init__(self, p: float = 0.5, mode: Literal["drop", "truncate"] = "drop"):
        super().__init__(p)
        self.mode = one_of("mode", mode, ("drop", "truncate"))

    @torch.no_grad()
    def basis(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (f,), variances (k,), descending, and principal directions (f, k) of rows (r, f)."""
        rows = _wide(rows)
        mean = rows.mean(0)
        return mean, *_principal(rows - mean)

    def transform(self, x: Tensor, mask: Tensor | None, groups: Tensor | None) -> Tensor:
        wide = _wide(x)
        counted = wide.flatten(0, -2) if mask is None else wide[mask]
        if len(counted) == 0:
            return x
        centred = wide - counted.mean(0)
        rows = (centred.flatten(0, -2) if mask is None else centred[mask]).detach()
        try:
            _, directions = _principal(rows)
        except torch.linalg.LinAlgError:
            if not torch.isfinite(rows).all():
                return x
            _, directions = _principal(rows / rows.abs().max())  # squares have overflowed
        # Beyond the largest rank that centred rows can have a direction is arbitrary: it carries
        # nothing forward, and would take a part of the gradient away.
        rank = min(len(rows) - 1, x.shape[-1])
        directions = directions[:, :rank]
        # What is added to a row, and not the row rebuilt: what no component spans stays.
        if self.mode == "truncate":
            lost = directions[:, max(1, round((1 - self.p) * rank)) :]
            return (wide - (centred @ lost) @ lost.mT).to(x.dtype)
        change = _survivors(x, self.p, rank, groups).to(wide.dtype) - 1
        positions = wide[0, ..., 0].numel()
        if groups is None and positions > x.shape[-1]:
            # One product with each sample's own V(M − I)Vᵀ instead of two products.
            changes = directions * change.view(len(x), 1, -1) @ directions.mT
            out = torch.baddbmm(wide.flatten(1, -2), centred.flatten(1, -2), changes)
            return out.view(x.shape).to(x.dtype)
        return (wide + (centred @ directions * change) @ directions.mT).to(x.dtype)


class GaussianNoise(Transform):
    """Add Gaussian noise of the norm that `Dropout(p)` or `PCA(p)` changes a sample by: a control.

    Dropout with rescaling moves an activation x by a vector of expected squared norm
    p / (1 - p)·‖x‖², PCA (drop), which keeps the batch's mean μ, by p / (1 - p)·‖x − μ‖². So does
    this noise, which knows nothing of features or components.

    Args:
        p: the probability whose norm is matched, 0 <= p < 1.
        centred: match PCA's norm rather than dropout's.

    >>> change = GaussianNoise(0.5)(torch.ones(4, 100_000)) - 1
    >>> round(change.square().mean().item(), 1)
    1.0
    """

    def __init__(self, p: float = 0.5, centred: bool = False):
        super().__init__(p)
        self.centred = centred

    def transform(self, x: Tensor, mask: Tensor | None, groups: Tensor | None) -> Tensor:
        lost = x.detach().float()
        if self.centred:
            lost = lost - (lost.flatten(0, -2) if mask is None else lost[mask]).mean(0)
        if mask is not None:
            lost = lost.masked_fill(~mask.unsqueeze(-1), 0)  # not 0 * lost: padding may be NaN
        # By a power of two, which rounds nothing: large numbers have squares that overflow.
        _, exponent = torch.frexp(torch.where(torch.isfinite(lost), lost, 0).abs().amax())
        lost = torch.ldexp(lost, -exponent)
        power = lost.square().mean(-1, keepdim=True)
        counts = torch.ones_like(power) if mask is None else mask.unsqueeze(-1).to(power.dtype)
        if groups is None:
            axes = tuple(range(1, x.ndim))
            total, count = power.sum(axes, keepdim=True), counts.sum(axes, keepdim=True)
        else:
            index, zeros = groups.flatten(), power.new_zeros(int(groups.max()) + 1)
            total = zeros.index_add(0, index, power.flatten())[groups].unsqueeze(-1)
            count = zeros.index_add(0, index, counts.flatten())[groups].unsqueeze(-1)
        scale = (self.p / (1 - self.p) * total / count.clamp_min(1)).sqrt()
        scale = torch.ldexp(scale, exponent)
        return x + (torch.randn_like(x, dtype=scale.dtype) * scale).to(x.dtype)


def _wide(x: Tensor) -> Tensor:
    """`x` in float32, or better where it is better."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@torch.no_grad()
def _principal(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Variances (k,), descending, and principal directions (f, k) of centred rows (r, f)."""
    if len(centred) > centred.shape[1]:
        variances, directions = torch.linalg.eigh(centred.mT @ centred / (len(centred) - 1))
        return variances.flip(0).clamp_min(0), directions.flip(1)
    # Fewer rows than features: the covariance would have a large arbitrary null space.
    _, scales, directions = torch.linalg.svd(centred, full_matrices=False)
    return scales.square() / max(len(centred) - 1, 1), directions.mT


def _feature_axis(x: Tensor, dim: int | None) -> int:
    if not x.is_floating_point():
        raise ValueError(f"the activation must be floating-point, not {x.dtype}")
    axis = (1 if x.ndim == 4 else x.ndim - 1) if dim is None else dim
    axis += x.ndim if axis < 0 else 0
    if not 0 < axis < x.ndim:
        raise ValueError(
            f"feature axis dim={dim} does not fit an activation of shape {tuple(x.shape)}; "
            f"it needs samples along axis 0 and features along another"
        )
    return axis


def _survivors(x: Tensor, p: float, features: int, groups: Tensor | None) -> Tensor:
    """Inverted-dropout factors, one for each sample and feature, to multiply (n, ..., features)."""
    samples = len(x) if groups is None else int(groups.max()) + 1
    factors = (torch.rand(samples, features, device=x.device) >= p) / (1 - p)
    if groups is not None:
        return factors[groups]
    return factors.view(samples, *[1] * (x.ndim - 2), features)
