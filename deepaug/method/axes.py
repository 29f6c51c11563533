"""Where samples and features lie in what a layer returns: the one place that says so.

1. `dim`, where it is given, is the feature axis; samples lie along axis 0.
2. Else the layer's kind tells: axis 1 for convolutions, pooling and whatever else is named "1d",
   "2d" or "3d"; the last for linear, recurrent and transformer layers and for embeddings. Recurrent
   and transformer layers know by `batch_first` whether samples lie along axis 0 or 1.
3. Else the kinds of the layers within it; and where it has none, as an activation function, within
   what holds it, from the inside out. Where they disagree, their numbers of features decide.
4. Else, in a network without any such layer, the last of up to four axes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

SEQUENCES = (
    nn.RNNBase,
    nn.MultiheadAttention,
    nn.Transformer,
    nn.TransformerEncoder,
    nn.TransformerDecoder,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
)
LAST = (nn.Linear, nn.Bilinear, nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.EmbeddingBag, *SEQUENCES)
FIRST = (
    nn.GroupNorm,
    nn.SyncBatchNorm,
    nn.LocalResponseNorm,
    nn.Upsample,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.ChannelShuffle,
    nn.Fold,
    nn.Unfold,
)
# What layers call the number of features that they take, or return.
TAKEN = ("in_channels", "in_features", "num_features", "num_channels", "input_size", "embed_dim")
RETURNED = ("out_channels", "out_features", "num_features", "num_channels", "embedding_dim")


@dataclass(frozen=True)
class Axes:
    features: int | None
    samples: int = 0

    def __str__(self) -> str:
        return f"features along axis {self.features}, samples along axis {self.samples}"


def find(
    model: nn.Module, layer: str, x: Tensor, dim: int | None, elementwise: bool, grouped: bool
) -> Axes:
    """Axes of `x`, which `layer` of `model` returned; or, for "input", of what the model takes.

    Args:
        dim: the feature axis, where it is given.
        elementwise: nothing depends on the axes, so that a guess will do.
        grouped: it is known otherwise which rows belong to a sample.

    Raises ValueError, which says what to give, where they cannot be known.
    """
    if x.ndim < 2:
        return Axes(dim)  # which no transform takes
    scopes = outward(model, layer)
    where = f"{layer!r} ({type(scopes[0]).__name__}), of shape {tuple(x.shape)},"
    asked = dim is None and not grouped and layer != "input"
    if asked and x.ndim == _axes_unbatched(scopes[0]):
        raise ValueError(f"what {where} returned has no axis of samples; give the model a batch")
    axis = _features(scopes, x, layer == "input") if dim is None else dim
    if not axis and dim is None and not (elementwise and x.ndim < 5):
        raise ValueError(
            f"along which axis the features at {where} lie cannot be told; give attach(..., dim=1) "
            f"if channels follow the samples, dim=-1 if they come last"
        )
    samples = 0 if x.ndim != 3 or axis in (1, -2) else _samples(scopes)
    if samples is None and dim is None and not elementwise and not grouped:
        raise ValueError(
            f"whether the samples at {where} lie along axis 0 or 1 cannot be told, as the model "
            f"has layers with batch_first=False; give attach(..., dim=-1) if along axis 0, else "
            f"groups=, the sample of each row"
        )
    return Axes(axis if axis == 1 or dim is not None else x.ndim - 1, samples or 0)


def samples(model: nn.Module, layer: str, x: Tensor) -> int | None:
    """Axis of the samples in `x`, which `layer` of `model` returned; None if it cannot be told."""
    scopes = outward(model, layer)
    return _samples(scopes) if x.ndim == 3 and _features(scopes, x, False) != 1 else 0


def outward(model: nn.Module, layer: str) -> list[nn.Module]:
    """The layer, and then what holds it, from the inside out; of "input" the model."""
    path = [] if layer == "input" else layer.split(".")
    return [model.get_submodule(".".join(path[:depth])) for depth in range(len(path), -1, -1)]


def _features(scopes: Sequence[nn.Module], x: Tensor, taken: bool) -> int:
    """Feature axis, 1 or -1; 0 where it cannot be told."""
    if x.ndim == 2:
        return 1
    told = (_of_kinds(scope, x, taken) for scope in scopes)
    return next((axis for axis in told if axis is not None), -1 if x.ndim < 5 else 0)


def _of_kinds(scope: nn.Module, x: Tensor, taken: bool) -> int | None:
    """Feature axis by the kinds within `scope`, 1 or -1; 0 if they disagree, None without any."""
    kinds = [(module, axis) for module in scope.modules() if (axis := _kind(module, x.ndim))]
    if not kinds:
        return None
    if taken:  # the first layer whose number of features fits
        fits = (axis for module, axis in kinds if x.shape[axis] in _sizes([module], TAKEN))
        return next(fits, max(axis for _, axis in kinds))
    if kinds[0][0] is scope:
        return kinds[0][1]
    axes = {axis for _, axis in kinds}
    if axes == {-1} or (axes == {1} and x.ndim > 3):
        return axes.pop()
    # A module may turn what its layers return: CNBlock of ConvNeXt, convolutions over tokens.
    every = _sizes([module for module, _ in kinds], RETURNED)
    linear = _sizes([module for module, axis in kinds if axis == -1], RETURNED) or every
    first, last = x.shape[1] in every, x.shape[-1] in linear
    return first - last


def _kind(module: nn.Module, ndim: int) -> int | None:
    """Feature axis, 1 or -1, by the class of a layer whose output has `ndim` axes; else None."""
    if dims := _dims(module):
        return 1 if ndim == dims + 2 else None
    if isinstance(module, FIRST):
        return 1
    return -1 if isinstance(module, LAST) else None


def _dims(module: nn.Module) -> int | None:
    """2 for Conv2d, MaxPool2d, LayerNorm2d and what derives from such; for single layers alone."""
    kinds = type(module).__mro__
    if any(True for _ in module.children()):
        # A block of one's own may be called so, too; spectral norm and LoRA put parts into torch's.
        kinds = [kind for kind in kinds if kind.__module__.startswith("torch.nn.")]
    names = (re.search(r"([123])d$", kind.__name__) for kind in kinds)
    return next((int(name[1]) for name in names if name), None)


def _axes_unbatched(module: nn.Module) -> int | None:
    """How many axes the output of a layer of torch's own has that was given a single sample."""
    if isinstance(module, SEQUENCES):
        return 2
    batched = isinstance(module, nn.modules.batchnorm._BatchNorm)
    dims = None if batched or not type(module).__module__.startswith("torch.nn") else _dims(module)
    return dims and dims + 1


def _sizes(modules: Sequence[nn.Module], names: Sequence[str]) -> set[Any]:
    found = {getattr(module, name, None) for module in modules for name in names}
    normalised = {(getattr(module, "normalized_shape", None) or [None])[-1] for module in modules}
    return (found | normalised) - {None}


def _samples(scopes: Sequence[nn.Module]) -> int | None:
    """Axis of the samples of sequences by what holds them, or None if it cannot be told."""
    for scope in scopes:
        known = [_batch_first(m) for m in scope.modules() if isinstance(m, SEQUENCES)]
        if isinstance(scope, SEQUENCES):
            return 0 if known[0] else 1
        if not all(known):
            return None
    return 0


def _batch_first(module: nn.Module) -> bool:
    return next((bool(m.batch_first) for m in module.modules() if hasattr(m, "batch_first")), True)
