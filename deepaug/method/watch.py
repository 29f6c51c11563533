"""Telling, once, that an attached transform has no effect."""

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.autograd.graph import register_multi_grad_hook

from deepaug.method.outputs import tensors


class Watch:
    """Warns of a target that does not run, and of one whose transformed tensor nothing learns from.

    Args:
        where: the target, in words.
    """

    def __init__(self, where: str):
        self.where = where
        self.told = self.heard = False

    def ended(self, calls: int) -> None:
        """A training forward pass has ended, after the transform acted `calls` times in all."""
        if not calls and not self.told:
            self.told = True
            warnings.warn(
                f"{self.where} did not run in a training forward pass of the model, and nothing "
                f"was transformed; deepaug.layers(model, example) names layers that run",
                stacklevel=2,
            )

    def changed(self, output: Any, changed: Tensor) -> None:
        """The transform has made `changed` of the first tensor of what the layer returned."""
        others = [tensor for tensor in tensors(output) if tensor.requires_grad][1:]
        if others and not self.heard and changed.requires_grad:
            register_multi_grad_hook([changed, *others], self._learn)

    def _learn(self, gradients: Sequence[Tensor | None]) -> None:
        first, *others = (gradient is not None for gradient in gradients)
        if not self.heard and any(others) and not first:
            warnings.warn(
                f"{self.where} returns several tensors, and the loss follows from others than the "
                f"first, which alone is transformed (of an LSTM the sequence, not h_n); use the "
                f"first, or attach to a layer behind it",
                stacklevel=2,
            )
        self.heard = True
