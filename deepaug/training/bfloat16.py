"""Mixed precision on processors, with and without instructions for bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from deepaug.training.fabric import MixedPrecision

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
FEW = 16  # output positions of a convolution, up to which one product is the faster way


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


class OneProduct(TorchDispatchMode):
    """Within it, the weight's gradient of a convolution with few positions is one matrix product.

    For the last stages of a ResNet on small images oneDNN takes up to fifteen times as long over
    that gradient as gathering the windows into rows and one product do. Both sum products of
    bfloat16 in float32 and round once, so that only the order of the sums differs. Whatever is not
    a plain convolution of images in bfloat16 stays PyTorch's own.

        >>> x, w = torch.ones(4, 8, 2, 2).bfloat16(), torch.ones(8, 8, 3, 3).bfloat16()
        >>> y = F.conv2d(x, w.requires_grad_(), padding=1)
        >>> with OneProduct():
        ...     y.sum().backward()  # the central one of nine weights met all four positions
        >>> w.grad[0, 0]
        tensor([[ 4.,  8.,  4.],
                [ 8., 16.,  8.],
                [ 4.,  8.,  4.]], dtype=torch.bfloat16)
    """

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator is not aten.convolution_backward.default or not _has_few(*args):
            return operator(*args, **(kwargs or {}))
        cotangent, x, weight, sizes, stride, padding, *others, (needs_x, _, needs_bias) = args
        mask = [needs_x, False, needs_bias]
        found = operator(cotangent, x, weight, sizes, stride, padding, *others, mask)
        return found[0], _weights_gradient(cotangent, x, weight, stride, padding), found[2]


def _has_few(cotangent, x, weight, _sizes, stride, padding, dilation, transposed, *rest) -> bool:
    _, groups, (_, needs_weight, _) = rest
    plain = x.ndim == 4 and not transposed and groups == 1 and set(dilation) == {1}
    plain = plain and len(stride) == len(padding) == 2 and x.numel() > 0
    in_bfloat16 = cotangent.dtype == x.dtype == torch.bfloat16
    return needs_weight and plain and in_bfloat16 and cotangent.shape[2:].numel() <= FEW


def _weights_gradient(cotangent, x, weight, stride, padding) -> Tensor:
    """Of shape (outputs, inputs, height, width), as the weight's."""
    outputs, inputs, height, width = weight.shape
    windows = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    windows = windows.unfold(2, height, stride[0]).unfold(3, width, stride[1])
    # A row for each output position: the window it saw, channels last, as x mostly lies in memory.
    rows = windows.permute(0, 2, 3, 4, 5, 1).reshape(-1, height * width * inputs)
    product = cotangent.permute(1, 0, 2, 3).reshape(outputs, -1) @ rows
    return product.view(outputs, height, width, inputs).permute(0, 3, 1, 2)


class NativePrecision(MixedPrecision):
    """Lightning's "bf16-mixed" on a CPU that computes in it, with gradients as in `OneProduct`."""

    def __init__(self):
        super().__init__("bf16-mixed", "cpu")

    def backward(self, tensor: Tensor, model: nn.Module | None, *args: Any, **kwargs: Any) -> None:
        with OneProduct():
            super().backward(tensor, model, *args, **kwargs)


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
