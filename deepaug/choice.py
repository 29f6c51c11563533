"""What the records of a stage choose, by validation alone: pure functions of scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

# What the screen chooses within: the best dropout and the best PCA.
FAMILIES = {"dropout": ("dropout", "dropout-feature"), "pca": ("pca", "pca-truncate")}


@dataclass(frozen=True)
class Choice:
    """What the stages so far have settled, as changes of a study's base.

    baseline: of the tuned baseline. arms: family -> of its chosen arm, on top of those. deep:
    family -> of the same arm at its best target after the input. primary: the family whose arm the
    verdicts are about.
    """

    baseline: dict[str, Any]
    arms: dict[str, dict[str, Any]]
    deep: dict[str, dict[str, Any]]
    primary: str = ""


def best(scores: Mapping[str, Sequence[float]]) -> str | None:
    """The arm of the highest mean score.

    Args:
        scores: arm -> its validation scores over seeds and data sets, -inf for a diverged run.

    Returns:
        The first of those that share the highest mean; None if every arm diverged at least once.
    """
    means = {arm: fmean(values) for arm, values in scores.items()}
    kept = {arm: mean for arm, mean in means.items() if mean > float("-inf")}
    return max(kept, key=kept.__getitem__) if kept else None


def family_of(transform: str) -> str:
    """The family that a transform is chosen in: its own where it has none, noise say."""
    return next((name for name, members in FAMILIES.items() if transform in members), transform)
