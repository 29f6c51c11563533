"""Where a training step's time goes, what a transform adds to it, and how it grows.

    python benchmarks/steps.py parts         # data, encoder, loss, optimiser: ms a step
    python benchmarks/steps.py transforms    # step with a transform at each layer over without
    python benchmarks/steps.py growth        # step against images, width and batch

All in one process: what is compared takes turns there, round after round, after a warm-up.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace

import measure
import torch

from deepaug import modalities, training
from deepaug.contrastive import nt_xent
from deepaug.trial import Trial

FULL = Trial(
    data="cifar10-jpeg",
    samples=128,
    batch_size=128,
    epochs=1,
    precision="bfloat16",
    threads=measure.CORES,
)
NARROW = replace(FULL, encoder="resnet10", width=32, view_size=16)


def take_turns(blocks: dict[str, Callable], rounds: int, repeats: int = 1) -> dict[str, list]:
    """Milliseconds of each block in each round."""
    times: dict[str, list[float]] = {name: [] for name in blocks}
    for block in blocks.values():
        block()
    for number in range(rounds):
        for name, block in blocks.items():
            seconds = measure.timed(block, 0, repeats)
            times[name].append(round(1000 * statistics.fmean(seconds), 3))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return times


def epochs_of(run: training.Training) -> Callable[[], float]:
    numbers = iter(range(10**6))
    return lambda: run.epoch(next(numbers))


def parts(rounds: int) -> dict:
    """The parts of a step, each timed by itself on what the step gives it."""
    found = {}
    for name, trial in (("resnet18", FULL), ("narrow", NARROW)):
        run = training.prepare(trial)
        index = run.task.batches(torch.Generator())[0]
        draw = run.task.views(0)
        views = draw(index)
        network, encoder = run.network.train(), run.encoder
        head = network.head
        features = [torch.randn(128, encoder.features, requires_grad=True) for _ in views]

        def encode(run=run, views=views):
            for view in views:
                with run.fabric.autocast():
                    out = run.encoder(view)
                out.backward(torch.ones_like(out))

        def contrast(run=run, head=head, features=features):
            with run.fabric.autocast():
                projections = [head(f) for f in features]
            nt_xent(*projections, run.trial.temperature).backward()

        blocks = {
            "whole step": epochs_of(run),
            "views": lambda draw=draw, index=index: draw(index),
            "encoder, forward and backward": encode,
            "head and loss": contrast,
            "optimiser": lambda run=run: (run.optimizer.step(), run.optimizer.zero_grad()),
        }
        found[name] = take_turns(blocks, rounds, repeats=2 if name == "resnet18" else 10)
    return {"settings": {"resnet18": FULL.to_dict(), "narrow": NARROW.to_dict()}, "ms": found}


def transforms(rounds: int) -> dict:
    """A step with each transform at each layer, p = 0.5, and without."""
    arms = {"none": FULL}
    for layer in modalities.layers("vision", "resnet18"):
        for transform in ("dropout", "pca", "pca-truncate"):
            arms[f"{layer} {transform}"] = replace(
                FULL, layer=layer, transform=transform, strength=0.5
            )
    # Built one at a time the networks would be warm one after another: they all stay.
    blocks = {name: epochs_of(training.prepare(trial)) for name, trial in arms.items()}
    return {"settings": FULL.to_dict(), "ms": take_turns(blocks, rounds)}


def growth(rounds: int) -> dict:
    """An epoch against its images, a step against the network's width, a step against its batch."""

    def along(name: str, values: Iterable[int]) -> dict[str, list[float]]:
        trials = {}
        for v in values:
            # Along the batch a block is one step, so that a block has as many images as a batch.
            images = {"samples": v} if name == "batch_size" else {}
            trials[str(v)] = replace(NARROW, **{**images, name: v})
        blocks = {v: epochs_of(training.prepare(trial)) for v, trial in trials.items()}
        return take_turns(blocks, rounds)

    return {
        "settings": NARROW.to_dict(),
        "ms": {
            "images": along("samples", (512, 1024, 2048, 4096)),
            "width": along("width", (8, 16, 32, 64, 128)),
            "batch": along("batch_size", (32, 64, 128, 256, 512, 1024)),
        },
    }


WHAT = {"parts": parts, "transforms": transforms, "growth": growth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    options = parser.parse_args()
    content = WHAT[options.what](options.rounds)
    measure.write(options.what, ["torchvision", "lightning"], content)


if __name__ == "__main__":
    main()
