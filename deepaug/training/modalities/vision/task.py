"""Vision: SimCLR's views, ResNets with the CIFAR stem, kNN and linear probe on frozen features."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from deepaug.training import evaluation
from deepaug.training.contrastive import ProjectionHead
from deepaug.training.modalities import sampling
from deepaug.training.modalities.vision import sets as images
from deepaug.training.modalities.vision.resnet import ResNet
from deepaug.training.modalities.vision.sets import Split
from deepaug.training.modalities.vision.views import DRAWS, view
from deepaug.training.task import Task
from deepaug.training.trial import Trial
from deepaug.validation import training_size


class ImageTask(Task):
    """An image set prepared for one trial; see `deepaug.training.task.Task`."""

    def __init__(self, trial: Trial, device: torch.device):
        data = images.load(trial.data, trial.view_size)
        wanted = training_size(trial.data, len(data.train), trial.samples, trial.batch_size)
        draws = sampling.generator(trial.seed, "subset")
        subset = sampling.subset(data.train.labels, wanted, draws)
        self.trial, self.device = trial, device
        self.digest, self.classes, self.recipe = data.digest, len(data.classes), data.recipe
        self.train = data.train.take(subset).to(device)
        self.validation, self.test = data.validation.to(device), data.test.to(device)
        # Strided 1×1 convolutions of fewer than 8 channels, kept channels-last, write beyond their
        # memory in oneDNN 3.13 on processors without AVX-512.
        narrow = trial.width < 8
        self.layout = torch.contiguous_format if narrow else torch.channels_last
        # A folder lists its images class by class: some of all, not the first ones.
        pixels = data.train.images[:: -(-len(data.train) // 5000)].float() / 255
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
        return sampling.full_batches(len(self), self.trial.batch_size, generator)

    def views(self, epoch: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """A function from indices (n,) to the two views of those images in this epoch.

        What happens to an image depends on seed, epoch and image, never on its place in the batch;
        only the order of colour jitter's steps is the batch's.
        """
        generator = sampling.generator(self.trial.seed, "views", epoch)
        draws = torch.rand(2, len(self), DRAWS, generator=generator).to(self.device)
        strength, side = self.trial.view_strength, self.trial.view_size

        def both(index: Tensor) -> tuple[Tensor, Tensor]:
            index = index.to(self.device)
            pixels = self.train.images[index].float() / 255
            first, second = (view(pixels, d[index], self.recipe, strength, side) for d in draws)
            return self._normalise(first), self._normalise(second)

        return both

    def plain(self, index: Tensor) -> Tensor:
        return self._whole(self.train.images[index.to(self.device)])

    def labels(self, index: Tensor) -> Tensor:
        return self.train.labels[index.to(self.device)]

    def evaluate(self, embed: Callable[[Tensor], Tensor], final: bool) -> dict[str, dict]:
        """Accuracies in per cent by split: kNN on validation; if `final`, also probe and test."""
        parts = {"validation": self.validation} | ({"test": self.test} if final else {})
        bank = self._features(embed, self.train)
        queries = {split: self._features(embed, part) for split, part in parts.items()}
        probe = partial(evaluation.linear_probe, threads=self.trial.threads) if final else None
        return evaluation.accuracies(bank, queries, self.classes, probe)

    def _features(self, embed: Callable[[Tensor], Tensor], split: Split) -> evaluation.Labelled:
        """Features (n, f), float32, of whole images, and their labels (n,)."""
        features = [embed(self._whole(part)) for part in split.images.split(512)]
        return torch.cat(features), split.labels

    def _whole(self, images: Tensor) -> Tensor:
        """Images (n, c, h, w), uint8, at the views' size."""
        side = self.trial.view_size
        return self._normalise(F.interpolate(images.float() / 255, (side, side), mode="area"))

    def _normalise(self, pixels: Tensor) -> Tensor:
        pixels = (pixels - self.mean) / self.deviation
        return pixels.contiguous(memory_format=self.layout)


prepare = ImageTask


def describe(data: str) -> str:
    """One line on an image set, fetched if need be; images larger than 256 pixels are shrunk.

    Of a folder a second line says what was taken and what was left out.
    """
    found = images.load(data, 128)
    sizes = ", ".join(f"{len(getattr(found, s))} {s}" for s in ("train", "validation", "test"))
    shape = "×".join(map(str, found.train.images.shape[1:]))
    line = f"{found.name}: {sizes}; {len(found.classes)} classes; {shape}; digest {found.digest}"
    return "\n".join([line, found.told] if found.told else [line])
