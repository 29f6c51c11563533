"""What is used of PyG, imported without the warning that it still uses torch.jit.

Its data sets take seconds more to import, and are where something is downloaded.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    from torch_geometric.data import Data
    from torch_geometric.io import read_npz, read_planetoid_data
    from torch_geometric.nn import GINConv
    from torch_geometric.utils import coalesce

__all__ = ["Data", "GINConv", "coalesce", "read_npz", "read_planetoid_data"]
