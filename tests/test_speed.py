"""Benchmark records and what the performance page makes of them."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))
speed = pytest.importorskip("speed", reason="the book's tools are not installed")
plt = pytest.importorskip("matplotlib.pyplot")
plt.switch_backend("Agg")

COMMITTED = sorted(speed.RECORDS.glob("*.json"))
HEAD = {"benchmark", "device", "cores", "versions", "revision", "source_digest", "created"}


def record(**content):
    return {
        "benchmark": "b",
        "device": "a processor",
        "cores": 2,
        "versions": {"torch": "2"},
        "revision": None,
        "created": "2026-01-01T00:00:00Z",
        **content,
    }


def turns(**rates):
    return {
        arm: [{"samples_per_second": r, "peak_mib": 10 * r} for r in values]
        for arm, values in rates.items()
    }


@pytest.fixture
def written(tmp_path, monkeypatch, capsys):
    """Write records, and get what a page then shows."""
    monkeypatch.setattr(speed, "RECORDS", tmp_path)
    monkeypatch.setattr(speed.recorded, "__defaults__", (tmp_path,))
    shown = []
    monkeypatch.setattr(speed, "display", lambda what: shown.append(what.data))

    def write(name, **content):
        (tmp_path / f"{name}.cpu.json").write_text(json.dumps(record(**content)))
        return shown

    return write


def row(table, number=-1):
    return table.iloc[number].tolist()


def test_a_ratio_is_taken_within_its_round(written):
    both = turns(ours=[10, 30, 20], theirs=[5, 10, 4])
    shown = written("speed", turns=both)
    assert speed.ratios({"turns": both}, "ours", "theirs") == [2, 3, 5]
    speed.show_comparisons([speed.Comparison("x", "speed", "ours", "theirs", 3.0)])
    assert row(shown[-1])[3:] == ["3.00 (2.00–5.00), n = 3", "3", "reached"]
    speed.show_comparisons([speed.Comparison("x", "speed", "ours", "theirs", 3.1)])
    assert row(shown[-1])[-1] == "not reached"


def test_rounds_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="zip"):
        speed.ratios({"turns": turns(ours=[1, 2], theirs=[1])}, "ours", "theirs")


def test_no_record_is_said(written):
    shown = written("other", turns={})
    for show in (lambda: speed.show_conditions(["none"]), speed.transform_cost, speed.growth):
        show()
    speed.rates("none", "nothing")
    assert shown == ["No benchmark is recorded."] * 4


def test_cost_of_transforms_is_paired_by_round(written):
    times = {"none": [100, 200], "stem pca": [110, 240], "stem dropout": [101, 202]}
    shown = written("transforms", ms=times)
    speed.show_transform_cost({"dropout": 1.02, "pca": 1.1})
    told = ["1.01 (1.01–1.01), n = 2", "1.02", "reached"]
    assert row(shown[-1], 0) == ["a processor", "dropout", "stem", *told]
    told = ["1.15 (1.10–1.20), n = 2", "1.1", "not reached"]
    assert row(shown[-1], 1) == ["a processor", "pca", "stem", *told]
    speed.transform_cost()
    assert "transforms.cpu.json" in shown[-1]
    plt.close("all")


def test_agreement_names_both_sides(written):
    values = {"deepaug": [40.0, 41.0], "peer": [39.0, 41.0], "difference": [0.5, -5.9, 6.9]}
    shown = written("a-agreement", settings={"modality": "text"}, metrics={"knn": values})
    speed.show_agreement(["a-agreement"])
    assert row(shown[-1])[3:-1] == ["peer: 40.00 (39.00–41.00)", "+0.50 [-5.90, +6.90]", 2]


def test_the_answer_counts(written):
    both = turns(ours=[10, 30, 20], slow=[5, 10, 4], fast=[20, 60, 25])
    values = {"a": [1.0], "b": [2.0]}
    metrics = {
        "knn": values | {"difference": [0.1, -0.2, 0.4]},
        "probe": values | {"difference": [0.5, 0.1, 0.9]},
        speed.LOSS: values | {"difference": [0.5, 0.1, 0.9]},
    }
    shown = written("b", turns=both)
    written("b-agreement", metrics=metrics)
    asked = [speed.Comparison(f"over {arm}", "b", "ours", arm, 2) for arm in ("slow", "fast")]
    speed.show_answer([*asked, speed.Comparison("over none", "b", "ours", "none")], ["b-agreement"])
    assert "the faster one in 1 of 2 comparisons with peers, by 0.5 to 3.0 times" in shown[-1]
    assert "1 of 2 aims are reached" in shown[-1]
    assert shown[-1].endswith("told apart in 1 of 2 metrics.")


@pytest.mark.parametrize(
    ("modality", "low", "high", "told", "of_loss"),
    [
        ("text", -0.5, 0.5, "alike, within ±0.5", "not told apart"),
        ("text", -0.6, 0.5, "not told apart, not shown alike within ±0.5", "not told apart"),
        ("graphs", -0.6, 0.5, "alike, within ±1", "not told apart"),
        ("graphs", -0.6, -0.1, "alike, within ±1", "ours lower"),
        ("vision", 0.1, 0.6, "apart, not shown alike within ±0.5", "ours higher"),
    ],
)
def test_alike_is_an_interval_within_delta(modality, low, high, told, of_loss, written):
    values = {"deepaug": [40.0], "peer": [40.0], "difference": [0.0, low, high]}
    metrics = {"knn": values, "nt_xent": values}
    shown = written("a-agreement", settings={"modality": modality}, metrics=metrics)
    speed.show_agreement(["a-agreement"])
    assert [row(shown[-1], n)[-1] for n in (0, 1)] == [told, of_loss]


def test_a_comparison_without_an_aim_reaches_none(written):
    shown = written("speed", turns=turns(ours=[10], theirs=[5]))
    speed.show_comparisons([speed.Comparison("x", "speed", "ours", "theirs")])
    assert row(shown[-1])[3:] == ["2.00 (2.00–2.00), n = 1", "", ""]


@pytest.mark.parametrize("group", ["peers", "limit", "bound", "together"])
def test_comparisons_are_of_arms_that_were_measured(group):
    for compared in speed.comparisons(group):
        for content in speed.recorded(compared.benchmark):
            assert {compared.ours, compared.theirs} <= set(content["turns"])


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_benchmarks_tell_what_they_ran_on(path):
    content = json.loads(path.read_text())
    assert content.keys() >= HEAD and path.stem.startswith(content["benchmark"])
    assert not (content["revision"] or "").endswith("+"), "measured on code that was not committed"
    for turn in content.get("turns", {}).values():
        assert len(turn) >= 5


def test_every_script_of_benchmarks_says_how_to_run_it():
    for path in BENCHMARKS.glob("*.py"):
        text = path.read_text()
        assert text.startswith('"""') and (
            path.stem in ("measure", "speed") or f"benchmarks/{path.name}" in text
        )
