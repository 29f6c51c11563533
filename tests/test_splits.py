"""What pages say of networks that were split: which copies count, shares by hand, scores."""

import matplotlib
import numpy as np
import pytest
import tiny
import torch

matplotlib.use("Agg")

from matplotlib import pyplot as plt

import deepaug
from deepaug.pages import coadaptation, compute
from deepaug.studies.records import Store
from deepaug.studies.study import Entry
from deepaug.verdicts import claims, splits
from deepaug.verdicts.claims import Drop

CKA = [[1.0, 0.8, 0.2], [0.8, 1.0, 0.6], [0.2, 0.6, 1.0]]


def split(seed, whole, role="baseline", objective="contrastive", cka=CKA, **copies):
    """A recorded split training; `copies` by kind, a copy left out diverged."""
    trial = tiny.trial(seed=seed, cut="stage2", objective=objective)
    scores = {"knn": whole} | {f"knn_{kind}": score for kind, score in copies.items()}
    metrics = {"validation": scores, "test": dict.fromkeys(scores, 99.0)}
    similarity = {"layers": ["stem", "stage1", "stage2"], "cka": cka}
    record = tiny.record(trial, metrics=metrics, similarity=similarity)
    return Entry("quick", "", objective, f"{role}, cut after stage2", trial, role=role), record


def untrained(seed, score=40.0):
    trial = tiny.trial(seed=seed, objective="untrained", epochs=0)
    metrics = {part: {"knn": score} for part in ("validation", "test")}
    entry = Entry("quick", "", "contrastive", "untrained", trial, role="control")
    return entry, tiny.record(trial, metrics=metrics)


def test_the_relative_drop_by_hand():
    """(mean free − mean frozen) / (mean whole − mean untrained) = (6 − 2) / 20."""
    found = [untrained(0), untrained(1)]
    found += [split(0, 60.0, free=60.0, frozen=58.0), split(1, 60.0, free=64.0, frozen=58.0)]
    (row,) = splits.drops(splits.frame(found)).to_dict("records")
    assert row["training"] == "contrastive" and row["cut"] == "stage2"
    assert row["effect"].mean == pytest.approx(0.2) and row["effect"].n == 2


@pytest.mark.parametrize("lost", ["free", "frozen"])
def test_a_copy_that_diverged_counts_at_random_initialisation(lost):
    copies = {kind: 55.0 for kind in ("free", "frozen") if kind != lost}
    (row,) = splits.frame([untrained(0), split(0, 60.0, **copies)]).to_dict("records")
    assert row[lost] == 40.0 and {row["free"], row["frozen"]} == {40.0, 55.0}


def test_a_network_that_diverged_counts_at_random_initialisation_with_its_copies():
    entry, record = split(0, 60.0)
    lost = {**record, "status": "diverged", "metrics": {}}
    (row,) = splits.frame([untrained(0), (entry, lost)]).to_dict("records")
    assert [row[name] for name in Drop._fields] == [40.0] * 4


def test_a_seed_without_its_untrained_network_is_left_out():
    assert splits.frame([untrained(1), split(0, 60.0, free=60.0, frozen=60.0)]).empty


def test_trainings_are_told_apart():
    copies = {"free": 60.0, "frozen": 55.0}
    found = [untrained(0), split(0, 60.0, **copies), split(0, 70.0, "arm", **copies)]
    found.append(split(0, 80.0, objective="supervised", **copies))
    table = splits.frame(found)
    assert list(table["training"]) == ["contrastive", "with the transform", "supervised"]
    assert list(table["whole"]) == [60.0, 70.0, 80.0]


def test_pages_read_validation_alone():
    copies = {"free": 60.0, "frozen": 55.0}
    table = splits.frame([untrained(0), split(0, 60.0, **copies)])
    assert 99.0 not in table.to_numpy()


def test_the_score_of_a_layer_is_its_mean_likeness_to_the_others():
    found = [split(0, 60.0), split(1, 60.0, "arm"), split(2, 60.0, objective="supervised")]
    table = splits.likeness(found)
    assert set(table["seed"]) == {0}  # of contrastive training without a transform alone
    assert list(table["layer"]) == ["stem", "stage1", "stage2"]
    assert list(table["score"]) == pytest.approx([0.5, 0.7, 0.4])


def test_the_score_judged_is_the_one_that_select_layer_goes_by():
    model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(4)))
    found = deepaug.select_layer(model, [torch.randn(32, 8)])
    assert list(found.scores.values()) == pytest.approx(claims.likeness(found.cka.tolist()))


def test_likeness_is_averaged_over_seeds():
    other = [[1.0, 0.6, 0.4], [0.6, 1.0, 0.8], [0.4, 0.8, 1.0]]
    found = splits.similarities([split(0, 60.0), split(1, 60.0, cka=other)])
    layers, mean = found["contrastive"]
    assert layers == ["stem", "stage1", "stage2"]
    assert mean == pytest.approx(np.array([[1, 0.7, 0.3], [0.7, 1, 0.7], [0.3, 0.7, 1]]))


def test_marks_stand_at_the_scores():
    table = splits.frame([untrained(0), split(0, 61.0, free=64.0, frozen=57.0)])
    _, ax = plt.subplots()
    coadaptation.draw_copies(ax, table, "kNN", "title")
    marks = {line.get_label(): line.get_xdata()[0] for line in ax.lines}
    assert {name: marks[name] for name in coadaptation.NETWORKS} == {
        "untrained": 40.0,
        "frozen": 57.0,
        "free": 64.0,
        "whole": 61.0,
    }
    plt.close("all")


def test_no_training_goes_without_a_mark():
    trainings = [f"training {number}" for number in range(7)]
    coadaptation.draw_similarity(dict.fromkeys(trainings, (["a", "b", "c"], np.array(CKA))), "")
    assert [line.get_label() for line in plt.gca().lines] == trainings
    plt.close("all")


def test_likeness_is_a_row_for_each_two_layers_and_a_mark_for_each_training():
    found = {
        "contrastive": (["a", "b", "c"], np.array(CKA)),
        "supervised": (["a", "b", "c"], np.array(CKA) / 2),
    }
    coadaptation.draw_similarity(found, "title")
    ax = plt.gca()
    assert [text.get_text() for text in ax.texts] == ["a and b", "b and c", "a and c"]
    values = {line.get_label(): list(line.get_xdata()) for line in ax.lines}
    assert values == {"contrastive": [0.8, 0.6, 0.2], "supervised": [0.4, 0.3, 0.1]}
    plt.close("all")


def test_what_was_spent_counts_every_record_once(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPAUG_RESULTS", str(tmp_path))
    store, hour = Store(tmp_path, "cpu"), {"seconds": 3600.0}
    store.write(tiny.record(tiny.trial(), **hour))
    store.write(tiny.record(tiny.trial(seed=1, threads=2), **hour))
    store.write(tiny.record(tiny.trial(seed=2), status="diverged", metrics={}, **hour))
    Store(tmp_path, "quick").write(tiny.record(tiny.trial(), **hour))  # nobody's evidence
    (row,) = compute.spent().to_dict("records")
    assert row["study"] == compute.ELSEWHERE and row["modality"] == "vision"
    assert (row["trials"], row["diverged"], row["core-hours"]) == (3, 1, 4.0)


@pytest.mark.parametrize("quick", [False, True])
def test_what_was_spent_is_told_also_where_nothing_was(tmp_path, monkeypatch, capsys, quick):
    """A folder of one's own holds the pages' quick runs alone, or nothing yet."""
    monkeypatch.setenv("DEEPAUG_RESULTS", str(tmp_path))
    if quick:
        Store(tmp_path, "quick").write(tiny.record(tiny.trial()))
    table = compute.spent()
    assert table.empty and "core-hours" in table
    compute.show_spent(table)
    compute.hours(table)
    assert "Markdown" in capsys.readouterr().out and not plt.get_fignums()
