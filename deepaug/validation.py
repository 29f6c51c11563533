"""One clear line for bad input: what was given, what is allowed, what to do."""

import difflib
import math
from collections.abc import Iterable
from typing import Any


class DataError(ValueError):
    """A data set that is missing or damaged; the message says what to do."""


class UnsuitedData(DataError):
    """A data set that is whole, but too small for what one trial asks of it."""


def one_line(error: Exception) -> str:
    """What a user can mend, in one line."""
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{error.name} is not installed; pip install 'deepaug[run]', or 'deepaug[book]' for "
            f"notebooks"
        )
    return " ".join(str(error).split())


def reason(error: Exception) -> str:
    """The first line of what a library says, or the kind of its error if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def one_of(what: str, given: object, allowed: Iterable[str], hint: str = "") -> str:
    """Return `given` if `allowed` has it; otherwise raise a ValueError that names the nearest."""
    allowed = [str(choice) for choice in allowed]
    if isinstance(given, str) and given in allowed:
        return given
    folded = {choice.casefold(): choice for choice in allowed}
    near = difflib.get_close_matches(str(given).casefold(), folded, n=3, cutoff=0.4)
    if near:
        choice = "nearest: " + ", ".join(repr(folded[name]) for name in near)
    else:
        more = " …" if len(allowed) > 12 else ""
        choice = "allowed: " + (", ".join(map(repr, allowed[:12])) or "none") + more
    raise ValueError(f"unknown {what}: {given!r}; {choice}{'; ' + hint if hint else ''}")


def by_prefix(what: str, given: str, allowed: Iterable[str], least: int = 4) -> str:
    """The one of `allowed` that begins with `given`, `least` characters or more, as git's hashes.

    Raises ValueError for none, or for several, which it names.

    >>> by_prefix("key", "0a1b", ["0a1b2c", "0a9f3d"])
    '0a1b2c'
    """
    allowed = list(allowed)
    if len(given) < least:
        raise ValueError(f"{what} {given!r} is too short; give {least} characters of it or more")
    found = [name for name in allowed if name.startswith(given)]
    if len(found) > 1 and given not in found:
        more = f" and {len(found) - 6} more" if len(found) > 6 else ""
        raise ValueError(
            f"{what} {given!r} is short for {', '.join(found[:6])}{more}; give more of it"
        )
    return found[0] if len(found) == 1 else one_of(what, given, allowed)


def share(what: str, given: object) -> float:
    """Return `given` as a float in [0, 1), or raise a ValueError."""
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < 1:
        return float(given)
    raise ValueError(f"{what} must be a number with 0 <= {what} < 1, not {given!r}")


_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def typed(what: str, given: Any, kind: type) -> Any:
    """Return `given` as `kind`, or raise a ValueError.

    An int passes for a float, which must be finite; nothing else is converted.
    """
    if kind is float and type(given) is int and abs(given) < 2**53:
        given = float(given)
    if type(given) is not kind:
        hint = ""
        if kind is float and isinstance(given, str):
            hint = " (in YAML without quotation marks)"
        raise ValueError(f"{what} must be {_KINDS[kind]}, not {given!r}{hint}")
    if isinstance(given, float) and not math.isfinite(given):
        raise ValueError(f"{what} must be finite, not {given!r}")
    return given


def training_size(data: str, available: int, samples: int, batch_size: int, least: int = 1) -> int:
    """How many samples to train on: `samples`, or if that is 0 all that are `available`.

    Raises UnsuitedData if there are fewer, or unless `least` <= batch_size <= the samples.
    """
    if samples > available:
        raise UnsuitedData(
            f"samples {samples} is more than the {available} that {data!r} has to train on; set "
            f"samples to {available} or less in a profile of your own, or take more data"
        )
    samples = samples or available
    if not least <= batch_size <= samples:
        needed = f"between {least} and {samples}" if least <= samples else "more data"
        raise UnsuitedData(
            f"batch_size {batch_size} does not fit the {samples} samples of {data!r} to train on; "
            f"needed: {needed}"
        )
    return samples
