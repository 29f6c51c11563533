"""What Lightning costs: the same steps by a plain loop, by Fabric and by the Trainer.

    python benchmarks/lightning_overhead.py

Claim: Fabric costs less than the Trainer. On: one CPU thread, a network so small that overhead
shows, float32, resident data; 5 rounds, alternating, 300 steps each, the first 50 steps left out
for warm-up by a run of their own. Writes its table beside this file, for the book.
"""

import logging
import statistics
import time
import warnings
from pathlib import Path

import lightning
import torch
from lightning.fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from deepaug.training import devices

STEPS, WARM_UP, ROUNDS, BATCH, WIDTH = 300, 50, 5, 128, 64


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))


def loader(data: torch.Tensor) -> DataLoader:
    """The Trainer wants one; the others are given the same."""
    return DataLoader(TensorDataset(data), batch_size=None)


def loss_of(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return (model(x) - x).square().mean()


def plain(data: torch.Tensor) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for (x,) in loader(data):
        optimizer.zero_grad()
        loss_of(model, x).backward()
        optimizer.step()


def fabric(data: torch.Tensor) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    model = network()
    model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), 0.01))
    for (x,) in loader(data):
        optimizer.zero_grad()
        fabric.backward(loss_of(model, x))
        optimizer.step()


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = network()

    def training_step(self, batch):
        return loss_of(self.model, batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


def trainer(data: torch.Tensor) -> None:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    loop = lightning.Trainer(accelerator="cpu", devices=1, max_epochs=1, **quiet)
    loop.fit(Module(), loader(data))


def main() -> None:
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    data = torch.randn(STEPS, BATCH, WIDTH)
    loops = {"plain loop": plain, "Fabric": fabric, "Trainer": trainer}
    times: dict[str, list[float]] = {name: [] for name in loops}
    for loop in loops.values():
        loop(data[:WARM_UP])
    for _ in range(ROUNDS):
        for name, loop in loops.items():
            start = time.perf_counter()
            loop(data)
            times[name].append(1e3 * (time.perf_counter() - start) / STEPS)
    rows = [
        f"| {name} | {statistics.median(t):.2f} | {min(t):.2f}–{max(t):.2f} |"
        for name, t in times.items()
    ]
    table = "\n".join(["| | ms a step, median | range |", "|---|---|---|", *rows])
    note = (
        f"{ROUNDS} alternating runs of {STEPS} steps; set-up included; "
        f"{devices.name(torch.device('cpu'))}, one thread, torch {torch.__version__}, "
        f"lightning {lightning.__version__}."
    )
    text = f"{table}\n\n{note}\n"
    Path(__file__).with_suffix(".md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
