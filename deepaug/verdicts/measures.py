"""From scores of arms that pair to the effects that the claims are about."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from deepaug.verdicts import claims
from deepaug.verdicts.aggregates import (
    interquartile_mean,
    probability_of_improvement,
    stratified_bootstrap,
)
from deepaug.verdicts.claims import Drop
from deepaug.verdicts.evidence import Run, Scores
from deepaug.verdicts.statistics import Effect, mean_effect, paired_effect, taus


@dataclass(frozen=True)
class Measured:
    """An effect, the seeds' values it is the mean of where it is one, and C3a's p-values."""

    effect: Effect
    values: tuple[float, ...] = ()
    depth_p: tuple[float, float] | None = None


def difference(scores: Scores, confidence: float) -> Measured:
    """The first arm minus the second."""
    first, second = scores.means
    return _difference(first, second, confidence)


def level(scores: Scores, confidence: float) -> Measured:
    """The arm's own score."""
    (own,) = scores.means
    return Measured(mean_effect(own, confidence), tuple(own))


def interaction(scores: Scores, confidence: float) -> Measured:
    """C2: gain of the first over the second, minus that of the third over the fourth."""
    arm, plain, twin, plain_twin = scores.means
    effect = claims.interaction(arm, plain, twin, plain_twin, confidence)
    return Measured(effect, tuple(arm - plain - twin + plain_twin))


def depth(scores: Scores, confidence: float) -> Measured:
    """C3a: the baseline, then the arm at all targets in order of depth."""
    gains = (scores.means[1:] - scores.means[0]).T
    effect, depth_p = claims.depth_trend(gains, confidence)
    return Measured(effect, tuple(claims.depth_taus(gains)), depth_p)


def middle_half(scores: Scores, confidence: float) -> Measured:
    """The interquartile mean of the first arm's gains over the second, over data sets."""
    return _bootstrapped(interquartile_mean, [scores.values[0] - scores.values[1]], confidence)


def improvement(scores: Scores, confidence: float) -> Measured:
    """How probably a run of the first arm beats one of the second, over data sets."""
    return _bootstrapped(probability_of_improvement, scores.values, confidence)


def share(scores: Scores, confidence: float) -> Measured:
    """C4's measure, of the free copy, the frozen one, the whole network, the untrained one."""
    return Measured(claims.relative_drop(Drop(*scores.means), confidence))


def shares(scores: Scores, confidence: float) -> Measured:
    """C4: the share of the first four minus that of the last."""
    s = scores.means
    return Measured(claims.drop_difference(Drop(*s[:4]), Drop(*s[4:]), confidence))


def against(
    chosen: dict[Run, int], fixed: int | None, scores: Scores, confidence: float
) -> Measured:
    """C5: the gain at the target chosen, minus the mean gain or that at a fixed target.

    Scores are of the baseline, then of the arm at all targets after the input.
    """
    gains = np.moveaxis(scores.values[1:] - scores.values[0], 0, -1)  # (seeds, data sets, targets)
    choices = [[chosen[run] for run in runs] for runs in scores.runs]
    found = claims.gains_at(gains, choices)
    if fixed is not None:
        return _difference(found, claims.gains_at(gains, np.full_like(choices, fixed)), confidence)
    effect = claims.against_random(gains, choices, confidence)
    return Measured(effect, tuple(found - gains.mean((1, 2))))


def ranks(likeness: dict[Run, np.ndarray], scores: Scores, confidence: float) -> Measured:
    """C5: τ between score and gain over the targets after the input, the mean over data sets.

    Args:
        likeness: C5's score of each target, of each run.
        scores: as in `against`.
    """
    gains = np.moveaxis(scores.values[1:] - scores.values[0], 0, -1)
    found = taus([[likeness[run] for run in runs] for runs in scores.runs], gains).mean(1)
    return Measured(mean_effect(found, confidence), tuple(found))


def _difference(first: np.ndarray, second: np.ndarray, confidence: float) -> Measured:
    return Measured(paired_effect(first, second, confidence), tuple(first - second))


def _bootstrapped(
    aggregate: Callable[..., np.ndarray], scores: Iterable[np.ndarray], confidence: float
) -> Measured:
    random = np.random.default_rng(0)
    return Measured(stratified_bootstrap(aggregate, *scores, random=random, confidence=confidence))
