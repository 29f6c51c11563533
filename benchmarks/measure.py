"""Timing side by side: every arm in a process of its own, arms taking turns, several rounds.

A benchmark is a script that calls `main` with a mapping of arms. An arm is a function `(warm_up,
blocks) -> (seconds of each timed block, samples in a block)`; a block is a few training steps. A
fresh process for each turn keeps threads, allocators and caches apart; taking turns spreads
whatever else the machine does over all arms alike. The driver watches memory from outside.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parent / "records"
sys.path.append(str(Path(__file__).parents[1] / "examples"))  # peers train as there
Arm = Callable[[int, int], tuple[list[float], int]]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def timed(block: Callable[[], Any], warm_up: int, blocks: int) -> list[float]:
    """Seconds of each of `blocks` calls, after `warm_up` calls that do not count."""
    for _ in range(warm_up):
        block()
    seconds = []
    for _ in range(blocks):
        synchronise()
        start = time.perf_counter()
        block()
        synchronise()
        seconds.append(time.perf_counter() - start)
    return seconds


def ceiling(run, ready: Iterable, warm_up: int, blocks: int) -> list[float]:
    """Seconds of each block of the encoder alone, forward and backward, on views that lie ready.

    Args:
        run: a `Training`.
        ready: the pairs of views of a block's steps.
    """
    import torch

    from deepaug.method.layers import call

    run.network.train()

    def block() -> None:
        for pair in ready:
            for view in pair:
                with run.fabric.autocast():
                    features = call(run.encoder, view)
                run.fabric.backward(features, gradient=torch.ones_like(features))
            run.optimizer.zero_grad(set_to_none=True)

    return timed(block, warm_up, blocks)


def synchronise() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def pygcl():
    """PyGCL's augmentors, losses and contrast, with empty modules for what is not installed.

    It imports packages whose parts are not called here.
    """
    for name, *attributes in (
        ("dgl", "DGLGraph"),
        ("torch_sparse", "SparseTensor", "coalesce"),
        ("torch_scatter", "scatter"),
    ):
        module = types.ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, object)
        sys.modules.setdefault(name, module)
    import GCL.augmentors as augmentors
    import GCL.losses as losses
    from GCL.models import DualBranchContrast

    return augmentors, losses, DualBranchContrast


def turn(script: str, arm: str, warm_up: int, blocks: int) -> dict[str, Any]:
    """One turn of one arm in a fresh process: samples per second and peak memory, MiB."""
    command = [sys.executable, script, "--arm", arm, "--warm-up", str(warm_up)]
    command += ["--blocks", str(blocks)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = 0.0
    while True:
        try:
            out, err = process.communicate(timeout=0.25)
            break
        except subprocess.TimeoutExpired:
            peak = max(peak, _memory(process.pid))
    if process.returncode:
        sys.exit(f"{arm}: ended with {process.returncode}\n{err[-2000:]}")
    return json.loads(out.splitlines()[-1]) | {"peak_mib": round(peak)}


def _memory(pid: int) -> float:
    """Memory of a process and its children, MiB; what they share is counted once."""
    import psutil

    total = 0
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            memory = one.memory_full_info()
            total += getattr(memory, "pss", memory.uss)
    except psutil.Error:  # ended meanwhile
        pass
    return total / 2**20


def one_arm(arm: Arm, warm_up: int, blocks: int) -> None:
    """In the child: print the rate, and on a GPU its own peak memory, as JSON."""
    import torch

    seconds, samples = arm(warm_up, blocks)
    result = {"samples_per_second": round(samples * len(seconds) / sum(seconds), 2)}
    if torch.cuda.is_available():
        result["peak_gpu_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
    print(json.dumps(result))


def rounds(
    script: str, arms: Iterable[str], count: int, warm_up: int, blocks: int
) -> dict[str, list[dict[str, Any]]]:
    """`count` turns of each arm, arm after arm; every turn is told on stderr."""
    turns: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for number in range(count):
        for arm, done in turns.items():
            done.append(turn(script, arm, warm_up, blocks))
            rate, peak = done[-1]["samples_per_second"], done[-1]["peak_mib"]
            print(
                f"round {number + 1} of {count}: {arm}: {rate:g} samples/s, {peak} MiB",
                file=sys.stderr,
            )
    return turns


def agreement(
    seeds: int, metric: str, outcomes: Callable[[int], tuple[Any, dict[str, dict[str, float]]]]
) -> dict[str, Any]:
    """Metrics of both sides after the same training, ours first, and the paired difference.

    `outcomes` takes a seed and returns the trial and, of each side, its metrics; `metric` is the
    one told on stderr.
    """
    from deepaug.verdicts import statistics

    found: dict[str, dict[str, list[float]]] = {}
    for seed in range(seeds):
        trial, sides = outcomes(seed)
        for side, metrics in sides.items():
            for name, value in metrics.items():
                found.setdefault(name, {}).setdefault(side, []).append(value)
            print(f"seed {seed}: {side}: {metric} {metrics[metric]:.2f}", file=sys.stderr)
    for values in found.values():
        effect = statistics.paired_effect(*values.values())
        values["difference"] = [effect.mean, effect.low, effect.high]
    return {"settings": trial.to_dict(), "metrics": found}


def head(name: str, packages: Iterable[str]) -> dict[str, Any]:
    """What a benchmark ran on, and when."""
    from deepaug.training import devices, origin

    versions = {p: metadata.version(p) for p in ("torch", "numpy", *packages)}
    return {
        "benchmark": name,
        "device": devices.name(_device()),
        "cores": CORES,
        "versions": {"python": sys.version.split()[0], **versions},
        "revision": origin.revision(),
        "source_digest": origin.source_digest(),
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def write(name: str, packages: Iterable[str], content: dict[str, Any]) -> Path:
    """Keep a benchmark's outcome, with what it ran on, as records/NAME.json."""
    RECORDS.mkdir(exist_ok=True)
    path = RECORDS / f"{name}.{_device().type}.json"
    path.write_text(json.dumps(head(name, packages) | content, indent=1) + "\n")
    print(f"wrote {path}")
    return path


def _device():
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main(
    script: str,
    packages: Iterable[str],
    arms: Mapping[str, Arm],
    plan: Mapping[str, tuple[int, int]],
    agree: Callable[[int], dict[str, Any]],
    settings: dict[str, Any],
) -> None:
    """A benchmark's command line: time all arms in rounds, or compare what they learn.

    `plan` has the blocks, to warm up and timed, of the arms that begin so. `agree` takes a number
    of seeds; see `agreement`. Records are named after the script.
    """
    description = sys.modules["__main__"].__doc__ or ""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--agree", type=int, default=0, metavar="SEEDS", help="compare outcomes")
    for name in ("arm", "warm-up", "blocks"):  # for the processes this one starts
        kind = str if name == "arm" else int
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    name = Path(script).stem
    if options.arm:
        one_arm(arms[options.arm], options.warm_up, options.blocks)
    elif options.agree:
        write(f"{name}-agreement", packages, agree(options.agree))
    else:
        turns: dict[str, list[dict[str, Any]]] = {}
        for group, (warm_up, blocks) in plan.items():
            own = [arm for arm in arms if arm.startswith(group)]
            turns |= rounds(script, own, options.rounds, warm_up, blocks)
        write(name, packages, {"settings": settings, "turns": turns})
