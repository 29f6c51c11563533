"""Claim C6: Deep Augmentation on many networks and in many pipelines, each a cell of a matrix.

`NETWORKS` and `PIPELINES` are the matrix; `outcome` fills in a cell. All are built small, from
their configurations, at random initialisation: nothing is downloaded. tests/test_matrix.py runs
every cell, and benchmarks/matrix.py records it.
"""

from cells import graphs, images, pipelines, sequences
from cells.cell import Cell, outcome

__all__ = ["NETWORKS", "PIPELINES", "Cell", "outcome"]

NETWORKS: dict[str, Cell] = images.NETWORKS | sequences.NETWORKS | graphs.NETWORKS
PIPELINES: dict[str, Cell] = pipelines.PIPELINES
