"""Mixed precision on processors that have no instructions for bfloat16."""

from contextlib import ExitStack
from typing import Any

import torch
from lightning.fabric.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

aten = torch.ops.aten
# What takes the time of a network, and what oneDNN computes in bfloat16 where it can.
PRODUCTS = {
    aten.addmm,
    aten.baddbmm,
    aten.bmm,
    aten.convolution,
    aten.convolution_backward,
    aten.mm,
}


class Emulated(TorchDispatchMode):
    """Within it, products of bfloat16 tensors are summed in float32 and rounded once, at the end.

    That is what instructions for bfloat16 do, so that results differ from theirs as those of two
    such processors do: by the order of the sums. PyTorch's own way, where oneDNN has none, takes
    several times as long and rounds on the way.

        >>> x = torch.randn(8, 8).bfloat16()
        >>> with Emulated():
        ...     y = x @ x
        >>> torch.equal(y, (x.float() @ x.float()).bfloat16())
        True
    """

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        tensors = [value for value in args if isinstance(value, Tensor)]
        if operator.overloadpacket not in PRODUCTS or not all(map(_in_bfloat16, tensors)):
            return operator(*args, **kwargs or {})
        wide = [value.float() if isinstance(value, Tensor) else value for value in args]
        return tree_map_only(Tensor, Tensor.bfloat16, operator(*wide, **kwargs or {}))


class EmulatedPrecision(MixedPrecision):
    """Lightning's "bf16-mixed" on the CPU, with the products of either pass as in `Emulated`."""

    def __init__(self):
        super().__init__("bf16-mixed", "cpu")

    def forward_context(self) -> ExitStack:
        context = ExitStack()
        context.enter_context(super().forward_context())
        context.enter_context(Emulated())
        return context

    def backward(self, tensor: Tensor, model: nn.Module | None, *args: Any, **kwargs: Any) -> None:
        with Emulated():
            super().backward(tensor, model, *args, **kwargs)


def _in_bfloat16(value: Tensor) -> bool:
    return value.dtype == torch.bfloat16
