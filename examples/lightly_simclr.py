"""SimCLR by lightly's views, loss and projection head, with PCA at one layer: kNN accuracy.

    python examples/lightly_simclr.py --data CIFAR10 --layer layer3 --epochs 20

Data, network and metric are those of simclr.py. Needs lightly and torchvision.
"""

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from simclr import arguments, images, knn, resnet
from torch import nn
from torch.utils.data import DataLoader

import deepaug


def main(given: list[str] | None = None) -> float:
    torch.manual_seed((options := arguments(given, __doc__)).seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    views = SimCLRTransform(input_size=32, cj_strength=0.5, gaussian_blur=0.0, normalize=None)
    loader = DataLoader(images(options, True, views), options.batch, shuffle=True, drop_last=True)
    encoder = resnet()
    network = nn.Sequential(encoder, SimCLRProjectionHead(512, 512, 128)).to(device)
    if options.layer != "none":
        deepaug.attach(encoder, options.layer, deepaug.PCA(options.p))
    criterion = NTXentLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
    for _ in range(options.epochs):
        for (first, second), _ in loader:
            loss = criterion(network(first.to(device)), network(second.to(device)))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    accuracy = knn(encoder, options)
    print(f"kNN accuracy: {accuracy:.1f} %")
    return accuracy


if __name__ == "__main__":
    main()
