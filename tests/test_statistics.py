"""Intervals against scipy's, verdicts at their borders, Holm by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from deepaug.statistics import Effect, holm, paired_effect, pairs_needed, verdict


def pairs(n, gain=0.3, spread=1.0, seed=0):
    random = np.random.default_rng(seed)
    baseline = random.normal(60, 5, n)
    return baseline + random.normal(gain, spread, n), baseline


@pytest.mark.parametrize("n", [2, 5, 10, 50])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_effect_is_scipys_paired_t_test(n, confidence):
    arm, baseline = pairs(n)
    effect = paired_effect(list(arm), list(baseline), confidence)
    test = stats.ttest_rel(arm, baseline)
    interval = test.confidence_interval(confidence)
    assert effect.n == n and effect.mean == pytest.approx((arm - baseline).mean())
    assert (effect.low, effect.high) == pytest.approx((interval.low, interval.high))
    assert effect.p_value == pytest.approx(test.pvalue)


def test_effect_by_hand():
    """Differences 1, 2, 3: mean 2, deviation 1, t of two degrees 4.3027."""
    effect = paired_effect([11, 22, 33], [10, 20, 30])
    reach = 4.302652729911275 / math.sqrt(3)
    assert (effect.low, effect.mean, effect.high) == pytest.approx((2 - reach, 2, 2 + reach))


def test_effect_is_paired_by_position():
    arm, baseline = pairs(10, gain=1.0, spread=0.1)
    assert paired_effect(arm, baseline).low > 0
    assert paired_effect(arm, baseline[::-1]).low < 0


def test_effect_changes_sign_with_the_order_of_arms():
    arm, baseline = pairs(10)
    there, back = paired_effect(arm, baseline), paired_effect(baseline, arm)
    assert (back.mean, back.low, back.high) == pytest.approx((-there.mean, -there.high, -there.low))


def test_intervals_cover_the_truth_as_often_as_they_say():
    covered = [
        effect.low <= 0.3 <= effect.high
        for seed in range(400)
        for effect in [paired_effect(*pairs(10, seed=seed))]
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)


def test_one_pair_tells_nothing():
    effect = paired_effect([61.0], [60.0])
    assert (effect.mean, effect.n, effect.p_value) == (1.0, 1, 1.0)
    assert (effect.low, effect.high) == (-math.inf, math.inf)
    assert verdict(effect) == "inconclusive"


@pytest.mark.parametrize(("gain", "p_value"), [(2.0, 0.0), (0.0, 1.0)])
def test_equal_differences_have_an_interval_of_no_width(gain, p_value):
    effect = paired_effect([60 + gain, 50 + gain], [60, 50])
    assert (effect.low, effect.high, effect.p_value) == (gain, gain, p_value)


@pytest.mark.parametrize(("arm", "baseline"), [([], []), ([1.0], []), ([1.0, 2.0], [1.0])])
def test_values_that_do_not_pair_are_refused(arm, baseline):
    with pytest.raises(ValueError, match=f"{len(arm)} and {len(baseline)} values"):
        paired_effect(arm, baseline)


def test_effect_is_written_with_sign_interval_and_number():
    assert str(Effect(0.5, -0.25, 1.25, 10, 0.2)) == "+0.50 [-0.25, +1.25] (n = 10)"
    assert str(Effect(-0.5, -math.inf, math.inf, 1, 1.0)) == "-0.50 (n = 1)"


def interval(low, high):
    """Significant by its p-value, so that the bounds decide."""
    return Effect((low + high) / 2, low, high, 10, 0.01)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 3.0, "supported"),
        (0.01, 0.4, "supported"),  # the first that applies: small, and above zero all the same
        (0.0, 3.0, "inconclusive"),
        (0.0, 0.5, "negligible"),
        (-3.0, -0.01, "opposed"),
        (-0.4, -0.01, "opposed"),
        (-3.0, 0.0, "inconclusive"),
        (-0.5, 0.0, "negligible"),
        (-0.5, 0.5, "negligible"),
        (-0.5, 0.51, "inconclusive"),
        (-0.51, 0.5, "inconclusive"),
        (-3.0, 3.0, "inconclusive"),
    ],
)
def test_verdict_at_its_borders(low, high, expected):
    assert verdict(interval(low, high)) == expected


def test_supported_takes_the_p_adjusted_within_the_family():
    assert verdict(interval(0.6, 3.0), adjusted_p=0.049) == "supported"
    assert verdict(interval(0.6, 3.0), adjusted_p=0.05) == "inconclusive"
    assert verdict(interval(-3.0, -0.6), adjusted_p=0.049) == "opposed"
    assert verdict(interval(-3.0, -0.6), adjusted_p=0.05) == "inconclusive"


def test_an_arm_that_diverged_too_often_supports_nothing():
    assert verdict(interval(0.6, 3.0), diverged=0.2) == "supported"
    assert verdict(interval(0.6, 3.0), diverged=0.3) == "inconclusive"


def test_negligible_depends_on_delta():
    assert verdict(interval(-0.8, 0.9)) == "inconclusive"
    assert verdict(interval(-0.8, 0.9), delta=1.0) == "negligible"


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04], [0.02, 0.04]),
        ([0.04, 0.01], [0.04, 0.02]),
        ([0.01, 0.02, 0.03], [0.03, 0.04, 0.04]),  # 3·0.01, 2·0.02, and no less than that
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6, 0.9], [1.0, 1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm_by_hand(p_values, adjusted):
    assert holm(p_values) == pytest.approx(adjusted)


def test_holm_lies_between_the_raw_values_and_bonferroni():
    p_values = np.random.default_rng(0).uniform(0, 0.2, 20)
    adjusted = np.array(holm(list(p_values)))
    assert (p_values <= adjusted).all() and (adjusted <= np.minimum(1, 20 * p_values)).all()
    assert (np.diff(adjusted[np.argsort(p_values)]) >= 0).all()


@pytest.mark.parametrize("delta", [0.2, 0.5, 1.0])
def test_pairs_needed_bring_the_half_width_to_delta(delta):
    effect = paired_effect(*pairs(10, spread=2.0))
    deviation = (effect.high - effect.mean) * math.sqrt(10) / stats.t.ppf(0.975, 9)

    def half_width(n):
        return stats.t.ppf(0.975, n - 1) * deviation / math.sqrt(n)

    n = pairs_needed(effect, delta)
    assert half_width(n) <= delta < half_width(n - 1)


def test_pairs_needed_are_those_there_are_where_these_suffice():
    assert pairs_needed(paired_effect(*pairs(10, spread=0.01))) == 10


def test_pairs_needed_cannot_be_told_from_one_pair():
    with pytest.raises(ValueError, match="two pairs"):
        pairs_needed(paired_effect([61.0], [60.0]))


def test_nothing_is_decided_where_the_baseline_has_hardly_learnt():
    for effect in (interval(0.6, 3.0), interval(-3.0, -0.6), interval(-0.1, 0.1)):
        assert verdict(effect, scale_met=False) == "inconclusive"
