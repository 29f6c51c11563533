"""GraphCL's evaluation: an RBF support vector classifier on frozen features of graphs."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

COSTS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)  # the SVC's C, to choose from
FOLDS, INNER_FOLDS = 10, 5
# Of the SVC's solver. Reached only by large C on thousands of graphs (NCI109, C = 1000: 140,000 to
# convergence), where it costs up to half a point of an accuracy that is not the best one anyway.
STEPS = 50_000


def nested_svc(features: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Validation and test accuracy in per cent of an RBF-SVC, by nested cross-validation.

    Ten stratified folds, the same in every trial; in each, C is chosen from 1e-3 … 1e3 by five
    stratified folds of the other nine. The first figure is the mean of the chosen C's inner
    accuracy, slightly optimistic; the second of the outer accuracy. As sklearn's
    `GridSearchCV(SVC(), {"C": ...}, cv=5)` in each outer fold, with the distances computed once
    and the solver's steps capped at 50,000.

    Args:
        features: (n, f), as they are: not standardised. labels: (n,), each class ten times or more.
    """
    from sklearn.model_selection import StratifiedKFold

    accuracies = _scorer(features, labels)
    validation, test = [], []
    # GraphCL draws the folds anew for each seed, which adds their luck to the seeds' spread.
    outer = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for rest, held_out in outer.split(features, labels):
        inner = StratifiedKFold(INNER_FOLDS).split(features[rest], labels[rest])
        scores = np.mean([accuracies(rest[fit], rest[check]) for fit, check in inner], axis=0)
        best = int(scores.argmax())
        validation.append(scores[best])
        test += accuracies(rest, held_out, [COSTS[best]])
    return float(np.mean(validation)), float(np.mean(test))


def split_svc(
    features: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    test: np.ndarray,
) -> tuple[float, float]:
    """Validation and test accuracy in per cent of an RBF-SVC fitted on `train`.

    C is chosen on `validation`, whose accuracy is therefore slightly optimistic.
    """
    accuracies = _scorer(features, labels)
    scores = accuracies(train, validation)
    best = int(np.argmax(scores))
    return float(scores[best]), float(accuracies(train, test, [COSTS[best]])[0])


def _scorer(features: np.ndarray, labels: np.ndarray) -> Callable[..., list[float]]:
    """A function from indices to fit on, and to check on, to the accuracy in per cent for each C.

    The distances between all samples are computed once; gamma is sklearn's "scale" of each fit.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics.pairwise import euclidean_distances
    from sklearn.svm import SVC

    distances = euclidean_distances(features, squared=True)

    def accuracies(
        fit: np.ndarray, check: np.ndarray, costs: Sequence[float] = COSTS
    ) -> list[float]:
        variance = features[fit].var() or 1.0 / features.shape[1]  # sklearn: gamma 1 for constants
        gamma = 1 / (features.shape[1] * variance)
        rows = distances.take(fit, axis=1)
        kernel, to_check = (np.exp(-gamma * rows.take(part, axis=0)) for part in (fit, check))
        found = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the steps are a budget
            for c in costs:
                svc = SVC(C=c, kernel="precomputed", max_iter=STEPS).fit(kernel, labels[fit])
                found.append(100 * svc.score(to_check, labels[check]))
        return found

    return accuracies
