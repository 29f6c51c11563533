"""GraphCL on a TU set, with PCA at one convolution of a GIN: classes of graphs by an SVC.

    python examples/graphcl.py --data PROTEINS --layer convs.1 --p 0.5

Needs torch_geometric and scikit-learn. You et al. 2020, arXiv 2010.13902. An untrained GIN scores
nearly as much on these sets: compare with --epochs 0.
"""

import argparse

import torch
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.datasets import TUDataset
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GIN, global_add_pool
from torch_geometric.utils import dropout_edge

import deepaug

WIDTH = 32


def pooled(gin: nn.Module, graphs: Batch, edges: Tensor) -> Tensor:
    """Sum of the features of each graph's nodes, (n, WIDTH)."""
    return global_add_pool(gin(graphs.x, edges, batch=graphs.batch), graphs.batch)


@torch.no_grad()
def accuracy(gin: nn.Module, dataset: TUDataset) -> float:
    """Per cent right of a support vector classifier, in ten folds."""
    gin.eval()
    loader = DataLoader(dataset, 128)
    features = torch.cat([pooled(gin, graphs, graphs.edge_index) for graphs in loader])
    classes = torch.cat([graphs.y for graphs in loader])
    features = nn.functional.normalize(features)
    return 100 * cross_val_score(SVC(C=10), features.numpy(), classes.numpy(), cv=10).mean().item()


def main(given: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="PROTEINS", help="a TU set with features of nodes")
    parser.add_argument("--root", default="data", help="folder of the data; fetched if absent")
    parser.add_argument("--layer", default="convs.1", help="target, or none for plain GraphCL")
    parser.add_argument("--p", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args(given)
    torch.manual_seed(0)
    dataset = TUDataset(options.root, options.data)
    gin, head = GIN(dataset.num_features, WIDTH, 3), deepaug.ProjectionHead(WIDTH)
    if options.layer != "none":
        deepaug.attach(
            gin,
            options.layer,
            deepaug.PCA(options.p),
            groups=lambda x, edge_index, batch: batch,  # nodes of one graph share a draw
        )
    optimizer = torch.optim.Adam([*gin.parameters(), *head.parameters()], lr=0.01)
    for _ in range(options.epochs):
        gin.train()
        for graphs in DataLoader(dataset, 128, shuffle=True):
            views = (dropout_edge(graphs.edge_index, 0.2)[0] for _ in range(2))
            z1, z2 = (head(pooled(gin, graphs, edges)) for edges in views)
            optimizer.zero_grad()
            deepaug.nt_xent(z1, z2, temperature=0.2).backward()
            optimizer.step()
    print(f"after {options.epochs} epochs: {(found := accuracy(gin, dataset)):.1f} %")
    return found


if __name__ == "__main__":
    main()
