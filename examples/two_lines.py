"""Deep Augmentation in a network of your own: two lines.

    python examples/two_lines.py

A ResNet-18 learns from two views of random images. Needs torchvision.
"""

import torch
from torchvision.models import resnet18

import deepaug


def main() -> float:
    torch.manual_seed(0)
    model = resnet18(num_classes=64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    views = torch.randn(2, 8, 3, 32, 32)

    print(deepaug.layers(model, views[0]))  # where it may go
    handle = deepaug.attach(model, "layer3", deepaug.PCA(0.5))
    for _ in range(2):
        z1, z2 = model(views[0]), model(views[1])  # each by its own draw
        loss = deepaug.nt_xent(z1, z2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(handle)  # which axes it took, how often it acted

    with handle.paused():
        model(views[1])  # a view that stays plain
    model.eval()(views[0])  # bit for bit the plain model
    handle.remove()
    return loss.item()


if __name__ == "__main__":
    main()
