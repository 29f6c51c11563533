"""Decoded images on disk, so that the processes and sessions of a sweep decode a folder once.

`joblib.Memory` knows a call by its arguments, not by the sizes and times of files, and loads
whatever pickle lies there.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from deepaug.files import whole
from deepaug.training import registry

LAYOUT = 2  # raise when decoding changes


def keep(files: list[Path], settings: str, decode: Callable[[], np.ndarray]) -> np.ndarray:
    """What `decode` makes of `files`: uint8, from `$DEEPAUG_DATA`/decoded if it lies there.

    It does if the files have the paths, sizes and times they had, and `settings` are the same. The
    array is mapped from the file, so that processes share its memory; changes to it stay their own.
    Where nothing can be written the files are decoded each time.
    """
    path = registry.data_root() / "decoded" / f"{_key(files, settings)}.npy"
    # A file cut short raises ValueError; it is made anew. Nothing pickled is ever loaded.
    with contextlib.suppress(OSError, ValueError, EOFError):
        return np.load(path, mmap_mode="c", allow_pickle=False)
    pixels = decode()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial, open(partial, "wb") as file:
            np.save(file, pixels, allow_pickle=False)
    return pixels


def _key(files: list[Path], settings: str) -> str:
    digest = hashlib.sha256(f"{LAYOUT}/{settings}".encode())
    for file in files:
        state = file.stat()
        digest.update(b"\n" + os.fsencode(os.path.abspath(file)))  # of any bytes, as on Linux
        digest.update(f"\t{state.st_size}\t{state.st_mtime_ns}".encode())
    return digest.hexdigest()[:24]
