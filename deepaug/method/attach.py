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
