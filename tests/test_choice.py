"""What a screen chooses, on scores set by hand."""

import math

import numpy as np
import pytest

from deepaug.studies import choice

LOST = -math.inf


def test_best_has_the_highest_mean():
    assert choice.best({"a": [50, 60], "b": [56, 55], "c": [90, 10]}) == "b"


def test_of_equal_means_the_first_is_chosen():
    assert choice.best({"a": [1, 3], "b": [2, 2]}) == "a"
    assert choice.best({"b": [2, 2], "a": [1, 3]}) == "b"


def test_an_arm_with_a_diverged_run_is_never_chosen():
    assert choice.best({"a": [90, LOST], "b": [10, 10]}) == "b"
    assert choice.best({"a": [90, LOST], "b": [LOST, LOST]}) is None
    assert choice.best({}) is None


@pytest.mark.parametrize("scores", [[], [math.nan], [1, math.nan], [math.inf], [LOST, math.nan]])
def test_scores_that_are_none_are_refused(scores):
    with pytest.raises(ValueError, match="arm has scores"):
        choice.best({"arm": scores})


def test_best_takes_arrays():
    assert choice.best({"a": np.array([1.0, 2.0]), "b": np.array([1.0, 3.0])}) == "b"


def test_each_family_has_its_best():
    scores = {"d": [50], "f": [52], "p": [40], "t": [39], "none": [99], "noise": [98]}
    transforms = {"d": "dropout", "f": "dropout-feature", "p": "pca", "t": "pca-truncate"}
    transforms |= {"none": "none", "noise": "noise"}
    assert choice.best_by_family(scores, transforms) == {"dropout": "f", "pca": "p"}
    assert choice.best_by_family(scores | {"p": [LOST]}, transforms)["pca"] == "t"
    assert choice.best_by_family({"d": [50], "p": [LOST]}, transforms) == {"dropout": "d"}


def test_primary_is_the_family_that_scores_highest_at_its_own_target():
    scores = {
        "dropout": {"input": [50, 50], "layer1": [61, 59], "layer2": [90, LOST]},
        "pca": {"input": [60, 61], "layer1": [40, 41], "layer2": [30, 31]},
    }
    assert choice.targets_and_primary(scores) == ({"dropout": "layer1", "pca": "input"}, "pca")
    scores["pca"]["input"] = [60, 59]
    assert choice.targets_and_primary(scores)[1] == "dropout"


def test_a_family_that_diverged_everywhere_is_left_out():
    scores = {"dropout": {"input": [LOST]}, "pca": {"input": [10]}}
    assert choice.targets_and_primary(scores) == ({"pca": "input"}, "pca")
    assert choice.targets_and_primary({"dropout": {"input": [LOST]}}) == ({}, None)


@pytest.mark.parametrize(("k", "number"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_middle_is_number_half_of_k_rounded_up(k, number):
    assert choice.middle([f"layer{i + 1}" for i in range(k)]) == f"layer{number}"


def test_no_layer_has_no_middle():
    with pytest.raises(ValueError, match="no layer"):
        choice.middle([])
