"""What the harness knows of each modality before its libraries are imported.

A modality is a module here with `prepare(trial, device) -> Task`; `deepaug.training.Task` says what
a task offers. The tables below let trials be checked and listed without importing torch.
"""

import importlib
from types import ModuleType

_ENCODERS = {
    "vision": ("resnet10", "resnet18"),
}
_LAYERS = {
    "vision": ("input", "stem", "stage1", "stage2", "stage3", "stage4", "pooled"),
}
NAMES = tuple(_ENCODERS)
PRIMARY = {"vision": "knn"}  # the metric a modality's verdicts are about


def encoders(modality: str) -> tuple[str, ...]:
    """Names of the encoders of a modality."""
    return _ENCODERS[modality]


def layers(modality: str, encoder: str) -> tuple[str, ...]:
    """Names of the layers an encoder can be targeted at, from the input on."""
    return _LAYERS[modality]


def load(modality: str) -> ModuleType:
    """The module of a modality, imported with its libraries."""
    return importlib.import_module(f"deepaug.modalities.{modality}")
