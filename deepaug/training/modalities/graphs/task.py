"""Graphs: GraphCL's encoder, views and evaluation on TU sets (You et al. 2020, arXiv 2010.13902).

Follows the project's own code for TU sets where that and the paper agree, else as said in place:
xavier initialisation, node labels as features, an RBF-SVC on features as they are, without
standardisation.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepaug.training.modalities import sampling
from deepaug.training.modalities.graphs import svc, tu
from deepaug.training.modalities.graphs import views as graph_views
from deepaug.training.modalities.graphs.gin import GIN, Counts, xavier
from deepaug.training.modalities.graphs.views import AUGMENTATIONS, Graphs
from deepaug.training.task import Task
from deepaug.training.trial import Trial
from deepaug.validation import UnsuitedData, training_size

RATIO = 0.2  # of a graph's nodes or edges that an augmentation changes, at view strength 1
MANY = 500  # graphs beyond which the SVC takes too long for mid-training


class GraphTask(Task):
    """A TU set prepared for one trial; see `deepaug.training.task.Task`.

    With `held_out` 0 training sees all graphs, without their classes, and the features of all are
    evaluated by nested cross-validation: transductive, as the field does it. `samples` is then the
    number that training sees. With `held_out` > 0 the seed keeps that share of the graphs out of
    training, half for validation and half for test; `samples` are drawn from the others. All draws
    keep the classes' shares.

    Raises ValueError for what the set cannot give.
    """

    def __init__(self, trial: Trial, device: torch.device):
        data = tu.load(trial.data)
        self.trial, self.device = trial, device
        self.digest, self.classes = data.digest, len(data.classes)
        self.source = data.graphs  # on the CPU, to draw views from
        self.graphs, self._labels = data.graphs.to(device), data.labels.to(device)
        # Nodes are the rows of a layer and belong to their graph; readout has a row for each graph.
        by_node = trial.layer == "input" or trial.layer.startswith("layer")
        self.groups = _graph_of_node if by_node else None
        if RATIO * trial.view_strength >= 1:
            raise ValueError(
                f"view_strength must be below {1 / RATIO:g} for graphs, not {trial.view_strength:g}"
            )
        order = _stratified(data.labels, sampling.generator(trial.seed, "subset"))
        held_out = round(trial.held_out * len(data))
        self.validation, self.test, rest = order.split(
            [held_out // 2, held_out - held_out // 2, len(data) - held_out]
        )
        # BatchNorm and contrast need two; an untrained encoder has no batches.
        least, size = (1, 1) if trial.objective == "untrained" else (2, trial.batch_size)
        self.train = rest[: training_size(trial.data, len(rest), trial.samples, size, least)]
        parts = {"training": self.train, "validation": self.validation, "test": self.test}
        _check_classes(trial, data, parts)

    def __len__(self) -> int:
        return len(self.train)

    def encoder(self) -> GIN | Counts:
        inputs = self.graphs.x.shape[1]
        if self.trial.encoder == "counts":
            return Counts(inputs)
        return GIN(inputs, self.trial.width, self.trial.pooling)

    def head(self, features: int) -> nn.Sequential:
        """GraphCL's: two linear layers as wide as the features, without BatchNorm."""
        return xavier(
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
        generator = sampling.generator(self.trial.seed, "views", epoch)
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

    def plain(self, index: Tensor) -> dict:
        return self.graphs.take(self.train[index].to(self.device))

    def activations(self, outputs: Tensor, plain: dict) -> Tensor:
        """Nodes of a graph are summed: they have no order in which to flatten them."""
        if len(outputs) == plain["size"]:
            return outputs
        found = outputs.new_zeros(plain["size"], outputs.shape[1])
        return found.index_add_(0, plain["batch"], outputs)

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
        features = features.double().cpu().numpy()
        labels = self._labels.cpu().numpy()
        with threadpool_limits(self.trial.threads):
            if self.trial.held_out:
                parts = (part.numpy() for part in (self.train, self.validation, self.test))
                validation, test = svc.split_svc(features, labels, *parts)
            else:
                validation, test = svc.nested_svc(features, labels)
        metrics = {"validation": {"svc": validation}, "test": {"svc": test}}
        return metrics if final else {"validation": metrics["validation"]}


prepare = GraphTask


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


def _check_classes(trial: Trial, data: tu.GraphSet, parts: dict[str, Tensor]) -> None:
    """Raise ValueError, in one line, unless every class has enough graphs to be evaluated on."""
    if trial.held_out:
        checks = [
            (data.labels[index], 1, f"none of them in {part}; change held_out or")
            for part, index in parts.items()
        ]
    elif trial.objective == "supervised":
        raise ValueError(
            "supervised training on all graphs would have seen the classes that its evaluation "
            "asks for; set held_out, such as 0.2, in a profile of your own"
        )
    else:
        why = f"fewer than the {svc.FOLDS} folds of the evaluation;"
        if data.labels.bincount().min() >= 4:  # one for validation, one for test
            why += " set held_out to 0.5 in a profile of your own, or"
        checks = [(data.labels, svc.FOLDS, why)]
    for labels, least, why in checks:
        counts = labels.bincount(minlength=len(data.classes))
        if counts.min() < least:
            rarest = int(counts.argmin())
            raise UnsuitedData(
                f"class {data.classes[rarest]} of {trial.data!r} has "
                f"{int((data.labels == rarest).sum())} graphs, {why} take another data set"
            )


def _graph_of_node(x: Tensor, batch: Tensor, **_) -> Tensor:
    return batch


def _stratified(labels: Tensor, draws: torch.Generator) -> Tensor:
    """A random order of all samples, each stretch of which holds the classes in their shares.

    sklearn's stratified splits keep the shares in two parts, not in every stretch, so that
    validation, test and a subset of the rest could not be cut from one order.
    """
    key = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        places = torch.randperm(len(members), generator=draws)
        key[members] = (places + torch.rand(1, generator=draws).double()) / len(members)
    return key.argsort(stable=True)
