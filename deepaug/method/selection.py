"""Which layer to target: the one that is most like all others, told from activations alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepaug.method import axes
from deepaug.method.attach import attach
from deepaug.method.cka import FEWEST, hsic
from deepaug.method.layers import Forward, call, evaluating, layers, run_once
from deepaug.method.outputs import first_tensor
from deepaug.method.transforms import Transform
from deepaug.validation import one_of


@dataclass(frozen=True)
class Selection:
    """What `select_layer` found.

    Attributes:
        layer: the choice, by the name that `deepaug.attach` takes.
        scores: layer -> its mean CKA with all others, in execution order.
        cka: unbiased linear CKA of each layer with each, (k, k) float64, in the order of `scores`.
    """

    layer: str
    scores: dict[str, float]
    cka: Tensor


def select_layer(
    model: nn.Module,
    batches: Iterable[Any],
    names: Sequence[str] | None = None,
    forward: Forward | None = None,
    features: Callable[[Tensor, Any], Tensor] | None = None,
) -> Selection:
    """Choose the layer to target, from activations on plain samples; no labels, no training.

    A transform can free layers from each other only where they depend on each other, and layers
    that do represent samples alike: the choice is the layer with the highest mean unbiased linear
    CKA with all others. Whether it is a good one is claim C5 of this project's book.

    Args:
        model: trained; run in `eval()` mode without gradient, its training flags put back.
        batches: of 4 samples or more, without augmentation; a thousand samples in all will do. Each
            is passed as in `deepaug.layers`. CKA is estimated over them batch by batch (Nguyen et
            al. 2021, arXiv 2010.15327), so that memory stays that of one.
        names: the layers to choose from, two or more; by default those of `deepaug.layers`, the
            input left out.
        forward: `forward(model, batch)`, for batches passed in another way.
        features: `features(outputs, batch)`, the rows (n, f) to compare of a layer's outputs on a
            batch; by default all of a sample, flattened. Give it where positions are padding, or
            where an error says that the axis of the samples cannot be told.

    Raises:
        ValueError: fewer than two layers, one that is unknown or does not run, no batch of 4
            samples, layers of unlike samples, or activations that are not finite.

    >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    >>> found = select_layer(model, torch.randn(128, 8).split(32))
    >>> list(found.scores)
    ['0', '1', '2']
    """
    if isinstance(batches, Mapping | Tensor):  # of a tensor single samples would be batches
        raise ValueError(
            "batches is a single batch; give a list of them: [batch], or batch.split(250)"
        )
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise ValueError("no batch was given; select_layer needs one of 4 samples or more")
    if names is None:
        names = [name for name in layers(model, first, forward) if name != "input"]
    names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    if len(names) < 2:
        raise ValueError(f"one chooses from two layers or more, not from {names}")
    cka = compare(model, chain([first], batches), names, forward, features)
    if not cka.any():
        raise ValueError(f"no batch has {FEWEST} samples that differ; give larger ones")
    scores = (cka.sum(1) - cka.diagonal()) / (len(names) - 1)
    return Selection(
        names[int(scores.argmax())], dict(zip(names, scores.tolist(), strict=True)), cka
    )


def dose(
    model: nn.Module,
    batch: Any,
    layer: str,
    transform: Transform,
    forward: Forward | None = None,
) -> Tensor:
    """How far a transform at `layer` moves samples: cosine of their features with and without it.

    Everything but the transform is in evaluation mode. Exploratory: compare it with the cosine to a
    second view of the same samples, and to other samples.

    Args:
        model: returns features (n, f), or what has them as its first tensor; its training flags
            are put back.
        batch, forward: as in `deepaug.layers`.

    Returns:
        (n,), 1 where the transform changes nothing.

    >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    >>> from deepaug.method.transforms import Dropout
    >>> dose(model, torch.randn(32, 8), "1", Dropout(0.5)).shape
    torch.Size([32])
    """
    with evaluating(model):
        output = call(model, batch, forward)
        with attach(model, layer, transform) as handle, handle.in_evaluation():
            changed = first_tensor(call(model, batch, forward))
    plain = first_tensor(output)
    if plain is None or changed is None or plain.ndim < 2:
        raise ValueError(
            f"the model returned {type(output).__name__}; needed: features (n, f), a row for "
            f"each sample; give forward="
        )
    return F.cosine_similarity(plain.flatten(1).float(), changed.flatten(1).float())


def compare(
    model: nn.Module,
    batches: Iterable[Any],
    names: Sequence[str],
    forward: Forward | None = None,
    features: Callable[[Tensor, Any], Tensor] | None = None,
) -> Tensor:
    """Unbiased linear CKA of each layer with each, (k, k) float64; 0 where all samples are alike.

    Arguments and errors as in `select_layer`.
    """
    total = torch.zeros(len(names), len(names), dtype=torch.float64)
    for batch in batches:
        outputs = _outputs(model, batch, names, forward)
        rows = [
            features(outputs[name], batch) if features else _by_sample(model, name, outputs[name])
            for name in names
        ]
        _check(names, rows)
        if len(rows[0]) >= FEWEST:  # a remainder of the data may be smaller
            total += len(rows[0]) * hsic(rows).cpu()
    own = total.diagonal().sqrt()
    return (total / (own[:, None] * own)).nan_to_num(0.0)


def _by_sample(model: nn.Module, name: str, outputs: Tensor) -> Tensor:
    """A layer's outputs as rows (n, f) of samples, wherever these lie."""
    samples = axes.samples(getattr(model, "_orig_mod", model), name, outputs)
    if samples is None:
        raise ValueError(
            f"whether the samples of layer {name!r} lie along axis 0 or 1 cannot be told, as the "
            f"model has layers with batch_first=False; name other layers, or give features="
        )
    return outputs.transpose(0, samples).flatten(1) if outputs.ndim > 1 else outputs


def _outputs(
    model: nn.Module, batch: Any, names: Sequence[str], forward: Forward | None
) -> dict[str, Tensor]:
    """The layers' output tensors on a batch, in evaluation mode."""
    model = getattr(model, "_orig_mod", model)  # compiled code would not see the hooks
    named = model.named_modules(remove_duplicate=False)  # a layer may go by any of its names
    modules = {name: module for name, module in named if name}
    for name in names:
        one_of(f"layer of {type(model).__name__}", name, modules, "deepaug.layers lists good ones")
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: object, output: object) -> None:
            if (found := first_tensor(output)) is not None:
                outputs[name] = found.clone()  # a later layer may work in place

        return hook

    hooks = [modules[name].register_forward_hook(keep(name)) for name in names]
    run_once(model, batch, forward, hooks)
    if silent := [name for name in names if name not in outputs]:
        raise ValueError(
            f"layer {silent[0]!r} did not run, or returned no tensor; name others, or give forward="
        )
    return outputs


def _check(names: Sequence[str], rows: Sequence[Tensor]) -> None:
    counts = {}
    for name, of in zip(names, rows, strict=True):
        if not isinstance(of, Tensor):
            raise ValueError(f"features= returned {type(of).__name__} of layer {name!r}, no tensor")
        if of.ndim != 2 or not of.is_floating_point():
            raise ValueError(
                f"rows of layer {name!r} are {of.dtype} of shape {tuple(of.shape)}; needed: "
                f"floating-point features (n, f); name other layers, or give features="
            )
        if not of.isfinite().all():
            raise ValueError(f"layer {name!r} has activations that are not finite")
        counts[name] = len(of)
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"layers have rows of unlike samples: {counts}; name layers that go together, or give "
            f"features="
        )
