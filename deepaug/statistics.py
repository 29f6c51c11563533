"""Paired differences, their intervals, and the vocabulary of the verdicts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Effect:
    """Mean of paired differences with its confidence interval, in points; n pairs; two-sided p."""

    mean: float
    low: float
    high: float
    n: int
    p_value: float

    def __str__(self) -> str:
        if self.n < 2:
            return f"{self.mean:+.2f} (n = {self.n})"
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}] (n = {self.n})"


def paired_effect(arm: Sequence[float], baseline: Sequence[float], confidence=0.95) -> Effect:
    """Student's t interval for the mean of `arm` - `baseline`, paired by position (seed).

    One pair gives an interval of infinite width. Raises ValueError for no pairs or unequal lengths.
    """
    if len(arm) != len(baseline) or not len(arm):
        raise ValueError(f"{len(arm)} and {len(baseline)} values do not pair; needed: as many, > 0")
    differences = np.asarray(arm, float) - np.asarray(baseline, float)
    n, mean = len(differences), float(differences.mean())
    if n == 1:
        return Effect(mean, -math.inf, math.inf, 1, 1.0)
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    reach = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    p_value = 2 * float(stats.t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    return Effect(mean, mean - reach, mean + reach, n, p_value)


def verdict(
    effect: Effect,
    delta: float = 0.5,
    adjusted_p: float | None = None,
    diverged: float = 0.0,
    scale_met: bool = True,
) -> str:
    """The verdict on an effect, by the vocabulary of claims.yaml.

    Args:
        delta: half-width of what counts as negligible, in points.
        adjusted_p: the effect's p-value after `holm`, within its family; by default its own.
        diverged: share of the arm's runs that diverged; above 0.2 nothing is supported.
        scale_met: whether the baseline stands as far above random initialisation as the rules
            want; otherwise it has hardly learnt, and nothing is decided.

    Returns:
        "supported" (lower bound > 0 and adjusted p < 0.05), "opposed" (the mirror image),
        "negligible" (interval within ±delta) or "inconclusive".
    """
    if not scale_met:
        return "inconclusive"
    significant = (effect.p_value if adjusted_p is None else adjusted_p) < 0.05
    if effect.low > 0 and significant and diverged <= 0.2:
        return "supported"
    if effect.high < 0 and significant:
        return "opposed"
    return "negligible" if -delta <= effect.low and effect.high <= delta else "inconclusive"


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjusted p-values, in the order given."""
    order = np.argsort(p_values)
    adjusted, most = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - rank) * float(p_values[index])))
        adjusted[index] = most
    return adjusted


def pairs_needed(effect: Effect, delta: float = 0.5, confidence: float = 0.95) -> int:
    """How many pairs would give an interval of half-width `delta`, at the spread seen.

    Raises ValueError for an effect of one pair, which has no spread.
    """
    if effect.n < 2:
        raise ValueError(f"the spread of {effect.n} pair is not known; needed: two pairs or more")
    spread = (effect.high - effect.mean) * math.sqrt(effect.n)
    spread /= float(stats.t.ppf((1 + confidence) / 2, effect.n - 1))
    n = effect.n
    while float(stats.t.ppf((1 + confidence) / 2, n - 1)) * spread / math.sqrt(n) > delta:
        n += 1
    return n
