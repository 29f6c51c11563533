"""SimCLR on images, samples per second end to end, beside lightly.

    python benchmarks/vision.py              # 5 rounds; needs benchmarks/requirements.txt
    python benchmarks/vision.py --agree 3    # do both sides learn the same? 3 seeds

lightly is run as its CIFAR-10 benchmark and its plain PyTorch example have it: PIL images through
`SimCLRTransform` (jitter 0.5, no blur) in a DataLoader with all cores as workers, its projection
head, NT-Xent at temperature 0.5, SGD. Both sides train the same ResNet on the same images with the
same batch. Counted: data, views, forward, backward, step.
"""

from collections.abc import Iterator
from functools import partial

import measure
import torch
from torch.nn import functional as F

from deepaug.training import contrastive, loop, registry
from deepaug.training.modalities.vision import sets as images
from deepaug.training.trial import Trial, derive

# The full network, and the one of the `cpu` profile.
NETWORKS = {
    "resnet18": {"encoder": "resnet18", "width": 64, "view_size": 32},
    "narrow": {"encoder": "resnet10", "width": 32, "view_size": 16},
}
STEPS = {"resnet18": 1, "narrow": 2}  # in a block
BLOCKS = {"resnet18": (1, 2), "narrow": (4, 6)}  # warm-up, timed
# How both sides are compared for what they learn: small enough for many seeds.
AGREE = {"samples": 5000, "epochs": 5}


def trial(network: str, precision: str, **changes) -> Trial:
    settings = {"samples": STEPS[network] * 128, "epochs": 1, "threads": measure.CORES, **changes}
    return Trial(data="cifar10-jpeg", precision=precision, **{**NETWORKS[network], **settings})


def lightly(trial: Trial, device: torch.device) -> tuple[torch.nn.Module, Iterator[float]]:
    """lightly's training on the images that our trial would train on: encoder, and its losses."""
    import numpy as np
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    task = registry.load("vision").prepare(trial, torch.device("cpu"))
    torch.manual_seed(derive(trial.seed, "initialisation"))
    encoder = task.encoder().to(memory_format=torch.contiguous_format)  # as its examples have it
    head = SimCLRProjectionHead(encoder.features, encoder.features, 128)
    network = torch.nn.Sequential(encoder, head).to(device)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=trial.learning_rate,
        momentum=0.9,
        weight_decay=trial.weight_decay,
    )
    criterion = NTXentLoss(temperature=trial.temperature)
    transform = SimCLRTransform(
        input_size=trial.view_size,
        cj_strength=0.5,
        gaussian_blur=0.0,
        normalize={
            "mean": task.mean.flatten().tolist(),
            "std": task.deviation.flatten().tolist(),
        },
    )
    pixels = np.ascontiguousarray(task.train.images.permute(0, 2, 3, 1).numpy())

    class Images(torch.utils.data.Dataset):
        """As torchvision.datasets.CIFAR10: an array in memory, a PIL image for each item."""

        def __len__(self) -> int:
            return len(pixels)

        def __getitem__(self, index: int):
            return transform(Image.fromarray(pixels[index]))

    # Where a step is timed an epoch would be over before the workers are warm: images come again.
    again = {"replacement": True, "num_samples": 10**9} if trial.epochs == 1 else {}
    loader = torch.utils.data.DataLoader(
        Images(),
        batch_size=trial.batch_size,
        sampler=torch.utils.data.RandomSampler(pixels, **again),
        drop_last=True,
        num_workers=measure.CORES,
        persistent_workers=True,
    )
    steps = trial.epochs * (len(pixels) // trial.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    half = trial.precision == "bfloat16"

    def train() -> Iterator[float]:
        while True:
            network.train()
            for first, second in loader:
                with torch.autocast(device.type, torch.bfloat16, enabled=half):
                    z0, z1 = network(first.to(device)), network(second.to(device))
                loss = criterion(z0.float(), z1.float())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                yield loss.item()

    return encoder, train()


def time_ours(network: str, precision: str, warm_up: int, blocks: int):
    run = loop.prepare(trial(network, precision))
    epochs = iter(range(10**6))
    return measure.timed(lambda: run.epoch(next(epochs)), warm_up, blocks), run.samples


def time_lightly(network: str, precision: str, warm_up: int, blocks: int):
    torch.set_num_threads(measure.CORES)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _, steps = lightly(trial(network, precision), device)
    block = partial(_take, steps, STEPS[network])
    return measure.timed(block, warm_up, blocks), STEPS[network] * 128


def time_ceiling(network: str, precision: str, warm_up: int, blocks: int):
    """The encoder alone, forward and backward, on two views that lie ready."""
    run = loop.prepare(trial(network, precision))
    views = run.task.views(0)(torch.arange(128))
    ready = [views] * STEPS[network]
    return measure.ceiling(run, ready, warm_up, blocks), STEPS[network] * 128


def _take(iterator: Iterator[float], count: int) -> list[float]:
    return [next(iterator) for _ in range(count)]


SIDES = {"deepaug": time_ours, "lightly": time_lightly, "ceiling": time_ceiling}
ARMS = {
    f"{network} {side} {precision}": partial(timer, network, precision)
    for network in NETWORKS
    for side, timer in SIDES.items()
    for precision in ("float32", "bfloat16")
}


def agree(seeds: int) -> dict:
    """kNN accuracy and NT-Xent on validation images after the same training by either side."""

    def outcomes(seed: int):
        settings = trial("narrow", "float32", **AGREE, seed=seed)
        run = loop.prepare(settings)
        for epoch in range(settings.epochs):
            run.epoch(epoch)
        theirs, steps = lightly(settings, run.fabric.device)
        _take(steps, settings.epochs * (settings.samples // settings.batch_size))
        sides = {"deepaug": run.encoder, "lightly": theirs}
        return settings, {side: _outcome(run, encoder) for side, encoder in sides.items()}

    return measure.agreement(seeds, "knn", outcomes)


@torch.no_grad()
def _outcome(run: loop.Training, encoder: torch.nn.Module) -> dict[str, float]:
    """Both sides by one measure: our evaluator, and NT-Xent of features without a head."""
    encoder.eval()
    metrics = run.task.evaluate(lambda x: encoder(x).float(), final=False)["validation"]
    views = run.task.views(10**6)(torch.arange(1024))
    first, second = (F.normalize(encoder(v).float(), dim=1) for v in views)
    return {"knn": metrics["knn"], "nt_xent": contrastive.nt_xent(first, second, 0.5).item()}


if __name__ == "__main__":
    images.load("cifar10-jpeg", 32)  # decoded once, before any turn
    measure.main(
        __file__,
        ["torchvision", "lightly"],
        ARMS,
        BLOCKS,
        agree,
        {network: trial(network, "float32").to_dict() for network in NETWORKS},
    )
