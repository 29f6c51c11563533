"""The programs of examples/, at toy size."""

import runpy
from pathlib import Path

import pytest
import torch
import torchvision

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments) -> float:
    """What an example's `main` returns: its metric in per cent."""
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    return main([*map(str, arguments)])


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_needs_the_method_alone(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 80
    assert "import deepaug\n" in text and "from deepaug" not in text


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
