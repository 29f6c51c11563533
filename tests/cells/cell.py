"""A cell of the matrix, and what has become of it."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple


class Cell(NamedTuple):
    library: str  # as it is imported
    kind: str
    build: Callable[[], Any]  # a `networks.Network` or a `pipelines.Pipeline`
    check: Callable[[Callable[[], Any]], None]  # raises, with the reason, where it does not pass
    needs: tuple[str, ...] = ()  # other packages


def outcome(cell: Cell) -> str:
    """ "passed", why it is not, or "not run: …": what lacks a library is no pass.

    Always one line.
    """
    if absent := [name for name in (cell.library, *cell.needs) if find_spec(name) is None]:
        return f"not run: {absent[0]} is not installed"
    try:
        cell.check(cell.build)
    except Exception as error:  # whatever it is, the cell has not passed
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        return kind + (str(error).strip() or "no reason given").splitlines()[0]
    return "passed"
