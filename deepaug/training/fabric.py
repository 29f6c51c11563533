"""Lightning's Fabric, imported without torchmetrics.

Fabric asks for the version of torchmetrics, by importing it: with that come SciPy's signals,
Matplotlib and transformers, and a process that trains takes half as long again to begin. So for as
long as Fabric is imported, torchmetrics is a module that knows its version, and nothing else.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from types import ModuleType


@contextmanager
def knowing_only_its_version(package: str) -> Iterator[None]:
    """Stands in for a package that is installed and not imported yet; else it does nothing."""
    try:
        stand_in = ModuleType(package)
        stand_in.__version__ = metadata.version(package)  # type: ignore[attr-defined]
    except metadata.PackageNotFoundError:
        stand_in = None
    if stand_in is None or package in sys.modules:
        yield
        return
    sys.modules[package] = stand_in
    try:
        yield
    finally:
        del sys.modules[package]


# Not `lightning.fabric`: that comes with all of Lightning, whose trainer needs torchmetrics.
with knowing_only_its_version("torchmetrics"):
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision
    from lightning_fabric.plugins.environments import LightningEnvironment

__all__ = ["Fabric", "LightningEnvironment", "MixedPrecision"]
