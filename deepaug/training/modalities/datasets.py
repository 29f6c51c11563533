"""What the readers of data sets have in common: a digest, and downloads moved in when whole."""

import hashlib
import importlib.util
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor

from deepaug.validation import DataError, reason


def digest(tensors: Iterable[Tensor]) -> str:
    """sha256 of the tensors' bytes, one after the other: its first 16 hexadecimal digits."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.contiguous().numpy().data)
    return found.hexdigest()[:16]


def in_wheel(package: str, data: str) -> Path:
    """The folder of a package that a data set comes with, not imported, as that takes seconds."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"data set {data!r} comes with {package}, which is not installed: "
            f"pip install 'deepaug[run]'"
        )
    return Path(spec.submodule_search_locations[0])


def download(what: str, folder: Path, fetch: Callable[[Path], Path], advice: str) -> None:
    """Download a data set to `folder`, whole or not at all: half of one would pass for damaged.

    Args:
        what: names the data set in an error.
        fetch: downloads into the empty folder it is given and returns the folder in there that is
            to be moved into place.
        advice: what to do where that fails; ends the error's line.

    Raises DataError, in one line, unless another process has put the data set there meanwhile.
    """
    beside = folder.parents[1]
    try:
        beside.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=beside) as aside:
            found = fetch(Path(aside))
            folder.parent.mkdir(exist_ok=True)
            found.rename(folder)
    except DataError:
        raise
    except Exception as error:  # the file systems below PyG raise errors of many kinds
        if not folder.is_dir():
            raise DataError(
                f"{what} not found in {folder} and could not be downloaded ({reason(error)}); "
                f"{advice}, or set DEEPAUG_DATA to another folder"
            ) from None
