"""Where a training step's time goes, what a transform adds to it, and how it grows.

    python benchmarks/steps.py parts         # data, encoder, loss, optimiser: ms of each
    python benchmarks/steps.py transforms    # step with a transform at each layer over without
    python benchmarks/steps.py growth        # step against images, width and batch

All in one process: what is compared takes turns there, round after round, after a warm-up.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace

import graphs
import measure
import torch

from deepaug.method.layers import call
from deepaug.training import loop, registry
from deepaug.training.contrastive import nt_xent
from deepaug.training.trial import Trial

FULL = Trial(
    data="cifar10-jpeg",
    samples=128,
    batch_size=128,
    epochs=1,
    precision="bfloat16",
    threads=measure.CORES,
)
NARROW = replace(FULL, encoder="resnet10", width=32, view_size=16)
PARTS = {"resnet18": FULL, "narrow": NARROW, "gin3": graphs.trial()}


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


def epochs_of(run: loop.Training) -> Callable[[], float]:
    numbers = iter(range(10**6))
    return lambda: run.epoch(next(numbers))


def parts(rounds: int) -> dict:
    """The parts of an epoch, each timed by itself on what the epoch gives it.

    Of images an epoch is one step, of graphs the whole set: its views are drawn together.
    """
    found = {}
    for name, trial in PARTS.items():
        run = loop.prepare(trial)
        batches = run.task.batches(torch.Generator())
        draw = run.task.views(0)
        ready = [draw(index) for index in batches]
        width = run.encoder.features
        features = [
            [torch.randn(len(index), width, requires_grad=True) for _ in range(2)]
            for index in batches
        ]
        run.network.train()

        def views(run=run, batches=batches):
            draw = run.task.views(0)
            for index in batches:
                draw(index)

        def encode(run=run, ready=ready):
            for pair in ready:
                for view in pair:
                    with run.fabric.autocast():
                        out = call(run.encoder, view)
                    run.fabric.backward(out, gradient=torch.ones_like(out))

        def contrast(run=run, features=features):
            for pair in features:
                with run.fabric.autocast():
                    projections = [run.network.head(f) for f in pair]
                run.fabric.backward(nt_xent(*projections, run.trial.temperature))

        def update(run=run, batches=batches):
            for _ in batches:
                run.optimizer.step()  # by the gradients that the other blocks left

        blocks = {
            "whole": epochs_of(run),
            "views": views,
            "encoder, forward and backward": encode,
            "head and loss": contrast,
            "optimiser": update,
        }
        found[name] = take_turns(blocks, rounds, repeats=2 if name == "resnet18" else 10)
    return {"settings": {name: trial.to_dict() for name, trial in PARTS.items()}, "ms": found}


def transforms(rounds: int) -> dict:
    """A step with each transform at each layer, p = 0.5, and without."""
    arms = {"none": FULL}
    for layer in registry.layers("vision", "resnet18"):
        for transform in ("dropout", "pca", "pca-truncate"):
            arms[f"{layer} {transform}"] = replace(
                FULL, layer=layer, transform=transform, strength=0.5
            )
    # Built one at a time the networks would be warm one after another: they all stay.
    blocks = {name: epochs_of(loop.prepare(trial)) for name, trial in arms.items()}
    return {"settings": FULL.to_dict(), "ms": take_turns(blocks, rounds)}


def growth(rounds: int) -> dict:
    """An epoch against its images, a step against the network's width, a step against its batch."""

    def along(name: str, values: Iterable[int]) -> dict[str, list[float]]:
        trials = {}
        for v in values:
            # Along the batch a block is one step, so that a block has as many images as a batch.
            images = {"samples": v} if name == "batch_size" else {}
            trials[str(v)] = replace(NARROW, **{**images, name: v})
        blocks = {v: epochs_of(loop.prepare(trial)) for v, trial in trials.items()}
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
