"""Plain data from YAML text, which may be anybody's: profiles, grids, parameters."""

import functools
import re
from pathlib import Path
from typing import Any

import yaml

MOST = 1_000_000  # values of one text, each alias counted as what it stands for


@functools.lru_cache(maxsize=8)
def load(what: str, text: str) -> Any:
    """What YAML text says, as mappings, lists and scalars; to be read, never changed.

    Numbers are Python's: 1e-1 is one, and not text, and 010 or 1:30 is an error, not 8 or 90.

    Raises ValueError, in one line that begins with `what`, for text that is not YAML, a tag that
    would build another object, a key given twice (YAML's parsers let the last one win), a number
    that Python would not take, and text that is nested or grows by its aliases without end.

    >>> load("seeds", "[1_000, 0x10, 5e-1]")
    [1000, 16, 0.5]
    """
    try:
        content = yaml.load(text, _Loader)
        size = _size(content, {})
    except (yaml.YAMLError, ValueError) as error:  # the latter for an impossible date, say
        raise ValueError(f"{what} is not plain YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError(f"{what} is not plain YAML: it is nested too deeply") from None
    if size > MOST:
        raise ValueError(f"{what} is not plain YAML: its aliases stand for {size} values")
    return content


def read(what: str, path: Path) -> Any:
    """What a file says, as `load` has it. Raises OSError, too."""
    try:
        return load(what, path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} is not plain YAML: {error}") from None


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:  # as written: what `<<` merges into it comes later
            if (key.tag, str(key.value)) in seen:
                raise yaml.composer.ComposerError(
                    None, None, f"key {key.value!r} is given twice", key.start_mark
                )
            seen.add((key.tag, str(key.value)))
        return node


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    """What YAML 1.1 takes for a number, if Python does."""
    text = node.value
    if text.lstrip("+-").lower() in (".inf", ".nan"):
        return loader.construct_yaml_float(node)
    try:
        return int(text, 0) if node.tag == _INT else float(text)
    except ValueError as error:
        raise ValueError(
            f"{text[:20]!r} is no number in Python ({error}); write it as one, or as text in "
            f"quotation marks"
        ) from None


_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
# Python's numbers that YAML 1.1 has as text.
_FORMS = {
    _INT: r"[-+]?0[oO][0-7_]+\Z",
    _FLOAT: r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+\Z",
}
for _tag, _form in _FORMS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(_form), list("+-.0123456789"))
    _Loader.add_constructor(_tag, _number)


def _size(value: Any, known: dict[int, int]) -> int:
    """How many values stand in `value` with its aliases written out; each is looked at once."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = MOST + 1  # of a value within itself
        known[id(value)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(value)]
