"""The browser of the checks: any Chromium of the system's.

As a program, which `make browser` starts, it installs one where it is missing and this user
may: root on Debian or Ubuntu. Elsewhere it says in one line what to install, and ends with 1.
"""

import shutil
import sys

import debian

PROGRAMS = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
WANTED = "no Chromium found; install it or Google Chrome, on Debian: apt-get install chromium"


def find() -> str | None:
    """Where the browser is; None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def install() -> str | None:
    """Install Debian's package; what failed in one line, None if it is there now."""
    if not debian.permitted():
        return WANTED
    if fault := debian.install("chromium"):
        return f"{WANTED} ({fault})"
    return None if find() else WANTED


if __name__ == "__main__":
    if not find() and (fault := install()):
        sys.exit(f"chromium: {fault}")
    print(f"chromium: {find()}")
