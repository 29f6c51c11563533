"""Deep Augmentation: transform the activations of one chosen layer while a network trains.

    handle = deepaug.attach(model, "layer4", deepaug.PCA(0.5))

Source: Brüel-Gabrielsson, Wang, Baradad and Solomon, "Deep Augmentation: Self-Supervised Learning
with Transformations in Activation Space", arXiv 2303.14537. The abstract names the idea (dropout or
PCA at a targeted layer, optionally with a stop-gradient); what it leaves open is chosen here and
said in each docstring.

Randomness comes from torch's global generators, as with `torch.nn.Dropout`, so that
`torch.manual_seed`, `fork_rng` and activation checkpointing treat a transform like any other layer;
`Handle.seed` gives a transform a stream of its own.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
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
    activation without features, or a mask or groups of another shape.
    """

    def __init__(self, p: float = 0.5):
        self.p = share("p", p)

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
        if self.p == 0:
            return x
        mask = None if mask is None else mask.bool()
        rows = x.movedim(dim, -1)
        with torch.autocast(x.device.type, enabled=False):
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
    """

    def __init__(self, p: float = 0.5, granularity: str = "element"):
        super().__init__(p)
        self.granularity = one_of("granularity", granularity, ("element", "feature"))

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
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        draws = draws.random_(-(2**63), None).view(torch.int16)[: x.numel()]
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
    """

    def __init__(self, p: float = 0.5, mode: str = "drop"):
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
            if torch.isfinite(rows).all():
                raise
            return x
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
    """

    def __init__(self, p: float = 0.5, centred: bool = False):
        super().__init__(p)
        self.centred = centred

    def transform(self, x: Tensor, mask: Tensor | None, groups: Tensor | None) -> Tensor:
        lost = x.detach().float()
        if self.centred:
            lost = lost - (lost.flatten(0, -2) if mask is None else lost[mask]).mean(0)
        power = lost.square().mean(-1, keepdim=True)
        counts = torch.ones_like(power) if mask is None else mask.unsqueeze(-1).to(power.dtype)
        power = power.masked_fill(counts == 0, 0)  # not 0 * power: padding may be NaN
        if groups is None:
            axes = tuple(range(1, x.ndim))
            total, count = power.sum(axes, keepdim=True), counts.sum(axes, keepdim=True)
        else:
            index, zeros = groups.flatten(), power.new_zeros(int(groups.max()) + 1)
            total = zeros.index_add(0, index, power.flatten())[groups].unsqueeze(-1)
            count = zeros.index_add(0, index, counts.flatten())[groups].unsqueeze(-1)
        scale = (self.p / (1 - self.p) * total / count.clamp_min(1)).sqrt()
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


class Handle:
    """An attached transform, as returned by `attach`. Also a context manager that removes it."""

    def __init__(
        self, model: nn.Module, transform: Transform, stop_gradient: bool, dim: int | None
    ):
        self.model, self.transform = model, transform
        self.stop_gradient, self.dim = stop_gradient, dim
        self.calls = 0  # times the transform has acted: zero after training means it never fired
        self._mask = self._groups = None
        self._arguments: tuple[tuple, dict] | None = None
        self._registrations: list = []
        self._paused = self._repeating = self._switched = False
        self._stream: int | Tensor | None = None  # the seed of an own stream, then its state
        self._drawn_from: Tensor | None = None  # the generator's state before the last draw

    def remove(self) -> None:
        """Take the transform off the model. A second call does nothing."""
        for registration in self._registrations:
            registration.remove()
        if self._registrations:
            self._registrations.clear()
            _forget_compiled_code()

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *_) -> None:
        self.remove()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Within this context the model runs plainly: no transform and no stop-gradient."""
        before, self._paused, self._switched = self._paused, True, True
        try:
            yield
        finally:
            self._paused = before

    @contextlib.contextmanager
    def repeated(self) -> Iterator[None]:
        """Within this context the last random draw is used again: the same mask in both views.

        For a layer that runs once in a forward pass. With PCA the same component *ranks* are lost,
        in each view's own basis. The generator then goes on as if nothing had been drawn.
        """
        if self._drawn_from is None:
            raise RuntimeError("repeated() needs an earlier training forward pass to repeat")
        before, self._repeating, self._switched = self._repeating, True, True
        try:
            yield
        finally:
            self._repeating = before

    def seed(self, seed: int) -> None:
        """Draw from an own stream from here on, not from torch's global generator.

        What the network draws itself, for its own dropout, is then the same with the transform
        and without.
        """
        self._stream = int(seed)

    # Eager inside compiled models: there the state above would be frozen at compilation.
    @torch.compiler.disable
    def _apply(self, x: Tensor) -> Tensor:
        if self.stop_gradient:
            x = x.detach()
        rows = {"mask": self._rows(self._mask), "groups": self._rows(self._groups)}
        self.calls += 1
        if self._stream is not None and _recomputing():
            raise RuntimeError("seed() does not work with activation checkpointing")
        if isinstance(self._stream, int):
            self._stream = torch.Generator(x.device).manual_seed(self._stream).get_state()
        now = _random_state(x.device)
        start = self._drawn_from if self._repeating else self._stream
        if start is not None:
            _set_random_state(x.device, start)
        self._drawn_from = now if start is None else start
        try:
            return self.transform(x, self.dim, **rows)
        finally:
            if self._stream is not None and not self._repeating:
                self._stream = _random_state(x.device)
            if start is not None:
                _set_random_state(x.device, now)

    def _rows(self, of: Callable | None) -> Tensor | None:
        if of is None:
            return None
        if _recomputing():
            raise RuntimeError("mask and groups do not work with activation checkpointing")
        if self._arguments is None:
            raise RuntimeError(
                "mask and groups are told from the model's arguments, but the layer ran outside "
                "the model's own forward pass; call the model, or attach to what is called"
            )
        args, kwargs = self._arguments
        return of(*args, **kwargs)

    @property
    def _acting(self) -> bool:
        if self._switched and _recomputing():
            raise RuntimeError(
                "paused() and repeated() do not work with activation checkpointing; "
                "use another handle, or no checkpointing"
            )
        return self.model.training and not self._paused

    @torch.compiler.disable
    def _after(self, module: nn.Module, args: tuple, output: Any) -> Any:
        return _change_first(output, self._apply, type(module).__name__) if self._acting else None

    @torch.compiler.disable
    def _before(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if not self._acting:
            return None
        for position, value in [*enumerate(args), *kwargs.items()]:
            if isinstance(value, Tensor) and value.is_floating_point():
                changed = self._apply(value)
                if isinstance(position, str):
                    return args, {**kwargs, position: changed}
                return (*args[:position], changed, *args[position + 1 :]), kwargs
        embeddings = [n for n, m in module.named_modules() if isinstance(m, nn.Embedding)]
        raise ValueError(
            "layer 'input' needs a floating-point tensor argument and the model was given none; "
            + (
                f"target an embedding layer: {', '.join(map(repr, embeddings))}"
                if embeddings
                else "target a layer by its name from model.named_modules()"
            )
        )

    @torch.compiler.disable
    def _remember(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self._arguments = args, kwargs

    @torch.compiler.disable
    def _forget(self, module: nn.Module, args: tuple, output: Any) -> None:
        self._arguments = None


def attach(
    model: nn.Module,
    layer: str,
    transform: Transform,
    stop_gradient: bool = False,
    dim: int | None = None,
    mask: Callable[..., Tensor] | None = None,
    groups: Callable[..., Tensor] | None = None,
) -> Handle:
    """Transform the output of `layer` whenever `model` runs in training mode.

    Args:
        model: any module. Nothing is copied; in `eval()` it stays bit-identical to the plain model.
        layer: a name from `model.named_modules()` (`deepaug.layers` suggests some), or "input" for
            the first floating-point tensor argument. The layer's output may be a tensor, a tuple or
            list whose first element is one, a mapping or a dataclass whose first tensor is meant.
        transform: `Dropout`, `PCA` or any `Transform`.
        stop_gradient: detach the activation before it is transformed, so that the layers below
            learn nothing from this pass (the option named in the paper's first abstract). With
            `paused()` for the other view they learn from that one alone.
        dim: feature axis; by default 1 for 4-D activations and the last otherwise. Networks that
            keep images channels-last, such as torchvision's Swin, need `dim=-1`.
        mask, groups: called with the arguments of the model's own forward pass, to tell which rows
            count and which sample each belongs to (see `Transform`):
            `mask=lambda input_ids, attention_mask, **_: attention_mask`.

    Returns:
        A `Handle`: `paused()`, `repeated()`, `remove()`. A deep copy of the model carries its own.

    Raises:
        ValueError: unknown layer (with the nearest names), or no usable tensor at the layer.
    """
    plain = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
    modules = dict(plain.named_modules())
    if isinstance(layer, nn.Module):
        raise ValueError(
            f"layer must be a name, as model.named_modules() has it, not the {type(layer).__name__}"
        )
    if layer != "input":
        names = [*filter(None, modules), "input"]
        kind = type(plain).__name__
        one_of(f"layer of {kind}", layer, names, "deepaug.layers lists good targets")
    if not isinstance(transform, Transform):
        raise ValueError(f"transform must be a Dropout, PCA or other Transform, not {transform!r}")
    handle = Handle(model, transform, stop_gradient, dim)
    handle._mask, handle._groups = mask, groups
    if mask is not None or groups is not None:
        handle._registrations += [
            model.register_forward_pre_hook(handle._remember, with_kwargs=True, prepend=True),
            model.register_forward_hook(handle._forget, always_call=True),
        ]
    handle._registrations.append(
        model.register_forward_pre_hook(handle._before, with_kwargs=True)
        if layer == "input"
        else modules[layer].register_forward_hook(handle._after)
    )
    _forget_compiled_code()
    return handle


def _change_first(output: Any, change: Callable[[Tensor], Tensor], where: str) -> Any:
    """`output` with its (first) tensor changed."""
    if isinstance(output, Tensor):
        return change(output)
    if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
        changed = [change(output[0]), *output[1:]]
        return output._make(changed) if hasattr(output, "_make") else type(output)(changed)
    if dataclasses.is_dataclass(output):  # Hugging Face's outputs are dataclasses and mappings
        for field in dataclasses.fields(output):
            if isinstance(value := getattr(output, field.name), Tensor):
                return dataclasses.replace(output, **{field.name: change(value)})
    elif isinstance(output, Mapping):
        for name, value in output.items():
            if isinstance(value, Tensor):
                return type(output)({**output, name: change(value)})
    raise ValueError(
        f"the targeted {where} returned {type(output).__name__}; needed: a tensor, a tuple whose "
        f"first element is one, a mapping or a dataclass with one"
    )


def _recomputing() -> bool:
    """Whether a checkpoint runs the layer again in a backward pass; of which forward is unknown."""
    return torch._C._current_graph_task_id() != -1


def _forget_compiled_code() -> None:
    """Make torch.compile look again: it ignores hooks that come or go after compilation."""
    if dynamo := sys.modules.get("torch._dynamo"):
        dynamo.reset()


def _random_state(device: torch.device) -> Tensor:
    """The state of the global generator that a transform on `device` draws from."""
    return _random_module(device).get_rng_state(*_index(device))


def _set_random_state(device: torch.device, state: Tensor) -> None:
    _random_module(device).set_rng_state(state, *_index(device))


def _random_module(device: torch.device):
    return torch.random if device.type == "cpu" else getattr(torch, device.type)


def _index(device: torch.device) -> tuple:
    return () if device.type in ("cpu", "mps") else (device,)
