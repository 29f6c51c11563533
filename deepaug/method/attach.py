"""Attaching a transform to one chosen layer, for as long as a network trains.

handle = deepaug.attach(model, "layer4", deepaug.PCA(0.5))
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deepaug.method import axes
from deepaug.method.hooks import ONE_GRAPH, Hook, counting, set_aside, tidy
from deepaug.method.outputs import Arguments, Change, Options, change_first, change_input
from deepaug.method.passes import Passes, State, recomputing
from deepaug.method.transforms import Transform
from deepaug.method.watch import Watch
from deepaug.validation import one_of


def _of_acting(name: str) -> Any:
    return property(
        lambda handle: getattr(handle._acting, name),
        lambda handle, value: setattr(handle._acting, name, value),
    )


class Handle:
    """An attached transform, as returned by `attach`. Also a context manager that removes it.

    Attributes:
        model, layer, transform, dim: as given to `attach`.
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
        self.model, self.layer = model, layer
        self._state = State(stop_gradient)
        self._acting = _Acting(model, layer, transform, dim, self._state, mask, groups)
        self._registrations = self._acting.register(model)
        _forget_compiled_code()

    transform: Transform = _of_acting("transform")
    dim: int | None = _of_acting("dim")
    calls: int = _of_acting("calls")

    def __repr__(self) -> str:
        found = [str(axes) for _, axes in sorted(self._acting.axes.items())]
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


class _Acting:
    """The hooks of a handle: on the model, to know its forward passes, and on the target.

    Knows neither the handle nor what a model is wrapped in for several devices: a copy of what is
    wrapped takes this along, and DistributedDataParallel cannot be made before it holds a model.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        transform: Transform,
        dim: int | None,
        state: State,
        mask: Callable[..., Tensor] | None,
        groups: Callable[..., Tensor] | None,
    ):
        self.transform, self.dim, self.state = transform, dim, state
        self.mask, self.groups = mask, groups
        self.plain, self.layer = _unwrapped(_uncompiled(model), layer)
        self.target = self.plain if layer == "input" else self.plain.get_submodule(self.layer)
        self.passes = Passes()
        self.watch = Watch(f"the target {layer!r} ({type(self.target).__name__})")
        self.calls, self.removed = 0, False
        self.always = False  # or in training alone
        self.axes: dict[int, axes.Axes] = {}  # by the number of axes of the activation

    def register(self, model: nn.Module) -> list[RemovableHandle]:
        begin, end, before, after, rest = (
            Hook(act, self) for act in (self.begin, self.end, self.before, self.after, self.rest)
        )
        registered = [
            model.register_forward_pre_hook(begin, with_kwargs=True, prepend=True),
            model.register_forward_hook(end, always_call=True),
        ]
        if self.layer == "input":
            registered.append(model.register_forward_pre_hook(before, with_kwargs=True))
        else:
            registered.append(self.target.register_forward_hook(after))
        if counts := counting(axes.outward(self.plain, self.layer)):
            registered.append(counts.register_forward_pre_hook(rest))
        return registered

    @property
    def rests(self) -> bool:
        return not (self.always or self.plain.training)

    # What compiled code holds of the hooks is no more than these questions, so that an evaluation
    # is one graph; what acts is eager, as its state would be frozen at compilation.

    def begin(self, module: nn.Module, args: Arguments, kwargs: Options) -> None:
        if self.always or self.plain.training:
            self._begin(args, kwargs)

    def end(self, module: nn.Module, args: Arguments, output: Any) -> None:
        if self.always or self.plain.training:
            self._end(output)

    def rest(self, module: nn.Module, args: Arguments) -> None:
        if self.rests and not torch.compiler.is_compiling():
            set_aside(module)

    def before(
        self, module: nn.Module, args: Arguments, kwargs: Options
    ) -> tuple[Arguments, Options] | None:
        if not (self.always or self.plain.training):
            return None
        changed: tuple[Arguments, Options] | None
        changed = self._act(lambda change: change_input(module, args, kwargs, change), None)
        return changed

    def after(self, module: nn.Module, args: Arguments, output: Any) -> Any:
        if not (self.always or self.plain.training):
            return None
        return self._act(partial(change_first, output, where=type(module).__name__), output)

    @torch.compiler.disable(reason=ONE_GRAPH)
    def _begin(self, args: Arguments, kwargs: Options) -> None:
        self.passes.begin(self.plain, args, kwargs, self.state)

    @torch.compiler.disable(reason=ONE_GRAPH)
    def _end(self, output: Any) -> None:
        running = self.passes.running
        self.passes.end()
        if running and not running[2].paused and output is not None:
            self.watch.ended(self.calls)

    @torch.compiler.disable(reason=ONE_GRAPH)
    def _act(self, on: Callable[[Change], Any], output: Any) -> Any:
        if not self.passes.running and not recomputing() and not self.target.training:
            return None  # a part that is evaluated by itself, or a copy of one
        proxy = isinstance(output, torch.fx.Proxy)
        if proxy or torch.jit.is_tracing() or torch.compiler.is_compiling():
            raise RuntimeError(ONE_GRAPH)
        *arguments, state = self.passes.running or (None, None, self._alone())

        def change(x: Tensor, samples: Tensor | None) -> Tensor:
            changed = self._transform(x, samples, arguments, state)
            self.watch.changed(output, changed)
            return changed

        return None if state.paused else on(change)

    def _alone(self) -> State:
        """The state for a layer that runs outside the model's own forward pass."""
        state = self.state
        if recomputing():
            # A checkpoint of this layer alone: of which forward pass is not known.
            for used, what in (
                (self.mask or self.groups, "mask and groups do not work"),
                (state.stream is not None, "seed() does not work"),
                (state.switched, "paused() and repeated() do not work"),
            ):
                if used:
                    raise RuntimeError(
                        f"{what} with activation checkpointing of the targeted layer; checkpoint "
                        f"the whole model, other layers, or nothing"
                    )
        elif not state.paused and (self.mask or self.groups):
            raise RuntimeError(
                "mask and groups follow from the model's arguments, but the layer ran outside the "
                "model's own forward pass; call the model, or attach to what is called"
            )
        return state

    def _transform(
        self, x: Tensor, samples: Tensor | None, arguments: list[Any], state: State
    ) -> Tensor:
        if x.is_nested or x.layout not in (torch.strided, torch.sparse_coo):
            kind = "nested tensor" if x.is_nested else str(x.layout).removeprefix("torch.")
            raise ValueError(f"the activation at {self.layer!r} must be dense, not a {kind}")
        if state.stop_gradient:
            x = x.detach()
        args, kwargs = arguments
        mask, groups = (
            of and _rows(name, of(*args, **kwargs))
            for name, of in (("mask", self.mask), ("groups", self.groups))
        )
        groups = samples if groups is None else groups
        transform, found = self.transform, self.axes.get(x.ndim)
        if found is None:
            options = self.dim, transform.elementwise, groups is not None
            found = self.axes[x.ndim] = axes.find(self.plain, self.layer, x, *options)
        self.calls += 1
        with state.drawing(x.device):
            if found.samples == 0 or groups is not None:
                return transform(x, found.features, mask, groups)
            mask = None if mask is None else mask.transpose(0, found.samples)
            return transform(x.transpose(0, 1), found.features, mask).transpose(0, 1)


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
    return Handle(model, layer, transform, stop_gradient, dim, mask, groups)


def _rows(name: str, rows: Any) -> Tensor | None:
    """What `mask` or `groups` returned, if it is a tensor, or None for rows that all count."""
    if rows is None or isinstance(rows, Tensor):
        return rows
    raise ValueError(f"{name} must return a tensor, not a {type(rows).__name__}")


def _unwrapped(model: nn.Module, layer: str) -> tuple[nn.Module, str]:
    """What DistributedDataParallel or DataParallel wraps, and the name a layer has in it."""
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
