"""The programs of examples/, at toy size."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGE = ROOT / "book" / "use-it.md"


def run(name: str, *arguments) -> float:
    """What an example's `main` returns: its metric in per cent."""
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    return main([*map(str, arguments)])


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_needs_the_method_alone(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 80
    assert "import deepaug\n" in text and "from deepaug" not in text


def in_two_processes(program: Path) -> list[str]:
    """The lines that a program prints, run by torchrun on CPUs."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(program)]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, env=variables, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


def shown(path: str, options: str) -> str:
    """What the page shows of an example by a literalinclude."""
    text = (PAGE.parent / path).read_text()
    for option, keep in (("start-at", 1), ("end-before", 0)):
        if mark := re.search(rf":{option}: (.+)", options):
            words = mark[1].strip('"')  # what begins with # is quoted
            assert text.count(words) == 1, f"{path} has not one {words!r}"
            text = words + text.split(words)[1] if keep else text.split(words)[0]
    return text


def test_the_page_shows_of_each_program_lines_that_it_has():
    includes = re.findall(r"```\{literalinclude\} (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for path, options in includes:
        assert shown(path, options).strip()
    wanted = {"two_lines", "masked", "ddp", "moco", "caching", "one_graph"}
    assert {Path(path).stem for path, _ in includes} == wanted


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("two_lines", lambda loss: loss > 0),
        ("masked", lambda loss: loss > 0),
        ("moco", lambda found: found[1] == 5),
        ("caching", lambda found: torch.allclose(*found, atol=1e-6) and found[0].any()),
        ("one_graph", lambda calls: calls == 1),
    ],
)
def test_a_short_program_runs(name, right):
    assert right(runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]())


def test_two_processes_keep_the_same_weights():
    lines = in_two_processes(EXAMPLES / "ddp.py")
    assert lines == [f"process {rank}: the same weights: True" for rank in (0, 1)]


def test_a_stopped_gradient_in_two_processes_is_as_the_page_says():
    assert in_two_processes(Path(__file__).with_name("ddp.py")) == [
        "one view plain, unused parameters looked for: trained",
        "one view plain: trained",
        "stopped, unused parameters looked for: at rest",
        "stopped: Expected to have finished reduction in the prior iteration before starting a new",
    ]


@pytest.mark.parametrize("layer", ["none", "encoder.layer.0"])
def test_crops(tmp_path, layer):
    words = [f"word{i}" for i in range(40)]
    lines = (" ".join(words[(i + j) % 40] for j in range(60)) for i in range(60))
    (tmp_path / "documents.txt").write_text("\n".join(lines))
    share = run("crops", tmp_path / "documents.txt", "--layer", layer, "--epochs", 1)
    assert 0 <= share <= 100


@pytest.mark.parametrize("layer", ["none", "layer3"])
def test_simclr(tmp_path, monkeypatch, layer):
    class Toy(torchvision.datasets.FakeData):
        def __init__(self, root, train, transform, download):
            super().__init__(16 if train else 8, (3, 8, 8), 2, transform)

        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image, int(label)

    monkeypatch.setattr(torchvision.datasets, "Toy", Toy, raising=False)
    sizes = ["--epochs", 1, "--batch", 8]
    accuracy = run("simclr", "--data", "Toy", "--root", tmp_path, "--layer", layer, *sizes)
    assert 0 <= accuracy <= 100


@pytest.mark.parametrize("layer", ["none", "conv1"])
def test_grace(tmp_path, monkeypatch, layer):
    from torch_geometric import datasets
    from torch_geometric.data import Data

    n = 60
    ends = torch.randint(n, (2, 200))
    edges = torch.cat([ends, ends.flip(0)], 1)
    graph = Data(torch.eye(n)[:, :30] + 0.1, edges, y=torch.arange(n) % 2)
    monkeypatch.setattr(datasets, "Planetoid", lambda root, name: [graph])
    assert 0 <= run("grace", "--root", tmp_path, "--layer", layer, "--epochs", 2) <= 100
