"""Pure functions of arrays: effects with their intervals, and the vocabulary of the verdicts."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

Values = Sequence[float] | np.ndarray  # one for each seed
FEWEST_TARGETS = 4  # for C3a: of fewer even the perfect order proves little
MOST_TARGETS = 8  # of whose gains all orders are looked at
CONFIDENCE = 0.95  # of an interval where none is given; a test holds it to claims.yaml


@dataclass(frozen=True)
class Limits:
    """What the rules set for every verdict."""

    confidence: float  # of the intervals
    level: float  # an adjusted p must lie below it
    permutation_level: float  # a one-sided permutation p must not lie above it
    most_diverged: float  # share of an arm's runs; above it nothing is supported
    fewest_seeds: int  # below it no interval is printed, nor is anything judged

    @classmethod
    def of(cls, rules: Mapping[str, Any]) -> "Limits":
        """The limits that the rules set, as `rulebook.rules` reads them."""
        return cls(
            confidence=rules["interval"]["confidence"],
            level=rules["family"]["level"],
            permutation_level=rules["claims"]["C3a"]["also"]["at_most"],
            most_diverged=rules["diverged"]["at_most"],
            fewest_seeds=rules["interval"]["shown_from"],
        )


@dataclass(frozen=True)
class Effect:
    """An effect with its confidence interval, of n seeds, and its two-sided p.

    Mostly a mean of paired differences, in points; for shares and τ in their own unit.
    """

    mean: float
    low: float
    high: float
    n: int
    p_value: float

    @property
    def side(self) -> str:
        """Where the interval lies: "above" zero, "below" it, or "zero" where it contains zero."""
        return "above" if self.low > 0 else "below" if self.high < 0 else "zero"

    def __str__(self) -> str:
        if self.n < 2:
            return f"{self.mean:+.2f} (n = {self.n})"
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}] (n = {self.n})"


def mean_effect(values: Values, confidence: float = CONFIDENCE) -> Effect:
    """Student's t interval for the mean of `values`, one for each seed.

    One value gives an interval of infinite width. Raises ValueError for none.
    """
    n = len(values)
    if not n:
        raise ValueError("a mean needs one value or more; none was given")
    # Differences of equal scores may differ from zero in the last bit, all alike.
    values = np.round(np.asarray(values, float), 9)
    mean = float(values.mean())
    if n == 1:
        return Effect(mean, -math.inf, math.inf, 1, 1.0)
    error = float(values.std(ddof=1)) / math.sqrt(n)
    reach = _reach(confidence, n) * error
    p_value = 2 * float(special.stdtr(n - 1, -abs(mean) / error)) if error else float(mean == 0)
    return Effect(mean, mean - reach, mean + reach, n, p_value)


def paired_effect(arm: Values, baseline: Values, confidence: float = CONFIDENCE) -> Effect:
    """Student's t interval for the mean of `arm` - `baseline`, paired by position (seed).

    >>> str(paired_effect([61.0, 62.0, 63.0], [60.0, 60.0, 60.0]))
    '+2.00 [-0.48, +4.48] (n = 3)'

    Raises ValueError for no pairs or unequal lengths.
    """
    if len(arm) != len(baseline) or not len(arm):
        raise ValueError(
            f"{len(arm)} and {len(baseline)} values do not pair; give as many of both, one or more"
        )
    return mean_effect(np.subtract(arm, baseline, dtype=float), confidence)


def verdict(
    effect: Effect,
    delta: float,
    limits: Limits,
    adjusted_p: float | None = None,
    diverged: float = 0.0,
) -> str:
    """The verdict on an effect, by the vocabulary of claims.yaml.

    Args:
        delta: half-width of what counts as negligible, in the effect's unit.
        limits: the rules' own, from `Limits.of`.
        adjusted_p: the effect's p-value after `holm`, within its family; by default its own.
        diverged: share of the arm's runs that diverged.

    Returns:
        The first that applies: "supported" (lower bound > 0, adjusted p below the level and not
        too many runs diverged), "opposed" (upper bound < 0 and adjusted p below the level),
        "negligible" (interval within ±delta) or "inconclusive".
    """
    significant = (effect.p_value if adjusted_p is None else adjusted_p) < limits.level
    if effect.low > 0 and significant and diverged <= limits.most_diverged:
        return "supported"
    if effect.high < 0 and significant:
        return "opposed"
    return "negligible" if -delta <= effect.low and effect.high <= delta else "inconclusive"


def holm(p_values: Values) -> list[float]:
    """Holm's (1979) step-down adjusted p-values, in the order given."""
    order = np.argsort(p_values)
    adjusted, most = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - rank) * float(p_values[index])))
        adjusted[index] = most
    return adjusted


def pairs_needed(effect: Effect, delta: float, confidence: float = CONFIDENCE) -> int:
    """How many pairs would give an interval of half-width `delta`, at the spread seen.

    No fewer than there are. Raises ValueError for an effect without a spread: of one pair, or of a
    ratio that is not defined.
    """
    if effect.n < 2:
        raise ValueError(f"the spread of {effect.n} pair is not known; needed: two pairs or more")
    if not math.isfinite(effect.high - effect.mean):
        raise ValueError("the spread of an effect without an interval is not known")
    spread = (effect.high - effect.mean) * math.sqrt(effect.n)
    spread /= _reach(confidence, effect.n)
    # Normal quantiles lie below t's: no fewer than they ask for will do.
    n = max(effect.n, int((float(special.ndtri((1 + confidence) / 2)) * spread / delta) ** 2))
    while _reach(confidence, n) * spread / math.sqrt(n) > delta:
        n += 1
    return n


def _reach(confidence: float, n: int) -> float:
    """Student's t quantile: half an interval of a mean of n values, in standard errors."""
    return float(special.stdtrit(n - 1, (1 + confidence) / 2))


def jackknife_effect(
    estimate: Callable[..., np.ndarray], *columns: Values, confidence: float = CONFIDENCE
) -> Effect:
    """Tukey's (1958) jackknife: Student's t interval for the mean of the pseudo-values.

    Args:
        estimate: takes the columns and returns a number; of arrays (..., n) one for each row.
        columns: n values each, paired by position (seed); a seed is left out of all at once.

    Returns:
        An effect whose mean is the estimate freed of its bias to first order. It equals
        `paired_effect` where the estimate is a mean. An estimate that is not finite with all seeds
        or without one of them has an interval of infinite width.
    """
    arrays = [np.asarray(column, float) for column in columns]
    n = len(arrays[0]) if arrays else 0
    if not n or any(array.shape != (n,) for array in arrays):
        shapes = [array.shape for array in arrays]
        raise ValueError(f"columns of shapes {shapes} do not pair; give as many values in each")
    if n == 1:
        return Effect(float(estimate(*arrays)), -math.inf, math.inf, 1, 1.0)
    others = np.nonzero(~np.eye(n, dtype=bool))[1].reshape(n, n - 1)  # row i: all seeds but i
    without = estimate(*(array[others] for array in arrays))
    pseudo = n * estimate(*arrays) - (n - 1) * without
    if not np.isfinite(pseudo).all():
        return Effect(math.nan, -math.inf, math.inf, n, 1.0)
    return mean_effect(pseudo, confidence)


def ratio_of_means(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """Mean of `numerator` over mean of `denominator`, both (..., n); nan where that is not > 0."""
    above, below = (np.asarray(of, float).mean(-1) for of in (numerator, denominator))
    return np.where(below > 0, above / np.where(below > 0, below, 1), math.nan)


def depth_taus(gains: ArrayLike) -> np.ndarray:
    """Kendall's τ-b between depth and gain, for each seed.

    Args:
        gains: (seeds, targets), the targets in order of depth; two or more.

    Returns:
        (seeds,): 1 where every deeper target gains more, -1 where every one gains less; 0 where
        all gain alike.
    """
    gains = np.asarray(gains, float)
    if gains.ndim != 2 or gains.shape[1] < 2 or not np.isfinite(gains).all():
        raise ValueError(
            f"gains must be finite, of shape (seeds, targets) with two targets or more, not "
            f"{gains.tolist()}"
        )
    return taus(np.arange(gains.shape[1]), gains)


def taus(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Kendall's τ-b of two rankings of the same targets, (…, targets) each -> (…).

    0 where one of them ranks no target above another.
    """
    one, other = (_signs(np.asarray(of, float)) for of in (first, second))
    untied = np.abs(one).sum(-1) * np.abs(other).sum(-1)
    return (one * other).sum(-1) / np.sqrt(np.maximum(untied, 1))


def depth_p_values(profile: Values) -> tuple[float, float]:
    """Exact one-sided permutation p-values of τ between depth and the gain of each target.

    Args:
        profile: (targets,), the mean gains in order of depth; two to `MOST_TARGETS`.

    Returns:
        The shares of all orders of the gains whose τ is no smaller, and no larger, than theirs:
        small where gains grow with depth, and where they fall.
    """
    profile = np.asarray(profile, float)
    if profile.ndim != 1 or not 2 <= len(profile) <= MOST_TARGETS or not np.isfinite(profile).all():
        raise ValueError(f"a profile has 2 to {MOST_TARGETS} finite gains, not {profile.tolist()}")
    # τ and the sum of signs rank the orders alike, ties or not, and the sum is a whole number.
    seen = _signs(profile).sum()
    higher = np.sign(np.round(np.diff(np.sort(profile)), 9)).cumsum()
    others = _sums_of_orders((0, *higher))
    return float((others >= seen).mean()), float((others <= seen).mean())


def _signs(gains: np.ndarray) -> np.ndarray:
    """Of each pair of targets, whether the deeper gains more: (..., targets) -> (..., pairs).

    Gains, in points, that differ by rounding alone are tied.
    """
    shallow, deep = np.triu_indices(gains.shape[-1], 1)
    return np.sign(np.round(gains[..., deep] - gains[..., shallow], 9))


@lru_cache
def _sums_of_orders(ranks: tuple[float, ...]) -> np.ndarray:
    """The sum of signs of every order of the ranks, (orders,)."""
    return _signs(np.array(list(itertools.permutations(ranks)))).sum(-1)
