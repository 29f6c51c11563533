"""GRACE on Cora, nodes per second end to end, beside PyGCL.

    python benchmarks/nodes.py              # 5 rounds; needs benchmarks/requirements.txt
    python benchmarks/nodes.py --agree 5    # do both sides learn the same? 5 seeds

PyGCL is run as its GRACE example has it: edges removed and features masked in both views, PyG's
GCNConv, InfoNCE of all nodes with negatives from both views; its encoder passes the plain graph a
third time, for the evaluation's sake. Both sides have GRACE's two layers, its rates, its rate of
learning and its temperature, every node in the loss, one thread. Counted: views, forward,
backward, step.
"""

from collections.abc import Callable

import measure
import torch
from torch import nn
from torch.nn import functional as F

from deepaug.training import contrastive, loop
from deepaug.training.modalities.nodes import citation
from deepaug.training.trial import Trial, derive

SETTINGS = {
    "modality": "nodes",
    "data": "Cora",
    "encoder": "gcn2",
    "width": 128,
    "batch_size": 2708,
    "optimizer": "adam",
    "learning_rate": 5e-4,
    "schedule": "constant",
    "weight_decay": 1e-5,
    "temperature": 0.4,
    "epochs": 100,
}


def trial(seed: int = 0) -> Trial:
    return Trial(**SETTINGS, seed=seed)


class PyGCL:
    """PyGCL's GRACE on the set of a trial, an epoch at a time."""

    def __init__(self, trial: Trial, device: torch.device):
        A, L, DualBranchContrast = measure.pygcl()
        from torch_geometric.nn import GCNConv

        torch.manual_seed(derive(trial.seed, "initialisation"))
        data = citation.load(trial.data)
        self.x = data.x.to(device)
        self.edges = torch.cat([data.edges, data.edges.flip(0)], 1).to(device)
        inputs, width = self.x.shape[1], trial.width

        class Encoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList([GCNConv(inputs, 2 * width), GCNConv(2 * width, width)])

            def forward(self, x, edge_index):
                for layer in self.layers:
                    x = F.relu(layer(x, edge_index))
                return x

        self.encoder = Encoder().to(device)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ELU(), nn.Linear(width, width))
        self.head.to(device)
        recipe = data.recipe
        self.views = [
            A.Compose([A.EdgeRemoving(pe=edges), A.FeatureMasking(pf=features)])
            for edges, features in zip(recipe.edges, recipe.features, strict=True)
        ]
        self.contrast = DualBranchContrast(
            loss=L.InfoNCE(tau=trial.temperature), mode="L2L", intraview_negs=True
        )
        parameters = [*self.encoder.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.Adam(
            parameters, lr=trial.learning_rate, weight_decay=trial.weight_decay
        )

    def epoch(self) -> float:
        self.encoder.train()
        self.optimizer.zero_grad()
        self.encoder(self.x, self.edges)
        projected = []
        for view in self.views:
            x, edges, _ = view(self.x, self.edges, None)
            projected.append(self.head(self.encoder(x, edges)))
        loss = self.contrast(*projected)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def time_ours(warm_up: int, blocks: int):
    run = loop.prepare(trial())
    epochs = iter(range(10**6))
    return measure.timed(lambda: run.epoch(next(epochs)), warm_up, blocks), run.samples


def time_theirs(warm_up: int, blocks: int):
    torch.set_num_threads(trial().threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    peer = PyGCL(trial(), device)
    return measure.timed(peer.epoch, warm_up, blocks), len(peer.x)


def time_ceiling(warm_up: int, blocks: int):
    """The encoder alone, forward and backward, on views that lie ready."""
    run = loop.prepare(trial())
    (index,) = run.task.batches(torch.Generator())
    ready = [run.task.views(0)(index)]
    return measure.ceiling(run, ready, warm_up, blocks), run.samples


def agree(seeds: int) -> dict:
    """Probe accuracy, by our evaluator, and NT-Xent after the same training by either side."""

    def outcomes(seed: int):
        run = loop.prepare(trial(seed))
        peer = PyGCL(run.trial, run.fabric.device)
        for epoch in range(run.trial.epochs):
            run.epoch(epoch)
            peer.epoch()
        peer.encoder.eval()
        run.encoder.eval()

        def theirs(x, adjacency, nodes):
            return peer.encoder(peer.x, peer.edges)[nodes]

        sides = {"deepaug": (run.encoder, run.network.head), "PyGCL": (theirs, peer.head)}
        return run.trial, {side: _outcome(run, peer, *parts) for side, parts in sides.items()}

    return measure.agreement(seeds, "probe", outcomes)


@torch.no_grad()
def _outcome(
    run: loop.Training, peer: PyGCL, encoder: Callable[..., torch.Tensor], head: nn.Module
) -> dict[str, float]:
    """Both sides on the plain graph: NT-Xent of two views would need each side's own."""
    metrics = run.task.evaluate(lambda view: encoder(**view).float(), final=True)["validation"]
    view = run.task.views(10**6)(torch.arange(len(peer.x)))[0]
    features = head(encoder(**view).float())
    loss = contrastive.nt_xent(features, features, run.trial.temperature).item()
    return {"probe": metrics["probe"], "nt_xent": loss}


if __name__ == "__main__":
    measure.main(
        __file__,
        ["torch-geometric", "PyGCL"],
        {"deepaug": time_ours, "PyGCL": time_theirs, "ceiling": time_ceiling},
        {"": (2, 8)},
        agree,
        trial().to_dict(),
    )
