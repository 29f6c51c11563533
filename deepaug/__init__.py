"""Deep Augmentation: dropout or PCA in one layer's activations as data augmentation."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what a type checker is told of the names below
    from deepaug.method.attach import Handle as Handle
    from deepaug.method.attach import attach as attach
    from deepaug.method.cka import cka as cka
    from deepaug.method.layers import layers as layers
    from deepaug.method.selection import select_layer as select_layer
    from deepaug.method.transforms import PCA as PCA
    from deepaug.method.transforms import Dropout as Dropout
    from deepaug.method.transforms import GaussianNoise as GaussianNoise
    from deepaug.method.transforms import Transform as Transform
    from deepaug.training.contrastive import ProjectionHead as ProjectionHead
    from deepaug.training.contrastive import nt_xent as nt_xent

__version__ = "0.1.0"

# Loaded on first use, so that the command line answers before torch is imported.
_HOMES = {
    "Dropout": "method.transforms",
    "GaussianNoise": "method.transforms",
    "Handle": "method.attach",
    "PCA": "method.transforms",
    "Transform": "method.transforms",
    "attach": "method.attach",
    "cka": "method.cka",
    "layers": "method.layers",
    "ProjectionHead": "training.contrastive",
    "nt_xent": "training.contrastive",
    "select_layer": "method.selection",
}
__all__ = sorted(_HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


if not TYPE_CHECKING:  # or any misspelt name would pass

    def __getattr__(name: str):
        if name not in _HOMES:
            raise AttributeError(f"module 'deepaug' has no attribute {name!r}")
        return getattr(importlib.import_module(f"deepaug.{_HOMES[name]}"), name)
