"""Deep Augmentation: dropout or PCA in one layer's activations as data augmentation."""

import importlib

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


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'deepaug' has no attribute {name!r}")
    return getattr(importlib.import_module(f"deepaug.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
