"""What each claim measures, by hand; tests, cells and the family at their borders."""

import math
from dataclasses import replace

import numpy as np
import pytest

from deepaug.studies import rulebook
from deepaug.verdicts import claims as verdicts
from deepaug.verdicts.claims import Drop, Outcome, judge, judge_cell, judge_test
from deepaug.verdicts.statistics import (
    Effect,
    Limits,
    jackknife_effect,
    paired_effect,
    ratio_of_means,
)

LIMITS = Limits.of(rulebook.rules())
CELLS = {"C1": ("C1",), "C3b": ("standard", "same"), "C4": ("exhibited", "alleviated")}
UP, DOWN = Effect(1.8, 0.6, 3.0, 10, 0.001), Effect(-1.8, -3.0, -0.6, 10, 0.001)
SMALL, WIDE = Effect(0.0, -0.2, 0.2, 10, 0.9), Effect(0.2, -1.0, 1.4, 10, 0.7)


def outcome(effect=UP, delta=0.5, planned=10, **rest):
    return Outcome(effect, delta, planned, **rest)


def word(found, adjusted_p=None, limits=LIMITS, scale_met=True):
    return judge_test(found, adjusted_p, limits, scale_met).word


def test_a_diverged_run_counts_as_random_initialisation():
    found = verdicts.counted([60, math.nan, 62], [False, True, False], [40, 41, 42])
    assert found.tolist() == [60, 41, 62]


def test_interaction_by_hand():
    """Gains 2, 3, 4 here and 1, 1, 1 in the twin: 1, 2, 3 more."""
    found = verdicts.interaction([12, 13, 14], [10] * 3, [21] * 3, [20] * 3, 0.95)
    assert found == paired_effect([1, 2, 3], [0, 0, 0])


@pytest.mark.parametrize(
    ("contrastive", "twin", "expected"),
    [
        (UP, DOWN, True),
        (UP, Effect(-0.2, -1.4, 1.0, 10, 0.7), False),
        (WIDE, DOWN, False),
        (UP, UP, False),
        (DOWN, UP, False),
    ],
)
def test_inverse_takes_both_gains_by_interval(contrastive, twin, expected):
    assert verdicts.inverse(contrastive, twin) is expected


def test_depth_trend_by_hand():
    """τ of 1, 1 and 4/6; the mean profile 0, 1, 2, 3 is the only order as good."""
    gains = [[0, 1, 2, 3], [0, 1, 2, 3], [0, 2, 1, 3]]
    effect, (grow, fall) = verdicts.depth_trend(gains, 0.95)
    assert effect == paired_effect([1, 1, 4 / 6], [0, 0, 0])
    assert (grow, fall) == pytest.approx((1 / 24, 1))


def test_relative_drop_is_a_ratio_of_means():
    drop = Drop([60, 61, 62], [57, 59, 57], [60, 62, 61], [40, 40, 43])
    expected = jackknife_effect(ratio_of_means, [3, 2, 5], [20, 22, 18])
    assert verdicts.relative_drop(drop, 0.95) == expected


def test_difference_of_drops_leaves_a_seed_out_of_both():
    first = Drop([60, 61, 62], [57, 59, 57], [60, 62, 61], [40, 40, 43])
    second = Drop([70, 71, 72], [69, 68, 71], [70, 72, 71], [40, 40, 43])

    def difference(keep):
        one = [np.asarray(scores)[keep].mean() for scores in first]
        two = [np.asarray(scores)[keep].mean() for scores in second]
        return (one[0] - one[1]) / (one[2] - one[3]) - (two[0] - two[1]) / (two[2] - two[3])

    rows = [[1, 2], [0, 2], [0, 1]]
    pseudo = [3 * difference([0, 1, 2]) - 2 * difference(row) for row in rows]
    expected, found = paired_effect(pseudo, [0] * 3), verdicts.drop_difference(first, second, 0.95)
    assert (found.low, found.mean, found.high) == pytest.approx(
        (expected.low, expected.mean, expected.high)
    )
    alike = verdicts.drop_difference(first, first, 0.95)
    assert (alike.low, alike.high, alike.p_value) == (0, 0, 1)


def test_gains_at_the_chosen_targets():
    gains = [[1, 2, 3], [4, 5, 6]]
    assert verdicts.gains_at(gains, [2, 0]).tolist() == [3, 4]
    sets = [[[1, 2, 3], [10, 20, 30]], [[4, 5, 6], [40, 50, 60]]]
    assert verdicts.gains_at(sets, [[2, 0], [0, 1]]).tolist() == [6.5, 27]


def test_score_against_a_random_choice_by_hand():
    """Of 1, 2, 3 the mean is 2, of 4, 5, 9 it is 6: chosen are 1 more and 3 more."""
    gains = [[1, 2, 3], [4, 5, 9]]
    assert verdicts.against_random(gains, [2, 2], 0.95) == paired_effect([1, 3], [0, 0])
    sets = [[[1, 2, 3], [1, 2, 3]], [[4, 5, 9], [4, 5, 9]]]
    assert verdicts.against_random(sets, [[2, 0], [2, 0]], 0.95) == paired_effect([0, 0.5], [0, 0])


@pytest.mark.parametrize(
    ("chosen", "message"),
    [([0], "want a choice for each"), ([0, 3], "0 to 2"), ([-1, 0], "0 to 2")],
)
def test_choices_that_are_none_are_refused(chosen, message):
    with pytest.raises(ValueError, match=message):
        verdicts.gains_at([[1, 2, 3], [4, 5, 6]], chosen)


def test_effects_are_told_by_their_seeds_where_these_are_few():
    few = paired_effect([61, 62.5, 60, 63], [60] * 4)
    assert verdicts.told(few, [1, 2.5, 0, 3], LIMITS) == "+1.62 (n = 4: +1.00, +2.50, +0.00, +3.00)"
    assert verdicts.told(UP, [], LIMITS) == "+1.80 [+0.60, +3.00] (n = 10)"
    # A share is no mean of seeds' values; and one of nothing is no number.
    assert verdicts.told(replace(UP, n=4), [], LIMITS) == "+1.80 (n = 4)"
    nothing = Effect(math.nan, -math.inf, math.inf, 10, 1.0)
    assert verdicts.told(nothing, [], LIMITS) == "not defined (n = 10)"


@pytest.mark.parametrize(
    ("effect", "expected"),
    [(UP, "supported"), (DOWN, "opposed"), (SMALL, "negligible"), (WIDE, "inconclusive")],
)
def test_words_of_a_test(effect, expected):
    assert word(outcome(effect)) == expected


def test_inconclusive_comes_with_the_seeds_it_would_take_and_the_gain_it_excludes():
    found = judge_test(outcome(WIDE), 0.7, LIMITS, True)
    assert found.excluded == 1.4 and found.adjusted_p == 0.7
    assert found.needed > 10
    assert judge_test(outcome(UP), 0.01, LIMITS, True).needed is None


def test_effects_that_are_not_defined_are_inconclusive():
    nothing = Effect(math.nan, -math.inf, math.inf, 10, 1.0)
    assert judge_test(outcome(nothing), 1.0, LIMITS, True) == verdicts.Verdict("inconclusive", 1.0)


def test_supported_takes_the_adjusted_p():
    assert word(outcome(UP), 0.049) == "supported"
    assert word(outcome(UP), 0.05) == "inconclusive"
    assert word(outcome(UP), 0.02, replace(LIMITS, level=0.01)) == "inconclusive"


@pytest.mark.parametrize(
    ("effect", "depth_p", "expected"),
    [
        (UP, (0.05, 0.99), "supported"),
        (UP, (0.051, 0.99), "inconclusive"),
        (UP, (0.99, 0.01), "inconclusive"),
        (DOWN, (0.99, 0.05), "opposed"),
        (DOWN, (0.99, 0.051), "inconclusive"),
        (DOWN, (0.01, 0.99), "inconclusive"),
        (SMALL, (0.3, 0.7), "negligible"),
        (Effect(0.1, 0.05, 0.15, 10, 0.001), (0.3, 0.7), "negligible"),
    ],
)
def test_depth_also_takes_the_permutation(effect, depth_p, expected):
    assert word(outcome(effect, depth_p=depth_p)) == expected


CORRECTED = "corrected for the family p is 0.200; below 0.05 is needed"
BY_CHANCE = "by permutation of the mean profile p is"
TOO_MANY = "too many of an arm's seeds diverged: above 20 % nothing is supported"


@pytest.mark.parametrize(
    ("found", "adjusted_p", "told"),
    [
        (outcome(UP), 0.2, [CORRECTED]),
        (outcome(DOWN), 0.2, [CORRECTED]),
        (outcome(UP, depth_p=(0.167, 0.9)), 0.001, [f"{BY_CHANCE} 0.167; 0.05 at most is needed"]),
        (outcome(DOWN, depth_p=(0.9, 0.2)), 0.001, [f"{BY_CHANCE} 0.200; 0.05 at most is needed"]),
        (outcome(UP, diverged=0.3), 0.001, [TOO_MANY]),
        (outcome(UP, diverged=0.3), 0.2, [CORRECTED, TOO_MANY]),
        (outcome(WIDE), 0.2, []),
        (outcome(UP), 0.001, []),
        (outcome(DOWN, diverged=0.3), 0.001, []),
    ],
)
def test_why_an_interval_beside_zero_does_not_decide_is_told(found, adjusted_p, told):
    judged = judge_test(found, adjusted_p, LIMITS, True)
    assert judged.obstacles == tuple(told)
    assert (judged.word == "inconclusive") or not told


def test_equal_gains_are_no_interaction_by_rounding():
    """60.1 - 60.0 and 90.1 - 90.0 differ in the last bit, and in every seed alike."""
    scores = ([score] * 5 for score in (60.1, 60.0, 90.1, 90.0))
    effect = verdicts.interaction(*scores, 0.95)
    assert (effect.mean, effect.low, effect.high, effect.p_value) == (0, 0, 0, 1)


def test_above_a_fifth_diverged_nothing_is_supported():
    assert word(outcome(UP, diverged=0.2)) == "supported"
    assert word(outcome(UP, diverged=0.3)) == "inconclusive"
    assert word(outcome(DOWN, diverged=0.3)) == "opposed"


@pytest.mark.parametrize("effect", [UP, DOWN, SMALL, WIDE])
def test_a_baseline_that_hardly_learnt_enters_no_verdict(effect):
    """Inconclusive is what an interval says, not what a missing scale says."""
    assert judge_test(outcome(effect), 0.001, LIMITS, False) == verdicts.Verdict(None, 1.0)


@pytest.mark.parametrize(
    "found",
    [
        None,
        outcome(replace(UP, n=9)),  # one is still to be run
        outcome(replace(UP, n=4), planned=4),  # too few for an interval
    ],
)
def test_what_is_not_complete_is_not_judged(found):
    assert judge_test(found, 0.001, LIMITS, True) == verdicts.Verdict(None, 1.0)


def test_five_seeds_will_do_where_five_were_planned():
    assert word(outcome(replace(UP, n=5), planned=5)) == "supported"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["supported"], "supported"),
        (["supported", "supported"], "supported"),
        (["supported", "negligible"], "inconclusive"),
        (["supported", "inconclusive"], "inconclusive"),
        (["supported", "opposed"], "mixed"),
        (["opposed", "opposed"], "opposed"),
        (["opposed", "negligible"], "opposed"),
        (["inconclusive", "opposed"], "opposed"),
        (["negligible", "negligible"], "negligible"),
        (["negligible", "inconclusive"], "inconclusive"),
        (["inconclusive"], "inconclusive"),
        (["supported", None], None),
        ([None, "opposed"], None),
    ],
)
def test_words_of_a_cell(words, expected):
    assert judge_cell(words) == judge_cell(words[::-1]) == expected


def test_a_cell_has_a_test():
    with pytest.raises(ValueError, match="one test or more"):
        judge_cell([])


def effect(p_value):
    return replace(UP, p_value=p_value)


FAMILY = [test for tests in CELLS.values() for test in tests]


def test_family_is_adjusted_together():
    p_values = dict(zip(FAMILY, [0.004, 0.02, 0.013, 0.03, 0.5], strict=True))
    judged = judge({t: outcome(effect(p)) for t, p in p_values.items()}, CELLS, LIMITS, True)
    adjusted = [judged.tests[test].adjusted_p for test in FAMILY]
    assert adjusted == pytest.approx([0.02, 0.06, 0.052, 0.06, 0.5])
    assert judged.cells == {"C1": "supported", "C3b": "inconclusive", "C4": "inconclusive"}


@pytest.mark.parametrize("missing", [{}, {"same": None}, {"same": outcome(replace(UP, n=7))}])
def test_a_missing_test_counts_as_p_1(missing):
    """0.011 is adjusted among five tests, to 0.055; among four it would be 0.044."""
    outcomes = {test: outcome(effect(0.011)) for test in FAMILY if test != "same"} | missing
    judged = judge(outcomes, CELLS, LIMITS, True)
    assert judged.tests["C1"].adjusted_p == pytest.approx(0.055)
    assert judged.tests["C1"].word == "inconclusive"
    assert judged.tests["same"].word is None and judged.cells["C3b"] is None
    assert judged.cells["C4"] == "inconclusive"


def test_the_family_is_fixed_beforehand():
    with pytest.raises(ValueError, match=r"\['C9'\] are not tests of the family"):
        judge({"C9": outcome()}, CELLS, LIMITS, True)


def test_an_unmet_scale_reaches_every_test():
    judged = judge({test: outcome() for test in FAMILY}, CELLS, LIMITS, False)
    assert {found.word for found in judged.tests.values()} == {None}
    assert {*judged.cells.values()} == {None}
