"""What the readers of data sets have in common: a digest, and downloads moved in when whole."""

import hashlib
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor


def digest(tensors: Iterable[Tensor]) -> str:
    """sha256 of the tensors' bytes, one after the other: its first 16 hexadecimal digits."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.contiguous().numpy())
    return found.hexdigest()[:16]


def download(folder: Path, fetch: Callable[[Path], Path]) -> None:
    """Download a data set to `folder`, whole or not at all.

    Half a download would pass for a damaged set, so `fetch` writes into an empty folder beside,
    and what it returns, a folder in there, is moved into place. Whatever it raises is passed on,
    but where another worker was first.
    """
    beside = folder.parents[1]
    try:
        beside.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=beside) as aside:
            found = fetch(Path(aside))
            folder.parent.mkdir(exist_ok=True)
            found.rename(folder)
    except Exception:
        if not folder.is_dir():
            raise
