"""SimCLR on a torchvision set, with dropout or PCA at one layer of a ResNet-18: kNN accuracy.

    python examples/simclr.py --data CIFAR10 --layer layer3 --epochs 20

Needs torchvision. Chen et al. 2020, arXiv 2002.05709; loss and projector from `deepaug`.
"""

import argparse

import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import deepaug

PIXELS = v2.Compose([v2.PILToTensor(), v2.RGB(), v2.Resize(32), v2.ToDtype(torch.float32, True)])
JITTER = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
CROP = v2.RandomResizedCrop(32, scale=(0.08, 1))
VIEW = v2.Compose([PIXELS, CROP, v2.RandomHorizontalFlip(), JITTER, v2.RandomGrayscale(p=0.2)])


def resnet() -> nn.Module:
    """ResNet-18 with the CIFAR stem and without its classifier: images to features (n, 512)."""
    model = torchvision.models.resnet18(num_classes=10)
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    model.fc = nn.Identity()
    return model


@torch.no_grad()
def features(encoder: nn.Module, images, device) -> tuple[torch.Tensor, torch.Tensor]:
    encoder.eval()
    batches = [(encoder(x.to(device)).cpu(), y) for x, y in DataLoader(images, 256)]
    found, labels = map(torch.cat, zip(*batches, strict=True))
    return nn.functional.normalize(found), labels


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="CIFAR10", help="a class of torchvision.datasets")
    parser.add_argument("--root", default="data", help="folder of the data; fetched if absent")
    parser.add_argument("--layer", default="layer3", help="target, or none for plain SimCLR")
    parser.add_argument("--p", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=256)
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def images(train: bool, transform):
        kind = getattr(torchvision.datasets, options.data)
        return kind(options.root, train=train, transform=transform, download=True)

    pairs = images(True, lambda image: (VIEW(image), VIEW(image)))
    loader = DataLoader(pairs, options.batch, shuffle=True, drop_last=True)
    encoder, head = resnet().to(device), deepaug.ProjectionHead(512).to(device)
    if options.layer != "none":
        deepaug.attach(encoder, options.layer, deepaug.PCA(options.p))
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(weights, lr=0.06, momentum=0.9, weight_decay=5e-4)
    for epoch in range(options.epochs):
        encoder.train()
        for (first, second), _ in loader:
            z1, z2 = (head(encoder(view.to(device))) for view in (first, second))
            optimizer.zero_grad()
            (loss := deepaug.nt_xent(z1, z2)).backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}")
    bank, labels = features(encoder, images(True, PIXELS), device)
    queries, truth = features(encoder, images(False, PIXELS), device)
    nearest = labels[(queries @ bank.mT).topk(min(20, len(bank))).indices]
    accuracy = 100 * (nearest.mode(1).values == truth).float().mean().item()
    print(f"kNN accuracy: {accuracy:.1f} %")
    return accuracy


if __name__ == "__main__":
    main()
