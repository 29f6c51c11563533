"""A home for users who have none, as in containers: libraries keep settings and caches there."""

import contextlib
import getpass
import os
import tempfile
from pathlib import Path

# What is written even by those who only read: settings and caches that follow the home by default.
WRITTEN = ("MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR")


def folder() -> Path:
    """The user's home, or, if there is none, a folder of theirs among the temporary files.

    Docker names "/" as the home of users whom the system does not know.

    >>> folder().is_absolute()
    True
    """
    home = Path(os.path.expanduser("~"))  # "~" itself where neither $HOME nor the system names one
    return home if home.is_absolute() and home.is_dir() and home.parent != home else _spare()


def lend() -> None:
    """Let libraries find a home, and a name for the user, in this process and those it begins.

    A home that can only be read stays: data and models may lie there. Raises OSError if the folder
    that would stand in for a home is somebody else's.
    """
    home, spare = folder(), _spare()
    os.environ["HOME"] = str(home)
    try:
        getpass.getuser()
    except (KeyError, OSError):  # a number that the system does not know; OSError from 3.13 on
        os.environ["LOGNAME"] = str(os.getuid())
    if home != spare and os.access(home, os.W_OK):
        return
    with contextlib.suppress(OSError):  # nowhere to write at all: `list` and `show` work yet
        spare.mkdir(mode=0o700, exist_ok=True)
    if os.path.lexists(spare) and spare.lstat().st_uid != os.getuid():
        raise OSError(f"{spare} is somebody else's; set HOME to a folder of yours")
    for name in WRITTEN:
        os.environ.setdefault(name, str(spare / name.lower()))


def _spare() -> Path:
    try:
        temporary = tempfile.gettempdir()
    except OSError:  # none that can be written
        temporary = os.sep
    number = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    return Path(temporary, f"deepaug-{number}")
