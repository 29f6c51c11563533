"""Figures and pages: how arms are paired, what is drawn, what is not read."""

from dataclasses import replace

import matplotlib
import pytest
import tiny

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from deepaug.pages import exploratory, figures
from deepaug.pages.page import Page, conditions
from deepaug.studies import catalogue
from deepaug.studies.study import Entry
from deepaug.training import registry
from deepaug.verdicts import effects
from deepaug.verdicts.scale import Scale


def recorded(arm="baseline", seed=0, knn=50.0, objective="contrastive", base="", **changes):
    objectives = {} if objective == "contrastive" else {"objective": objective}
    trial = tiny.trial(seed=seed, **objectives, **changes)
    status = "ok" if knn is not None else "diverged"
    metrics = {s: {"knn": value} for s, value in (("validation", knn), ("test", 99.0))}
    record = tiny.record(trial, status=status, metrics=metrics if knn is not None else {})
    return Entry("pilot", base, objective, arm, trial, role="arm"), record


def arm(knn, seed=0, **changes):
    settings = {"layer": "stem", "transform": "dropout", "strength": 0.5, **changes}
    return recorded("stem dropout 0.5", seed, knn, **settings)


def gain_of(*found, against="baseline"):
    return list(effects.gains(effects.frame(found), "knn", against)["gain"])


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_gains_are_paired_by_seed():
    found = [recorded(seed=0, knn=50.0), recorded(seed=1, knn=60.0), arm(53.0, 0), arm(61.0, 1)]
    assert gain_of(*found) == [3.0, 1.0]


def test_a_seed_without_a_baseline_is_not_paired():
    assert gain_of(recorded(seed=0), arm(53.0, 0), arm(90.0, 1)) == [3.0]


def test_twins_are_held_against_their_own_baselines():
    found = [
        recorded(knn=50.0),
        recorded(knn=70.0, objective="supervised"),
        arm(51.0),
        arm(68.0, objective="supervised"),
    ]
    assert gain_of(*found) == [1.0, -2.0]


def test_data_sets_are_held_against_their_own_baselines():
    found = [recorded(knn=k, base=b) for b, k in (("A", 50.0), ("B", 80.0))]
    found += [arm(k, base=b) for b, k in (("A", 51.0), ("B", 83.0))]
    assert gain_of(*found) == [1.0, 3.0]


def test_arms_can_be_held_against_another_than_the_baseline():
    found = [recorded(), arm(55.0), recorded("stem dropout 0.5 detached", 0, 52.0)]
    assert gain_of(*found, against="stem dropout 0.5") == [-5.0, -3.0]


def test_a_diverged_run_counts_as_random_initialisation():
    untrained = recorded("untrained", 0, 20.0)
    assert gain_of(recorded(), untrained, arm(None)) == [-30.0, -30.0]
    with pytest.raises(ValueError, match="record its 'untrained' too"):
        gain_of(recorded(), arm(None))


def test_other_precisions_are_not_paired():
    assert gain_of(recorded(), arm(53.0, precision="bfloat16")) == []


@pytest.mark.parametrize(
    ("elsewhere", "paired"),
    [
        ({"accelerator": "cuda"}, False),
        ({"device": "another"}, True),
        ({"versions": {"torch": "3.0"}}, False),
        ({"versions": {"torch": "2+cpu"}}, True),
    ],
    ids=str,
)
def test_runs_of_other_conditions_are_not_paired(elsewhere, paired):
    entry, record = arm(53.0)
    assert gain_of(recorded(), (entry, record | elsewhere)) == [3.0] * paired
    entry, record = recorded("untrained", 0, 20.0)
    found = recorded(), (entry, record | elsewhere), arm(None)
    if paired:
        assert gain_of(*found) == [-30.0, -30.0]
    else:
        with pytest.raises(ValueError, match="record its 'untrained' too"):
            gain_of(*found)


def test_test_metrics_of_arms_are_not_read():
    assert effects.frame([recorded()], "test")["knn"].tolist() == [99.0]
    for judged in (arm(53.0), recorded("no-augmentation", view_strength=0.0)):
        with pytest.raises(ValueError, match="verdict code alone"):
            effects.frame([recorded(), judged], "test")


def test_twins_are_told_apart_by_line_and_dots():
    found = [recorded(seed=s, objective=o) for s in (0, 1) for o in figures.TWINS]
    found += [arm(51.0 + s, s, objective=o) for s in (0, 1) for o in figures.TWINS]
    _, ax = plt.subplots()
    figures.gain_by_depth(ax, effects.frame(found), "knn", ("stem",), "")
    (legend,) = ax.figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["dropout 0.5, contrastive", "dropout 0.5, supervised"]
    faces = {line.get_markerfacecolor() for line in ax.lines if line.get_marker() == "o"}
    assert faces == {figures.COLOURS["dropout"], "white"}


def test_the_frame_of_shared_panels_holds_the_dots_of_all():
    _, axes = figures.panels(2)
    for ax, base, knn in zip(axes.flat, "AB", (90.0, 30.0), strict=True):
        table = effects.frame([recorded(base=base), arm(knn, base=base)])
        figures.gain_by_depth(ax, table, "knn", ("stem",), base)
    low, high = axes.flat[0].get_ylim()
    assert low < -20 and high > 40
    assert len(axes.flat[0].figure.legends) == 1  # of both panels


def test_forest_has_a_row_for_each_arm():
    found = [recorded(), arm(53.0), recorded("no-augmentation", 0, 30.0, view_strength=0.0)]
    _, ax = plt.subplots()
    figures.forest(ax, effects.frame(found), "knn", "")
    rows = [text.get_text() for text in ax.texts]
    assert rows == ["stem dropout 0.5", "no-augmentation"]


def test_gradient_norms_show_zero():
    entry, record = arm(50.0)
    record["curve"] = [{"epoch": n, "loss": 1.0, "gradient_below": g} for n, g in ((1, 0), (2, 3))]
    _, ax = plt.subplots()
    figures.gradient_norms(ax, [(entry, record)], "")
    assert ax.lines[0].get_ydata().tolist() == [0, 3] and ax.get_ylim()[0] == 0


def test_gradient_norms_of_one_arm_are_named_by_what_its_controls_change():
    own, record = arm(50.0)
    record["curve"] = [{"epoch": 1, "loss": 1.0, "gradient_below": 2.0}]
    other = replace(own, role="arm control", arm="stem dropout 0.5 noise", control="noise")
    second = replace(own, arm="pooled dropout 0.5", trial=replace(own.trial, layer="pooled"))

    def names(*entries):
        _, ax = plt.subplots()
        figures.gradient_norms(ax, [(entry, record) for entry in entries], "")
        return [line.get_label() for line in ax.lines]

    assert names(own, other) == ["both", "noise"]
    assert names(own, second) == ["stem dropout 0.5", "pooled dropout 0.5"]


def test_arms_are_no_seeds_where_gains_are_drawn_by_augmentation(monkeypatch):
    """Two arms of three seeds are three points, and too few for an interval."""
    found = [recorded(seed=seed, knn=50.0) for seed in range(3)] + [
        arm(50.0 + gain, seed, layer=layer)
        for seed in range(3)
        for layer, gain in (("stem", 2.0), ("pooled", 4.0 + seed))
    ]
    found = [
        (replace(e, arm=f"{e.trial.layer} 0.5" if e.trial.layer != "none" else e.arm), r)
        for e, r in found
    ]
    study = catalogue.load("vision", "quick")
    monkeypatch.setattr(exploratory, "finish", lambda part: None)
    exploratory.live_by_augmentation(Page(study, found, []))
    lines = plt.gca().lines
    dots = [line for line in lines if line.get_marker() == "o"]
    means = [line for line in lines if line.get_label() == "images"]
    assert [list(line.get_ydata()) for line in dots] == [[3.0, 3.5, 4.0]]
    assert [list(line.get_ydata()) for line in means] == [[3.5]] and len(lines) == 3  # and nought


def test_parts_of_a_study_come_apart_in_order():
    found = [recorded(base="B"), recorded(base="A"), recorded(seed=1, base="B")]
    assert {label: len(part) for label, part in effects.by_base(found).items()} == {"B": 2, "A": 1}


def test_a_collapsed_training_is_told_beside_diverged_ones():
    entry, record = arm(20.0)
    record["curve"] = [{"epoch": 2, "loss": 4.595}]  # log(2·50 − 1)
    told = effects.summary(effects.frame([recorded(), (entry, record)]), "knn")
    assert told["collapsed"].tolist() == [0, 1] and told["diverged"].tolist() == [0, 0]


def scale(**gains):
    """Records of a scale stage, for each data set: over untrained, and by doubled epochs."""
    found = []
    for base, (above, doubling) in gains.items():
        found.append(recorded(base=base, knn=50.0))
        found.append(recorded("untrained", knn=50.0 - above, base=base))
        found.append(recorded("doubled", knn=50.0 + doubling, base=base))
    return found


def scale_told(*found):
    return str(Scale.of(list(found)))


def test_scale_is_the_mean_over_data_sets():
    told = scale_told(*scale(A=(16.0, 0.5), B=(5.0, 0.9)))
    assert "10.5 points above random initialisation, as the mean of 2 data sets" in told
    assert "(needed: 10; met)" in told and "adds 0.7 (aim: below 1; met)" in told
    assert "(needed: 10; **not met**)" in scale_told(*scale(A=(14.0, 2.0), B=(5.0, 0.0)))


def test_scale_of_one_data_set_names_no_mean():
    told = scale_told(*scale(A=(12.0, 3.0)))
    assert "mean" not in told and "gains here are those of short training" in told


def test_nothing_is_told_of_a_scale_that_lacks_a_data_set():
    assert Scale.of([*scale(A=(12.0, 0.0)), recorded(base="B")]) is None
    assert Scale.of([recorded()]) is None and Scale.of([]) is None


def test_conditions_tell_crops_sentences_and_nodes():
    text = {"modality": "text", "data": "lee", "encoder": "bert2", "view_size": 24}
    crops = recorded(**text, views="crops", pairs="halves")
    assert "crops of 24 tokens" in conditions([crops])
    assert "sentences of up to 24 tokens" in conditions([recorded(**text, pairs="lee")])
    nodes = recorded(modality="nodes", data="Cora", encoder="gcn3")
    assert "views of all nodes" in conditions([nodes])


def test_every_primary_metric_has_a_label():
    trials = [entry.trial for n in catalogue.names("cpu") for entry in _planned(n, "cpu")]
    trials += [entry.trial for n in catalogue.names("quick") for entry in _planned(n, "quick")]
    assert {registry.primary(trial) for trial in trials} == set(effects.METRICS)


def _planned(name, profile):
    study = catalogue.load(name, profile)
    return study.planned(next(iter(study.stages)))
