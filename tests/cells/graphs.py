"""Networks for graphs."""

import functools

import networks
import torch
from networks import Network
from torch import nn

from cells import network


def edges() -> torch.Tensor:
    """Of ten nodes, a ring and some chords."""
    ring = torch.arange(10)
    return torch.stack([ring.repeat(2), torch.cat([ring.roll(1), ring.roll(3)])])


def basic(name: str, **settings) -> Network:
    """One of PyG's networks of several message-passing layers of a kind."""
    import torch_geometric.nn.models as models

    batch = {"x": torch.randn(10, 3), "edge_index": edges()}
    return Network(getattr(models, name)(3, 16, 3, **settings), batch, "convs.1")


def pna() -> Network:
    degrees = {"aggregators": ["mean", "max"], "scalers": ["identity"], "deg": torch.ones(4)}
    return basic("PNA", **degrees)


def graph_unet() -> Network:
    from torch_geometric.nn.models import GraphUNet

    batch = {"x": torch.randn(10, 3), "edge_index": edges()}
    return Network(GraphUNet(3, 16, 2, 2, pool_ratios=0.6), batch, "down_convs.1")


class Classifier(nn.Module):
    """Attention along edges, normalisation, then graphs from nodes."""

    def __init__(self):
        from torch_geometric.nn import GraphNorm, TransformerConv

        super().__init__()
        self.first, self.norm = TransformerConv(3, 8, heads=2), GraphNorm(16)
        self.second, self.head = TransformerConv(16, 8), nn.Linear(8, 2)

    def forward(self, x, edge_index, batch):
        from torch_geometric.nn import global_mean_pool

        x = self.norm(self.first(x, edge_index), batch).relu()
        return self.head(global_mean_pool(self.second(x, edge_index), batch))


def classifier() -> Network:
    batch = {"x": torch.randn(10, 3), "edge_index": edges(), "batch": torch.arange(10) // 4}
    options = {"groups": lambda x, edge_index, batch: batch}
    return Network(Classifier(), batch, "second", options=options)


def schnet() -> Network:
    """Atoms in space: messages weighted by distance."""
    from torch_geometric.nn.models import SchNet

    def within(pos, batch):
        """All pairs of a molecule; PyG's own search for neighbours needs another package."""
        pairs = (batch[:, None] == batch).fill_diagonal_(False).nonzero().mT
        return pairs, (pos[pairs[0]] - pos[pairs[1]]).norm(dim=1)

    atoms = {"z": torch.randint(1, 9, (10,)), "pos": torch.randn(10, 3)}
    model = SchNet(16, 16, num_interactions=3, num_gaussians=8, interaction_graph=within)
    return Network(model, {**atoms, "batch": torch.arange(10) // 4}, "interactions.1")


graph = functools.partial(network.cell, "torch_geometric", "message passing")
NETWORKS = {
    "GCN": graph(basic, "GCN"),
    "GIN": graph(networks.gin),
    "GraphSAGE": graph(basic, "GraphSAGE"),
    "GAT": graph(basic, "GAT"),
    "PNA": graph(pna),
    "Graph U-Net": graph(graph_unet),
    "Graph Transformer": graph(classifier),
    "SchNet": graph(schnet),
}
