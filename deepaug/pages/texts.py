"""What the pages of the book say of themselves, and what several of them say alike."""

from typing import Any

from deepaug import plain
from deepaug.pages import notebooks


def texts() -> dict[str, Any]:
    """What notebooks/pages.yaml says."""
    path = notebooks.SOURCES / "pages.yaml"
    return plain.read(path.name, path)
