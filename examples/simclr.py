"""SimCLR on a torchvision set, with PCA at one layer of a ResNet-18: kNN accuracy.

    python examples/simclr.py --data CIFAR10 --layer layer3 --epochs 20

Needs torchvision. Chen et al. 2020, arXiv 2002.05709. Other programs take its data and metric.
"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, models
from torchvision.transforms import v2

import deepaug

PIXELS = v2.Compose([v2.PILToTensor(), v2.RGB(), v2.Resize(32), v2.ToDtype(torch.float32, True)])
JITTER = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
CROP = v2.RandomResizedCrop(32, scale=(0.08, 1))
VIEW = v2.Compose([PIXELS, CROP, v2.RandomHorizontalFlip(), JITTER, v2.RandomGrayscale(p=0.2)])


def arguments(given: list[str] | None, what: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=what.splitlines()[0])
    defaults = {"data": "CIFAR10", "root": "data", "layer": "layer3", "p": 0.5}
    for name, default in (defaults | {"epochs": 20, "batch": 256, "seed": 0}).items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser.parse_args(given)


def images(options: argparse.Namespace, train: bool, transform=PIXELS):
    return getattr(datasets, options.data)(options.root, train, transform, download=True)


def resnet() -> nn.Module:
    """ResNet-18 with the CIFAR stem and without its classifier: images to features (n, 512)."""
    model = models.resnet18()
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = model.fc = nn.Identity()
    return model


def train(encoder: nn.Module, options: argparse.Namespace, features: int = 512) -> nn.Module:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pairs = images(options, True, lambda image: (VIEW(image), VIEW(image)))
    network = nn.Sequential(encoder, deepaug.ProjectionHead(features)).to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
    for epoch in range(options.epochs):
        for views, _ in DataLoader(pairs, options.batch, shuffle=True, drop_last=True):
            z1, z2 = (network(view.to(device)) for view in views)
            optimizer.zero_grad()
            (loss := deepaug.nt_xent(z1, z2)).backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}")
    return encoder


@torch.no_grad()
def knn(encoder: nn.Module, options: argparse.Namespace) -> float:
    """Per cent of the test images whose nearest 20 training images mostly have their label."""
    device = next(encoder.eval().parameters()).device
    loaders = (DataLoader(images(options, part), 256) for part in (True, False))
    found = [[(encoder(x.to(device)).cpu(), y) for x, y in loader] for loader in loaders]
    (bank, labels), (queries, truth) = (map(torch.cat, zip(*f, strict=True)) for f in found)
    nearest = (queries @ nn.functional.normalize(bank).mT).topk(min(20, len(bank))).indices
    return 100 * (labels[nearest].mode(1).values == truth).float().mean().item()


def main(given: list[str] | None = None) -> float:
    torch.manual_seed((options := arguments(given, __doc__)).seed)
    encoder = resnet()
    if options.layer != "none":
        deepaug.attach(encoder, options.layer, deepaug.PCA(options.p))
    print(f"kNN accuracy: {(accuracy := knn(train(encoder, options), options)):.1f} %")
    return accuracy


if __name__ == "__main__":
    main()
