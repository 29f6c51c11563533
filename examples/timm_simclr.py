"""A network of timm that is asked which layer to target, by SimCLR: kNN accuracy.

    python examples/timm_simclr.py --data CIFAR10 --epochs 20

It is trained plainly, `deepaug.select_layer` compares its layers, and it is trained anew with PCA
at the one it names. Data, training and metric are those of simclr.py. Needs timm and torchvision.
"""

import argparse
from itertools import islice

import timm
import torch
from simclr import arguments, images, knn, train
from torch import nn
from torch.utils.data import DataLoader

import deepaug


def network() -> nn.Module:
    """A small vision transformer: images of 32 pixels, patches of 4, to features (n, 192)."""
    return timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=4, num_classes=0)


def chosen(encoder: nn.Module, options: argparse.Namespace) -> str:
    """The layer most like all others, on a thousand images without augmentation."""
    device = next(encoder.parameters()).device
    batches = (x.to(device) for x, _ in DataLoader(images(options, True), 250, shuffle=True))
    selection = deepaug.select_layer(encoder, islice(batches, 4))
    for layer, score in selection.scores.items():
        print(f"{layer:12} {score:.2f}")
    return selection.layer


def main(given: list[str] | None = None) -> float:
    options = arguments(given, __doc__)

    def trained(layer: str) -> nn.Module:
        torch.manual_seed(options.seed)
        encoder = network()
        if layer != "none":
            deepaug.attach(encoder, layer, deepaug.PCA(options.p)).seed(options.seed)
        return train(encoder, options, encoder.num_features)

    plain = trained("none")
    layer = chosen(plain, options)
    gain = knn(trained(layer), options) - knn(plain, options)
    print(f"PCA({options.p}) at {layer}: {gain:+.1f} points of kNN accuracy")
    return gain


if __name__ == "__main__":
    main()
