"""The training loops of several libraries, as these have it in their examples, on toy data.

Two views of a sample go through the network in two forward passes: the transform acts twice a step.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import deepaug
from cells import texts
from cells.cell import Cell
from cells.pipeline import BATCH, STEPS, Pipeline, check


def encoder() -> nn.Sequential:
    def block(inward: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inward, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())

    return nn.Sequential(block(3), block(8), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def pictures() -> DataLoader:
    return DataLoader(TensorDataset(torch.rand(STEPS * BATCH, 3, 8, 8)), BATCH, shuffle=True)


def views(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.flip(-1), x + 0.1 * torch.randn_like(x)


@torch.no_grad()
def features(model: nn.Module) -> Tensor:
    return model.eval()(torch.ones(BATCH, 3, 8, 8).cumsum(-1))


def learn(optimizer, loss: Tensor, backward: Callable = Tensor.backward) -> float:
    """A step, and its loss."""
    optimizer.zero_grad()
    backward(loss)
    optimizer.step()
    return loss.item()


def of_images(model: nn.Sequential, head: nn.Linear, train: Callable, **others) -> Pipeline:
    steps = {"calls": 2 * STEPS, "first": model[0][0].weight, "last": head.weight}
    settings = {"evaluate": partial(features, model), **steps, **others}
    return Pipeline(model, "0", train, **settings)


def plain() -> Pipeline:
    model, head, loader = encoder(), nn.Linear(8, 8), pictures()
    optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], 0.1)

    def step(x: Tensor) -> float:
        return learn(optimizer, deepaug.nt_xent(*(head(model(view)) for view in views(x))))

    def train() -> list[float]:
        model.train()
        return [step(x) for (x,) in loader]

    return of_images(model, head, train)


def fabric() -> Pipeline:
    from lightning.fabric import Fabric

    model, head = encoder(), nn.Linear(8, 8)
    fabric = Fabric(accelerator="cpu", devices=1)
    network = nn.ModuleDict({"encoder": model, "head": head})
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    network.forward = lambda x: head(model(x))
    wrapped, optimizer = fabric.setup(network, optimizer)
    loader = fabric.setup_dataloaders(pictures())

    def step(x: Tensor) -> float:
        return learn(optimizer, deepaug.nt_xent(*map(wrapped, views(x))), fabric.backward)

    def train() -> list[float]:
        wrapped.train()
        return [step(x) for (x,) in loader]

    return of_images(model, head, train)


def trainer() -> Pipeline:
    """Two epochs, each followed by a validation, where nothing may act."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.encoder, self.head, self.losses = encoder(), nn.Linear(8, 8), []

        def training_step(self, batch):
            loss = deepaug.nt_xent(*(self.head(self.encoder(view)) for view in views(batch[0])))
            self.losses.append(loss.item())
            return loss

        def validation_step(self, batch):
            self.encoder(batch[0])

        def predict_step(self, batch):
            return self.encoder(batch[0])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    module, loader = Module(), pictures()
    held_out = DataLoader(loader.dataset, BATCH)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    loop = partial(
        lightning.Trainer, accelerator="cpu", devices=1, enable_checkpointing=False, **quiet
    )

    def train() -> list[float]:
        loop(max_epochs=2).fit(module, loader, held_out)
        return module.losses

    def evaluate() -> Tensor:
        return torch.cat(loop().predict(module, held_out))

    calls = 2 * 2 * STEPS
    return of_images(module.encoder, module.head, train, evaluate=evaluate, calls=calls)


def lightly() -> Pipeline:
    """As its example of SimCLR."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    model, head = encoder(), SimCLRProjectionHead(8, 8, 8)
    criterion, transform = NTXentLoss(), SimCLRTransform(input_size=8, gaussian_blur=0.0)
    optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], 0.1)
    pixels = np.random.default_rng(0).integers(0, 256, (STEPS * BATCH, 8, 8, 3), dtype=np.uint8)
    images = [transform(Image.fromarray(picture)) for picture in pixels]
    loader = DataLoader(images, BATCH, shuffle=True)

    def step(first: Tensor, second: Tensor) -> float:
        return learn(optimizer, criterion(head(model(first)), head(model(second))))

    def train() -> list[float]:
        model.train()
        return [step(*both) for both in loader]

    return of_images(model, head.layers[-1], train)


def pyg() -> Pipeline:
    """GraphCL: two views of a batch of graphs, edges dropped, through a GIN."""
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader
    from torch_geometric.nn import GIN, global_add_pool
    from torch_geometric.utils import dropout_edge

    def molecules() -> Iterator[Data]:
        for size in torch.randint(4, 9, (STEPS * BATCH,)).tolist():
            ring = torch.stack([torch.arange(size), torch.arange(size).roll(1)])
            yield Data(x=torch.randn(size, 3), edge_index=ring)

    graphs = [*molecules()]
    model, head = GIN(3, 8, 3), nn.Linear(8, 8)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], 0.01)

    def pooled(data, edges: Tensor) -> Tensor:
        return global_add_pool(model(data.x, edges, batch=data.batch), data.batch)

    def step(data) -> float:
        z = (head(pooled(data, dropout_edge(data.edge_index)[0])) for _ in range(2))
        return learn(optimizer, deepaug.nt_xent(*z))

    def train() -> list[float]:
        model.train()
        return [step(data) for data in DataLoader(graphs, BATCH, shuffle=True)]

    @torch.no_grad()
    def evaluate() -> Tensor:
        model.eval()
        return torch.cat([pooled(data, data.edge_index) for data in DataLoader(graphs, BATCH)])

    first, options = next(model.parameters()), {"groups": lambda x, edge_index, batch: batch}
    return Pipeline(model, "convs.1", train, evaluate, 2 * STEPS, first, head.weight, options)


def _cell(library: str, kind: str, build: Callable[[], Pipeline], *needs: str) -> Cell:
    return Cell(library, kind, build, check, needs)


IMAGES, TEXT, GRAPHS = "images, contrastive", "text, contrastive", "graphs, contrastive"
PIPELINES = {
    "plain loop": _cell("torch", IMAGES, plain),
    "Lightning Fabric": _cell("lightning", IMAGES, fabric),
    "Lightning Trainer": _cell("lightning", IMAGES, trainer),
    "lightly's SimCLR": _cell("lightly", IMAGES, lightly),
    "sentence-transformers' trainer": _cell(
        "sentence_transformers", TEXT, texts.sentence_pairs, "datasets", "accelerate"
    ),
    "Hugging Face Trainer": _cell(
        "transformers", "text, supervised", texts.classifier, "accelerate"
    ),
    "PyG": _cell("torch_geometric", GRAPHS, pyg),
}
