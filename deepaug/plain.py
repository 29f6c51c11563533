"""Plain data from YAML text, which may be anybody's: profiles, grids, parameters."""

from typing import Any

import yaml

MOST = 1_000_000  # values of one text, each alias counted as what it stands for


def load(what: str, text: str) -> Any:
    """What YAML text says, as mappings, lists and scalars.

    Raises ValueError, in one line that begins with `what`, for text that is not YAML, a tag that
    would build another object, a key given twice (YAML's parsers let the last one win), and text
    that is nested or grows by its aliases without end.
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


def _size(value: Any, known: dict[int, int]) -> int:
    """How many values stand in `value` with its aliases written out; each is looked at once."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = MOST + 1  # of a value within itself
        known[id(value)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(value)]
