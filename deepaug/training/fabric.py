"""Lightning's Fabric, imported without torchmetrics.

Fabric asks for the version of torchmetrics by importing it, which loads scipy.signal, Matplotlib
and transformers as well: a process that trains takes nearly twice as long to begin. So while Fabric
is imported, torchmetrics is a stub that has a version, and nothing else. Whoever imports
torchmetrics for the first time in another thread at that moment gets the stub.
"""

import importlib.machinery
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from types import ModuleType


@contextmanager
def stubbed(package: str) -> Iterator[None]:
    """Within it a package that is installed and not imported yet is nothing but its version."""
    stub = ModuleType(package)
    stub.__spec__ = importlib.machinery.ModuleSpec(package, None)
    try:
        stub.__version__ = metadata.version(package)  # type: ignore[attr-defined]
    except metadata.PackageNotFoundError:
        yield
        return
    imported = sys.modules.setdefault(package, stub)
    try:
        yield
    finally:
        if imported is stub and sys.modules.get(package) is stub:
            del sys.modules[package]


# Not `lightning.fabric`: that comes with all of Lightning, whose trainer needs torchmetrics.
with stubbed("torchmetrics"):
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision
    from lightning_fabric.plugins.environments import LightningEnvironment

__all__ = ["Fabric", "LightningEnvironment", "MixedPrecision"]
