"""Metrics of text on frozen features: dense ones, or the sparse rows of counted words."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deepaug.training import evaluation

COSTS = (1, 10, 100)  # C of the probe on rows of length 1
PART = 1024  # queries whose neighbours are looked for at once


def knn_accuracy(bank, bank_labels: Tensor, queries, labels: Tensor, classes: int, k: int) -> float:
    """As `evaluation.knn_accuracy`, of dense features or sparse rows."""
    if isinstance(bank, Tensor):
        return evaluation.knn_accuracy(bank, bank_labels, queries, labels, classes, k)
    from sklearn.preprocessing import normalize

    bank, queries = normalize(bank).T.tocsc(), normalize(queries)
    right = 0
    for start in range(0, len(labels), PART):
        part = slice(start, start + PART)
        similarities = torch.from_numpy((queries[part] @ bank).toarray())
        right += evaluation.votes_right(similarities, bank_labels, labels[part], classes, k)
    return 100 * right / len(labels)


def linear_probe(bank, bank_labels: Tensor, queries: dict, threads: int) -> dict[str, float]:
    """As `evaluation.linear_probe`, of dense features or sparse rows."""
    probe = evaluation.linear_probe if isinstance(bank, Tensor) else normalised_probe
    return probe(bank, bank_labels, queries, threads)


def normalised_probe(bank, bank_labels: Tensor, queries: dict, threads: int) -> dict[str, float]:
    """As `evaluation.linear_probe`, on rows of length 1 instead of standardised features."""
    from sklearn.preprocessing import normalize

    queries = {split: (normalize(x), y.numpy()) for split, (x, y) in queries.items()}
    return evaluation.best_regression(normalize(bank), bank_labels.numpy(), queries, threads, COSTS)


def retrieval(first, second) -> float:
    """Per cent of the rows (n, f) of `first` whose nearest of `second` is their own."""
    number = torch.arange(first.shape[0])
    return knn_accuracy(second, number, first, number, len(number), 1)


def rank_correlation(first, second, scores: tuple[float, ...]) -> float:
    """100 × Spearman's correlation of scores (n) and the cosine similarity of rows (n, f)."""
    from scipy.stats import spearmanr

    similarity = cosine(first, second)
    if not np.ptp(similarity) > 0:  # no pair told from another, or not a number
        return 0.0
    return 100 * float(spearmanr(similarity, scores).statistic)


def cosine(first, second) -> np.ndarray:
    """Cosine similarities (n,) of the rows of two matrices, both dense or both sparse."""
    if isinstance(first, Tensor):
        return F.cosine_similarity(first.double(), second.double()).numpy()
    from sklearn.preprocessing import normalize

    return np.asarray(normalize(first).multiply(normalize(second)).sum(1)).ravel()
