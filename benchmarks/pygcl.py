"""PyGCL without the packages that it imports and whose parts are not called here."""

import sys
import types


def load():
    """PyGCL's augmentors, losses and models, with empty modules for what is not installed."""
    for name, *attributes in (
        ("dgl", "DGLGraph"),
        ("torch_sparse", "SparseTensor", "coalesce"),
        ("torch_scatter", "scatter"),
    ):
        module = types.ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, object)
        sys.modules.setdefault(name, module)
    import GCL.augmentors as augmentors
    import GCL.losses as losses
    from GCL.models import DualBranchContrast

    return augmentors, losses, DualBranchContrast
