"""Aggregates over data sets, against values that their definitions give by hand."""

import numpy as np
import pytest
from scipy import stats

from deepaug.verdicts.aggregates import (
    interquartile_mean,
    probability_of_improvement,
    stratified_bootstrap,
)

# rliable's definitions: the IQM is scipy's trim_mean of all runs, a quarter cut at both ends; the
# probability of improvement is the mean over tasks of U / (N · M), where ties count a half.


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([[1, 2], [3, 4], [5, 6], [7, 100]], (3 + 4 + 5 + 6) / 4),
        ([[100, 7], [4, 3], [5, 6], [2, 1]], (3 + 4 + 5 + 6) / 4),  # whatever the order
        ([[0], [1], [2], [3], [10]], (1 + 2 + 3) / 3),  # of five runs int(1.25) is cut: one
        ([[0, 10], [0, 10], [0, 10]], (0 + 0 + 10 + 10) / 4),  # of all data sets together
        ([[3]], 3),
    ],
)
def test_interquartile_mean_by_hand(scores, expected):
    assert interquartile_mean(scores) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([[2], [4]], [[1], [3]], 3 / 4),  # 2 beats 1; 4 beats both
        ([[1], [1]], [[1], [1]], 1 / 2),  # all tied
        ([[1, 5], [2, 6]], [[1, 7], [0, 8]], (3.5 / 4 + 0) / 2),  # by data set, then their mean
        ([[5], [6], [7]], [[6]], (0 + 0.5 + 1) / 3),  # seeds need not pair
    ],
)
def test_probability_of_improvement_by_hand(first, second, expected):
    assert probability_of_improvement(first, second) == pytest.approx(expected)
    assert probability_of_improvement(second, first) == pytest.approx(1 - expected)


def test_probability_of_improvement_is_mann_and_whitneys():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 9, (7, 3)), random.integers(0, 9, (5, 3))
    u = stats.mannwhitneyu(first, second).statistic  # for each data set
    assert probability_of_improvement(first, second) == pytest.approx((u / 35).mean())


def mean(scores):
    return scores.mean((-2, -1))


def test_the_bootstrap_draws_within_each_data_set_alone():
    """Where a data set's seeds agree there is nothing to draw, however far apart data sets are."""
    alike = stratified_bootstrap(
        mean, [[0, 100], [0, 100]], random=np.random.default_rng(0), repetitions=50
    )
    assert (alike.mean, alike.low, alike.high, alike.n) == (50, 50, 50, 2)


def test_the_bootstrap_of_a_mean_is_about_its_standard_error():
    """Of two data sets of variance v and n seeds each, the mean has a variance of v / 2n."""
    random = np.random.default_rng(0)
    scores = random.normal([0, 50], size=(40, 2))
    found = stratified_bootstrap(mean, scores, random=random)
    error = np.sqrt(scores.var(axis=0).sum() / 4 / 40)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.06)
    again = stratified_bootstrap(mean, scores, random=np.random.default_rng(1))
    assert again == stratified_bootstrap(mean, scores, random=np.random.default_rng(1)) != found


def test_both_arms_are_drawn():
    """One seed of each makes an interval of no width, several of either give it one."""
    several, one = [[0.0], [2.0], [4.0], [6.0]], [[3.0]]
    random = np.random.default_rng(0)
    for pair in ((several, one), (one, several)):
        found = stratified_bootstrap(probability_of_improvement, *pair, random=random)
        assert found.mean == 0.5 and found.low < 0.3 and found.high > 0.7
    assert np.isnan(found.p_value)


@pytest.mark.parametrize("scores", [[], [[]], [1, 2], [[1, float("nan")]]])
def test_scores_that_are_none_are_refused(scores):
    with pytest.raises(ValueError, match="scores must be finite"):
        interquartile_mean(scores)
    with pytest.raises(ValueError, match="do not compare"):
        probability_of_improvement([[1, 2]], [[1]])
