"""Graphs: GraphCL's encoder, views and evaluation on TU sets (You et al. 2020, arXiv 2010.13902).

Follows the project's own code for TU sets where that and the paper agree, else as said in place:
xavier initialisation, node labels as features, an RBF-SVC on features as they are, without
standardisation.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

with warnings.catch_warnings():  # PyG, as it is imported, still uses torch.jit
    warnings.simplefilter("ignore", FutureWarning)
    from torch_geometric.nn import GINConv

from deepaug.training.modalities.graphs import tu
from deepaug.training.modalities.graphs import views as graph_views
from deepaug.training.modalities.graphs.views import AUGMENTATIONS, Graphs
from deepaug.training.trial import Trial, derive
from deepaug.validation import DataError, enough

RATIO = 0.2  # of a graph's nodes or edges that an augmentation changes, at view strength 1
COSTS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)  # the SVC's C, to choose from
FOLDS, INNER_FOLDS = 10, 5
# Of the SVC's solver. Reached only by large C on thousands of graphs (NCI109, C = 1000: 140,000 to
# convergence), where it costs up to half a point of an accuracy that is not the best one anyway.
STEPS = 50_000
MANY = 500  # graphs beyond which the SVC takes too long for mid-training


class GIN(nn.Module):
    """Three GIN layers (Xu et al. 2019, arXiv 1810.00826); each is pooled and all concatenated.

    x (nodes, f), neighbours and starts (see `Graphs.take`), batch (nodes,), ascending, and
    size, the number of graphs, -> (size, 3·width). A graph without nodes gets a row of zeros.
    """

    def __init__(self, inputs: int, width: int, pooling: str = "sum"):
        super().__init__()
        self.features = 3 * width
        self.layer1 = Layer(inputs, width)
        self.layer2 = Layer(width, width)
        self.layer3 = Layer(width, width)
        self.readout = Readout(pooling)
        _initialise(self)

    def forward(
        self, x: Tensor, neighbours: Tensor, starts: Tensor, batch: Tensor, size: int
    ) -> Tensor:
        first = self.layer1(x, neighbours, starts)
        second = self.layer2(first, neighbours, starts)
        third = self.layer3(second, neighbours, starts)
        return self.readout([first, second, third], batch, size)


class Layer(nn.Module):
    """GIN's convolution, ReLU, then BatchNorm, as GraphCL has it: (nodes, f) -> (nodes, width)."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.conv = Convolution(
            nn.Sequential(nn.Linear(inputs, width), nn.ReLU(inplace=True), nn.Linear(width, width))
        )
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor, neighbours: Tensor, starts: Tensor) -> Tensor:
        return self.norm(self.conv(x, neighbours, starts).relu_())


class Convolution(GINConv):
    """PyG's GINConv, told the neighbours of each node instead of a list of edges."""

    def forward(self, x: Tensor, neighbours: Tensor, starts: Tensor) -> Tensor:
        # GraphCL's ε is 0 and not learnt.
        return self.nn(x + NeighbourSum.apply(x, neighbours, starts))


class NeighbourSum(torch.autograd.Function):
    """Sum of each node's neighbours' features, in an undirected graph.

    Gathering and scattering by edges, as PyG does without a compiled extension, would take most of
    a small GIN's step. Rows of a known segment are summed by `embedding_bag` in one pass
    and without a copy for each edge; and since the adjacency is symmetric, so is the gradient.
    """

    @staticmethod
    def forward(ctx, x: Tensor, neighbours: Tensor, starts: Tensor) -> Tensor:
        ctx.save_for_backward(neighbours, starts)
        return _segment_sums(x, neighbours, starts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _segment_sums(gradient.contiguous(), *ctx.saved_tensors), None, None


class GraphSum(torch.autograd.Function):
    """Sum of each graph's rows: (nodes, f), with `batch` (nodes,) ascending, to (size, f)."""

    @staticmethod
    def forward(ctx, x: Tensor, batch: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(batch)
        ends = torch.searchsorted(batch, torch.arange(size + 1, device=batch.device))
        return _segment_sums(x, torch.arange(len(x), device=x.device), ends)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, *ctx.saved_tensors), None, None


def _segment_sums(x: Tensor, rows: Tensor, starts: Tensor) -> Tensor:
    """Sums of x[rows[starts[i] : starts[i + 1]]], of zeros where that is empty."""
    return F.embedding_bag(rows, x, starts, mode="sum", include_last_offset=True)


class Readout(nn.Module):
    """Sum or mean of each layer's node features by graph, concatenated, float32."""

    def __init__(self, pooling: str):
        super().__init__()
        self.pooling = pooling

    def forward(self, layers: list[Tensor], batch: Tensor, size: int) -> Tensor:
        # Summed first, concatenated then: the other way round copies all nodes twice.
        total = torch.cat([GraphSum.apply(x.float(), batch, size) for x in layers], 1)
        if self.pooling == "sum":
            return total
        return total / batch.bincount(minlength=size).clamp_min(1).unsqueeze(1)


class Counts(nn.Module):
    """How often each node label occurs: the features' sum by graph. Nothing in it is trained."""

    def __init__(self, inputs: int):
        super().__init__()
        self.features = inputs

    def forward(
        self, x: Tensor, neighbours: Tensor, starts: Tensor, batch: Tensor, size: int
    ) -> Tensor:
        return GraphSum.apply(x, batch, size)


def _initialise(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
    return module


class GraphTask:
    """A TU set prepared for one trial; see `deepaug.training.loop.Task`.

    With `held_out` 0 training sees all graphs, without their classes, and the features of all are
    evaluated by nested cross-validation: transductive, as the field does it. `samples` is then the
    number that training sees. With `held_out` > 0 the seed keeps that share of the graphs out of
    training, half for validation and half for test; `samples` are drawn from the others. All draws
    keep the classes' shares.

    Raises ValueError for what the set cannot give.
    """

    dim = mask = None  # all rows count

    def __init__(self, trial: Trial, device: torch.device):
        data = tu.load(trial.data)
        self.trial, self.device, self.target = trial, device, trial.layer
        self.digest, self.classes, self.names = data.digest, len(data.classes), data.classes
        self.source = data.graphs  # on the CPU, to draw views from
        self.graphs, self._labels = data.graphs.to(device), data.labels.to(device)
        # Nodes are the rows of a layer and belong to their graph; readout has a row for each graph.
        by_node = trial.layer == "input" or trial.layer.startswith("layer")
        self.groups = _graph_of_node if by_node else None
        if RATIO * trial.view_strength >= 1:
            raise ValueError(
                f"view_strength must be below {1 / RATIO:g} for graphs, not {trial.view_strength:g}"
            )
        order = _stratified(data.labels, derive(trial.seed, "subset"))
        held_out = round(trial.held_out * len(data))
        self.validation, self.test, rest = order.split(
            [held_out // 2, held_out - held_out // 2, len(data) - held_out]
        )
        # BatchNorm and contrast need two; an untrained encoder has no batches.
        least, size = (1, 1) if trial.objective == "untrained" else (2, trial.batch_size)
        self.train = rest[: enough(trial.data, len(rest), trial.samples, size, least)]
        self._check(data.labels)

    def _check(self, labels: Tensor) -> None:
        trial = self.trial
        if trial.held_out:
            parts = {"training": self.train, "validation": self.validation, "test": self.test}
            for part, index in parts.items():
                counts = labels[index].bincount(minlength=self.classes)
                if not counts.all():
                    self._refuse(
                        labels, counts.argmin(), f"none of them in {part}; change held_out or"
                    )
        elif trial.objective == "supervised":
            raise ValueError(
                "supervised training on all graphs would have seen the classes that its evaluation "
                "asks for; set held_out, such as 0.2, in a profile of your own"
            )
        else:
            counts = labels.bincount()
            if counts.min() < FOLDS:
                why = f"fewer than the {FOLDS} folds of the evaluation;"
                if counts.min() >= 4:  # one for validation, one for test
                    why += " set held_out to 0.5 in a profile of your own, or"
                self._refuse(labels, counts.argmin(), why)

    def _refuse(self, labels: Tensor, number: Tensor, why: str) -> None:
        count = int((labels == number).sum())
        raise DataError(
            f"class {self.names[number]} of {self.trial.data!r} has {count} graphs, {why} take "
            f"another data set"
        )

    def encoder(self) -> GIN | Counts:
        inputs = self.graphs.x.shape[1]
        if self.trial.encoder == "counts":
            return Counts(inputs)
        return GIN(inputs, self.trial.width, self.trial.pooling)

    def head(self, features: int) -> nn.Sequential:
        """GraphCL's: two linear layers as wide as the features, without BatchNorm."""
        return _initialise(
            nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, features))
        )

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        """Shuffled batches of indices; the last may be smaller, or larger by one graph.

        A remainder of one is not left by itself: BatchNorm and contrast need two.
        """
        order = self.train[torch.randperm(len(self.train), generator=generator)]
        batches = list(order.split(self.trial.batch_size))
        if len(batches) > 1 and len(batches[-1]) == 1:
            batches[-2:] = [torch.cat(batches[-2:])]
        return batches

    def views(self, epoch: int) -> Callable[[Tensor], tuple[dict, dict]]:
        """A function from indices (n,) to the two views of those graphs in this epoch.

        All graphs of the set are augmented at once, so that what happens to one does not depend on
        the batch, nor on the subset that is trained on.
        """
        generator = torch.Generator().manual_seed(derive(self.trial.seed, "views", epoch))
        # GraphCL's paper augments both views, its code for TU sets only the second.
        original = self.trial.views == "original"
        first = self.graphs if original else self._view(generator)
        second = self._view(generator)

        def both(index: Tensor) -> tuple[dict, dict]:
            index = index.to(self.device)
            return first.take(index), second.take(index)

        return both

    def _view(self, generator: torch.Generator) -> Graphs:
        which = torch.randint(len(AUGMENTATIONS), (len(self.source),), generator=generator)
        if self.trial.views in AUGMENTATIONS:
            which.fill_(AUGMENTATIONS.index(self.trial.views))
        ratio = RATIO * self.trial.view_strength
        return graph_views.augment(self.source, which, ratio, generator).to(self.device)

    def labels(self, index: Tensor) -> Tensor:
        return self._labels[index.to(self.device)]

    def evaluate(self, embed: Callable[[dict], Tensor], final: bool) -> dict[str, dict]:
        """Accuracies in per cent of an RBF-SVC on frozen features, by split.

        "validation" is the inner folds' or the validation part's, by which C is chosen. In
        mid-training a set of more than 500 graphs is not evaluated.
        """
        if not final and len(self.graphs) > MANY:
            return {"validation": {}}
        from threadpoolctl import threadpool_limits

        whole = torch.arange(len(self.graphs), device=self.device)
        features = torch.cat([embed(self.graphs.take(part)) for part in whole.split(512)])
        # Training may have gone wrong without an infinite loss; the SVC would refuse.
        features = features.nan_to_num().double().cpu().numpy()
        labels = self._labels.cpu().numpy()
        with threadpool_limits(self.trial.threads):
            if self.trial.held_out:
                parts = (part.numpy() for part in (self.train, self.validation, self.test))
                validation, test = split_svc(features, labels, *parts)
            else:
                validation, test = nested_svc(features, labels)
        splits = {"validation": {"svc": validation}}
        return splits | ({"test": {"svc": test}} if final else {})


def prepare(trial: Trial, device: torch.device) -> GraphTask:
    return GraphTask(trial, device)


def describe(data: str) -> str:
    """One line on a TU set, fetched if need be."""
    found = tu.load(data)
    graphs = found.graphs
    nodes, edges = (size / len(found) for size in (len(graphs.x), graphs.edges.shape[1]))
    return (
        f"{found.name}: {len(found)} graphs; {len(found.classes)} classes; "
        f"{graphs.x.shape[1]} features; mean {nodes:.1f} nodes, {edges:.1f} edges; "
        f"digest {found.digest}"
    )


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

    distances = _distances(features)
    validation, test = [], []
    # GraphCL draws the folds anew for each seed, which adds their luck to the seeds' spread.
    outer = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for rest, held_out in outer.split(features, labels):
        inner = StratifiedKFold(INNER_FOLDS).split(features[rest], labels[rest])
        scores = [
            _accuracies(features, distances, labels, rest[fit], rest[check], COSTS)
            for fit, check in inner
        ]
        scores = np.mean(scores, axis=0)
        best = int(scores.argmax())
        validation.append(scores[best])
        test += _accuracies(features, distances, labels, rest, held_out, COSTS[best : best + 1])
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
    distances = _distances(features)
    both = (
        _accuracies(features, distances, labels, train, part, COSTS) for part in (validation, test)
    )
    scores, tested = both
    best = int(np.argmax(scores))
    return float(scores[best]), float(tested[best])


def _distances(features: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (n, n)."""
    from sklearn.metrics.pairwise import euclidean_distances

    return euclidean_distances(features, squared=True)


def _accuracies(
    features: np.ndarray,
    distances: np.ndarray,
    labels: np.ndarray,
    fit: np.ndarray,
    check: np.ndarray,
    costs: tuple[float, ...],
) -> list[float]:
    """Accuracy in per cent on `check` of an SVC fitted on `fit`, for each C; gamma is "scale"."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import SVC

    variance = features[fit].var() or 1.0 / features.shape[1]  # sklearn: gamma 1 for constants
    gamma = 1 / (features.shape[1] * variance)
    rows = distances.take(fit, axis=1)
    kernel, to_check = (np.exp(-gamma * rows.take(part, axis=0)) for part in (fit, check))
    accuracies = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the steps are a budget
        for c in costs:
            svc = SVC(C=c, kernel="precomputed", max_iter=STEPS).fit(kernel, labels[fit])
            accuracies.append(100 * svc.score(to_check, labels[check]))
    return accuracies


def _graph_of_node(x: Tensor, batch: Tensor, **_) -> Tensor:
    return batch


def _stratified(labels: Tensor, seed: int) -> Tensor:
    """A random order of all samples, each stretch of which holds the classes in their shares."""
    generator = torch.Generator().manual_seed(seed)
    key = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        places = torch.randperm(len(members), generator=generator)
        key[members] = (places + torch.rand(1, generator=generator).double()) / len(members)
    return key.argsort(stable=True)
