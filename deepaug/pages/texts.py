"""What the pages of the book say of themselves, and what several of them say alike."""

from functools import cache
from typing import Any

from deepaug import plain
from deepaug.pages import notebooks


@cache
def texts() -> dict[str, Any]:
    """What notebooks/pages.yaml says."""
    path = notebooks.SOURCES / "pages.yaml"
    return plain.load(path.name, path.read_text(encoding="utf-8"))
