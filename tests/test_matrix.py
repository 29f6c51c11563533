"""Claim C6: the matrix of networks and pipelines, its record, and what its checks see."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from cells import NETWORKS, PIPELINES, Cell, outcome

import deepaug

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "benchmarks" / "records" / "networks.json"
MATRIX = NETWORKS | PIPELINES


@pytest.mark.parametrize("name", MATRIX)
def test_passes(name):
    """A skip is no pass: the record counts it as not run."""
    found = outcome(MATRIX[name])
    if found.startswith("not run"):
        pytest.skip(found)
    assert found == "passed"


def test_is_as_wide_as_the_claim_asks():
    assert len(NETWORKS) >= 24 and len(PIPELINES) >= 7 and not NETWORKS.keys() & PIPELINES
    assert {cell.library for cell in NETWORKS.values()} == {
        "torch", "torchvision", "timm", "transformers", "torch_geometric",
    }  # fmt: skip
    assert {cell.kind for cell in NETWORKS.values()} >= {
        "convolutional", "attention", "recurrent", "message passing", "mixer",
    }  # fmt: skip


def test_record_is_of_this_matrix():
    """As benchmarks/matrix.py writes it; a cell that was not run, or failed, stays to be seen."""
    record = json.loads(RECORD.read_text())
    for kind, cells in (("networks", NETWORKS), ("pipelines", PIPELINES)):
        assert record[kind].keys() == cells.keys(), "run benchmarks/matrix.py again"
        for name, told in record["details"][kind].items():
            assert (told["library"], told["kind"]) == cells[name][:2]
            assert told["outcome"] == record[kind][name]
    assert re.fullmatch("[0-9a-f]{40}", record["revision"])


# What the checks see


def never(handle):
    return False


def in_evaluation(handle):
    return True


def after_training(handle):
    return handle.model.training or handle.calls > 0


def unchanged(self, x, mask, groups):
    return x


def without_gradient(self, x, mask, groups):
    return 2 * x.detach()


def bad_gradient(self, x, mask, groups):
    """Finite forward, but the slope of a root at zero is infinite."""
    return 2 * x + 0 * (0 * x).sqrt()


def mark(handle):
    """Leave a trace on the model, which changes its evaluation."""
    handle.model.register_forward_hook(lambda model, _, y: None if model.training else 2 * y)


def marking(self, x):
    self.calls += 1
    mark(self)
    return 2 * x


def marked(self, remove=deepaug.Handle.remove):
    remove(self)
    mark(self)


FAULTS = {
    "never acts": ("Handle._acting", property(never)),
    "acts in evaluation": ("Handle._acting", property(in_evaluation)),
    "goes on in evaluation": ("Handle._acting", property(after_training)),
    "changes nothing": ("Dropout.transform", unchanged),
    "stops the gradient": ("Dropout.transform", without_gradient),
    "spoils the gradient": ("Dropout.transform", bad_gradient),
    "cannot be removed": ("Handle.remove", lambda handle: None),
    "leaves a trace once it acts": ("Handle._apply", marking),
    "leaves a trace once removed": ("Handle.remove", marked),
}
SEEN = {
    "Perceptron": [
        "it does not act in training",
        "evaluation is another",
        "it acts in evaluation after training",
        "training is that of the plain network",
        "0.weight gets no gradient",
        "gradients are not finite",
        "training differs once it is removed",
        "evaluation after training is another",
        "evaluation differs once it is removed",
    ],
    "plain loop": [
        "it acted 0 times, not 8",
        "evaluation is another",
        "it acts in evaluation after training",
        "training is that of the plain network",
        "weights below the target have not changed",
        "losses are not finite",
        "training differs once it is removed",
        "evaluation after training is another",
        "evaluation differs once it is removed",
    ],
}


@pytest.mark.parametrize(
    ("name", "fault", "reason"),
    [(name, *both) for name, told in SEEN.items() for both in zip(FAULTS, told, strict=True)],
)
def test_a_fault_is_seen(name, fault, reason, monkeypatch):
    where, fake = FAULTS[fault]
    kind, attribute = where.split(".")
    monkeypatch.setattr(getattr(deepaug, kind), attribute, fake)
    assert reason in outcome(MATRIX[name])


def test_what_lacks_a_library_is_not_run():
    cell = NETWORKS["Perceptron"]
    assert outcome(cell._replace(library="no_such")) == "not run: no_such is not installed"
    assert outcome(cell._replace(needs=("no_such",))) == "not run: no_such is not installed"


@pytest.mark.parametrize("error", [ValueError("first\nsecond"), AssertionError(), KeyError("x")])
def test_an_error_is_one_line_and_no_pass(error):
    def check(build):
        raise error

    found = outcome(Cell("torch", "none", dict, check))
    assert found and "\n" not in found and found != "passed"


# The page


def test_the_page_counts_and_names_what_has_not_passed(tmp_path, monkeypatch):
    pages = pytest.importorskip("deepaug.pages.matrix", reason="the book's tools are not installed")
    told, path = [], tmp_path / "networks.json"
    monkeypatch.setattr(pages, "RECORD", path)
    monkeypatch.setattr(pages, "display", lambda what: told.append(what.data))
    monkeypatch.setattr(pages.figures, "plain", lambda table, wrap: SimpleNamespace(data=table))
    pages.show("pipelines")
    assert "Not run" in told.pop()
    outcomes = {"A": "passed", "B": "not run: no_such is not installed"}
    details = {n: {"library": "torch", "kind": "k", "outcome": o} for n, o in outcomes.items()}
    path.write_text(json.dumps({"pipelines": outcomes, "details": {"pipelines": details}}))
    pages.show("pipelines")
    assert told[0] == "**1 of 2 pipelines passed.**"
    assert told[1].to_dict("list") == {"kind": ["k"], "torch": ["A, B (no)"]}
    assert told[2:] == ["- B: not run: no_such is not installed"]
