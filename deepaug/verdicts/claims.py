"""What the rules measure and what they call it: pure functions of arrays, a value for each seed.

Limits come from the rules (`Limits.of`) and are passed in. Scores and gains are in points, paired
by position: the same seed stands at the same place of every array.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from deepaug.verdicts.statistics import (
    Effect,
    Limits,
    Values,
    depth_p_values,
    depth_taus,
    holm,
    jackknife_effect,
    mean_effect,
    paired_effect,
    pairs_needed,
    ratio_of_means,
    verdict,
)

BY_PERMUTATION = "by permutation of the mean profile p is"


@dataclass(frozen=True)
class Outcome:
    """What a test found, before it is judged."""

    effect: Effect
    delta: float  # half-width of what counts as negligible, in the effect's unit
    planned: int  # seeds, fixed beforehand: a verdict on fewer would depend on when one looks
    diverged: float = 0.0  # share of diverged runs, the largest of the arms that it compares
    depth_p: tuple[float, float] | None = None  # C3a: that gains grow, and that they fall

    @property
    def permutation_p(self) -> float:
        """C3a's one-sided p of what its mean says, that gains grow or fall; 0 of other tests."""
        grow, fall = self.depth_p or (0.0, 0.0)
        return grow if self.effect.mean > 0 else fall


@dataclass(frozen=True)
class Verdict:
    """The verdict on a test; without a word it is not judged, for want of seeds or of scale."""

    word: str | None  # "supported", "opposed", "negligible", "inconclusive"
    adjusted_p: float
    needed: int | None = None  # where inconclusive: seeds for an interval as narrow as ±delta
    excluded: float | None = None  # where inconclusive: a gain above this is excluded
    obstacles: tuple[str, ...] = ()  # why an interval on one side of zero does not decide it


@dataclass(frozen=True)
class Judged:
    """A modality's verdicts: of each test of the family, and of each cell (claim)."""

    tests: dict[str, Verdict]
    cells: dict[str, str | None]


class Drop(NamedTuple):
    """Scores (seeds,) of one training, split at a cut and retrained above it (C4)."""

    free: Values  # the copy below the cut goes on training
    frozen: Values  # the copy below the cut stays as it is
    whole: Values  # the network that was copied
    untrained: Values  # at random initialisation


def counted(scores: ArrayLike, diverged: ArrayLike, untrained: ArrayLike) -> np.ndarray:
    """Scores (seeds,) in which a diverged run counts as the random initialisation of its seed."""
    return np.where(np.asarray(diverged, bool), np.asarray(untrained, float), scores)


def interaction(
    arm: Values,
    baseline: Values,
    twin_arm: Values,
    twin_baseline: Values,
    confidence: float,
) -> Effect:
    """C2: the gain in contrastive training minus that in the supervised twin."""
    return paired_effect(
        np.subtract(arm, baseline), np.subtract(twin_arm, twin_baseline), confidence
    )


def inverse(contrastive: Effect, twin: Effect) -> bool:
    """C2, where supported: whether the twin's gain lies below 0 and the other above, by interval.

    Otherwise the effects differ, and that is all: "interaction only".
    """
    return contrastive.low > 0 and twin.high < 0


def depth_trend(gains: ArrayLike, confidence: float) -> tuple[Effect, tuple[float, float]]:
    """C3a: mean over seeds of τ between depth and gain, and the p-values of the mean profile.

    Args:
        gains: (seeds, targets) in order of depth, the input first; eight targets at most.

    Returns:
        The effect, and the exact one-sided p that gains grow with depth, and that they fall.
    """
    taus = depth_taus(gains)
    return mean_effect(taus, confidence), depth_p_values(np.asarray(gains, float).mean(0))


def relative_drop(drop: Drop, confidence: float) -> Effect:
    """C4's measure: (free - frozen) over (whole - untrained), a ratio of means, by jackknife.

    Where the whole network is not above random initialisation, on average over all seeds or over
    all but one, there is no such share: an interval of infinite width.
    """
    return jackknife_effect(ratio_of_means, *_parts(drop), confidence=confidence)


def drop_difference(first: Drop, second: Drop, confidence: float) -> Effect:
    """C4: the relative drop of `first` minus that of `second`, of the same seeds, by jackknife.

    Exhibited: contrastive minus supervised. Alleviated: without minus with the arm.
    """
    return jackknife_effect(
        lambda a, b, c, d: ratio_of_means(a, b) - ratio_of_means(c, d),
        *_parts(first),
        *_parts(second),
        confidence=confidence,
    )


def _parts(drop: Drop) -> tuple[np.ndarray, np.ndarray]:
    return np.subtract(drop.free, drop.frozen), np.subtract(drop.whole, drop.untrained)


def likeness(cka: ArrayLike) -> np.ndarray:
    """C5's score of each layer: its mean CKA with every other, (k, k) -> (k,).

    >>> likeness([[1, 0.5, 0.25], [0.5, 1, 0.75], [0.25, 0.75, 1]]).tolist()
    [0.375, 0.625, 0.5]
    """
    cka = np.asarray(cka, float)
    return (cka.sum(1) - cka.diagonal()) / (len(cka) - 1)


def gains_at(gains: ArrayLike, chosen: ArrayLike) -> np.ndarray:
    """Gains at chosen targets, averaged over data sets: (seeds,).

    Args:
        gains: (seeds, targets) or (seeds, data sets, targets).
        chosen: (seeds,) or (seeds, data sets), numbers of targets from 0.
    """
    gains, chosen = np.asarray(gains, float), np.asarray(chosen, int)
    if gains.ndim not in (2, 3) or chosen.shape != gains.shape[:-1]:
        raise ValueError(
            f"gains of shape {gains.shape} want a choice for each of {gains.shape[:-1]}, not "
            f"choices of shape {chosen.shape}"
        )
    if chosen.min() < 0 or chosen.max() >= gains.shape[-1]:
        raise ValueError(f"choices must be 0 to {gains.shape[-1] - 1}, not {chosen.tolist()}")
    found = np.take_along_axis(gains, chosen[..., None], -1)[..., 0]
    return found.reshape(len(found), -1).mean(1)


def against_random(gains: ArrayLike, chosen: ArrayLike, confidence: float) -> Effect:
    """C5: gain at the target that the score chooses, minus the mean gain, that of a random choice.

    Args:
        gains, chosen: as `gains_at` takes them, of the targets after the input alone.
    """
    found = gains_at(gains, chosen)
    return paired_effect(found, np.reshape(gains, (len(found), -1)).mean(1), confidence)


def told(effect: Effect, values: Sequence[float], limits: Limits) -> str:
    """An effect in words: with its interval, or the seeds' `values` where these are too few.

    Of an estimate that is no mean there are no such values; nor an effect of a share of nothing.
    """
    if math.isnan(effect.mean):
        return f"not defined (n = {effect.n})"
    if effect.n >= limits.fewest_seeds:
        return str(effect)
    seeds = ", ".join(f"{value:+.2f}" for value in values)
    return f"{effect.mean:+.2f} (n = {effect.n}{': ' if seeds else ''}{seeds})"


def judge_test(
    outcome: Outcome | None, adjusted_p: float | None, limits: Limits, scale_met: bool
) -> Verdict:
    """The verdict on one test.

    Args:
        outcome: None where it has not been run.
        adjusted_p: within its family; None for a secondary test, which is judged by its own p.
        scale_met: whether the baseline stands as far above random initialisation as the rules
            want; one that has hardly learnt enters no verdict.
    """
    if not scale_met or not _complete(outcome, limits):
        return Verdict(None, 1.0)
    effect = outcome.effect
    p_value = effect.p_value if adjusted_p is None else adjusted_p
    # The seeds may agree on an order of depths, but so they would on many an order by chance.
    significant_p = 1.0 if outcome.permutation_p > limits.permutation_level else p_value
    word = verdict(effect, outcome.delta, limits, significant_p, outcome.diverged)
    if word != "inconclusive" or not np.isfinite(effect.high):
        return Verdict(word, p_value)
    needed = pairs_needed(effect, outcome.delta, limits.confidence)
    obstacles = () if effect.side == "zero" else tuple(_obstacles(outcome, p_value, limits))
    return Verdict(word, p_value, needed, effect.high, obstacles)


def _obstacles(outcome: Outcome, p_value: float, limits: Limits) -> Iterator[str]:
    if p_value >= limits.level:
        yield f"corrected for the family p is {p_value:.3f}; below {limits.level:g} is needed"
    if outcome.permutation_p > limits.permutation_level:
        most = f"{limits.permutation_level:g} at most is needed"
        yield f"{BY_PERMUTATION} {outcome.permutation_p:.3f}; {most}"
    if outcome.effect.side == "above" and outcome.diverged > limits.most_diverged:
        most = f"{100 * limits.most_diverged:.0f} %"
        yield f"too many of an arm's seeds diverged: above {most} nothing is supported"


def passed(outcome: Outcome | None, word: str | None) -> Iterator[str]:
    """What a decided C3a has passed beside its interval."""
    if outcome and outcome.depth_p and word in ("supported", "opposed"):
        yield f"{BY_PERMUTATION} {outcome.permutation_p:.3f}"


def judge_cell(words: Sequence[str | None]) -> str | None:
    """The verdict on a claim in one modality, from those on its tests; None if one is not judged.

    "supported" if all are, "mixed" if one is and another is opposed, "opposed" if one is and none
    supported, "negligible" if all are, else "inconclusive".
    """
    if not words:
        raise ValueError("a cell has one test or more; none was given")
    if None in words:
        return None
    if "opposed" in words:
        return "mixed" if "supported" in words else "opposed"
    return words[0] if len(set(words)) == 1 else "inconclusive"


def judge(
    outcomes: Mapping[str, Outcome | None],
    cells: Mapping[str, Sequence[str]],
    limits: Limits,
    scale_met: bool,
) -> Judged:
    """All verdicts on the family of a modality's tests, adjusted together by Holm.

    Args:
        outcomes: test -> what it found. One that is missing, None, or short of seeds counts as
            p = 1 in the family, and neither it nor its cell is judged.
        cells: claim -> its tests; all of them together are the family, fixed beforehand.
        scale_met: as `judge_test` takes it.
    """
    family = [test for tests in cells.values() for test in tests]
    if extra := [test for test in outcomes if test not in family]:
        raise ValueError(f"{extra} are not tests of the family; allowed: {family}")
    found = {test: outcomes.get(test) for test in family}
    adjusted = holm([o.effect.p_value if _complete(o, limits) else 1.0 for o in found.values()])
    tests = {
        test: judge_test(outcome, p_value, limits, scale_met)
        for (test, outcome), p_value in zip(found.items(), adjusted, strict=True)
    }
    return Judged(tests, {c: judge_cell([tests[t].word for t in ts]) for c, ts in cells.items()})


def _complete(outcome: Outcome | None, limits: Limits) -> TypeGuard[Outcome]:
    return outcome is not None and outcome.effect.n >= max(outcome.planned, limits.fewest_seeds)
