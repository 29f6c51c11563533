"""Mixed precision on processors that have no instructions for bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.fabric.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

aten = torch.ops.aten
# Operators that take most of a network's time, and that oneDNN computes in bfloat16 where it can.
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
    such processors do: by the order of the sums. PyTorch's own way without them takes several times
    as long and rounds on the way. Fused attention stays PyTorch's own, which sums in float32 as
    well; so do products that are written into a tensor at hand (`out=`), and all within
    `torch.inference_mode`, where no mode sees the operators below.

        >>> x = torch.randn(8, 8).bfloat16()
        >>> with Emulated():
        ...     y = x @ x
        >>> torch.equal(y, (x.float() @ x.float()).bfloat16())
        True
    """

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [value for value in args if isinstance(value, Tensor)]
        widened = operator.overloadpacket in PRODUCTS and "out" not in kwargs
        if not widened or any(value.dtype != torch.bfloat16 for value in tensors):
            return operator(*args, **kwargs)
        wide = [value.float() if isinstance(value, Tensor) else value for value in args]
        return tree_map_only(Tensor, Tensor.bfloat16, operator(*wide, **kwargs))


class EmulatedPrecision(MixedPrecision):
    """Lightning's "bf16-mixed" on the CPU, with the products of either pass as in `Emulated`."""

    def __init__(self):
        super().__init__("bf16-mixed", "cpu")

    @contextmanager
    def forward_context(self) -> Iterator[None]:
        with super().forward_context(), Emulated():
            yield

    def backward(self, tensor: Tensor, model: nn.Module | None, *args: Any, **kwargs: Any) -> None:
        with Emulated():
            super().backward(tensor, model, *args, **kwargs)
