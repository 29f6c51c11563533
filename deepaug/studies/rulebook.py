"""The verdict rules: claims.yaml, read."""

from pathlib import Path
from typing import Any


def rules() -> dict[str, Any]:
    """The verdict rules, as claims.yaml has them."""
    import yaml

    return yaml.safe_load((Path(__file__).parent / "claims.yaml").read_text())
