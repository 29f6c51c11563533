"""Aggregates over data sets: interquartile mean, probability of improvement, stratified bootstrap.

As Agarwal et al. 2021 (arXiv 2108.13264) define them. Scores are (seeds, data sets), or of several
tables (…, seeds, data sets); a data set is a stratum. For aggregates alone: a verdict on a data
set, or on their mean, takes Student's t.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from deepaug.verdicts.statistics import CONFIDENCE, Effect

REPETITIONS = 2000


def interquartile_mean(scores: ArrayLike) -> np.ndarray:
    """The mean of the middle half of all runs of all data sets; a quarter is cut at both ends.

    >>> float(interquartile_mean([[1, 2], [3, 4], [5, 6], [7, 100]]))
    4.5
    """
    scores = _scores(scores)
    return stats.trim_mean(scores.reshape(*scores.shape[:-2], -1), 0.25, axis=-1)


def probability_of_improvement(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """How probably a run of `first` beats one of `second` on the same data set; ties are halves.

    Mann and Whitney's U over the number of pairs, and of that the mean over data sets. The seeds
    need not be as many in both.

    >>> float(probability_of_improvement([[2], [4]], [[1], [3]]))
    0.75
    """
    first, second = _scores(first), _scores(second)
    if first.shape[-1] != second.shape[-1]:
        raise ValueError(
            f"{first.shape[-1]} and {second.shape[-1]} data sets do not compare; give the same ones"
        )
    # (…, seeds of first, seeds of second, data sets)
    differences = first[..., :, None, :] - second[..., None, :, :]
    return (np.sign(differences) + 1).mean((-3, -2, -1)) / 2


def stratified_bootstrap(
    aggregate: Callable[..., np.ndarray],
    *scores: ArrayLike,
    random: np.random.Generator,
    repetitions: int = REPETITIONS,
    confidence: float = CONFIDENCE,
) -> Effect:
    """An aggregate with its percentile interval: seeds are drawn anew within each data set.

    Args:
        aggregate: takes as many arrays (…, seeds, data sets) as there are `scores`.
        scores: (seeds, data sets) of one arm or more, each drawn by itself.
        repetitions: of the drawing.

    Returns:
        The aggregate of the scores themselves, its interval, and n, the fewest seeds. It has no p:
        nothing is judged by it.
    """
    arrays = [_scores(given) for given in scores]

    def drawn(array: np.ndarray) -> np.ndarray:
        rows = random.integers(len(array), size=(repetitions, *array.shape))
        return np.take_along_axis(array[None], rows, axis=1)

    found = aggregate(*map(drawn, arrays))
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    seeds = min(map(len, arrays))
    return Effect(float(aggregate(*arrays)), float(low), float(high), seeds, math.nan)


def _scores(given: ArrayLike) -> np.ndarray:
    array = np.asarray(given, float)
    if array.ndim < 2 or not array.size or not np.isfinite(array).all():
        raise ValueError(
            f"scores must be finite, (seeds, data sets) with one of both or more, not of shape "
            f"{array.shape}: {array.tolist()}"
        )
    return array
