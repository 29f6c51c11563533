"""Vision: SimCLR's views, ResNets with the CIFAR stem, kNN and linear probe on frozen features."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from deepaug.training import evaluation
from deepaug.training.contrastive import ProjectionHead
from deepaug.training.modalities.vision import sets as images
from deepaug.training.modalities.vision.sets import Recipe, Split
from deepaug.training.trial import Trial, derive
from deepaug.validation import enough


class ResNet(nn.Module):
    """ResNet of basic blocks with the CIFAR stem (3×3, stride 1, no pooling), without classifier.

    (n, channels, h, w) -> (n, 8·width). With width 64 and two blocks to a stage it is torchvision's
    ResNet-18 but for its stem.
    """

    def __init__(self, blocks: int, width: int, channels: int = 3):
        super().__init__()
        self.features = 8 * width
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.stage1 = _stage(width, width, blocks, stride=1)
        self.stage2 = _stage(width, 2 * width, blocks, stride=2)
        self.stage3 = _stage(2 * width, 4 * width, blocks, stride=2)
        self.stage4 = _stage(4 * width, 8 * width, blocks, stride=2)
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage2(self.stage1(self.stem(x)))
        return self.pooled(self.stage4(self.stage3(x)))


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1:
        shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
        )
    first = BasicBlock(inputs, outputs, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs) for _ in range(blocks - 1)))


class ImageTask:
    """An image set prepared for one trial; see `deepaug.training.loop.Task`."""

    dim = mask = groups = None  # rows are pixels and all of them count

    def __init__(self, trial: Trial, device: torch.device):
        data = images.load(trial.data, trial.view_size)
        available = len(data.train)
        wanted = enough(trial.data, available, trial.samples, trial.batch_size)
        subset = torch.randperm(
            available, generator=torch.Generator().manual_seed(derive(trial.seed, "subset"))
        )[:wanted]
        self.trial, self.device, self.target = trial, device, trial.layer
        self.digest, self.classes, self.recipe = data.digest, len(data.classes), data.recipe
        self.train = data.train.take(subset).to(device)
        self.validation, self.test = data.validation.to(device), data.test.to(device)
        # A folder lists its images class by class: some of all, not the first ones.
        pixels = data.train.images[:: -(-available // 5000)].float() / 255
        # Strided 1×1 convolutions of fewer than 8 channels, kept channels-last, write beyond their
        # memory in oneDNN 3.13 on processors without AVX-512.
        narrow = trial.width < 8
        self.layout = torch.contiguous_format if narrow else torch.channels_last
        self.mean = pixels.mean((0, 2, 3)).view(-1, 1, 1).to(device)
        self.deviation = pixels.std((0, 2, 3)).view(-1, 1, 1).to(device)

    def __len__(self) -> int:
        return len(self.train)

    def encoder(self) -> ResNet:
        blocks = {"resnet10": 1, "resnet18": 2}[self.trial.encoder]
        model = ResNet(blocks, self.trial.width, self.train.images.shape[1])
        return model.to(memory_format=self.layout)

    def head(self, features: int) -> ProjectionHead:
        return ProjectionHead(features)

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        """Shuffled full batches of indices; the remainder is left for another epoch's order."""
        order = torch.randperm(len(self), generator=generator)
        return [b for b in order.split(self.trial.batch_size) if len(b) == self.trial.batch_size]

    def views(self, epoch: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """A function from indices (n,) to the two views of those images in this epoch.

        What happens to an image depends on seed, epoch and image, never on its place in the batch;
        only the order of colour jitter's steps is the batch's.
        """
        generator = torch.Generator().manual_seed(derive(self.trial.seed, "views", epoch))
        draws = torch.rand(2, len(self), DRAWS, generator=generator).to(self.device)

        def both(index: Tensor) -> tuple[Tensor, Tensor]:
            index = index.to(self.device)
            pixels = self.train.images[index].float() / 255
            first, second = (
                self._normalise(
                    view(
                        pixels,
                        draw[index],
                        self.recipe,
                        self.trial.view_strength,
                        self.trial.view_size,
                    )
                )
                for draw in draws
            )
            return first, second

        return both

    def labels(self, index: Tensor) -> Tensor:
        return self.train.labels[index.to(self.device)]

    def evaluate(self, embed: Callable[[Tensor], Tensor], final: bool) -> dict[str, dict]:
        """Accuracies in per cent by split: kNN on validation; if `final`, also probe and test."""
        bank = self._embed(embed, self.train)
        splits = {"validation": self.validation} | ({"test": self.test} if final else {})
        queries = {name: (self._embed(embed, part), part.labels) for name, part in splits.items()}
        neighbours = max(1, min(200, len(bank) // 50))
        metrics = {
            split: {
                "knn": evaluation.knn_accuracy(
                    bank, self.train.labels, features, labels, self.classes, neighbours
                )
            }
            for split, (features, labels) in queries.items()
        }
        if final:
            threads = self.trial.threads
            accuracies = evaluation.linear_probe(bank, self.train.labels, queries, threads)
            for split, accuracy in accuracies.items():
                metrics[split]["probe"] = accuracy
        return metrics

    def _embed(self, embed: Callable[[Tensor], Tensor], split: Split) -> Tensor:
        """Features (n, f), float32, of whole images at the views' size."""
        side = self.trial.view_size
        return torch.cat(
            [
                embed(self._normalise(F.interpolate(part.float() / 255, (side, side), mode="area")))
                for part in split.images.split(512)
            ]
        )

    def _normalise(self, pixels: Tensor) -> Tensor:
        pixels = (pixels - self.mean) / self.deviation
        return pixels.contiguous(memory_format=self.layout)


def prepare(trial: Trial, device: torch.device) -> ImageTask:
    return ImageTask(trial, device)


def describe(data: str, side: int = 1024) -> str:
    """One line on an image set, fetched if need be; images larger than 2·side are shrunk."""
    found = images.load(data, side)
    sizes = ", ".join(f"{len(getattr(found, s))} {s}" for s in ("train", "validation", "test"))
    shape = "×".join(map(str, found.train.images.shape[1:]))
    return f"{found.name}: {sizes}; {len(found.classes)} classes; {shape}; digest {found.digest}"


DRAWS = 15  # uniform numbers that decide one view: 4 crop, 1 flip, 9 jitter, 1 grey


def view(pixels: Tensor, draw: Tensor, recipe: Recipe, strength: float, side: int) -> Tensor:
    """A random view of each image, every image with its own draw.

    Args:
        pixels: (n, channels, h, w) in [0, 1].
        draw: uniform numbers in [0, 1), (n, DRAWS).
        recipe: the changes that suit the data set, at full strength.
        strength: scales the smallest crop, the reach of jitter and the probability of grey; the
            probabilities of jitter and mirroring stay. 0 leaves images whole.
        side: pixels along a side of the view.

    Returns:
        (n, channels, side, side) in [0, 1].
    """
    out = _crop(pixels, draw[:, :5], recipe, strength, side)
    if recipe.jitter_share and strength:
        out = _jitter(out, draw[:, 5:14], recipe, strength)
    if recipe.grey_share and strength:
        grey = (draw[:, 14] < recipe.grey_share * min(strength, 1)).view(-1, 1, 1, 1)
        out = torch.where(grey, _grey(out), out)
    return out


def _crop(pixels: Tensor, draw: Tensor, recipe: Recipe, strength: float, side: int) -> Tensor:
    """Crop of random area and aspect (3/4 to 4/3), resampled bilinearly; random mirror image."""
    smallest = max(1 - strength * (1 - recipe.smallest_area), 0.01)
    area = smallest + (1 - smallest) * draw[:, 0]
    stretch = torch.exp((2 * draw[:, 1] - 1) * math.log(4 / 3) / 2 * min(strength, 1))
    width, height = ((area.sqrt() * s).clamp(max=1) for s in (stretch, 1 / stretch))
    # Centres and half-sizes in the sampler's coordinates, where an image spans -1 to 1.
    x, y = (1 - width) * (2 * draw[:, 2] - 1), (1 - height) * (2 * draw[:, 3] - 1)
    if recipe.flip and strength:
        width = torch.where(draw[:, 4] < 0.5, -width, width)
    zero = torch.zeros_like(x)
    where = torch.stack([width, zero, x, zero, height, y], 1).view(-1, 2, 3)
    grid = F.affine_grid(where, [len(pixels), 1, side, side], align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _jitter(pixels: Tensor, draw: Tensor, recipe: Recipe, strength: float) -> Tensor:
    """Colour jitter as torchvision's, each image with its own factors."""
    chosen = draw[:, 0] < recipe.jitter_share
    reach = [strength * r for r in recipe.jitter]
    scale = [1 + r * (2 * u - 1) for r, u in zip(reach[:3], draw[:, 1:4].unbind(1), strict=True)]
    scale = [torch.where(chosen, s.clamp_min(0), 1).view(-1, 1, 1, 1) for s in scale]
    turn = torch.where(chosen, reach[3] * (2 * draw[:, 4] - 1), 0).view(-1, 1, 1)

    def contrast(x: Tensor) -> Tensor:
        mean = _grey(x).mean((1, 2, 3), keepdim=True)
        return (mean + scale[1] * (x - mean)).clamp(0, 1)

    def saturation(x: Tensor) -> Tensor:
        grey = _grey(x)
        return (grey + scale[2] * (x - grey)).clamp(0, 1)

    changes = (lambda x: (x * scale[0]).clamp(0, 1), contrast, saturation, lambda x: _turn(x, turn))
    # One order for the batch, by the first image's draw: four passes instead of sixteen.
    for change in draw[0, 5:9].argsort().tolist():
        pixels = changes[change](pixels)
    return pixels


def _grey(pixels: Tensor) -> Tensor:
    """Luma (ITU-R BT.601), (n, 1, h, w)."""
    weights = pixels.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    return (pixels * weights).sum(1, keepdim=True)


def _turn(pixels: Tensor, turn: Tensor) -> Tensor:
    """Add `turn` (n, 1, 1), in full circles, to the hue in HSV space."""
    red, green, blue = pixels.unbind(1)
    value, least = pixels.amax(1), pixels.amin(1)
    chroma = value - least
    safe = chroma.clamp_min(1e-8)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = hue + 6 * turn
    parts = ((offset + hue) % 6 for offset in (5, 3, 1))
    return torch.stack(
        [value - chroma * torch.minimum(part, 4 - part).clamp(0, 1) for part in parts], 1
    )
