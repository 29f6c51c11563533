"""Intervals against scipy's, verdicts at their borders, Holm, τ and the jackknife by hand."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from deepaug.studies import rulebook
from deepaug.verdicts import statistics
from deepaug.verdicts.statistics import Effect, Limits, paired_effect, pairs_needed

LIMITS = Limits.of(rulebook.rules())


def verdict(effect, delta=0.5, limits=LIMITS, **rest):
    return statistics.verdict(effect, delta, limits, **rest)


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
    assert statistics.holm(p_values) == pytest.approx(adjusted)


def test_holm_lies_between_the_raw_values_and_bonferroni():
    p_values = np.random.default_rng(0).uniform(0, 0.2, 20)
    adjusted = np.array(statistics.holm(list(p_values)))
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
    assert pairs_needed(paired_effect(*pairs(10, spread=0.01)), 0.5) == 10


def test_pairs_needed_cannot_be_told_from_one_pair():
    with pytest.raises(ValueError, match="two pairs"):
        pairs_needed(paired_effect([61.0], [60.0]), 0.5)


def test_limits_of_a_verdict_are_given_by_the_caller():
    strict = replace(LIMITS, level=0.02, most_diverged=0.1)
    assert verdict(interval(0.6, 3.0), limits=strict, adjusted_p=0.02) == "inconclusive"
    assert verdict(interval(-3.0, -0.6), limits=strict, adjusted_p=0.02) == "inconclusive"
    assert verdict(interval(0.6, 3.0), limits=strict, diverged=0.2) == "inconclusive"


def test_limits_are_those_of_the_rules():
    assert (
        Limits(
            confidence=0.95, level=0.05, permutation_level=0.05, most_diverged=0.2, fewest_seeds=5
        )
        == LIMITS
    )
    assert LIMITS.confidence == statistics.CONFIDENCE


def test_negligible_is_said_of_the_interval_and_not_of_its_middle():
    assert verdict(Effect(0.0, -0.6, 0.6, 10, 1.0)) == "inconclusive"
    assert verdict(Effect(0.4, 0.1, 0.7, 10, 0.04), adjusted_p=0.3) == "inconclusive"


def test_many_pairs_needed_are_found_in_no_time():
    effect = paired_effect(*pairs(10, spread=40.0))
    assert pairs_needed(effect, 0.05) > 1_000_000


def test_pairs_needed_cannot_be_told_without_an_interval():
    with pytest.raises(ValueError, match="without an interval"):
        pairs_needed(Effect(math.nan, -math.inf, math.inf, 10, 1.0), 0.5)


@pytest.mark.parametrize("k", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("ties", [False, True])
def test_taus_are_scipys(k, ties):
    gains = np.random.default_rng(k).normal(size=(20, k))
    gains = gains.round() if ties else gains
    expected = [stats.kendalltau(np.arange(k), row).statistic for row in gains]
    assert statistics.depth_taus(gains) == pytest.approx(
        np.nan_to_num(expected)
    )  # all alike: nan, ours 0


def test_taus_of_two_rankings_are_scipys():
    first, second = np.random.default_rng(0).integers(0, 4, (2, 50, 5))
    first[0] = 1  # ranks nothing
    expected = [stats.kendalltau(*pair).statistic for pair in zip(first, second, strict=True)]
    assert statistics.taus(first, second) == pytest.approx(np.nan_to_num(expected))
    assert statistics.taus(first[:, None], second[:, None]).shape == (50, 1)


def test_taus_by_hand():
    gains = [[0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 1, 3], [1, 1, 1, 1]]
    assert statistics.depth_taus(gains) == pytest.approx([1, -1, 4 / 6, 0])


def test_gains_that_differ_by_rounding_are_tied():
    assert statistics.depth_taus([[0.1 + 0.2, 0.3, 0.3]]) == pytest.approx([0])
    assert statistics.depth_p_values([0.1 + 0.2, 0.3, 0.1 * 3]) == (1, 1)


@pytest.mark.parametrize("gains", [[0.1, 0.2], [[0.1], [0.2]], [[0.1, math.nan]], [[[1.0, 2.0]]]])
def test_gains_without_seeds_or_targets_are_refused(gains):
    with pytest.raises(ValueError, match="gains must be finite"):
        statistics.depth_taus(gains)


@pytest.mark.parametrize("k", [2, 4, 7, 8])
def test_permutation_p_is_scipys_exact_one(k):
    """Without ties: scipy counts them by another route."""
    for seed in range(5):
        profile = np.random.default_rng(seed).normal(size=k)
        for found, side in zip(
            statistics.depth_p_values(profile), ("greater", "less"), strict=True
        ):
            test = stats.kendalltau(np.arange(k), profile, method="exact", alternative=side)
            assert found == pytest.approx(test.pvalue)


@pytest.mark.parametrize("profile", [[0, 1, 1, 2, 5], [3, 3, 1, 0], [2, 2, 2], [1, 0, 1, 0, 2, 2]])
def test_permutation_p_with_ties_counts_every_order(profile):
    seen = stats.kendalltau(range(len(profile)), profile).statistic
    taus = [
        stats.kendalltau(range(len(profile)), order).statistic
        for order in itertools.permutations(profile)
    ]
    seen, taus = np.nan_to_num(seen), np.nan_to_num(taus)
    expected = np.mean(taus >= seen - 1e-12), np.mean(taus <= seen + 1e-12)
    assert statistics.depth_p_values(profile) == pytest.approx(expected)


def test_permutation_p_by_hand():
    """Of four targets only the perfect order is rarer than 1 in 20: 1 of 24; the next, 4 of 24."""
    assert statistics.depth_p_values([0, 1, 2, 3]) == pytest.approx((1 / 24, 1))
    assert statistics.depth_p_values([3, 2, 1, 0]) == pytest.approx((1, 1 / 24))
    assert statistics.depth_p_values([0, 1, 3, 2]) == pytest.approx((4 / 24, 23 / 24))


@pytest.mark.parametrize("profile", [[1.0], range(9), [0.0, math.nan], [[0.0, 1.0]]])
def test_profiles_too_short_or_too_long_are_refused(profile):
    with pytest.raises(ValueError, match="2 to 8 finite gains"):
        statistics.depth_p_values(profile)


def mean(values):
    return np.mean(values, -1)


def test_jackknife_of_a_mean_is_the_paired_t_interval():
    arm, baseline = pairs(10)
    found = statistics.jackknife_effect(lambda a, b: mean(a) - mean(b), arm, baseline)
    expected = paired_effect(arm, baseline)
    for name in ("mean", "low", "high", "n", "p_value"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name))


def test_jackknife_of_a_ratio_by_hand():
    """1, 2, 3 over 2, 2, 5: 2/3; without each 5/7, 4/7 and 3/4, so that 3·2/3 - 2·these follow."""
    found = statistics.jackknife_effect(statistics.ratio_of_means, [1, 2, 3], [2, 2, 5])
    pseudo = np.array([2 - 10 / 7, 2 - 8 / 7, 2 - 6 / 4])
    reach = 4.302652729911275 * pseudo.std(ddof=1) / math.sqrt(3)
    assert found.mean == pytest.approx(pseudo.mean())
    assert (found.low, found.high) == pytest.approx((pseudo.mean() - reach, pseudo.mean() + reach))


def test_jackknife_frees_the_variance_of_its_bias():
    """Of the variance with divisor n it makes that with n - 1, exactly (Efron and Stein 1981)."""
    values = pairs(7)[0]
    found = statistics.jackknife_effect(lambda x: np.var(x, -1), values)
    assert found.mean == pytest.approx(np.var(values, ddof=1))


def test_jackknife_intervals_of_a_ratio_cover_it():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        whole = random.normal(15, 1.5, 10)  # correlated: the more learnt, the more lost
        lost = 0.2 * whole + random.normal(0, 1, 10)
        found = statistics.jackknife_effect(statistics.ratio_of_means, lost, whole)
        covered += found.low <= 0.2 <= found.high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)


def test_ratio_without_a_denominator_has_no_interval():
    for below in ([0.0, 0.0, 0.0], [-1.0, -2.0, -3.0], [5.0, -1.0, -1.0]):  # the last without one
        found = statistics.jackknife_effect(statistics.ratio_of_means, [1.0, 1.0, 1.0], below)
        assert (found.low, found.high, found.p_value) == (-math.inf, math.inf, 1.0)
        assert verdict(found) == "inconclusive"


def test_jackknife_of_one_seed_tells_nothing():
    found = statistics.jackknife_effect(statistics.ratio_of_means, [1.0], [4.0])
    assert (found.mean, found.low, found.n) == (0.25, -math.inf, 1)


@pytest.mark.parametrize("columns", [(), ([],), ([1.0, 2.0], [1.0]), ([[1.0, 2.0]],)])
def test_columns_that_do_not_pair_are_refused(columns):
    with pytest.raises(ValueError, match="do not pair"):
        statistics.jackknife_effect(statistics.ratio_of_means, *columns)
