"""GraphCL, graphs per second end to end, beside PyGCL.

    python benchmarks/graphs.py              # 5 rounds; needs benchmarks/requirements.txt
    python benchmarks/graphs.py --agree 5    # do both sides learn the same? 5 seeds

PyGCL is run as its GraphCL example has it: PyG's DataLoader, identity for one view and a random
choice of node dropping, feature masking and edge removal for the other, InfoNCE at 0.2, Adam; its
encoder passes the plain graphs a third time, for the evaluation's sake. Its random walk needs a
package that is no longer to be installed and is left out. Both sides train GraphCL's GIN 3×32 on
the same set with the same batch. Counted: data, views, forward, backward, step.

Operations on graphs are small: with two threads each waits for the other in every operation, and
longer when the cores are busy. So all sides are timed with all cores, with one thread, and with one
thread while another process keeps each core busy.
"""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import measure
import torch
from torch import nn
from torch.nn import functional as F

from deepaug.training import contrastive, loop
from deepaug.training.modalities.graphs import tu
from deepaug.training.modalities.graphs import views as graph_views
from deepaug.training.trial import Trial, derive

DATA = "PROTEINS"
SETTINGS = {
    "modality": "graphs",
    "data": DATA,
    "encoder": "gin3",
    "width": 32,
    "pooling": "sum",
    "views": "original",
    "batch_size": 128,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "schedule": "constant",
    "weight_decay": 0.0,
    "temperature": 0.2,
    "epochs": 20,
}


def trial(seed: int = 0, threads: int = measure.CORES) -> Trial:
    return Trial(**SETTINGS, threads=threads, seed=seed)


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep the cores busy with so many spinning processes."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


class PyGCL:
    """PyGCL's GraphCL on the set of a trial, an epoch at a time."""

    def __init__(self, trial: Trial, device: torch.device):
        A, L, DualBranchContrast = measure.pygcl()
        from torch_geometric.loader import DataLoader
        from torch_geometric.nn import GINConv, global_add_pool

        torch.manual_seed(derive(trial.seed, "initialisation"))
        data = tu.load(trial.data)
        graphs = [data.data(number) for number in range(len(data))]
        self.loader = DataLoader(graphs, batch_size=trial.batch_size, shuffle=True)
        self.device, self.graphs, width = device, len(data), trial.width

        class Encoder(nn.Module):
            features = 3 * width

            def __init__(self, inputs: int):
                super().__init__()
                widths = [(inputs, width), (width, width), (width, width)]
                self.layers = nn.ModuleList(
                    GINConv(nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, b)))
                    for a, b in widths
                )
                self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in widths)

            def forward(self, x, edge_index, batch, size):
                pooled = []
                for layer, norm in zip(self.layers, self.norms, strict=True):
                    x = norm(F.relu(layer(x, edge_index)))
                    pooled.append(global_add_pool(x, batch, size))
                return torch.cat(pooled, 1)

        self.encoder = Encoder(graphs[0].x.shape[1]).to(device)
        f = self.encoder.features
        self.head = nn.Sequential(nn.Linear(f, f), nn.ReLU(inplace=True), nn.Linear(f, f))
        self.head.to(device)
        self.views = (
            A.Identity(),
            A.RandomChoice(
                [A.NodeDropping(pn=0.1), A.FeatureMasking(pf=0.1), A.EdgeRemoving(pe=0.1)], 1
            ),
        )
        self.contrast = DualBranchContrast(loss=L.InfoNCE(tau=trial.temperature), mode="G2G")
        parameters = [*self.encoder.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=trial.learning_rate)

    def epoch(self) -> float:
        self.encoder.train()
        total = 0.0
        for data in self.loader:
            data = data.to(self.device)
            self.optimizer.zero_grad()
            size = data.num_graphs
            self.encoder(data.x, data.edge_index, data.batch, size)
            pooled = []
            for view in self.views:
                x, edge_index, _ = view(data.x, data.edge_index, None)
                pooled.append(self.encoder(x, edge_index, data.batch, size))
            g1, g2 = map(self.head, pooled)
            loss = self.contrast(g1=g1, g2=g2, batch=data.batch)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.loader)


def time_ours(threads: int, others: int, warm_up: int, blocks: int):
    run = loop.prepare(trial(threads=threads))
    epochs = iter(range(10**6))
    with busy(others):
        return measure.timed(lambda: run.epoch(next(epochs)), warm_up, blocks), run.samples


def time_theirs(threads: int, others: int, warm_up: int, blocks: int):
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    peer = PyGCL(trial(threads=threads), device)
    with busy(others):
        return measure.timed(peer.epoch, warm_up, blocks), peer.graphs


def time_ceiling(threads: int, others: int, warm_up: int, blocks: int):
    """The encoder alone, forward and backward, on views that lie ready."""
    run = loop.prepare(trial(threads=threads))
    views = run.task.views(0)
    ready = [views(index) for index in run.task.batches(torch.Generator())]
    with busy(others):
        return measure.ceiling(run, ready, warm_up, blocks), run.samples


SIDES = {"deepaug": time_ours, "PyGCL": time_theirs, "ceiling": time_ceiling}
# Threads of each side, and other processes.
CONDITIONS = {
    "": (measure.CORES, 0),
    " with one thread": (1, 0),
    " with one thread, cores busy": (1, measure.CORES),
}


def agree(seeds: int) -> dict:
    """SVC accuracy, by our evaluator, and NT-Xent after the same training by either side."""

    def outcomes(seed: int):
        run = loop.prepare(trial(seed))
        peer = PyGCL(run.trial, run.fabric.device)
        for epoch in range(run.trial.epochs):
            run.epoch(epoch)
            peer.epoch()

        def theirs(x, neighbours, starts, batch, size):
            return peer.encoder(x, graph_views.edge_index(neighbours, starts), batch, size)

        peer.encoder.eval()
        run.encoder.eval()
        return run.trial, {"deepaug": _outcome(run, run.encoder), "PyGCL": _outcome(run, theirs)}

    return measure.agreement(seeds, "svc", outcomes)


@torch.no_grad()
def _outcome(run: loop.Training, encoder: Callable[..., torch.Tensor]) -> dict[str, float]:
    metrics = run.task.evaluate(lambda view: encoder(**view).float(), final=True)["validation"]
    views = run.task.views(10**6)(torch.arange(512))
    first, second = (F.normalize(encoder(**view).float(), dim=1) for view in views)
    loss = contrastive.nt_xent(first, second, run.trial.temperature).item()
    return {"svc": metrics["svc"], "nt_xent": loss}


if __name__ == "__main__":
    measure.main(
        __file__,
        ["torch-geometric", "PyGCL"],
        {
            f"{side}{name}": partial(timer, *condition)
            for name, condition in CONDITIONS.items()
            for side, timer in SIDES.items()
        },
        {"": (5, 30)},  # an epoch is a fraction of a second
        agree,
        trial().to_dict(),
    )
