"""Nodes: GRACE (Zhu et al. 2020, arXiv 2006.04131) on citation graphs; a linear probe tells."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepaug.training import evaluation
from deepaug.training.modalities import sampling
from deepaug.training.modalities.nodes import citation
from deepaug.training.modalities.nodes.gcn import GCN, RawFeatures
from deepaug.training.modalities.nodes.sparse import Graph, Words
from deepaug.training.task import Task
from deepaug.training.trial import Trial
from deepaug.validation import UnsuitedData

COSTS = tuple(2.0**power for power in range(-10, 11, 2))  # GRACE's grid of C, every second
UNUSED = ("samples", "view_size")  # Trial itself refuses `held_out`, `pooling` and `pairs`


class NodeTask(Task):
    """A citation graph prepared for one trial; see `deepaug.training.task.Task`.

    Every step takes the whole graph; its loss is that of `batch_size` nodes, drawn anew each epoch,
    or all. Rows of a layer are nodes, and each is a sample of its own. Test nodes are the same for
    all seeds; of the other fifth the seed draws one half to train with, the other to validate.

    Raises ValueError for what the set cannot give.
    """

    def __init__(self, trial: Trial, device: torch.device):
        data = citation.load(trial.data)
        for name in UNUSED:
            if getattr(trial, name) != getattr(Trial, name):
                raise ValueError(
                    f"{name} {getattr(trial, name)} has no meaning for nodes: a step takes the "
                    f"whole graph; leave it out"
                )
        if trial.objective == "contrastive" and trial.batch_size < 2:
            raise ValueError("batch_size must be 2 or more: a node is contrasted with others")
        highest = max(*data.recipe.edges, *data.recipe.features)
        if highest * trial.view_strength >= 1:
            raise ValueError(
                f"view_strength {trial.view_strength:g} drops every edge or feature of a view of "
                f"{trial.data!r}; take less than {1 / highest:g}"
            )
        self.trial, self.device = trial, device
        self.digest, self.classes, self.data = data.digest, data.classes, data
        draws = sampling.generator(trial.seed, "subset")
        rest = data.rest[torch.randperm(len(data.rest), generator=draws)]
        self.train, self.validation = rest.tensor_split(2)
        self._check()
        self.words = Words(data.x, device)
        self.graph = Graph(data, device)
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
                raise UnsuitedData(
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
        first, last = nn.Linear(features, features), nn.Linear(features, features)
        for layer in (first, last):
            nn.init.zeros_(layer.bias)
        return nn.Sequential(first, nn.ELU(), last)

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
        generator = sampling.generator(self.trial.seed, "views", epoch)
        edges = torch.rand(2, self.data.edges.shape[1], generator=generator)
        columns = torch.rand(2, self.data.x.shape[1], generator=generator)
        strength, recipe = self.trial.view_strength, self.data.recipe
        kept = [
            (edges[v] >= strength * recipe.edges[v], columns[v] >= strength * recipe.features[v])
            for v in (0, 1)
        ]

        def both(index: Tensor) -> tuple[dict, dict]:
            first, second = (self._view(*view, index) for view in kept)
            return first, second

        return both

    def _view(self, edges: Tensor, columns: Tensor, index: Tensor) -> dict:
        """The graph with the edges (e,) and feature columns (f,) that are kept."""
        return {
            "x": self.words.keep(columns.to(self.device)),
            "adjacency": self.graph.adjacency(edges.to(self.device)),
            "nodes": index.to(self.device),
        }

    def plain(self, index: Tensor) -> dict:
        edges = torch.ones(self.data.edges.shape[1], dtype=torch.bool)
        columns = torch.ones(self.data.x.shape[1], dtype=torch.bool)
        return self._view(edges, columns, index)

    def activations(self, outputs: Tensor, plain: dict) -> Tensor:
        return outputs[plain["nodes"]]  # a layer's outputs are of all nodes

    def labels(self, index: Tensor) -> Tensor:
        return self._labels[index.to(self.device)]

    def evaluate(self, embed: Callable[[dict], Tensor], final: bool) -> dict[str, dict]:
        """Accuracies in per cent of frozen features by split: linear probe and kNN."""
        features = embed(self.plain(torch.arange(len(self))))
        features = F.normalize(features.float(), dim=1)
        parts = {"validation": self.validation} | ({"test": self.data.test} if final else {})
        queries = {split: (features[index], self.labels(index)) for split, index in parts.items()}
        threads = self.trial.threads
        probe = partial(evaluation.linear_probe, threads=threads, costs=COSTS, standardise=False)
        bank = features[self.train], self.labels(self.train)
        return evaluation.accuracies(bank, queries, self.classes, probe)


prepare = NodeTask


def describe(data: str) -> str:
    """One line on a citation graph, fetched if need be."""
    found = citation.load(data)
    return (
        f"{found.name}: {len(found)} nodes; {found.edges.shape[1]} edges; {found.classes} classes; "
        f"{found.x.shape[1]} features; {len(found.test)} test nodes; digest {found.digest}"
    )
