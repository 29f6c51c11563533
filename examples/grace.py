"""GRACE on a citation graph, with PCA at one layer of its GCN: classes of nodes by a linear probe.

    python examples/grace.py --data Cora --layer conv1 --p 0.5

Needs torch_geometric and scikit-learn; a minute on two cores. Zhu et al. 2020, arXiv 2006.04131.
"""

import argparse

import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch_geometric.datasets import Planetoid
from torch_geometric.nn import GCNConv
from torch_geometric.utils import dropout_edge, mask_feature

import deepaug


class GCN(nn.Module):
    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.conv1 = GCNConv(inputs, 2 * width)
        self.conv2 = GCNConv(2 * width, width)

    def forward(self, x, edge_index):
        return self.conv2(self.conv1(x, edge_index).relu(), edge_index).relu()


def view(graph, edges: float, features: float):
    """The graph without some of its edges and feature columns."""
    edge_index, _ = dropout_edge(graph.edge_index, edges, force_undirected=True)
    return mask_feature(graph.x, features, mode="col")[0], edge_index


def probe(encoder: nn.Module, graph) -> float:
    """Test accuracy in per cent of a logistic regression on a tenth of the nodes."""
    encoder.eval()
    with torch.no_grad():
        features = nn.functional.normalize(encoder(graph.x, graph.edge_index)).numpy()
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))
    train, test = order.split([len(order) // 10, len(order) - len(order) // 10])
    classifier = LogisticRegression(C=100, max_iter=1000)
    classifier.fit(features[train], graph.y[train])
    return 100 * classifier.score(features[test], graph.y[test])


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="Cora", help="Cora, CiteSeer or PubMed")
    parser.add_argument("--root", default="data", help="folder of the data; fetched if absent")
    parser.add_argument("--layer", default="conv1", help="target, or none for plain GRACE")
    parser.add_argument("--p", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=100)
    options = parser.parse_args(arguments)
    torch.manual_seed(0)

    graph = Planetoid(options.root, options.data)[0]
    graph.x = graph.x / graph.x.sum(1, keepdim=True).clamp_min(1)
    encoder, width = GCN(graph.num_features, 128), 128
    head = nn.Sequential(nn.Linear(width, width), nn.ELU(), nn.Linear(width, width))
    if options.layer != "none":
        deepaug.attach(encoder, options.layer, deepaug.PCA(options.p))
    print(f"untrained: {probe(encoder, graph):.1f} %")
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=5e-4)
    for _ in range(options.epochs):
        encoder.train()
        nodes = torch.randperm(graph.num_nodes)[:1024]  # of the loss
        z1, z2 = (head(encoder(*view(graph, *rates))[nodes]) for rates in ((0.2, 0.3), (0.4, 0.4)))
        optimizer.zero_grad()
        deepaug.nt_xent(z1, z2, temperature=0.4).backward()
        optimizer.step()
    accuracy = probe(encoder, graph)
    print(f"after {options.epochs} epochs: {accuracy:.1f} %")
    return accuracy


if __name__ == "__main__":
    main()
