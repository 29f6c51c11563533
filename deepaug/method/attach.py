"""Attaching a transform to one chosen layer, for as long as a network trains.

    handle = deepaug.attach(model, "layer4", deepaug.PCA(0.5))
"""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from deepaug.method.transforms import Transform
from deepaug.validation import one_of


class Handle:
    """An attached transform, as returned by `attach`. Also a context manager that removes it.

    Attributes:
        model, transform, dim: as given to `attach`.
        stop_gradient: as given to `attach`; may be set anew before each forward pass.
        calls: how often the transform has acted; zero after training means that it never did.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        transform: Transform,
        stop_gradient: bool,
        dim: int | None,
        mask: Callable[..., Tensor] | None,
        groups: Callable[..., Tensor] | None,
    ):
        self.model, self.transform = model, transform
        self.stop_gradient, self.dim = stop_gradient, dim
        self.calls = 0
        self._mask, self._groups = mask, groups
        self._arguments: tuple[tuple, dict] | None = None
        self._paused = self._repeating = self._switched = False
        self._draws = _Draws()
        self._registrations = []
        if mask is not None or groups is not None:
            self._registrations += [
                model.register_forward_pre_hook(self._remember, with_kwargs=True, prepend=True),
                model.register_forward_hook(self._forget, always_call=True),
            ]
        self._registrations.append(
            model.register_forward_pre_hook(self._before, with_kwargs=True)
            if layer == "input"
            else dict(_uncompiled(model).named_modules())[layer].register_forward_hook(self._after)
        )
        _forget_compiled_code()

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
        if self._draws.last is None:
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
        self._draws.stream = int(seed)

    # Eager inside compiled models: there the state above would be frozen at compilation.
    @torch.compiler.disable
    def _apply(self, x: Tensor) -> Tensor:
        if self.stop_gradient:
            x = x.detach()
        mask, groups = (_rows(of, self._arguments) for of in (self._mask, self._groups))
        self.calls += 1
        with self._draws.on(x.device, self._repeating):
            return self.transform(x, self.dim, mask, groups)

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
        return _change_input(module, args, kwargs, self._apply) if self._acting else None

    @torch.compiler.disable
    def _remember(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self._arguments = args, kwargs

    @torch.compiler.disable
    def _forget(self, module: nn.Module, args: tuple, output: Any) -> None:
        self._arguments = None


def _rows(of: Callable[..., Tensor] | None, arguments: tuple[tuple, dict] | None) -> Tensor | None:
    """What `mask` or `groups` make of the arguments of the model's current forward pass."""
    if of is None:
        return None
    if _recomputing():
        raise RuntimeError("mask and groups do not work with activation checkpointing")
    if arguments is None:
        raise RuntimeError(
            "mask and groups follow from the model's arguments, but the layer ran outside the "
            "model's own forward pass; call the model, or attach to what is called"
        )
    args, kwargs = arguments
    return of(*args, **kwargs)


class _Draws:
    """Where a transform's random numbers come from: torch's global generator, or an own stream.

    Attributes:
        stream: the seed of an own stream, then its state; None without one.
        last: the generator's state before the last draw.
    """

    def __init__(self):
        self.stream: int | Tensor | None = None
        self.last: Tensor | None = None

    @contextlib.contextmanager
    def on(self, device: torch.device, repeating: bool) -> Iterator[None]:
        """Let the global generator of `device` stand where the transform is to draw from.

        An own stream goes on afterwards, but where the last draw is repeated; the global generator
        stays as it was if anything else was drawn from.
        """
        if self.stream is not None and _recomputing():
            raise RuntimeError("seed() does not work with activation checkpointing")
        if isinstance(self.stream, int):
            self.stream = torch.Generator(device).manual_seed(self.stream).get_state()
        now = _random_state(device)
        start = self.last if repeating else self.stream
        if start is not None:
            _set_random_state(device, start)
        self.last = now if start is None else start
        try:
            yield
        finally:
            if self.stream is not None and not repeating:
                self.stream = _random_state(device)
            if start is not None:
                _set_random_state(device, now)


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

    >>> from deepaug.method.transforms import PCA
    >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    >>> handle = attach(model, "1", PCA(0.5))
    >>> first = model(torch.randn(32, 8))
    >>> with handle.paused():  # the second view stays plain
    ...     second = model(torch.randn(32, 8))
    >>> handle.calls
    1
    >>> handle.remove()
    """
    if isinstance(layer, nn.Module):
        raise ValueError(
            f"layer must be a name, as model.named_modules() has it, not the {type(layer).__name__}"
        )
    plain = _uncompiled(model)
    if layer != "input":
        names = [*filter(None, dict(plain.named_modules())), "input"]
        kind = type(plain).__name__
        one_of(f"layer of {kind}", layer, names, "deepaug.layers lists good targets")
    if not isinstance(transform, Transform):
        raise ValueError(f"transform must be a Dropout, PCA or other Transform, not {transform!r}")
    return Handle(model, layer, transform, stop_gradient, dim, mask, groups)


def _uncompiled(model: nn.Module) -> nn.Module:
    """The model that torch.compile wrapped, or the model itself."""
    return getattr(model, "_orig_mod", model)


def _change_input(
    model: nn.Module, args: tuple, kwargs: dict, change: Callable[[Tensor], Tensor]
) -> tuple[tuple, dict]:
    """A call's arguments with the first floating-point tensor among them changed."""
    for position, value in [*enumerate(args), *kwargs.items()]:
        if isinstance(value, Tensor) and value.is_floating_point():
            if isinstance(position, str):
                return args, {**kwargs, position: change(value)}
            return (*args[:position], change(value), *args[position + 1 :]), kwargs
    embeddings = [n for n, m in model.named_modules() if isinstance(m, nn.Embedding)]
    advice = "target a layer by its name from model.named_modules()"
    if embeddings:
        advice = f"target an embedding layer: {', '.join(map(repr, embeddings))}"
    raise ValueError(
        f"layer 'input' needs a floating-point tensor argument and the model was given none; "
        f"{advice}"
    )


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
