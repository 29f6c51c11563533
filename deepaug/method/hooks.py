"""Hooks that other parts of torch look at: scripting by their names, fast paths by their number."""

from collections.abc import Callable

from torch import nn
from torch.utils.hooks import RemovableHandle

ONE_GRAPH = (
    "an attached transform acts in Python and cannot be held by one compiled, exported or scripted "
    "graph; call handle.remove() first, or model.eval() where the graph is for evaluation"
)


class Hook:
    """A function to register as a hook, which says in one sentence that it cannot be scripted."""

    def __init__(self, act: Callable):
        self.act = act

    def __call__(self, *arguments):
        return self.act(*arguments)

    @property
    def __name__(self) -> str:  # what torch.jit.script asks for first
        raise AttributeError("torch.jit.script takes no attached transform; call handle.remove()")


class Aside:
    """Takes a layer's hook off while its model evaluates, where torch counts hooks.

    `nn.TransformerEncoderLayer` has a fast path for evaluation, of other rounding, which a hook
    turns off by merely lying there.

    Args:
        around: the layer and what holds it.
    """

    def __init__(self, around: list[nn.Module], registered: RemovableHandle):
        self.counts = any(isinstance(module, nn.TransformerEncoderLayer) for module in around)
        self.hooks, self.id = around[0]._forward_hooks if around else {}, registered.id
        self.hook: Callable | None = None

    def take(self) -> None:
        if self.counts and self.id in self.hooks:
            self.hook = self.hooks.pop(self.id)

    def put_back(self) -> None:
        if self.hook is None:
            return
        self.hooks[self.id], self.hook = self.hook, None
        for later in [id for id in self.hooks if id > self.id]:
            self.hooks.move_to_end(later)  # in the order registered
