"""The file that keeps a long training's state between two calls."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from deepaug.files import whole
from deepaug.training import origin
from deepaug.validation import reason


@dataclass
class Progress:
    """How far a training is: what a checkpoint keeps besides the network and the optimiser."""

    epoch: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)


def save(path: Path, key: str, state: dict[str, Any]) -> None:
    """Write the state of the trial with this key, whole or not at all.

    Args:
        state: tensors, numbers, strings, and lists and dictionaries of these.

    A file that cannot be written costs the training nothing: the reason is printed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            torch.save({"key": key, "source_digest": origin.source_digest(), **state}, partial)
    except (OSError, RuntimeError) as error:  # torch's writer raises the latter on a full disk
        print(
            f"deepaug: no checkpoint in {path.parent}: {reason(error)}; training goes on",
            file=sys.stderr,
        )


def load(path: Path, key: str, device: torch.device) -> dict[str, Any] | None:
    """The state that `save` wrote, with its tensors on `device`.

    None where there is no file, where it is damaged, and where another trial or other code wrote
    it: half a training by one code and half by another is a training by neither.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        written_by = state["key"], state["source_digest"]
    except Exception:  # a damaged checkpoint costs its epochs, not the trial
        return None
    return state if written_by == (key, origin.source_digest()) else None
