"""Environments of their own, for what an installation must bring along."""

import os
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest


def run(*words, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess:
    """A command's outcome, with these variables, and without those that lead python elsewhere."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [*map(str, words)],
        cwd=cwd,
        env=own | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def call(*words, **options) -> str:
    """What a command prints; it must succeed."""
    done = run(*words, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def skip_unless_built() -> None:
    """Skip where there is nothing at hand that builds a package."""
    try:
        metadata.version("pip")
        new = int(metadata.version("setuptools").partition(".")[0]) >= 77
    except metadata.PackageNotFoundError:
        new = False
    if not new:
        pytest.skip("needs pip and setuptools 77 or later")


def without_deepaug(folder: Path) -> Path:
    """The interpreter of a new environment, with links to all that is installed but deepaug."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for packages in (Path(p) for p in sys.path if p.endswith("-packages")):
        for path in packages.iterdir():
            link = site / path.name
            known = path.suffix == ".pth" or "deepaug" in path.name or path.name == "__pycache__"
            if not known and not link.exists():
                link.symlink_to(path)
    return folder / "bin" / "python"
