"""Image files of any kind as square pixels: what Pillow reads, each mode as it is meant to look."""

import contextlib
import multiprocessing
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile
from tqdm import tqdm

from deepaug.training.modalities import folders
from deepaug.training.modalities.vision import decoded
from deepaug.validation import DataError, reason

Image.init()
_FORMATS = [kind for kind in folders.FORMATS if kind in Image.OPEN]  # an older Pillow lacks some
# Greys of more than 8 bits: the number that is white, and how many bits a TIFF has for it.
_DEEP = {"I;16": (65535, 16), "I;16B": (65535, 16), "I": (65535, None), "F": (1, 32)}


def read(part: folders.Part, side: int | None, most: int) -> np.ndarray:
    """The images of a folder, uint8 (n, 3, side, side); decoded once, see `decoded`.

    Args:
        side: pixels along a side; None: the median of the images' shorter sides, up to `most`.

    Raises DataError, in one line, that names the files that cannot be read.
    """

    def decode() -> np.ndarray:
        each = partial(_each, part.files, part.folder)
        width = side or min(most, median_low(each(lambda image: min(image.size))))
        return np.stack(each(partial(_pixels, side=width)))

    return decoded.keep(part.files, f"side {side}, most {most}", decode)


def _each(files: list[Path], folder: Path, act: Callable[[Image.Image], Any]) -> list:
    """What `act` makes of each file's image."""
    found, wrong = [], {}
    in_worker = multiprocessing.parent_process() is not None
    for path in tqdm(files, f"decoding {folder}", leave=False, delay=2, disable=in_worker):
        try:
            with Image.open(path, formats=_FORMATS) as image:
                # A phone's MPO is a photograph, with a second picture for the depth or a preview.
                if getattr(image, "is_animated", False) and image.format != "MPO":
                    raise ValueError(f"{getattr(image, 'n_frames', 'several')} frames; needed: one")
                found.append(act(image))
        except Exception as error:  # of damaged files: of many kinds
            wrong[path] = reason(error)
    if wrong:
        first, *others = wrong
        also = textwrap.shorten(", ".join(path.name for path in others), 120, placeholder=" …")
        also = f"; likewise {len(others)} more: {also}" if others else ""
        raise DataError(f"cannot read image {first} ({wrong[first]}); mend or remove it{also}")
    return found


def _pixels(image: Image.Image, side: int) -> np.ndarray:
    """An image as it is meant to look, upright and on white: uint8 (3, side, side).

    Raises ValueError where that is not known.
    """
    image.load()
    with contextlib.suppress(Exception):  # where EXIF data are damaged, viewers turn nothing either
        ImageOps.exif_transpose(image, in_place=True)
    clear = image.info.get("transparency")
    deep = image.mode in _DEEP or (isinstance(clear, tuple) and max(clear) > 255)
    if clear is not None and deep:
        raise ValueError("a transparent colour of 16 bits; save it with 8 bits")
    if image.mode in _DEEP:
        image = _eight_bits(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    image = image.convert("RGB")
    if image.size != (side, side):
        image = _square(image, side)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _eight_bits(image: Image.Image) -> Image.Image:
    """A grey image whose whole range, from black to white, is brought to 0 to 255.

    By the range of its format, as Pillow does with colours of 16 bits: of two images the brighter
    one stays the brighter.
    """
    white, bits = _DEEP[image.mode]
    if isinstance(image, TiffImageFile) and image.format == "TIFF":
        given = image.tag_v2[BITSPERSAMPLE][0], image.tag_v2[PHOTOMETRIC_INTERPRETATION]
        if given != (bits, 1):  # signed or of 32 bits, of 12, or 0 for white
            raise ValueError("a grey TIFF whose white is not known; save it with 8 or 16 bits")
    pixels = np.asarray(image, np.float64)
    least, most = pixels.min(), pixels.max()
    if not (least >= 0 and most <= white):  # nor where one is not a number
        raise ValueError(f"numbers from {least:g} to {most:g}; needed: 0, black, to {white}, white")
    return Image.fromarray((pixels * (255 / white)).round().astype(np.uint8))


def _square(image: Image.Image, side: int) -> Image.Image:
    """The central square of an image, resampled to `side` pixels.

    Not `PIL.ImageOps.fit`: it cuts at fractions of a pixel, which is another digest, and large
    photographs take it longer.
    """
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    return image.resize((side, side), box=(left, top, left + short, top + short), reducing_gap=3.0)
