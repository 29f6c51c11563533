"""Where a result comes from: the code, its revision, and the versions of what it runs on."""

import contextlib
import hashlib
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from deepaug.training import registry

PACKAGE = Path(__file__).parents[1]
AFFECTS = ("method", "training")  # what a result may depend on: no figure, no verdict


@cache
def source_digest() -> str:
    """sha256 of the sources that a result may depend on, 16 digits, whether or not git is there."""
    digest = hashlib.sha256()
    for path in sorted(path for floor in AFFECTS for path in (PACKAGE / floor).rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@cache
def revision() -> str | None:
    """The checkout's git commit, with "+" if the package differs from it; None without git."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", str(PACKAGE))
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


@cache
def versions(modality: str) -> dict[str, str]:
    """Versions of what a result of this modality may depend on."""
    found = {"python": sys.version.split()[0]}
    common = ("torch", "pytorch-lightning", "numpy", "scikit-learn")
    for package in (*common, *registry.MODALITIES[modality].packages):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
