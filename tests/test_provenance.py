"""A record tells how to make it again, and can be made again."""

from functools import partial
from pathlib import Path

import pytest
import tiny

from deepaug import cli
from deepaug.studies import catalogue, provenance, records, showing, workers
from deepaug.studies import profile as profiles
from deepaug.studies.records import Store
from deepaug.training import loop

COMMIT = "0123456789abcdef0123456789abcdef01234567"
QUICK = catalogue.load("vision", "quick").entries()[0].trial


@pytest.fixture
def made(tmp_path):
    return workers.compute(
        tiny.trial(), Store(tmp_path / "results", "quick"), partial(loop.run, accelerator="cpu")
    )


def test_the_command_is_of_the_code_that_made_it():
    record = tiny.record(QUICK, revision=COMMIT)
    assert provenance.command(record, Path(f"results/quick/{QUICK.key}.json")) == (
        f"git checkout {COMMIT} && "
        f"deepaug run vision --profile quick --only {QUICK.key} --results again"
    )


def test_what_other_records_chose_is_repeated_from_its_own(tmp_path, monkeypatch):
    stages = {
        "screen": {"seeds": [2], "layers": ["input"], "transforms": ["pca"], "strengths": [0.5]},
        "confirm": {"seeds": [100], "chosen_from": "screen"},
    }
    profile = tiny.profile(tmp_path, name="cpu", **stages)
    monkeypatch.setattr(profiles, "PROFILES", profile.parent)
    monkeypatch.setenv("DEEPAUG_RESULTS", str(tmp_path / "results"))
    study = catalogue.load("vision", "cpu")
    for entry in study.stage_entries("screen"):
        study.store.write(tiny.record(entry.trial))
    chosen, screened = (study.stage_entries(s)[-1].trial for s in ("confirm", "screen"))
    path = study.store.path(chosen.key)
    assert provenance.command(tiny.record(chosen, revision=COMMIT), path) == (
        f"mkdir -p again && cp {path} again && git checkout {COMMIT} && "
        f"deepaug reproduce again/{chosen.key}.json"
    )
    command = provenance.command(tiny.record(screened, revision=COMMIT), path)
    assert command.startswith(f"git checkout {COMMIT} && deepaug run vision")


@pytest.mark.parametrize("revision", [None, f"{COMMIT}+"])
def test_code_that_no_commit_holds_is_not_checked_out(revision):
    record = tiny.record(QUICK, revision=revision)
    assert provenance.command(record, Path("results/quick/it.json")).startswith("deepaug run")


@pytest.mark.parametrize("profile", ["quick", "own"])
def test_a_trial_of_no_study_is_repeated_by_its_record(profile, tmp_path, monkeypatch):
    record = tiny.record(tiny.trial(), revision=COMMIT)
    path = tmp_path / "my results" / profile / "it.json"
    assert provenance.command(record, path) == f"deepaug reproduce '{path}'"
    monkeypatch.setenv("DEEPAUG_RESULTS", str(tmp_path / "my results"))
    assert provenance.command(record, path) == f"deepaug reproduce {record['key']}"


def test_what_is_made_again_is_the_same(made):
    assert provenance.differing(made, provenance.again(made, "cpu")) == []


def test_a_record_from_before_a_setting_was_there_is_made_again(made, tmp_path):
    older = {**made, "trial": {name: v for name, v in made["trial"].items() if name != "cut"}}
    Store(tmp_path, "older").write(records.with_checksum(older))
    path = Store(tmp_path, "older").path(made["key"])
    assert showing.reproduced(path, "cpu") == (f"{made['key']}: the same result", True)


def test_the_similarity_of_layers_is_made_again(tmp_path):
    store, train = Store(tmp_path, "quick"), partial(loop.run, accelerator="cpu")
    record = workers.compute(tiny.trial(cut="stage1"), store, train)
    assert provenance.differing(record, provenance.again(record, "cpu")) == []
    cka = [[0.5 for _ in row] for row in record["similarity"]["cka"]]
    store.write(
        records.with_checksum({**record, "similarity": {**record["similarity"], "cka": cka}})
    )
    told, alike = showing.reproduced(store.path(record["key"]), "cpu")
    assert (told, alike) == (f"{record['key']}: differs in similarity", False)


def test_what_differs_is_named(made):
    metrics = {"validation": {"knn": 1.0, "probe": 1.0}, "test": {"knn": 1.0, "probe": 1.0}}
    other = records.with_checksum({**made, "metrics": metrics, "source_digest": "0" * 16})
    again = provenance.again(other, "cpu")
    assert provenance.differing(other, again) == ["metrics", "source_digest"]


def test_versions_are_those_of_packages_that_both_records_name(made):
    def named(**versions):
        return {**made, "versions": {"torch": "2.15.0", **versions}}

    earlier, later = named(lightning="2.6.5"), named(**{"pytorch-lightning": "2.6.6"})
    assert provenance.differing(earlier, later) == []
    assert provenance.differing(earlier, named(torch="2.14.0")) == ["versions"]


def test_how_far_metrics_lie_apart_is_said(made, tmp_path):
    knn = made["metrics"]["validation"]["knn"]
    metrics = {**made["metrics"], "validation": {**made["metrics"]["validation"], "knn": 1.0}}
    store = Store(tmp_path, "other")
    store.write(records.with_checksum({**made, "metrics": metrics, "source_digest": "0" * 16}))
    told, alike = showing.reproduced(store.path(made["key"]), "cpu")
    apart = f"validation knn 1.00 recorded, {knn:.2f} now"
    assert told == f"{made['key']}: differs in metrics ({apart}); made with another source"
    assert not alike


def test_sealed_test_metrics_are_not_said(tmp_path):
    arm = tiny.trial(layer="stage1", transform="dropout", strength=0.5)
    store, train = Store(tmp_path, "quick"), partial(loop.run, accelerator="cpu")
    record = workers.compute(arm, store, train)
    metrics = {split: dict.fromkeys(values, 1.0) for split, values in record["metrics"].items()}
    store.write(records.with_checksum({**record, "metrics": metrics}))
    told, _ = showing.reproduced(store.path(record["key"]), "cpu")
    assert "validation knn" in told and "test" not in told


def test_another_protocol_is_refused():
    record = tiny.record(tiny.trial(protocol=1), revision=COMMIT)
    with pytest.raises(ValueError, match=f"protocol 1.*{COMMIT}"):
        provenance.again(record)


def test_on_the_command_line(made, tmp_path, capsys):
    options = ["--accelerator", "cpu", "--results", str(tmp_path / "results")]
    cli.main(["reproduce", made["key"], *options])
    assert capsys.readouterr().out == f"{made['key']}: the same result\n"
    store = Store(tmp_path / "results", "quick")
    store.write(records.with_checksum({**made, "curve": [{"epoch": 2, "loss": 9.0}]}))
    with pytest.raises(SystemExit) as ended:
        cli.main(["reproduce", str(store.path(made["key"])), *options])
    assert ended.value.code == 1
    assert capsys.readouterr().out == f"{made['key']}: differs in curve\n"
