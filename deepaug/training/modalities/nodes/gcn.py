"""GRACE's encoder: graph convolutions on sparse words (Kipf and Welling 2017, arXiv 1609.02907)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepaug.training.modalities.nodes.sparse import Operator


class GCN(nn.Module):
    """Graph convolutions (Kipf and Welling 2017, arXiv 1609.02907), ReLU after each.

    All layers but the last have 2·width features, as GRACE's two have. x, the words of the nodes
    (n, f), the adjacency and the indices of nodes (m,) -> their features (m, width).

    The first convolution's weights embed the words. As a target the embeddings are the input, as
    they are of text: thousands of words have no principal components to be had in a step.
    """

    def __init__(self, inputs: int, layers: int, width: int):
        super().__init__()
        self.features = width
        widths = [inputs, *[2 * width] * (layers - 1), width]
        self.embeddings = Product(*widths[:2])
        self.names = [f"layer{number + 1}" for number in range(layers)]
        for number, name in enumerate(self.names):
            taken, made = widths[number : number + 2]
            self.add_module(name, Convolution(taken, made, embedded=number == 0))

    def forward(self, x: Operator, adjacency: Operator, nodes: Tensor) -> Tensor:
        h = self.embeddings(x)
        for name in self.names:
            h = getattr(self, name)(h, adjacency)
        return h[nodes]


class Product(nn.Module):
    """X·W: (n, f) -> (n, width)."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, width))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor | Operator) -> Tensor:
        return x @ self.weight


class Convolution(nn.Module):
    """relu(Â·X·W + b): (n, f) -> (n, width); without W where X is `embedded` already."""

    def __init__(self, inputs: int, width: int, embedded: bool = False):
        super().__init__()
        self.product = nn.Identity() if embedded else Product(inputs, width)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, adjacency: Operator) -> Tensor:
        return F.relu(adjacency @ self.product(x) + self.bias)


class RawFeatures(nn.Module):
    """A node's own features, which nothing trains."""

    def __init__(self, inputs: int):
        super().__init__()
        self.features = inputs

    def forward(self, x: Operator, adjacency: Operator, nodes: Tensor) -> Tensor:
        return (x @ torch.eye(self.features, device=nodes.device))[nodes]
