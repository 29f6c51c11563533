"""Claim C6: the matrix of networks and pipelines, its record, and what its checks see."""

import copy
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


# What the checks see: faults that are built into handles, by what is public of them


def never_acts(handle):
    handle.remove()


def acts_in_evaluation(handle, from_call=0):
    """The hook stays, as a trace that a handle leaves on its model."""

    def double(model, arguments, output):
        return 2 * output if not model.training and handle.calls >= from_call else None

    handle.model.register_forward_hook(double)


def leaves_a_trace_once_it_acts(handle):
    acts_in_evaluation(handle, from_call=1)


def leaves_a_trace_once_removed(handle):
    remove = handle.remove
    handle.remove = lambda: (remove(), acts_in_evaluation(handle))


def counts_in_evaluation(handle, from_call=0):
    def count(model, *_):
        handle.calls += not model.training and handle.calls >= from_call

    handle.model.register_forward_hook(count)


def goes_on_in_evaluation(handle):
    counts_in_evaluation(handle, from_call=1)


def cannot_be_removed(handle):
    handle.remove = lambda: None


def changes_nothing(handle):
    handle.transform.transform = lambda x, mask, groups: x


def stops_the_gradient(handle):
    handle.transform.transform = lambda x, mask, groups: 2 * x.detach()


def spoils_the_gradient(handle, from_call=0):
    """Finite forward, but the slope of a root at zero is infinite."""

    def root(x, mask, groups):
        return 2 * x + 0 * (0 * x).sqrt() if handle.calls >= from_call else 2 * x

    handle.transform.transform = root


def spoils_the_last_gradient(handle):
    """That of the last step, after which there is no loss."""
    spoils_the_gradient(handle, from_call=8)


FAULTS = [
    never_acts,
    acts_in_evaluation,
    counts_in_evaluation,
    goes_on_in_evaluation,
    changes_nothing,
    stops_the_gradient,
    spoils_the_gradient,
    spoils_the_last_gradient,
    cannot_be_removed,
    leaves_a_trace_once_it_acts,
    leaves_a_trace_once_removed,
]
SEEN = {
    "Perceptron": [
        "it does not act in training",
        "evaluation is another",
        "it acts in evaluation",
        "it acts in evaluation after training",
        "training is that of the plain network",
        "0.weight gets no gradient",
        "gradients are not finite",
        "passed",  # there is one step
        "training differs once it is removed",
        "evaluation after training is another",
        "evaluation differs once it is removed",
    ],
    "plain loop": [
        "it acted 0 times, not 8",
        "evaluation is another",
        "it acts in evaluation",
        "it acts in evaluation after training",
        "training is that of the plain network",
        "weights below the target have not changed",
        "losses are not finite",
        "weights below the target are not finite",
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
    def attach(model, layer, transform, plain=deepaug.attach, **options):
        handle = plain(model, layer, copy.copy(transform), **options)
        fault(handle)
        return handle

    monkeypatch.setattr(deepaug, "attach", attach)
    found = outcome(MATRIX[name])
    assert re.search(rf"(^|: ){reason}($|: )", found), found


def test_a_network_without_layers_is_seen(monkeypatch):
    monkeypatch.setattr(deepaug, "layers", lambda model, batch: [])
    assert outcome(NETWORKS["Perceptron"]) == "deepaug.layers lists nothing"


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
