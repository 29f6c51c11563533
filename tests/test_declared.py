"""What YAML declares is read by the types of dataclasses, or refused in one line."""

from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import pytest

from deepaug.declared import read, some
from deepaug.validation import one_of

Colour = Annotated[str, partial(one_of, "colour", allowed=("red", "blue"))]


@dataclass(frozen=True)
class Line:
    colour: Colour
    points: tuple[float, ...] = (0.0,)
    dashed: bool = False
    note: str = field(default="", metadata={"key": "remark"})

    def __post_init__(self):
        if self.dashed and len(self.points) < 2:
            raise ValueError("a dashed line needs two points")


@pytest.mark.parametrize(
    ("given", "kind", "read_as"),
    [
        (1, float, 1.0),
        ([2, 1, 2], tuple[int, ...], (2, 1)),
        ({"a": None}, dict[str, Any], {"a": None}),
        ({"red": [1]}, dict[Colour, tuple[int, ...]], {"red": (1,)}),
        ([1], tuple[int, ...] | dict[str, int], (1,)),
        ({"a": 1}, tuple[int, ...] | dict[str, int], {"a": 1}),
        ({"colour": "red", "remark": "thin"}, Line, Line("red", note="thin")),
        ({"a": {"colour": "blue", "points": [1]}}, dict[str, Line], {"a": Line("blue", (1.0,))}),
    ],
)
def test_what_is_declared_is_read(given, kind, read_as):
    assert read("it", given, kind) == read_as


@pytest.mark.parametrize(
    ("given", "kind", "told"),
    [
        (True, int, "it must be a whole number, not True"),
        ("1e-3", float, "it must be a number, not '1e-3' (in YAML without quotation marks"),
        (1, bool, "it must be true or false, not 1"),
        ([], tuple[int, ...], "it must be a list of one value or more, not []"),
        ([1], dict[str, int], "it must be a mapping, not [1]"),
        ({1: 1}, dict[str, int], "it: names must be text, not 1"),
        ({}, Annotated[dict[str, int], some], "it must name one or more, or be left out"),
        (["reed"], tuple[Colour, ...], "it: unknown colour: 'reed'; nearest: 'red'"),
        ({"colour": "red", "ponts": [1]}, Line, "unknown key in it: 'ponts'; nearest: 'points'"),
        ({"points": [1]}, Line, "it needs 'colour'"),
        (3, Line, "it must be a mapping of colour, points, dashed, remark, not 3"),
        ({"colour": "red", "dashed": True}, Line, "it: a dashed line needs two points"),
        ({"a\nb": 3}, dict[str, str], r"it: 'a\nb' must be text, not 3"),
    ],
)
def test_what_is_not_is_refused_in_one_line(given, kind, told):
    with pytest.raises(ValueError) as caught:
        read("it", given, kind)
    assert str(caught.value).startswith(told) and "\n" not in str(caught.value)
