"""Hooks that other parts of torch look at: scripting by their names, fast paths by their number."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.hooks import RemovableHandle

ONE_GRAPH = (
    "an attached transform acts in Python and cannot be held by one compiled, exported or scripted "
    "graph; call handle.remove() first, or model.eval() where the graph is for evaluation"
)


class Owner(Protocol):
    """Whose hooks they are.

    Attributes:
        rests: whether its hooks have nothing to do, as its model evaluates.
        removed: whether they have been taken off for good.
    """

    removed: bool

    @property
    def rests(self) -> bool: ...


class Hook:
    """A function to register as a hook, which says in one sentence that it cannot be scripted."""

    def __init__(self, act: Callable[..., Any], owner: Owner):
        self.act, self.owner = act, owner

    def __call__(self, *arguments: Any) -> Any:
        return self.act(*arguments)

    @property
    def __name__(self) -> str:  # what torch.jit.script asks for first
        raise AttributeError("torch.jit.script takes no attached transform; call handle.remove()")


def counting(around: list[nn.Module]) -> nn.Module | None:
    """The outermost of `around` that counts hooks, its own and of what it holds; None if none does.

    `nn.TransformerEncoderLayer` has a fast path for evaluation, of other rounding, which a hook
    turns off by merely lying there.
    """
    counts = [module for module in around if isinstance(module, nn.TransformerEncoderLayer)]
    return counts[-1] if counts else None


def set_aside(layer: nn.Module) -> None:
    """Take all `Hook`s of `layer` and of what it holds off, until its forward pass has ended.

    Called as the pass begins. Does nothing where one of them has something to do.
    """
    tidy()
    pairs = ((m._forward_pre_hooks, m._forward_hooks) for m in layer.modules())
    before = [(hooks, list(hooks.items())) for pair in pairs for hooks in pair]
    ours = [(hooks, id, h) for hooks, items in before for id, h in items if isinstance(h, Hook)]
    if ours and all(hook.owner.rests for _, _, hook in ours):
        for hooks, id, _ in ours:
            del hooks[id]
        _Ending(layer, before)


Hooks = dict[int, Any]  # of a module, as torch keeps them


class _Ending:
    """A hook of all modules that puts back what was set aside, as `layer` ends.

    As a hook of the layer itself it would be counted, too.

    Args:
        before: dictionaries of hooks, each with what it held.
    """

    def __init__(self, layer: nn.Module, before: list[tuple[Hooks, list[tuple[int, Any]]]]):
        self.layer: nn.Module | None = layer
        self.before = before
        self.registered = register_module_forward_hook(self, always_call=True)

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if module is not self.layer:
            return
        for hooks, items in self.before:
            now = dict(hooks)
            back = {id: h for id, h in items if isinstance(h, Hook) and not h.owner.removed}
            hooks.clear()
            hooks.update({id: h for id, h in items if id in now or id in back} | now)
        self.layer, self.before = None, []
        if output is None:  # the pass has failed, and torch is walking through these hooks
            _failed.append(self.registered)
        else:
            self.registered.remove()


_failed: list[RemovableHandle] = []  # hooks of all modules that have nothing left to do


def tidy() -> None:
    """Remove what failed passes have left."""
    while _failed:
        _failed.pop().remove()
