"""Packages of Debian and Ubuntu that some checks need, installed where this user may."""

import os
import shutil
import subprocess


def permitted() -> bool:
    """Whether this is root on Debian or Ubuntu."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(*packages: str) -> str | None:
    """Install them; what failed in one line, None where nothing did."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", "--quiet", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            told = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            return f"apt-get {words[0]} failed: {told[-1]}"
    return None
