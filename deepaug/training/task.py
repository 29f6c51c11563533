"""What a modality offers to training."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Task(Protocol):
    """What a modality prepares for one trial: data on the device, encoder, views, evaluation.

    Defaults are those of a modality whose layers are modules of the same name.
    """

    digest: str  # of the data set
    classes: int  # 0 where there are no labels
    # Of `deepaug.attach` at the trial's target; none where all rows count.
    dim: int | None = None
    mask: Callable[..., Tensor] | None = None
    groups: Callable[..., Tensor] | None = None

    def __len__(self) -> int:
        """How many samples there are to train on."""

    def module(self, layer: str) -> str:
        """What a layer of the trial's encoder is called among its modules; "input" is itself."""
        return layer

    def encoder(self) -> nn.Module:
        """A module from a view to features (n, f), with f as its attribute `features`."""

    def head(self, features: int) -> nn.Module:
        """The projection head of contrastive training, on features (n, `features`)."""

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        """The training samples' indices for one epoch, in batches and an order drawn."""

    def views(self, epoch: int) -> Callable[[Tensor], tuple[Any, Any]]:
        """A function from a batch's indices to its two views, as `layers.call` takes them.

        What happens to a sample depends on seed, epoch and sample alone.
        """

    def plain(self, index: Tensor) -> Any:
        """Training samples by number, below `len`, not augmented, as `layers.call` takes them."""

    def activations(self, outputs: Tensor, plain: Any) -> Tensor:
        """What a layer says of each sample of `plain`, (n, f), given its `outputs` on them.

        Positions are flattened; padding is zeros.
        """
        return outputs.flatten(1)

    def labels(self, index: Tensor) -> Tensor:
        """Classes (n,) on the device; -100 for a sample without one."""

    def evaluate(self, embed: Callable[[Any], Tensor], final: bool) -> dict[str, dict]:
        """split -> metric -> value, "validation" and, if `final`, "test".

        In mid-training (`final` false) a metric that takes long may be left out.
        """
