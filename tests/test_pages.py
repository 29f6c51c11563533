"""What pages say of records: what was learnt, what is superseded, how published figures compare."""

from dataclasses import replace

import matplotlib
import pytest
import tiny

matplotlib.use("Agg")

from deepaug.pages import notebooks, show
from deepaug.pages.texts import texts
from deepaug.studies import catalogue, rulebook
from deepaug.studies.study import Entry
from deepaug.verdicts import effects


def recorded(arm="baseline", seed=0, knn=50.0, base="", **changes):
    trial = tiny.trial(seed=seed, **changes)
    metrics = {split: {"knn": knn} for split in ("validation", "test")}
    if knn is None:
        return Entry("quick", base, "contrastive", arm, trial), tiny.record(
            trial, status="diverged", metrics={}
        )
    return Entry("quick", base, "contrastive", arm, trial), tiny.record(trial, metrics=metrics)


def live(trained, untrained, **where):
    found = [recorded(seed=seed, knn=knn, **where) for seed, knn in enumerate(trained)]
    return found + [recorded("untrained", s, k, **where) for s, k in enumerate(untrained)]


# What a live run has learnt


def test_learnt_is_the_mean_gain_and_the_range_of_the_trained():
    told = effects.learnt(live([60.0, 62.0, 67.0], [50.0, 54.0, 52.0]))
    assert (told.metric, told.seeds) == ("knn", 3)
    assert told.gain == pytest.approx(11.0) and told.spread == pytest.approx(7.0)
    assert told.enough and "+11.0 points" in str(told) and "range over 7.0" in str(told)


@pytest.mark.parametrize(
    ("trained", "untrained"),
    [([60.0, 70.0], [55.0, 55.0]), ([60.0, 60.0], [60.0, 60.0]), ([60.0, 70.0], [50.0, 60.0])],
)
def test_a_gain_within_the_seeds_spread_is_not_enough(trained, untrained):
    assert not effects.learnt(live(trained, untrained)).enough


def test_seeds_count_by_the_mean_of_their_data_sets():
    found = live([60.0, 62.0], [50.0, 50.0], base="A") + live([80.0, 76.0], [50.0, 50.0], base="B")
    told = effects.learnt(found)
    assert told.gain == pytest.approx(19.5) and told.spread == pytest.approx(1.0)


def test_arms_do_not_count_as_learnt():
    arm = recorded("pooled dropout 0.5", 0, 99.0, layer="pooled", transform="dropout", strength=0.5)
    assert effects.learnt([*live([60.0], [50.0]), arm]).trained == 60.0


@pytest.mark.parametrize(
    "found",
    [
        live([60.0], []),
        live([60.0, 61.0], [50.0]),
        live([60.0], [50.0, 51.0]),
        live([60.0, None], [50.0, 50.0]),
    ],
)
def test_nothing_is_learnt_where_a_seed_is_lacking_or_diverged(found):
    with pytest.raises(ValueError, match=r"same seeds|diverged"):
        effects.learnt(found)


def test_twins_of_text_with_pairs_are_held_against_each_other_by_topics():
    text = {"modality": "text", "data": "wordnet-brown", "encoder": "bert2", "pairs": "sts"}
    for name, metric in (("supervised", "probe"), ("sentences", "spearman")):
        assert effects.metric_of(catalogue.load(name), [recorded(**text)]) == metric
    assert effects.metric_of(catalogue.load("supervised"), [recorded()]) == "knn"


# Records of larger profiles


ARMS = {"layers": ["stem"], "transforms": ["dropout", "pca"], "strengths": [0.5]}


@pytest.fixture
def study(tmp_path):
    """A study with a pilot and a tuning stage, nothing recorded."""
    path = tiny.profile(
        tmp_path,
        pilot={"seeds": [0, 1], "controls": ["untrained", "no-augmentation"], **ARMS},
        tuning={"seeds": [2, 3], "tune": {"temperature": [0.2, 0.5]}},
    )
    return catalogue.load("vision", str(path), tmp_path / "results")


def write(study, *trials, **metrics):
    for trial in trials:
        told = {split: {"knn": 50.0, **metrics} for split in ("validation", "test")}
        study.store.write(tiny.record(trial, metrics=told))


def pca(study):
    return [e.trial for e in study.stage_entries("pilot") if e.trial.transform == "pca"]


def test_superseded_are_the_records_of_an_earlier_protocol(study):
    assert effects.superseded(study) == (0, 0)
    write(study, *(replace(trial, protocol=2) for trial in pca(study)))
    assert effects.superseded(study) == (2, 0)
    write(study, pca(study)[0])
    assert effects.superseded(study) == (2, 1)


def test_records_of_what_did_not_change_are_not_superseded(study):
    write(study, *(entry.trial for entry in study.stage_entries("pilot")))
    assert effects.superseded(study) == (0, 0)


def page(study):
    return show.Page(study, [], [study])


def shown(monkeypatch):
    told = []
    monkeypatch.setattr(show, "display", lambda what: told.append(getattr(what, "data", what)))
    return told


def test_a_page_says_why_records_of_pca_count_no_longer(study, monkeypatch):
    told = shown(monkeypatch)
    show.progress(page(study))
    assert "PCA trained wrongly" not in str(told)
    write(study, *(replace(trial, protocol=2) for trial in pca(study)))
    show.progress(page(study))
    assert "until protocol 3" in told[-1]
    assert "page 2 were" in told[-1] and "0 of them" in told[-1]


def test_what_a_page_says_depends_on_the_rules(monkeypatch, study):
    told = shown(monkeypatch)
    show.sealed(page(study))
    show.progress(page(replace(study, name="graphs")))
    assert "after the confirm stage" in told[0] and told[1].endswith("No verdict follows.")


def test_every_header_is_of_a_page(monkeypatch):
    told = shown(monkeypatch)
    headers = texts()["headers"]
    assert sorted(headers) == sorted(path.stem for path in notebooks.SOURCES.glob("*.py"))
    show.header("vision")
    assert f"| **Trains** | {headers['vision']['Trains']} |" in told[0] and "rerun.md" in told[1]


def test_configurations_that_tuned_the_baseline_are_no_baselines(study):
    for stage in ("pilot", "tuning"):
        write(study, *(entry.trial for entry in study.stage_entries(stage)))
    arms = [(entry.arm, entry.trial.seed) for entry, _ in effects.references(study)]
    assert arms == [(a, s) for s in (0, 1) for a in ("baseline", "untrained")] + [
        ("baseline", 2),
        ("baseline", 3),
    ]


def test_published_means_of_as_many_seeds_are_compared_by_their_errors(study):
    baseline = [e.trial for e in study.stage_entries("pilot") if e.arm == "baseline"]
    write(study, baseline[0], knn=50.0)
    theirs = {"mnist-5k": {"mean": 50.0, "deviation": 1.0, "seeds": 4}}
    assert effects.published(study, theirs) == []  # of one seed there is no deviation
    write(study, baseline[1], knn=52.0)
    (row,) = effects.published(study, theirs)
    assert row["difference"] == "+1.00" and row["two standard errors"] == "2.24"
    assert row["within"] == "yes"
    (row,) = effects.published(study, {"mnist-5k": {**theirs["mnist-5k"], "mean": 40.0}})
    assert row["within"] == "no"


@pytest.mark.parametrize(("mean", "met"), [(51.9, "yes"), (52.1, "no"), (40.0, "yes")])
def test_published_means_without_seeds_may_be_missed_by_a_point(study, mean, met):
    write(study, *(e.trial for e in study.stage_entries("pilot") if e.arm == "baseline"), knn=51.0)
    (row,) = effects.published(study, {"mnist-5k": {"mean": mean, "deviation": 0.4}})
    assert row["no more than 1 point below"] == met


def test_a_figure_of_arms_is_left_out_where_none_is_recorded(study):
    write(study, *(e.trial for e in study.stage_entries("pilot") if e.role == "baseline"))
    show.gain_by_depth(page(study), "pilot")
    assert not matplotlib.pyplot.get_fignums()


def test_every_study_outside_the_verdicts_says_why_on_a_page_of_its_own():
    folder = notebooks.SOURCES
    for name in rulebook.rules()["outside"]:
        assert f'show.outside("{name}")' in (folder / f"{name}.py").read_text()
    for name in rulebook.rules()["bases"]:
        assert "show.scale(records" in (folder / f"{name}.py").read_text()
