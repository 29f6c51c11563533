"""The verdict rules: claims.yaml, read."""

import functools
from pathlib import Path
from typing import Any


@functools.cache
def rules() -> dict[str, Any]:
    """The verdict rules, as claims.yaml has them; to be read, never changed."""
    import yaml

    return yaml.safe_load((Path(__file__).parent / "claims.yaml").read_text(encoding="utf-8"))


def fewest_seeds() -> int:
    """From how many seeds on an interval is shown; below, the seeds' values are."""
    return rules()["interval"]["shown_from"]


def seeds(stage: str) -> tuple[int, ...]:
    """The seeds that the rules give a stage. Raises ValueError for one that they do not know."""
    stages = rules()["stages"]
    if stage not in stages:
        raise ValueError(f"give the seeds of stage {stage}, to which the rules give none")
    return tuple(stages[stage]["seeds"])
