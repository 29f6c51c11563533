"""YAML that somebody else wrote."""

import pytest

from deepaug import plain


def test_what_is_written_is_read():
    text = "a: &base {x: 1, y: [2, two]}\nb: {<<: *base, x: 3}\nc: *base\n1: yes\n"
    base = {"x": 1, "y": [2, "two"]}
    assert plain.load("it", text) == {"a": base, "b": {**base, "x": 3}, "c": base, 1: True}
    assert plain.load("it", "") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-1", 0.1),
        ("1E5", 1e5),
        ("-2.5e3", -2500.0),
        (".5e1", 5.0),
        ("5.e-1", 0.5),
        ("1.0e-3", 1e-3),
        ("010.5", 10.5),
        ("0o10", 8),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("-7", -7),
        ("+7", 7),
        ("0", 0),
        ("00", 0),
        ("-.inf", float("-inf")),
        # No numbers in Python either, nor in YAML.
        ("1e", "1e"),
        ("20newsgroups", "20newsgroups"),
        ("1.2.3", "1.2.3"),
        ("'010'", "010"),
        ('"1e-1"', "1e-1"),
        ("e5", "e5"),
    ],
)
def test_a_number_is_what_python_takes_for_one(text, value):
    (found,) = plain.load("it", f"[{text}]")
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "text", ["010", "-017", "0_7", "1:30", "-1:30", "190:20:30", "1:30.5", "1__0", "1_", "0x_"]
)
def test_what_yaml_alone_takes_for_a_number_is_refused_by_name(text):
    with pytest.raises(ValueError, match=f"^it is not plain YAML: '{text}' is no number in Python"):
        plain.load("it", f"[{text}]")


def laughs(levels):
    """Each level a list of ten aliases of the one before it."""
    text = "k0: &a0 [lol]\n"
    for n in range(1, levels):
        text += f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n"
    return text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "line 1, column 5"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a: 1\nb: {c: 1, c: 2}", "key 'c' is given twice"),
        ("a: 1\na: 1", "key 'a' is given twice"),
        ("[" * 50_000, "nested too deeply"),
        ("a: &a [*a]", "aliases stand for"),
        ("a: &a {b: *a}", "aliases stand for"),
        (laughs(30), "aliases stand for"),
        ("2001-99-99", "month must be in"),
        ("1" * 5000, "digits"),
        ("a: \0", "special characters"),
    ],
)
def test_what_is_not_plain_is_refused_in_one_line(text, told):
    with pytest.raises(ValueError, match=r"^profile it is not plain YAML: ") as refused:
        plain.load("profile it", text)
    assert told in str(refused.value) and len(str(refused.value).splitlines()) == 1


def test_many_values_are_read_where_aliases_are_few():
    assert len(plain.load("it", laughs(4))) == 4
