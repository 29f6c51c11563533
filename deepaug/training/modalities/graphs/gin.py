"""GraphCL's encoder: a GIN (Xu et al. 2019, arXiv 1810.00826) and what pools its nodes.

PyG's message passing and pooling gather and scatter, which without a compiled extension would take
most of a small GIN's step; here sums over segments are made in one pass.
"""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepaug.training.modalities.pyg import GINConv

Layers = TypeVar("Layers", bound=nn.Module)


class GIN(nn.Module):
    """Three GIN layers (Xu et al. 2019, arXiv 1810.00826); each is pooled and all concatenated.

    x (nodes, f), neighbours and starts (see `Graphs.take`), batch (nodes,), ascending, and
    size, the number of graphs, -> (size, 3·width). A graph without nodes gets a row of zeros.
    """

    def __init__(self, inputs: int, width: int, pooling: str = "sum"):
        super().__init__()
        self.features = 3 * width
        self.layer1 = Layer(inputs, width)
        self.layer2 = Layer(width, width)
        self.layer3 = Layer(width, width)
        self.readout = Readout(pooling)
        xavier(self)

    def forward(
        self, x: Tensor, neighbours: Tensor, starts: Tensor, batch: Tensor, size: int
    ) -> Tensor:
        first = self.layer1(x, neighbours, starts)
        second = self.layer2(first, neighbours, starts)
        third = self.layer3(second, neighbours, starts)
        return self.readout([first, second, third], batch, size)


class Layer(nn.Module):
    """GIN's convolution, ReLU, then BatchNorm, as GraphCL has it: (nodes, f) -> (nodes, width)."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.conv = Convolution(
            nn.Sequential(nn.Linear(inputs, width), nn.ReLU(inplace=True), nn.Linear(width, width))
        )
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor, neighbours: Tensor, starts: Tensor) -> Tensor:
        return self.norm(self.conv(x, neighbours, starts).relu_())


class Convolution(GINConv):
    """PyG's GINConv, given the neighbours of each node instead of a list of edges."""

    def forward(self, x: Tensor, neighbours: Tensor, starts: Tensor) -> Tensor:
        # GraphCL's ε is 0 and not learnt.
        return self.nn(x + NeighbourSum.apply(x, neighbours, starts))


class NeighbourSum(torch.autograd.Function):
    """Sum of each node's neighbours' features, in an undirected graph.

    Rows of a known segment are summed by `embedding_bag` in one pass and without a copy for each
    edge; and since the adjacency is symmetric, so is the gradient.
    """

    @staticmethod
    def forward(ctx, x: Tensor, neighbours: Tensor, starts: Tensor) -> Tensor:
        ctx.save_for_backward(neighbours, starts)
        return _segment_sums(x, neighbours, starts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _segment_sums(gradient.contiguous(), *ctx.saved_tensors), None, None


class GraphSum(torch.autograd.Function):
    """Sum of each graph's rows: (nodes, f), with `batch` (nodes,) ascending, to (size, f)."""

    @staticmethod
    def forward(ctx, x: Tensor, batch: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(batch)
        ends = torch.searchsorted(batch, torch.arange(size + 1, device=batch.device))
        return _segment_sums(x, torch.arange(len(x), device=x.device), ends)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, *ctx.saved_tensors), None, None


def _segment_sums(x: Tensor, rows: Tensor, starts: Tensor) -> Tensor:
    """Sums of x[rows[starts[i] : starts[i + 1]]], of zeros where that is empty."""
    return F.embedding_bag(rows, x, starts, mode="sum", include_last_offset=True)


class Readout(nn.Module):
    """Sum or mean of each layer's node features by graph, concatenated, float32."""

    def __init__(self, pooling: str):
        super().__init__()
        self.pooling = pooling

    def forward(self, layers: list[Tensor], batch: Tensor, size: int) -> Tensor:
        # Summed first, concatenated then: the other way round copies all nodes twice.
        total = torch.cat([GraphSum.apply(x.float(), batch, size) for x in layers], 1)
        if self.pooling == "sum":
            return total
        return total / batch.bincount(minlength=size).clamp_min(1).unsqueeze(1)


class Counts(nn.Module):
    """How often each node label occurs: the features' sum by graph. Nothing in it is trained."""

    def __init__(self, inputs: int):
        super().__init__()
        self.features = inputs

    def forward(
        self, x: Tensor, neighbours: Tensor, starts: Tensor, batch: Tensor, size: int
    ) -> Tensor:
        return GraphSum.apply(x, batch, size)


def xavier(module: Layers) -> Layers:
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
    return module
