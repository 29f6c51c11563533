"""Several trials on one machine: one after another, side by side, or stacked into one network.

    python benchmarks/together.py

Trials that differ in their seed alone, the `cpu` profile's ResNet-10 in float32. "One after
another" gives each all cores, "side by side" a core each (what `deepaug run --workers` does),
"stacked" trains them as one network by `torch.func` (stacked parameters, vmap), which is given
every favour: the same images for all, BatchNorm without running statistics, no loss but the
features' sum. Samples per second are those of all trials together.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import measure
import torch
from torch.func import functional_call, stack_module_state, vmap

from deepaug.training import loop
from deepaug.training.trial import Trial

STEPS = 8
BLOCKS = 1, 3  # warm-up, timed: of every arm the mean counts


def trial(seed: int, threads: int) -> Trial:
    return Trial(
        data="cifar10-jpeg",
        samples=STEPS * 128,
        encoder="resnet10",
        width=32,
        view_size=16,
        epochs=1,
        seed=seed,
        threads=threads,
    )


def alone(threads: int) -> float:
    """Seconds of a block of one trial."""
    run = loop.prepare(trial(0, threads))
    epochs = iter(range(10))
    return statistics.fmean(measure.timed(lambda: run.epoch(next(epochs)), *BLOCKS))


def side_by_side() -> float:
    """Seconds of a block in the slowest of as many processes as cores, started together."""
    command = [sys.executable, __file__, "--arm", "worker", "--start", str(time.time() + 30)]
    workers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(measure.CORES)
    ]
    return max(json.loads(worker.communicate()[0].splitlines()[-1]) for worker in workers)


def worker(start: float) -> float:
    run = loop.prepare(trial(0, 1))
    epochs = iter(range(10))
    warm_up, blocks = BLOCKS
    measure.timed(lambda: run.epoch(next(epochs)), 0, warm_up)
    time.sleep(max(0.0, start - time.time()))
    return statistics.fmean(measure.timed(lambda: run.epoch(next(epochs)), 0, blocks))


def stacked(count: int) -> float:
    """Seconds of a block of `count` encoders trained as one."""
    runs = [loop.prepare(trial(seed, measure.CORES)) for seed in range(count)]
    encoders = [run.encoder for run in runs]
    for encoder in encoders:
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.track_running_stats = False
                module.running_mean = module.running_var = module.num_batches_tracked = None
    parameters, buffers = stack_module_state(encoders)
    shell = encoders[0]
    views = runs[0].task.views(0)(torch.arange(128))

    def features(own: dict, kept: dict, x: torch.Tensor) -> torch.Tensor:
        return functional_call(shell, (own, kept), (x,))

    together = vmap(features, in_dims=(0, 0, None))

    def block() -> None:
        for _ in range(STEPS):
            for view in views:
                together(parameters, buffers, view).sum().backward()

    return statistics.fmean(measure.timed(block, *BLOCKS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--start", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(worker(options.start)))
        return
    arms = {
        "one after another": lambda: (1, alone(measure.CORES)),
        "side by side": lambda: (measure.CORES, side_by_side()),
        "stacked, 2 trials": lambda: (2, stacked(2)),
        "stacked, 4 trials": lambda: (4, stacked(4)),
    }
    turns: dict[str, list[dict]] = {arm: [] for arm in arms}
    for number in range(options.rounds):
        for arm, run in arms.items():
            trials, seconds = run()
            rate = round(trials * STEPS * 128 / seconds, 1)
            turns[arm].append({"samples_per_second": rate})
            print(f"round {number + 1}: {arm}: {rate:g} samples/s", file=sys.stderr)
    measure.write("together", ["torchvision"], {"settings": trial(0, 1).to_dict(), "turns": turns})


if __name__ == "__main__":
    main()
