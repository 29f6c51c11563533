"""Evaluators of frozen features, shared by all modalities."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Labelled = tuple[Tensor, Tensor]  # features (n, f), and classes (n,)


def accuracies(
    bank: Labelled,
    queries: dict[str, Labelled],
    classes: int,
    probe: Callable[[Tensor, Tensor, dict[str, Labelled]], dict[str, float]] | None = None,
    knn: Callable[..., float] | None = None,
) -> dict[str, dict[str, float]]:
    """Accuracies in per cent on frozen features: split -> "knn" and, with a `probe`, "probe".

    Args:
        bank: what is trained on; a fiftieth of it votes, from 1 up to 200 neighbours.
        queries: split -> what is asked for.
        probe: `linear_probe` with its settings; it takes longer than kNN.
        knn: in the place of `knn_accuracy`, for features that are no tensors.
    """
    k, knn = max(1, min(200, len(bank[1]) // 50)), knn or knn_accuracy
    metrics = {split: {"knn": knn(*bank, *part, classes, k)} for split, part in queries.items()}
    if probe is not None:
        for split, accuracy in probe(*bank, queries).items():
            metrics[split]["probe"] = accuracy
    return metrics


def knn_accuracy(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    labels: Tensor,
    classes: int,
    k: int,
    temperature: float = 0.1,
) -> float:
    """Weighted k-nearest-neighbour accuracy in per cent (Wu et al. 2018, arXiv 1805.01978).

    Args:
        bank, queries: features (m, f) and (n, f); both are normalised here.
        bank_labels, labels: int64 (m,) and (n,), in [0, classes).
        k: neighbours that vote, each with weight exp(cosine similarity / temperature).
    """
    bank, queries = F.normalize(bank.float(), dim=1), F.normalize(queries.float(), dim=1)
    right = 0
    for part, truth in zip(queries.split(1024), labels.split(1024), strict=True):
        right += votes_right(part @ bank.mT, bank_labels, truth, classes, k, temperature)
    return 100 * right / len(labels)


def votes_right(
    similarities: Tensor,
    bank_labels: Tensor,
    labels: Tensor,
    classes: int,
    k: int,
    temperature: float = 0.1,
) -> int:
    """How many queries their neighbours vote right, given cosine similarities (n, m)."""
    similarity, nearest = similarities.topk(min(k, similarities.shape[1]), dim=1)
    votes = torch.zeros(len(labels), classes, device=labels.device)
    votes.scatter_add_(1, bank_labels[nearest], (similarity / temperature).exp())
    return int((votes.argmax(1) == labels).sum())


def linear_probe(
    bank: Tensor,
    bank_labels: Tensor,
    queries: dict[str, Labelled],
    threads: int = 1,
    costs: Sequence[float] = (0.001, 0.01, 0.1),
    standardise: bool = True,
) -> dict[str, float]:
    """Accuracy in per cent of a logistic regression on frozen features.

    Of the costs C (inverse L2 strength) the one best on `queries["validation"]`, whose own accuracy
    is therefore slightly optimistic.

    Args:
        bank, bank_labels: training features (m, f) and labels (m,).
        queries: split -> (features, labels); "validation" must be among them.
        threads: CPU threads for the linear algebra, which torch's setting does not reach.
        costs: the values of C to choose from.
        standardise: by the mean and deviation of the bank; else features are taken as they are.
    """
    mean, deviation = bank.float().mean(0), bank.float().std(0).clamp_min(1e-6)

    def standard(features: Tensor) -> np.ndarray:
        return ((features - mean) / deviation if standardise else features).cpu().numpy()

    queries = {split: (standard(x), y.cpu().numpy()) for split, (x, y) in queries.items()}
    return best_regression(standard(bank), bank_labels.cpu().numpy(), queries, threads, costs)


def best_regression(
    inputs: Any,
    labels: np.ndarray,
    queries: dict[str, tuple[Any, np.ndarray]],
    threads: int,
    costs: Sequence[float],
) -> dict[str, float]:
    """As `linear_probe`, on rows as they are: NumPy arrays or SciPy's sparse matrices (m, f)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    tried = []
    with warnings.catch_warnings(), threadpool_limits(threads):
        warnings.simplefilter("ignore", ConvergenceWarning)  # 200 steps are the budget
        for c in costs:
            probe = LogisticRegression(C=c, max_iter=200).fit(inputs, labels)
            tried.append({split: 100 * probe.score(x, y) for split, (x, y) in queries.items()})
    return max(tried, key=lambda accuracies: accuracies["validation"])  # of equals the first
