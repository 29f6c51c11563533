"""A process and its surroundings: a home, streams and an age, also in containers that lack some."""

import contextlib
import getpass
import io
import os
import sys
import tempfile
import time
from pathlib import Path

# What is written even by those who only read: settings and caches that follow the home by default.
WRITTEN = ("MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR")
# What they follow in place of the home, where it is set.
XDG = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")


def home() -> Path:
    """The user's home, or, if there is none, a folder of theirs among the temporary files.

    Docker names "/" as the home of users whom the system does not know.

    >>> home().is_absolute()
    True
    """
    named = Path(os.path.expanduser("~"))  # "~" itself where neither $HOME nor the system names one
    return named if named.is_absolute() and named.is_dir() and named.parent != named else _spare()


def lend_home() -> None:
    """Let libraries find a home, and a name for the user, in this process and those it begins.

    A home that can only be read stays, and so do folders of XDG: data and models may lie there.
    Raises OSError if the folder that would stand in for a home is somebody else's.
    """
    own, spare = home(), _spare()
    os.environ["HOME"] = str(own)
    try:
        getpass.getuser()
    except (KeyError, OSError):  # a number that the system does not know; OSError from 3.13 on
        os.environ["LOGNAME"] = str(os.getuid())
    places = [own, *(Path(os.environ[name]) for name in XDG if os.environ.get(name))]
    if own != spare and all(map(_writable, places)):
        return
    with contextlib.suppress(OSError):  # nowhere to write at all: `list` and `show` work yet
        spare.mkdir(mode=0o700, exist_ok=True)
    if os.path.lexists(spare) and spare.lstat().st_uid != os.getuid():
        raise OSError(f"{spare} is somebody else's; set HOME to a folder of yours")
    for name in WRITTEN if spare.is_dir() else ():
        os.environ.setdefault(name, str(spare / name.lower()))


def _writable(folder: Path) -> bool:
    """Whether a folder can be written to, or made."""
    there = next(p for p in (folder, *folder.absolute().parents) if os.path.exists(p))
    return there.is_dir() and os.access(there, os.W_OK)


def _spare() -> Path:
    try:
        temporary = tempfile.gettempdir()
    except OSError:  # none that can be written
        temporary = os.sep
    number = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    return Path(temporary, f"deepaug-{number}")


def mend_streams() -> None:
    """Let printing succeed: into nothing where a stream is closed; escaped, what has no code."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def age() -> float:
    """Seconds since this process began, Python's own start included."""
    try:
        text = Path("/proc/self/stat").read_text(encoding="utf-8")
        began = int(text.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, AttributeError):  # not Linux
        return time.process_time()
