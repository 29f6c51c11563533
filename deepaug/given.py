"""What a command is given: the text of options, checked."""

import argparse
import math
import os


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes above 0")
    return minutes


def workers(text: str) -> int:
    """A number of processes that this machine can hold: each takes half a GiB to begin with."""
    cores = os.cpu_count() or 1
    if (workers := positive(text)) > 4 * cores:
        raise argparse.ArgumentTypeError(f"{text} is more than 4 for each of the {cores} cores")
    return workers


def named(text: str) -> str:
    """A name or path; an empty one, of an unset variable of the shell, would mean this folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; give a name or a path, or leave it out")
    return text
