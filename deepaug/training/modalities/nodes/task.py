"""Nodes: GRACE (Zhu et al. 2020, arXiv 2006.04131) on citation graphs, told by a linear probe."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepaug.training import evaluation
from deepaug.training.modalities.nodes import citation
from deepaug.training.trial import Trial, derive
from deepaug.validation import DataError

COSTS = tuple(2.0**power for power in range(-10, 11, 2))  # GRACE's grid of C, every second
UNUSED = ("samples", "view_size")  # Trial itself refuses `held_out`, `pooling` and `pairs`


@dataclass(frozen=True)
class Rows:
    """A sparse matrix by rows: `values` at `columns`, row i from starts[i] to starts[i + 1]."""

    starts: Tensor
    columns: Tensor
    values: Tensor
    shape: tuple[int, int]

    def __matmul__(self, dense: Tensor) -> Tensor:
        with warnings.catch_warnings():  # that sparse rows are a beta feature of torch
            warnings.simplefilter("ignore", UserWarning)
            matrix = torch.sparse_csr_tensor(
                self.starts, self.columns, self.values, self.shape, check_invariants=False
            )
        return matrix @ dense


class Operator:
    """A sparse matrix and its transpose: what multiplies forward, and what backward.

    Not a dataclass: in bfloat16 Lightning takes those among a network's inputs apart, and refuses
    frozen ones.
    """

    def __init__(self, forward: Rows, backward: Rows):
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


def _in_float32(rows: Rows, dense: Tensor) -> Tensor:
    # Autocast would make the sparse values bfloat16 as well, for which the CPU has no product.
    with torch.autocast(dense.device.type, enabled=False):
        return rows @ dense.float()


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
        for number, (name, *sizes) in enumerate(zip(self.names, widths, widths[1:], strict=False)):
            self.add_module(name, Convolution(*sizes, embedded=number == 0))

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


class NodeTask:
    """A citation graph prepared for one trial; see `deepaug.training.loop.Task`.

    Every step takes the whole graph; its loss is that of `batch_size` nodes, drawn anew each epoch,
    or all. Rows of a layer are nodes, and each is a sample of its own. Test nodes are the same for
    all seeds; of the other fifth the seed draws one half to train with, the other to validate.

    Raises ValueError for what the set cannot give.
    """

    dim = mask = groups = None  # all rows count

    def __init__(self, trial: Trial, device: torch.device):
        data = citation.load(trial.data)
        for name in UNUSED:
            if getattr(trial, name) != getattr(Trial, name):
                raise ValueError(
                    f"{name} {getattr(trial, name)} has no meaning for nodes: a step takes the "
                    f"whole graph; leave it out"
                )
        if max(*data.recipe.edges, *data.recipe.features) * trial.view_strength >= 1:
            raise ValueError(
                f"view_strength {trial.view_strength:g} drops every edge or feature of a view of "
                f"{trial.data!r}; take less than "
                f"{1 / max(*data.recipe.edges, *data.recipe.features):g}"
            )
        self.trial, self.device, self.target = trial, device, trial.layer
        self.digest, self.classes, self.data = data.digest, data.classes, data
        order = torch.Generator().manual_seed(derive(trial.seed, "subset"))
        rest = data.rest[torch.randperm(len(data.rest), generator=order)]
        self.train, self.validation = rest.tensor_split(2)
        self._check()
        self.words = _Words(data.x, device)
        self.graph = _Graph(data, device)
        self._labels = data.labels.to(device)

    def _check(self) -> None:
        seed = self.trial.seed
        for index, drawn, advice in (
            (self.data.test, "kept to test with, whatever the seed", "a larger set"),
            (self.train, f"that seed {seed} draws to train with", "another seed or a larger set"),
            (self.validation, f"that seed {seed} draws to validate with", "another seed"),
        ):
            counts = self.data.labels[index].bincount(minlength=self.classes)
            if not counts.all():
                raise DataError(
                    f"data {self.trial.data!r}: class {int(counts.argmin())} has no node among the "
                    f"{len(index)} {drawn}; take {advice}"
                )

    def __len__(self) -> int:
        return len(self.data)

    def encoder(self) -> GCN | RawFeatures:
        inputs = self.data.x.shape[1]
        if self.trial.encoder == "raw-features":
            return RawFeatures(inputs)
        return GCN(inputs, int(self.trial.encoder.removeprefix("gcn")), self.trial.width)

    def head(self, features: int) -> nn.Sequential:
        """GRACE's: two linear layers with an ELU between, as wide as the features.

        Biases begin at zero. Features of a deep GCN are small at first, since words weigh little
        and neighbours are averaged: torch's random biases would outweigh them, all projections be
        alike, and a good part of the training go into leaving log(2n − 1).
        """
        head = nn.Sequential(nn.Linear(features, features), nn.ELU(), nn.Linear(features, features))
        for layer in (head[0], head[2]):
            nn.init.zeros_(layer.bias)
        return head

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        """The nodes of an epoch's one step: those in the loss, or with labels those trained on."""
        if self.trial.objective == "supervised":
            return [self.train[torch.randperm(len(self.train), generator=generator)]]
        order = torch.randperm(len(self), generator=generator)
        return [order[: self.trial.batch_size]]

    def views(self, epoch: int) -> Callable[[Tensor], tuple[dict, dict]]:
        """A function from nodes (m,) to the two views of the graph in this epoch.

        Each view drops edges, in both directions at once, and masks columns of the features, at
        rates of its own. GRACE's code draws the two directions of an edge independently; here a
        view stays an undirected graph, whose adjacency is its own transpose.
        """
        generator = torch.Generator().manual_seed(derive(self.trial.seed, "views", epoch))
        edges = torch.rand(2, self.data.edges.shape[1], generator=generator)
        columns = torch.rand(2, self.data.x.shape[1], generator=generator)
        strength, recipe = self.trial.view_strength, self.data.recipe

        def both(index: Tensor) -> tuple[dict, dict]:
            first, second = (
                self._view(
                    edges[view] >= strength * recipe.edges[view],
                    columns[view] >= strength * recipe.features[view],
                    index,
                )
                for view in (0, 1)
            )
            return first, second

        return both

    def _view(self, edges: Tensor, columns: Tensor, index: Tensor) -> dict:
        """The graph with the edges (e,) and feature columns (f,) that are kept."""
        columns = columns.to(self.device)
        x = self.words.without(columns)
        adjacency = self.graph.adjacency(edges.to(self.device))
        return {"x": x, "adjacency": adjacency, "nodes": index.to(self.device)}

    def labels(self, index: Tensor) -> Tensor:
        return self._labels[index.to(self.device)]

    def evaluate(self, embed: Callable[[dict], Tensor], final: bool) -> dict[str, dict]:
        """Accuracies in per cent of frozen features by split: linear probe and kNN."""
        edges = torch.ones(self.data.edges.shape[1], dtype=torch.bool)
        columns = torch.ones(self.data.x.shape[1], dtype=torch.bool)
        features = embed(self._view(edges, columns, torch.arange(len(self))))
        features = F.normalize(features.nan_to_num().float(), dim=1)
        parts = {"validation": self.validation} | ({"test": self.data.test} if final else {})
        bank, labels = features[self.train], self.labels(self.train)
        queries = {split: (features[i], self.labels(i)) for split, i in parts.items()}
        probe = evaluation.linear_probe(
            bank, labels, queries, self.trial.threads, costs=COSTS, standardise=False
        )
        neighbours = max(1, min(200, len(bank) // 50))
        return {
            split: {
                "probe": probe[split],
                "knn": evaluation.knn_accuracy(bank, labels, part, truth, self.classes, neighbours),
            }
            for split, (part, truth) in queries.items()
        }


class _Graph:
    """The normalised adjacency D^(-1/2)(A + I)D^(-1/2) of any subset of a graph's edges."""

    def __init__(self, data: citation.NodeSet, device: torch.device):
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
        starts = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
        rows = Rows(starts, column, scale[row] * scale[column], (self.n, self.n))
        return Operator(rows, rows)


class _Words:
    """Features (n, f) most of which are 0, kept sparse by rows and by columns."""

    def __init__(self, x: Tensor, device: torch.device):
        row, column = x.nonzero(as_tuple=True)
        by_column = column.argsort(stable=True)
        parts = (row, column, x[row, column], by_column, row[by_column])
        self.row, self.column, self.value, self.by_column, self.row_by_column = (
            part.to(device) for part in parts
        )
        self.shape = n, f = tuple(x.shape)
        self.starts, self.starts_by_column = (
            F.pad(of.bincount(minlength=size).cumsum(0), (1, 0)).to(device)
            for of, size in ((row, n), (column, f))
        )

    def without(self, columns: Tensor) -> Operator:
        """The features of the columns that are kept, booleans (f,); acts on weights (f, width)."""
        value = self.value * columns[self.column]
        forward = Rows(self.starts, self.column, value, self.shape)
        transposed = value[self.by_column], self.shape[::-1]
        return Operator(forward, Rows(self.starts_by_column, self.row_by_column, *transposed))


def prepare(trial: Trial, device: torch.device) -> NodeTask:
    return NodeTask(trial, device)


def describe(data: str) -> str:
    """One line on a citation graph, fetched if need be."""
    found = citation.load(data)
    return (
        f"{found.name}: {len(found)} nodes; {found.edges.shape[1]} edges; {found.classes} classes; "
        f"{found.x.shape[1]} features; {len(found.test)} test nodes; digest {found.digest}"
    )
