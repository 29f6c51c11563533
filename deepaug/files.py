"""Files that are written whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write in the place of `path`, whose name it takes once the block has ended.

    A reader finds what was there before or all that is new, whatever interrupts the block, and
    what is new is on the disk before it has its name. The folder must exist. What the
    system refuses within the block names the file.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole(Path(folder, "scores.csv")) as partial:
    ...         size = partial.write_text("seed,score")
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except OSError as error:
        if error.errno and not error.filename:  # writing fails without a name
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
