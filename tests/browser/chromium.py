"""The browser of the checks: any Chromium of the system's.

As a program, `python tests/browser/chromium.py`, it installs one where it is missing and this user
may: root on Debian or Ubuntu. Elsewhere it says in one line what to install, and ends with 1.
"""

import os
import shutil
import subprocess
import sys

PROGRAMS = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
WANTED = "no Chromium found; install it or Google Chrome, on Debian: apt-get install chromium"


def find() -> str | None:
    """Where the browser is; None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def install() -> str | None:
    """Install Debian's package; what failed in one line, None if it is there now."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return WANTED
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
        done = subprocess.run(
            ["apt-get", "--quiet", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            told = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            return f"{WANTED} (apt-get {words[0]} failed: {told[-1]})"
    return None if find() else WANTED


if __name__ == "__main__":
    if not find() and (fault := install()):
        sys.exit(f"chromium: {fault}")
    print(f"chromium: {find()}")
