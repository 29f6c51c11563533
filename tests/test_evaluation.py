"""kNN and linear probe: hand-made cases, and kNN against a naive loop."""

import math

import pytest
import torch
from torch.nn import functional as F

from deepaug.training.evaluation import knn_accuracy, linear_probe


def angle(*degrees):
    """Unit vectors in the plane."""
    radians = torch.tensor(degrees).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], 1)


def naive_knn(bank, bank_labels, queries, labels, classes, k, temperature):
    right = 0
    for query, label in zip(queries, labels, strict=True):
        similarity = [F.cosine_similarity(query, row, dim=0).item() for row in bank]
        nearest = sorted(range(len(bank)), key=lambda i: -similarity[i])[:k]
        votes = [0.0] * classes
        for i in nearest:
            votes[bank_labels[i]] += math.exp(similarity[i] / temperature)
        right += votes.index(max(votes)) == label
    return 100 * right / len(labels)


@pytest.mark.parametrize("k", [1, 3, 10, 60])
@pytest.mark.parametrize("temperature", [0.07, 0.1, 1.0])
def test_knn_equals_a_naive_loop(k, temperature):
    bank, queries = torch.randn(60, 5) + 0.3, torch.randn(80, 5) + 0.3
    bank_labels, labels = torch.randint(0, 4, (60,)), torch.randint(0, 4, (80,))
    expected = naive_knn(bank, bank_labels, queries, labels, 4, k, temperature)
    got = knn_accuracy(bank, bank_labels, queries, labels, 4, k, temperature)
    assert got == pytest.approx(expected)


def test_knn_on_a_case_made_by_hand():
    bank, bank_labels = angle(0, 10, 90, 100), torch.tensor([0, 0, 1, 1])
    queries, labels = angle(5, 20, 80, 95), torch.tensor([0, 0, 1, 0])  # the last one is wrong
    assert knn_accuracy(bank, bank_labels, queries, labels, classes=2, k=2) == 75


def test_nearest_neighbour_in_its_own_bank_is_always_right():
    x, labels = torch.randn(50, 8), torch.randint(0, 5, (50,))
    assert knn_accuracy(x, labels, x, labels, classes=5, k=1) == 100


def test_long_rows_of_the_bank_win_nothing():
    """By dot products the long vector at 60° would win over the near one at 10°."""
    bank, bank_labels = torch.tensor([[1.0], [100.0]]) * angle(10, 60), torch.tensor([0, 1])
    query, label = angle(0), torch.tensor([0])
    assert knn_accuracy(bank, bank_labels, query, label, classes=2, k=1) == 100


@pytest.mark.parametrize("k", [1, 5])
def test_lengths_of_features_do_not_matter(k):
    bank, queries = torch.randn(40, 5), torch.randn(30, 5)
    bank_labels, labels = torch.randint(0, 3, (40,)), torch.randint(0, 3, (30,))
    expected = knn_accuracy(bank, bank_labels, queries, labels, 3, k)
    bank = bank * torch.logspace(-3, 3, 40).unsqueeze(1)
    queries = queries * torch.logspace(3, -3, 30).unsqueeze(1)
    assert knn_accuracy(bank, bank_labels, queries, labels, 3, k) == expected


def test_long_queries_do_not_sharpen_the_vote():
    """Were the query not normalised, a length of 100 would be a temperature a hundredth as high."""
    bank, bank_labels = angle(0, 25, 25), torch.tensor([0, 1, 1])
    query, label = angle(0), torch.tensor([1])
    assert knn_accuracy(bank, bank_labels, query, label, classes=2, k=3, temperature=1.0) == 100
    assert knn_accuracy(bank, bank_labels, 100 * query, label, 2, k=3, temperature=1.0) == 100


def test_near_neighbours_outvote_a_majority_of_far_ones():
    bank, bank_labels = angle(0, 60, 61, 62), torch.tensor([0, 1, 1, 1])
    query, label = angle(0), torch.tensor([0])
    assert knn_accuracy(bank, bank_labels, query, label, classes=2, k=4, temperature=0.1) == 100
    # A high temperature makes it a plain majority vote.
    assert knn_accuracy(bank, bank_labels, query, label, classes=2, k=4, temperature=100) == 0


def test_more_neighbours_than_the_bank_holds_are_all_of_it():
    bank, bank_labels = torch.randn(7, 3), torch.randint(0, 2, (7,))
    queries, labels = torch.randn(9, 3), torch.randint(0, 2, (9,))
    all_of_it, more = (knn_accuracy(bank, bank_labels, queries, labels, 2, k) for k in (7, 200))
    assert all_of_it == more


def test_queries_beyond_one_part_all_count():
    """They are compared 1024 at a time; of 2500 the last 500 are labelled wrongly."""
    bank, bank_labels = angle(0, 90), torch.tensor([0, 1])
    labels = torch.arange(2500) % 2
    queries = bank[labels]
    labels = torch.where(torch.arange(2500) < 2000, labels, 1 - labels)
    assert knn_accuracy(bank, bank_labels, queries, labels, classes=2, k=1) == 80


def blobs(n, distance, noise=0):
    """Two classes along the first of five features, a share `noise` of them labelled wrongly."""
    labels = torch.arange(n) % 2
    x = torch.randn(n, 5)
    x[:, 0] += distance * (2 * labels - 1)
    wrong = torch.rand(n) < noise
    return x, torch.where(wrong, 1 - labels, labels)


def test_probe_separates_what_is_linearly_separable():
    bank, queries = blobs(200, 5), {"validation": blobs(50, 5), "test": blobs(50, 5)}
    assert linear_probe(*bank, queries) == {"validation": 100, "test": 100}


def test_probe_standardises_by_the_bank():
    """Features of any unit and offset, one of them constant."""
    unit, offset = (
        torch.tensor([1e-3, 1e4, 1.0, 0.0, 7.0]),
        torch.tensor([50.0, -3e4, 0.0, 2.0, 1.0]),
    )
    splits = [(x * unit + offset, y) for x, y in (blobs(200, 5), blobs(50, 5), blobs(50, 5))]
    scores = linear_probe(*splits[0], {"validation": splits[1], "test": splits[2]})
    assert scores == {"validation": 100, "test": 100}


def test_queries_are_standardised_by_the_bank_and_not_by_themselves():
    """Those of one class have a mean of their own, and without it tell nothing."""
    x, labels = blobs(200, 5)
    one = labels == 1
    assert linear_probe(x, labels, {"validation": (x[one], labels[one])}) == {"validation": 100}


def test_without_standardising_features_are_taken_as_they_are():
    """Of features too small to be told apart at any cost the larger class is what is left."""
    labels = (torch.arange(200) % 4 == 0).long()
    x = 1e-4 * torch.stack([2.0 * labels - 1, torch.randn(200)], 1)
    queries = {"validation": (x, labels)}
    assert linear_probe(x, labels, queries) == {"validation": 100}
    assert linear_probe(x, labels, queries, standardise=False) == {"validation": 75}


def test_probe_is_at_chance_on_features_that_tell_nothing():
    scores = linear_probe(*blobs(400, 0), {"validation": blobs(400, 0), "test": blobs(400, 0)})
    assert scores["test"] == pytest.approx(50, abs=10)


def strengths(monkeypatch):
    """The strengths C that are fitted, in order, and the score of each on validation and test."""
    from sklearn import linear_model

    fitted = []

    class Spy(linear_model.LogisticRegression):
        def score(self, x, y):
            score = super().score(x, y)
            fitted.append((self.C, 100 * score))
            return score

    monkeypatch.setattr(linear_model, "LogisticRegression", Spy)
    return fitted


def hard_case():
    """Noisy labels of uneven classes, few samples: the strength in the middle suits best."""
    weights = torch.randn(10)

    def split(n):
        x = torch.randn(n, 10)
        return x, (x @ weights + 8 * torch.randn(n) > 0).long()

    return split(60), {"validation": split(1000), "test": split(300)}


def test_probe_picks_its_strength_on_validation(monkeypatch):
    fitted = strengths(monkeypatch)
    bank, queries = hard_case()
    scores = linear_probe(*bank, queries)
    validation, test = dict(fitted[::2]), dict(fitted[1::2])
    assert sorted(validation) == [0.001, 0.01, 0.1]
    best = max(validation, key=validation.get)
    assert best == 0.01, "of three, the case must favour neither the first nor the last"
    assert scores == {"validation": validation[best], "test": test[best]}


def test_probe_never_looks_at_test_labels():
    """Inverting them turns the test accuracy round and leaves all else."""
    bank, queries = hard_case()
    expected = linear_probe(*bank, queries)
    x, labels = queries["test"]
    inverted = linear_probe(*bank, {**queries, "test": (x, 1 - labels)})
    assert inverted["validation"] == expected["validation"]
    assert inverted["test"] == pytest.approx(100 - expected["test"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_evaluators_take_features_of_any_precision(dtype):
    x, labels = blobs(100, 5)
    x = x.to(dtype)
    assert knn_accuracy(x, labels, x, labels, classes=2, k=1) == 100
    assert linear_probe(x, labels, {"validation": (x, labels)}) == {"validation": 100}
