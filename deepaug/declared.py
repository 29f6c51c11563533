"""What YAML declares, checked against the types that dataclasses give their fields."""

import contextlib
import dataclasses
from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from deepaug.validation import one_of, typed

_type_hints = cache(get_type_hints)


def read(where: str, given: Any, kind: Any) -> Any:
    """What YAML holds, as a value of type `kind`; a ValueError in one line if it is not one.

    Args:
        where: the place of `given`, with which a message begins.
        kind: `Any`; str, int, float or bool; `tuple[kind, ...]`, given as a list of one value or
            more, of which equal ones count once; `dict[str, kind]`; a dataclass, given as a
            mapping of its fields, which metadata "key" may call otherwise; a union of a dict and
            another kind; or `Annotated[kind, check, ...]`: each check is called with what is
            given, and returns what to read in its place or raises a ValueError; "must …" in its
            message is said of the place.

    >>> read("mine: seeds", [0, 1, 1], tuple[int, ...])
    (0, 1)
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return given
    if origin is Annotated:
        with _at(where):
            for check in kind.__metadata__:
                given = check(given)
        return read(where, given, arguments[0])
    if origin in (Union, UnionType):
        is_mapping = isinstance(given, dict)
        return read(
            where, given, next(k for k in arguments if (get_origin(k) is dict) == is_mapping)
        )
    if origin is tuple:
        if not isinstance(given, list | tuple) or not given:
            raise ValueError(f"{where} must be a list of one value or more, not {given!r}")
        return tuple(dict.fromkeys(read(where, value, arguments[0]) for value in given))
    if origin is dict:
        return _mapping(where, given, *arguments)
    check = _fields if dataclasses.is_dataclass(kind) else typed
    return check(where, given, kind)


def some(given: Any) -> Any:
    """A check that an empty mapping does not pass."""
    if given == {}:
        raise ValueError("must name one or more, or be left out")
    return given


def _mapping(where: str, given: Any, names: Any, values: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError(f"{where} must be a mapping, not {given!r}")
    for name in given:
        if not isinstance(name, str):
            raise ValueError(f"{where}: names must be text, not {name!r}")
    return {read(where, n, names): read(_below(where, n), v, values) for n, v in given.items()}


def _fields(where: str, given: Any, kind: type) -> Any:
    fields = {f.metadata.get("key", f.name): f for f in dataclasses.fields(kind)}
    if not isinstance(given, dict):
        raise ValueError(f"{where} must be a mapping of {', '.join(fields)}, not {given!r}")
    for key in given:
        one_of(f"key in {where}", key, fields)
    for key, field in fields.items():
        if key not in given and field.default is field.default_factory:  # it has neither
            raise ValueError(f"{where} needs {key!r}")
    kinds = _type_hints(kind, include_extras=True)
    values = {
        fields[key].name: read(_below(where, key), value, kinds[fields[key].name])
        for key, value in given.items()
    }
    with _at(where):
        return kind(**values)


def _below(where: str, name: str) -> str:
    return f"{where}: {name if name.isprintable() else repr(name)}"


@contextlib.contextmanager
def _at(where: str) -> Iterator[None]:
    """Begin the message of a ValueError with the place it is about."""
    try:
        yield
    except ValueError as error:
        joined = " " if str(error).startswith("must ") else ": "
        raise ValueError(f"{where}{joined}{error}") from None
