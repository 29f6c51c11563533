"""A citation graph and its words as sparse matrices that views are taken of.

PyG's GCNConv gathers and scatters by edges, and torch transposes a sparse matrix anew for each
gradient. Here a matrix comes with its transpose, both laid out once for all views of a trial.
"""

import warnings

import torch
from torch import Tensor
from torch.nn import functional as F

from deepaug.training.modalities.nodes.citation import NodeSet


class Operator:
    """A sparse matrix and its transpose: what multiplies forward, and what backward.

    Not a dataclass: in bfloat16 Lightning takes those among a network's inputs apart, and refuses
    frozen ones.
    """

    def __init__(self, forward: Tensor, backward: Tensor):
        self.forward, self.backward = forward, backward

    def __matmul__(self, dense: Tensor) -> Tensor:
        return _Product.apply(dense, self)


class _Product(torch.autograd.Function):
    """operator @ dense; the gradient reaches `dense` alone, in float32 under autocast as well."""

    @staticmethod
    def forward(ctx, dense: Tensor, operator: Operator) -> Tensor:
        ctx.operator = operator
        return _in_float32(operator.forward, dense)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return _in_float32(ctx.operator.backward, gradient), None


def _in_float32(matrix: Tensor, dense: Tensor) -> Tensor:
    # Autocast would make the sparse values bfloat16 as well, for which the CPU has no product.
    with torch.autocast(dense.device.type, enabled=False):
        return matrix @ dense.float()


def _csr(counts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A sparse matrix of `counts` (rows,) values in each row, at `columns`, row after row."""
    starts = F.pad(counts.cumsum(0), (1, 0))
    with warnings.catch_warnings():  # that sparse rows are a beta feature of torch
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)


class Graph:
    """The normalised adjacency D^(-1/2)(A + I)D^(-1/2) of any subset of a graph's edges."""

    def __init__(self, data: NodeSet, device: torch.device):
        n, e = len(data), data.edges.shape[1]
        u, v = data.edges
        loops, number = torch.arange(n), torch.arange(e)
        row, column = torch.cat([u, v, loops]), torch.cat([v, u, loops])
        edge = torch.cat([number, number, torch.full((n,), e)])  # loops are one edge that stays
        order = (row * n + column).argsort()
        self.n = n
        self.row, self.column, self.edge = (part[order].to(device) for part in (row, column, edge))

    def adjacency(self, kept: Tensor) -> Operator:
        """kept: booleans (e,). Symmetric, so that it is its own transpose."""
        stays = torch.cat([kept, kept.new_ones(1)])[self.edge]
        row, column = self.row[stays], self.column[stays]
        degree = row.bincount(minlength=self.n)
        scale = degree.float().rsqrt()
        matrix = _csr(degree, column, scale[row] * scale[column], (self.n, self.n))
        return Operator(matrix, matrix)


class Words:
    """Features (n, f) most of which are 0, kept sparse by rows and by columns."""

    def __init__(self, x: Tensor, device: torch.device):
        n, f = self.shape = tuple(x.shape)
        row, column = x.nonzero(as_tuple=True)
        by_column = column.argsort(stable=True)
        parts = (column, x[row, column], by_column, row[by_column])
        self.column, self.value, self.by_column, self.row_by_column = (p.to(device) for p in parts)
        self.in_row = row.bincount(minlength=n).to(device)
        self.in_column = column.bincount(minlength=f).to(device)

    def keep(self, columns: Tensor) -> Operator:
        """The features of the columns that are kept, booleans (f,); acts on weights (f, width)."""
        n, f = self.shape
        value = self.value * columns[self.column]
        return Operator(
            _csr(self.in_row, self.column, value, (n, f)),
            _csr(self.in_column, self.row_by_column, value[self.by_column], (f, n)),
        )
