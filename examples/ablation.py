"""An ablation: layers × strengths × seeds, and a table of gains over the plain network by seed.

    python examples/ablation.py --seeds 5

A small SimCLR on the digits of scikit-learn, some seconds a training. `gains` takes any other one.
"""

import argparse
from collections.abc import Callable
from itertools import product

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import deepaug

TRAIN = 1200  # images; the others are the test
Table = dict[tuple[str, float], list[float]]


def gains(train: Callable, layers: list[str], strengths: list[float], seeds: range) -> Table:
    """(layer, p) -> of each seed the metric of `train(layer, p, seed)` minus the plain one's."""
    plain = {seed: train("none", 0.0, seed) for seed in seeds}
    table = {}
    for layer, p in product(layers, strengths):
        found = table[layer, p] = [train(layer, p, seed) - plain[seed] for seed in seeds]
        told = " ".join(f"{gain:+5.1f}" for gain in found)
        print(f"{layer:6} p = {p}: {sum(found) / len(found):+5.1f}   by seed: {told}")
    return table


def network() -> nn.Sequential:
    """Digits (n, 1, 8, 8) to features (n, 64)."""
    sizes = (1, 16, 1), (16, 32, 2), (32, 64, 2)
    convolutions = (nn.Conv2d(i, o, 3, stride, 1) for i, o, stride in sizes)
    blocks = (nn.Sequential(c, nn.BatchNorm2d(c.out_channels), nn.ReLU()) for c in convolutions)
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def view(x: Tensor) -> Tensor:
    """Each image turned, stretched and shifted by itself."""
    maps = torch.eye(2, 3) + 0.15 * torch.randn(len(x), 2, 3)
    return F.grid_sample(x, F.affine_grid(maps, list(x.shape), False), align_corners=False)


def train(layer: str, p: float, seed: int, epochs: int = 20) -> float:
    """Per cent of the test images whose nearest training image has their label."""
    torch.manual_seed(seed)
    digits = load_digits()
    x, y = torch.tensor(digits.images).float().unsqueeze(1) / 16, torch.tensor(digits.target)
    model, head = network(), deepaug.ProjectionHead(64)
    if layer != "none":  # a stream of its own: weights, order and views stay those of the seed
        deepaug.attach(model, layer, deepaug.PCA(p)).seed(seed)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=1e-3)
    for _ in range(epochs):
        for index in torch.randperm(TRAIN).split(200):
            loss = deepaug.nt_xent(*(head(model(view(x[index]))) for _ in range(2)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        features = F.normalize(model.eval()(x))
    nearest = (features[TRAIN:] @ features[:TRAIN].mT).argmax(1)
    return 100 * (y[nearest] == y[TRAIN:]).float().mean().item()


def main(given: list[str] | None = None) -> Table:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("seeds", 3), ("epochs", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(given)
    layers = deepaug.layers(network(), torch.zeros(2, 1, 8, 8))[:-1]  # flat is pooled again
    seeds = range(options.seeds)
    return gains(lambda *arm: train(*arm, options.epochs), layers, [0.2, 0.5], seeds)


if __name__ == "__main__":
    main()
