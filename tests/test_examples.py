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
from cells import texts

import deepaug

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
BOOK = ROOT / "book"


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
    """What a page shows of an example by a literalinclude."""
    text = (BOOK / path).read_text()
    for option, keep in (("start-at", 1), ("end-before", 0)):
        if mark := re.search(rf":{option}: (.+)", options):
            words = mark[1].strip('"')  # what begins with # is quoted
            assert text.count(words) == 1, f"{path} has not one {words!r}"
            text = words + text.split(words)[1] if keep else text.split(words)[0]
    return text


PAGES = {
    "use-it": {"two_lines", "masked", "ddp", "moco", "caching", "one_graph"},
    "pipelines": {
        "simclr", "lightning_simclr", "lightly_simclr", "simcse", "classify", "graphcl",
        "timm_simclr", "ablation",
    },
}  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_the_page_shows_of_each_program_lines_that_it_has(page):
    text = (BOOK / f"{page}.md").read_text()
    includes = re.findall(r"```\{literalinclude\} (\S+)\n(.*?)```", text, re.DOTALL)
    for path, options in includes:
        assert shown(path, options).strip()
    assert {Path(path).stem for path, _ in includes} == PAGES[page]


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


@pytest.fixture
def attached(monkeypatch):
    """The handles of what a program attaches."""
    handles = []

    def attach(*arguments, plain=deepaug.attach, **options):
        handles.append(plain(*arguments, **options))
        return handles[-1]

    monkeypatch.setattr(deepaug, "attach", attach)
    return handles


@pytest.fixture
def toy(monkeypatch):
    """A data set of torchvision that is noise."""

    class Toy(torchvision.datasets.FakeData):
        def __init__(self, root, train, transform, download):
            super().__init__(16 if train else 8, (3, 8, 8), 2, transform)

        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image, int(label)

    monkeypatch.setattr(torchvision.datasets, "Toy", Toy, raising=False)


SIMCLR = {"simclr": "torch", "lightning_simclr": "lightning", "lightly_simclr": "lightly"}


@pytest.mark.parametrize("layer", ["none", "layer3"])
@pytest.mark.parametrize("name", SIMCLR)
def test_simclr(tmp_path, toy, attached, name, layer):
    pytest.importorskip(SIMCLR[name])
    options = ["--data", "Toy", "--root", tmp_path, "--epochs", 1, "--batch", 8]
    accuracy = run(name, *options, "--layer", layer)
    assert 0 <= accuracy <= 100
    assert [handle.calls for handle in attached] == ([] if layer == "none" else [4])


def test_a_network_of_timm_chooses_its_layer(tmp_path, toy, attached):
    pytest.importorskip("timm")
    gain = run("timm_simclr", "--data", "Toy", "--root", tmp_path, "--epochs", 1, "--batch", 8)
    (handle,) = attached
    assert -100 <= gain <= 100
    assert handle.calls == 4 and handle.layer.startswith("blocks.")


def test_ablation(attached, capsys):
    table = run("ablation", "--seeds", 2, "--epochs", 1)
    layers = list(dict.fromkeys(layer for layer, _ in table))
    assert layers[0] == "input" and len(table) == 2 * len(layers) == len(attached) / 2
    assert all(len(gains) == 2 for gains in table.values())
    # So short a training ends now and then at the baseline's very accuracy.
    assert sum(map(any, table.values())) > len(table) / 2
    assert len(capsys.readouterr().out.splitlines()) == len(table)


@pytest.fixture
def bert(tmp_path):
    """A folder with a small BERT and its tokenizer."""
    from transformers import BertModel

    BertModel(texts.bert()).save_pretrained(tmp_path / "bert")
    texts.tokenizer().save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def lines(path: Path, rows) -> Path:
    path.write_text("\n".join("\t".join(map(str, row)) for row in rows))
    return path


@pytest.mark.parametrize("layer", ["none", "encoder.layer.1"])
def test_simcse(tmp_path, bert, attached, layer):
    pytest.importorskip("sentence_transformers")
    said = texts.sentences()
    scored = [(i, said[i], said[i + 1]) for i in range(8)]
    files = lines(tmp_path / "said", [[s] for s in said]), lines(tmp_path / "scored", scored)
    found = run("simcse", bert, *files, "--layer", layer)
    assert -100 <= found <= 100
    assert [handle.calls for handle in attached] == ([] if layer == "none" else [2])


@pytest.mark.parametrize("layer", ["none", "bert.encoder.layer.1"])
def test_classify(tmp_path, bert, attached, layer):
    pytest.importorskip("accelerate")
    rows = [(("long", "short")[len(said) < 10], said) for said in texts.sentences()]
    files = (lines(tmp_path / part, rows) for part in ("train", "test"))
    accuracy = run("classify", bert, *files, "--layer", layer, "--epochs", 2)
    assert 0 <= accuracy <= 100
    assert [handle.calls for handle in attached] == ([] if layer == "none" else [2])


@pytest.mark.parametrize("layer", ["none", "convs.1"])
def test_graphcl(monkeypatch, attached, layer):
    from torch_geometric import datasets
    from torch_geometric.data import Data

    class Toy(list):
        num_features = 3

    graphs = Toy(
        Data(torch.rand(n, 3), torch.randint(n, (2, 2 * n)), y=torch.tensor([n % 2]))
        for n in range(4, 34)
    )
    monkeypatch.setattr(datasets, "TUDataset", lambda root, name: graphs)
    assert 0 <= run("graphcl", "--layer", layer, "--epochs", 1) <= 100
    assert [handle.calls for handle in attached] == ([] if layer == "none" else [2])


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
