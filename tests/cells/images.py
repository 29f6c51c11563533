"""Networks for images and films."""

import functools

import networks
import torch
from networks import Network, images
from torch import nn

from cells import network


def of_images(path: str, target: str, *args, **settings) -> Network:
    """A class by its path, for images of 32 × 32, with 5 classes."""
    model = network.imported(path)(*args, num_classes=5, **settings)
    for last in [m for m in model.modules() if isinstance(m, nn.Linear)][-1:]:
        nn.init.normal_(last.weight)  # a head that starts at zero shows no change
    return Network(model, images(32, 32), target)


def mobilenet() -> Network:
    from torchvision.models.mobilenetv3 import InvertedResidualConfig as Block

    sizes = [(8, 3, 16, 8, True, "RE", 2), (8, 3, 24, 16, False, "RE", 2)]
    blocks = [Block(*size, 1, 1.0) for size in (*sizes, (16, 5, 32, 16, True, "HS", 1))]
    return of_images("torchvision.models.MobileNetV3", "features.2", blocks, 32)


def efficientnet() -> Network:
    """Its blocks are skipped at random: that has to be the same with the transform and without."""
    from torchvision.models.efficientnet import MBConvConfig as Block

    blocks = [Block(1, 3, 1, 8, 8, 1), Block(4, 3, 2, 8, 16, 2), Block(4, 5, 2, 16, 16, 2)]
    return of_images("torchvision.models.EfficientNet", "features.2", blocks, dropout=0.2)


def convnext() -> Network:
    from torchvision.models.convnext import CNBlockConfig as Stage

    stages = [Stage(16, 32, 1), Stage(32, 48, 1), Stage(48, None, 1)]
    return of_images("torchvision.models.ConvNeXt", "features.3", stages, layer_scale=1.0)


def segmentation() -> Network:
    """It returns a mapping."""
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation.fcn import FCN, FCNHead

    stages = [nn.Sequential(nn.Conv2d(i, 16, 3, 2, 1), nn.ReLU()) for i in (3, 16, 16)]
    backbone = IntermediateLayerGetter(nn.Sequential(*stages), {"2": "out"})
    return Network(FCN(backbone, FCNHead(16, 5)), images(32, 32), "backbone.1")


def nfnet() -> Network:
    from timm.models.nfnet import NfCfg, NormFreeNet

    config = NfCfg((1, 1, 1), (16, 16, 32), stem_type="3x3", stem_chs=8, group_size=8, alpha=1.0)
    return Network(NormFreeNet(config, num_classes=5), images(32, 32), "stages.1")


def resmlp() -> Network:
    from timm.models.mlp_mixer import Affine, ResBlock

    blocks = {"block_layer": ResBlock, "norm_layer": Affine, "mlp_ratio": 4}
    return of_images("timm.models.mlp_mixer.MlpMixer", "blocks.1", **MIXER, **blocks)


class Unet(nn.Module):
    """Down, up again by a transposed convolution, with a path around."""

    def __init__(self):
        super().__init__()
        self.inward, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 2, 2)
        self.up, self.outward = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(16, 3, 1)

    def forward(self, x):
        wide = self.inward(x).relu()
        return self.outward(torch.cat([wide, self.up(self.down(wide).relu())], 1))


def unet() -> Network:
    return Network(Unet(), images(16, 16), "down")


def films() -> Network:
    """Five axes: of a block's output the feature axis has to be said."""
    first, second = (
        nn.Sequential(nn.Conv3d(i, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU()) for i in (3, 8)
    )
    head = nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 2)
    model = nn.Sequential(first, second, *head)
    return Network(model, torch.randn(4, 3, 4, 6, 6), "0", options={"dim": 1})


MIXER = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "num_blocks": 3}
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
vision = functools.partial(network.cell, "torchvision")
timm = functools.partial(network.cell, "timm")
NETWORKS = {
    "ResNet-18": vision("convolutional", networks.resnet),
    "DenseNet": vision(
        "convolutional", of_images, "torchvision.models.DenseNet", "features.denseblock2",
        4, (2, 2, 2), num_init_features=8,
    ),
    "MobileNetV3": vision("convolutional", mobilenet),
    "ShuffleNetV2": vision(
        "convolutional", of_images, "torchvision.models.ShuffleNetV2", "stage3",
        [1, 1, 1], [8, 16, 32, 32, 32],
    ),
    "EfficientNet": vision("convolutional", efficientnet),
    "ConvNeXt": vision("convolutional", convnext),
    "FCN": vision("convolutional", segmentation),
    "ViT": vision("attention", networks.vit),
    "Swin": vision("attention", networks.swin),
    "MaxViT": vision(
        "attention", of_images, "torchvision.models.MaxVit", "blocks.0",
        (32, 32), 8, 4, [16, 32], [1, 1], 8, 0.2,
    ),
    "NFNet": timm("convolutional", nfnet),
    "ResNetV2": timm(
        "convolutional", of_images, "timm.models.resnetv2.ResNetV2", "stages.1",
        [1, 1, 1], (32, 32, 64), stem_chs=32, bottle_ratio=1.0,
    ),
    "ViT of timm": timm("attention", networks.timm_vit),
    "CaiT": timm(
        "attention", of_images, "timm.models.cait.Cait", "blocks.1", init_values=1.0, **VIT
    ),
    "XCiT": timm("attention", of_images, "timm.models.xcit.Xcit", "blocks.1", **VIT),
    "MLP-Mixer": timm(
        "mixer", of_images, "timm.models.mlp_mixer.MlpMixer", "blocks.1", **MIXER
    ),
    "ResMLP": timm("mixer", resmlp),
    "ConvMixer": timm(
        "mixer", of_images, "timm.models.convmixer.ConvMixer", "blocks.1",
        16, 3, kernel_size=3, patch_size=4,
    ),
    "PoolFormer": timm(
        "mixer", of_images, "timm.models.metaformer.MetaFormer", "stages.1",
        depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), use_mlp_head=False,
    ),
    "U-Net": network.cell("torch", "convolutional", unet),
    "3-D convolutions": network.cell("torch", "convolutional", films),
}  # fmt: skip
