"""The hooks of an attached transform: which forward passes it acts in, and how."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deepaug.method import axes
from deepaug.method.hooks import ONE_GRAPH, Hook, counting, set_aside
from deepaug.method.outputs import Arguments, Change, Options, change_first, change_input
from deepaug.method.passes import Passes, State, recomputing
from deepaug.method.transforms import Transform
from deepaug.method.watch import Watch


class Acting:
    """The hooks of a handle: on the model, to know its forward passes, and on the target.

    Knows neither the handle nor what a model is wrapped in for several devices: a copy of what is
    wrapped takes this along, and DistributedDataParallel cannot be made before it holds a model.
    """

    def __init__(self, layer: str, applied: "Applied", state: State):
        self.applied, self.state = applied, state
        self.plain, self.layer = applied.model, applied.layer
        self.target = self.plain if layer == "input" else self.plain.get_submodule(self.layer)
        self.passes = Passes()
        self.watch = Watch(f"the target {layer!r} ({type(self.target).__name__})")
        self.removed = False
        self.always = False  # or in training alone

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
        if not self.rests:
            self._begin(args, kwargs)

    def end(self, module: nn.Module, args: Arguments, output: Any) -> None:
        if not self.rests:
            self._end(output)

    def rest(self, module: nn.Module, args: Arguments) -> None:
        if self.rests and not torch.compiler.is_compiling():
            set_aside(module)

    def before(
        self, module: nn.Module, args: Arguments, kwargs: Options
    ) -> tuple[Arguments, Options] | None:
        if self.rests:
            return None
        changed: tuple[Arguments, Options] | None
        changed = self._act(lambda change: change_input(module, args, kwargs, change), None)
        return changed

    def after(self, module: nn.Module, args: Arguments, output: Any) -> Any:
        if self.rests:
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
            self.watch.ended(self.applied.calls)

    @torch.compiler.disable(reason=ONE_GRAPH)
    def _act(self, on: Callable[[Change], Any], output: Any) -> Any:
        if not self.passes.running and not recomputing() and not self.target.training:
            return None  # a part that is evaluated by itself, or a copy of one
        proxy = isinstance(output, torch.fx.Proxy)
        if proxy or torch.jit.is_tracing() or torch.compiler.is_compiling():
            raise RuntimeError(ONE_GRAPH)
        *arguments, state = self.passes.running or (None, None, self.applied.alone(self.state))

        def change(x: Tensor, samples: Tensor | None) -> Tensor:
            changed = self.applied(x, samples, arguments, state)
            self.watch.changed(output, changed)
            return changed

        return None if state.paused else on(change)


@dataclass(eq=False)
class Applied:
    """A transform at one layer of a model: along which axes, and of which rows and samples.

    Fields are as given to `attach`, but for what wraps the model.
    """

    model: nn.Module
    layer: str
    transform: Transform
    dim: int | None
    mask: Callable[..., Tensor] | None
    groups: Callable[..., Tensor] | None
    calls: int = 0
    known_axes: dict[int, axes.Axes] = field(default_factory=dict)  # by how many there are

    def alone(self, state: State) -> State:
        """The state for a layer that runs outside the model's own forward pass."""
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

    def __call__(
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
        transform, found = self.transform, self.known_axes.get(x.ndim)
        if found is None:
            options = self.dim, transform.elementwise, groups is not None
            found = self.known_axes[x.ndim] = axes.find(self.model, self.layer, x, *options)
        self.calls += 1
        with state.drawing(x.device):
            if found.samples == 0 or groups is not None:
                return transform(x, found.features, mask, groups)
            mask = None if mask is None else mask.transpose(0, found.samples)
            return transform(x.transpose(0, 1), found.features, mask).transpose(0, 1)


def _rows(name: str, rows: Any) -> Tensor | None:
    """What `mask` or `groups` returned, if it is a tensor, or None for rows that all count."""
    if rows is None or isinstance(rows, Tensor):
        return rows
    raise ValueError(f"{name} must return a tensor, not a {type(rows).__name__}")
