"""Attaching a transform to one chosen layer, for as long as a network trains.

handle = deepaug.attach(model, "layer4", deepaug.PCA(0.5))
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from deepaug.method.acting import Acting, Applied
from deepaug.method.hooks import tidy
from deepaug.method.passes import State
from deepaug.method.transforms import Transform
from deepaug.validation import one_of


def _of_applied(name: str) -> Any:
    """A property of the handle that is the field of what is applied."""
    return property(
        lambda handle: getattr(handle._acting.applied, name),
        lambda handle, value: setattr(handle._acting.applied, name, value),
    )


class Handle:
    """An attached transform, as returned by `attach`. Also a context manager that removes it.

    Attributes:
        model, layer, transform, dim: as given to `attach`.
        calls: how often the transform has acted; zero after training means that it never did.
    """

    def __init__(self, model: nn.Module, layer: str, applied: Applied, stop_gradient: bool):
        self.model, self.layer = model, layer
        self._state = State(stop_gradient)
        self._acting = Acting(layer, applied, self._state)
        self._registrations = self._acting.register(model)
        _forget_compiled_code()

    transform: Transform = _of_applied("transform")
    dim: int | None = _of_applied("dim")
    calls: int = _of_applied("calls")

    def __repr__(self) -> str:
        found = [str(axes) for _, axes in sorted(self._acting.applied.known_axes.items())]
        known = "; ".join(found) or "axes known once it has acted"
        return f"<{self.transform!r} at {self.layer!r}: {known}; acted {self.calls} times>"

    def remove(self) -> None:
        """Take the transform off the model. A second call does nothing."""
        tidy()
        self._acting.removed = True
        for registration in self._registrations:
            registration.remove()
        if self._registrations:
            self._registrations.clear()
            _forget_compiled_code()

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    @property
    def stop_gradient(self) -> bool:
        """As given to `attach`; may be set anew before each forward pass."""
        return self._state.stop_gradient

    @stop_gradient.setter
    def stop_gradient(self, stop: bool) -> None:
        self._state.switched |= self.calls > 0 and stop != self.stop_gradient
        self._state.stop_gradient = stop

    @contextlib.contextmanager
    def _set(self, name: str) -> Iterator[None]:
        before, self._state.switched = getattr(self._state, name), True
        setattr(self._state, name, True)
        try:
            yield
        finally:
            setattr(self._state, name, before)

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Within this context the model runs plainly: no transform and no stop-gradient."""
        return self._set("paused")

    @contextlib.contextmanager
    def repeated(self) -> Iterator[None]:
        """Within this context the last random draw is used again: the same mask in both views.

        For a layer that runs once in a forward pass. With PCA the same component *ranks* are lost,
        in each view's own basis. The generator then goes on as if nothing had been drawn.
        """
        if self._state.last is None:
            raise RuntimeError("repeated() needs an earlier training forward pass to repeat")
        with self._set("repeating"):
            yield

    @contextlib.contextmanager
    def in_evaluation(self) -> Iterator[None]:
        """Within this context the transform acts in `eval()` too, where all else rests."""
        self._acting.always = True
        try:
            yield
        finally:
            self._acting.always = False

    def seed(self, seed: int) -> None:
        """Draw from an own stream from here on, not from torch's global generator.

        What the network draws itself, for its own dropout, is then the same with the transform
        and without.
        """
        self._state.stream = int(seed)


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
            list whose first element is one, a mapping or a dataclass whose first tensor is meant,
            or packed sequences.
        transform: `Dropout`, `PCA` or any `Transform`.
        stop_gradient: detach the activation before it is transformed, so that the layers below
            learn nothing from this pass (the option named in the paper's first abstract). With
            `paused()` for the other view they learn from that one alone.
        dim: feature axis; by default what the kind of the layer, or of those within and around it,
            tells, and `repr(handle)` then says. See `deepaug.method.axes`.
        mask, groups: called with the arguments of the model's own forward pass, to tell which rows
            count and which sample each belongs to (see `Transform`):
            `mask=lambda input_ids, attention_mask, **_: attention_mask`.

    Returns:
        A `Handle`: `paused()`, `repeated()`, `remove()`. A deep copy of the model carries its own.

    Raises:
        ValueError: an unknown layer (with the nearest names) or one that is never called; and, as
            the model runs, no usable tensor at the layer, or axes that cannot be told.

    Warns once of a target that did not run when a training forward pass has ended, and of one
        whose transformed tensor gets no gradient while others that it returns do.

    >>> import torch
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
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, not a {type(model).__name__}")
    if isinstance(layer, nn.Module):
        raise ValueError(
            f"layer must be a name, as model.named_modules() has it, not the {type(layer).__name__}"
        )
    if layer != "input":
        _check_target(_uncompiled(model), layer)
    if not isinstance(transform, Transform):
        raise ValueError(f"transform must be a Dropout, PCA or other Transform, not {transform!r}")
    if dim is not None and type(dim) is not int:
        raise ValueError(f"dim must be the number of an axis, not {dim!r}")
    for name, of in (("mask", mask), ("groups", groups)):
        if of is not None and not callable(of):
            raise ValueError(
                f"{name} must be a function of the model's arguments, such as lambda x, {name}: "
                f"{name}, not a {type(of).__name__}"
            )
    applied = Applied(*_unwrapped(model, layer), transform, dim, mask, groups)
    return Handle(model, layer, applied, stop_gradient)


def _unwrapped(model: nn.Module, layer: str) -> tuple[nn.Module, str]:
    """What DistributedDataParallel, DataParallel or torch.compile wraps, and its layer's name."""
    model = _uncompiled(model)
    if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        return model.module, "" if layer == "module" else layer.removeprefix("module.")
    return model, layer


def _uncompiled(model: nn.Module) -> nn.Module:
    """The model that torch.compile wrapped, whose flag it shares, or the model itself."""
    return getattr(model, "_orig_mod", model)


def _check_target(model: nn.Module, layer: str) -> None:
    """Raise ValueError for a name that the model does not have, and for what is never called."""
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    what = f"layer of {type(model).__name__}"
    one_of(what, layer, [*names, "input"], "deepaug.layers lists good targets")
    if _is_called(target := model.get_submodule(layer)):
        return
    within = [name for name in names if name.startswith(f"{layer}.")]
    called = [name for name in within if _is_called(model.get_submodule(name))]
    # The outermost ones, as the blocks of a ModuleList.
    outermost = [n for n in called if not any(n.startswith(f"{other}.") for other in called)]
    more = " …" if len(outermost) > 12 else ""
    named = ", ".join(map(repr, outermost[:12])) + more
    raise ValueError(
        f"{layer!r} is a {type(target).__name__}, which holds layers and is never called itself; "
        f"target what it holds: {named or 'nothing that is called'}"
    )


def _is_called(module: nn.Module) -> bool:
    return getattr(module.forward, "__func__", None) is not nn.Module.forward


def _forget_compiled_code() -> None:
    """Make torch.compile look again: it ignores hooks that come or go after compilation."""
    if dynamo := sys.modules.get("torch._dynamo"):
        dynamo.reset()
