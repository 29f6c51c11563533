"""What the records of a stage choose, by validation alone: pure functions of scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from deepaug.training.trial import TRANSFORMS

# A screen chooses one arm of each family; members in the order in which ties are settled.
FAMILIES = {
    family: tuple(name for name, named in TRANSFORMS.items() if named.family == family)
    for family in ("dropout", "pca")
}


@dataclass(frozen=True)
class Choice:
    """What the stages so far have settled, as changes of a study's base.

    baseline: of the tuned baseline. arms: family -> of its chosen arm, on top of those. deep:
    family -> of the same arm at its best target after the input. primary: the family whose arm the
    verdicts are about.
    """

    baseline: dict[str, Any] = field(default_factory=dict)
    arms: dict[str, dict[str, Any]] = field(default_factory=dict)
    deep: dict[str, dict[str, Any]] = field(default_factory=dict)
    primary: str = ""


def best(scores: Mapping[str, Sequence[float]]) -> str | None:
    """The name with the highest mean score; of equal ones the first. None if nothing is left.

    Args:
        scores: name -> its validation scores, one for each seed (and data set); -inf for a run that
            diverged. A name with such a run is never chosen.

    Raises ValueError for a name without a score, or one that is not a number or +inf.
    """
    chosen, highest = None, -math.inf
    for name, values in scores.items():
        if not len(values) or not all(value < math.inf for value in values):
            raise ValueError(f"{name} has scores {list(values)}; needed: numbers, one or more")
        mean = -math.inf if -math.inf in values else fmean(values)
        if mean > highest:
            chosen, highest = name, mean
    return chosen


def by_family(
    scores: Mapping[str, Sequence[float]], transforms: Mapping[str, str]
) -> dict[str, dict[str, Sequence[float]]]:
    """Scores of arms by the family of their transform; arms of no family are left out.

    Args:
        scores: arm -> validation scores, as `best` takes them.
        transforms: arm -> name of its transform.
    """
    return {
        family: {arm: values for arm, values in scores.items() if transforms[arm] in members}
        for family, members in FAMILIES.items()
    }


def best_by_family(
    scores: Mapping[str, Sequence[float]], transforms: Mapping[str, str]
) -> dict[str, str]:
    """The best arm of each family, as `best` has it; a family with nothing left is missing.

    Args:
        scores, transforms: as `by_family` takes them.
    """
    return targets_and_primary(by_family(scores, transforms))[0]


def targets_and_primary(
    scores: Mapping[str, Mapping[str, Sequence[float]]],
) -> tuple[dict[str, str], str | None]:
    """The best target, or arm, of each family, and the family whose best is the primary arm.

    Args:
        scores: family -> target or arm -> its validation scores, as `best` takes them.

    Returns:
        Family -> its best, without families all of whose arms diverged; and the family whose best
        scores highest, None where no family is left.
    """
    chosen = {family: best(targets) for family, targets in scores.items()}
    targets = {family: target for family, target in chosen.items() if target is not None}
    return targets, best({family: scores[family][target] for family, target in targets.items()})


def middle(layers: Sequence[str]) -> str:
    """The middle target, number ⌈k/2⌉ of the k `layers` between input and pooling.

    >>> middle(["stem", "stage1", "stage2", "stage3", "stage4"])
    'stage2'

    Raises ValueError where no layer lies between them.
    """
    if not layers:
        raise ValueError("no layer lies between input and pooling; needed: one or more")
    return layers[math.ceil(len(layers) / 2) - 1]
