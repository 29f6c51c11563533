"""The explorer's data: pairs are those of the effects code, and test metrics stay sealed."""

import gzip
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic
import tiny
from synthetic import World, world

from deepaug.cli import main
from deepaug.pages import explorer
from deepaug.studies import arms, catalogue, records
from deepaug.verdicts import effects, opened
from deepaug.verdicts.statistics import mean_effect

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"


@pytest.fixture(scope="module")
def committed():
    """Rows of the records in the repository."""
    return explorer.rows(root=ROOT / "results")


@pytest.fixture
def made_up(monkeypatch, tmp_path):
    """Rows and open keys of a world."""

    def made_up(of=None, modality="text"):
        of = of or World()
        monkeypatch.setattr(catalogue, "store", lambda *_: synthetic.Memory(of, "made-up"))
        profile = synthetic.profile(tmp_path, modality)
        return [*explorer.rows_of(profile)], opened.keys(profile)

    return made_up


def of(rows, **wanted):
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


# Pairs


def test_gains_are_those_of_the_effects_code(committed):
    """On every stage, by every metric, but for networks that are split: their names tell cuts."""
    compared = 0
    for study in catalogue.every("cpu", ROOT / "results").values():
        for stage in study.stages:
            recorded = study.recorded(stage)
            for part in effects.by_base(recorded).values():
                if any(entry.trial.cut != "none" for entry, _ in part):
                    continue
                table = effects.frame(part)
                data = part[0][0].trial.data
                for metric in {*table.columns} & {*effects.METRICS}:
                    gained = effects.gains(table, metric).dropna()
                    theirs = {(r.objective, r.arm, r.seed): r.gain for r in gained.itertuples()}
                    place = {"study": study.name, "stage": stage, "data": data, "metric": metric}
                    place["setting"] = part[0][0].setting
                    ours = {
                        (row["objective"], row["arm"], row["seed"]): row["gain"]
                        for row in of(committed, profile="cpu", split="validation", **place)
                        if row["role"] != "baseline" and row["gain"] is not None
                    }
                    assert ours == theirs, place
                    compared += len(ours)
    assert compared > 500


def test_every_record_that_a_study_has_is_a_row(committed):
    recorded = {
        (study.name, stage, entry.arm, entry.trial.key)
        for study in catalogue.every("cpu", ROOT / "results").values()
        for stage in study.stages
        for entry, _ in study.recorded(stage)
    }
    assert {(r["study"], r["stage"], r["arm"], r["key"]) for r in committed} == recorded


def test_rows_have_the_columns_and_numbers_that_json_has(committed):
    for row in committed:
        assert tuple(row) == explorer.COLUMNS
        assert all(math.isfinite(v) for v in row.values() if isinstance(v, float))
    assert json.loads(json.dumps(committed, allow_nan=False)) == committed


def test_the_baseline_is_nought_and_arms_of_a_split_pair_with_their_cut(made_up):
    rows, _ = made_up()
    assert {row["gain"] for row in of(rows, role="baseline")} == {0.0}
    split = of(rows, study="co-adaptation", metric="knn_frozen", role="arm")
    assert split and {row["cut"] for row in split} == {"block1"}
    assert all(row["gain"] is not None for row in split)


def test_intervals_are_those_of_all_seeds_and_need_five(made_up):
    rows, _ = made_up()
    confirm = of(rows, study="text", stage="confirm", role="arm", split="validation")
    for row in confirm:
        runs = of(confirm, arm=row["arm"], metric=row["metric"])
        effect = mean_effect([run["gain"] for run in runs])
        assert effect.n == 10 and (row["low"], row["high"]) == (effect.low, effect.high)
    screen = of(rows, study="text", stage="screen", role="arm")
    assert screen and {row["low"] for row in screen} == {None}


# Runs that diverged


def diverging(self, trial):
    lost = trial.layer != "none" and trial.seed == 103
    return synthetic.DIVERGED if lost else World.test(self, trial)


def test_a_diverged_run_is_shown_and_counts_as_its_untrained_self(made_up):
    rows, _ = made_up(world(test=diverging))
    place = {"study": "text", "stage": "confirm", "split": "validation", "status": "diverged"}
    lost = of(rows, **place, role="arm")
    assert lost and {row["value"] for row in lost} == {None}
    for row in lost:
        assert row["gain"] == pytest.approx(World.untrained - World.contrastive)


def test_a_diverged_run_without_an_untrained_self_is_shown_without_a_gain(made_up):
    def test(self, trial):
        lacks = trial.objective == "untrained" and trial.seed == 103
        return None if lacks else diverging(self, trial)

    rows, _ = made_up(world(test=test))
    lost = of(rows, study="text", stage="confirm", split="validation", status="diverged")
    assert lost and {row["gain"] for row in lost} == {None}


def test_an_untrained_self_of_another_machine_counts_for_nothing(made_up):
    def record(self, trial):
        elsewhere = trial.objective == "untrained" and trial.seed == 103
        made = World.record(self, trial)
        return made | {"device": "a GPU", "accelerator": "cuda"} if elsewhere else made

    rows, _ = made_up(world(test=diverging, record=record))
    lost = of(rows, study="text", stage="confirm", split="validation", status="diverged")
    assert lost and {row["gain"] for row in lost} == {None}
    elsewhere = of(rows, study="text", stage="confirm", seed=103, arm="untrained")
    assert elsewhere and {row["gain"] for row in elsewhere} == {None}


# Test metrics


def test_once_all_is_judged_test_gains_are_there(made_up):
    rows, unsealed = made_up()
    gains = [
        row["gain"]
        for row in of(rows, study="text", stage="confirm", split="test", transform="dropout")
        if row["role"] == "arm"
    ]
    assert len(gains) == 10 and sum(gains) / 10 == pytest.approx(3.0)
    assert {row["key"] for row in of(rows, split="test")} == unsealed


def test_what_serves_no_claim_stays_sealed_for_ever(made_up):
    rows, _ = made_up()
    shown = {row["stage"] for row in of(rows, split="test")}
    assert shown == {"confirm", "controls", "longer"}


def test_while_a_claim_runs_its_records_are_sealed_whatever_else_they_serve(made_up):
    """One run of C4 lacks: C5, which shares its records, and the baseline of C1 are sealed too."""

    def test(self, trial):
        lacks = trial.cut != "none" and trial.seed == 105
        return None if lacks else World.test(self, trial)

    rows, unsealed = made_up(world(test=test))
    tests = of(rows, split="test")
    assert {row["study"] for row in tests}.isdisjoint({"co-adaptation", "input-or-deep"})
    place = {"study": "input-or-deep", "stage": "confirm", "role": "baseline", "seed": 100}
    (baseline,) = {row["key"] for row in of(rows, **place)}
    assert baseline not in unsealed and of(rows, key=baseline, split="validation")
    # Nor is the other half of a pair shown: the arm of C1, which is judged.
    assert not of(tests, key=baseline) and not of(tests, study="text", stage="confirm")


def test_of_the_committed_records_only_open_ones_show_test_metrics(committed):
    unsealed = opened.keys("cpu", ROOT / "results")
    shown = {row["key"] for row in of(committed, profile="cpu", split="test")}
    assert shown <= unsealed
    judged = {row["key"] for row in committed if row["stage"] in ("confirm", "controls", "longer")}
    assert shown <= judged


def test_a_sealed_test_metric_is_refused_by_the_table_of_runs():
    study = catalogue.load("nodes", "cpu", ROOT / "results")
    pilot = study.recorded("pilot")
    with pytest.raises(ValueError, match="verdict code alone"):
        effects.frame(pilot, "test")
    keys = {entry.trial.key for entry, _ in pilot if entry.role == "arm"}
    with pytest.raises(ValueError, match="verdict code alone"):
        effects.frame(pilot, "test", [*keys][1:])
    sealed = [r for r in pilot if records.sealed_test(r[0].trial) and r[0].role != "arm"]
    keys |= {entry.trial.key for entry, _ in sealed}
    assert len(effects.frame(pilot, "test", keys)) == len(pilot)


# The files of the page


@pytest.fixture(scope="module")
def folder(tmp_path_factory, committed):
    pytest.importorskip("vl_convert")
    pytest.importorskip("itables")
    folder = tmp_path_factory.mktemp("explorer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explorer, "rows", lambda root: committed)
        main(["explorer", str(folder), "--results", str(ROOT / "results")])
    return folder


def test_files_and_their_sizes(folder, committed):
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in folder.iterdir()}
    assert sizes.keys() == {"data.json", "plot.js", "table.js", "table.css"}
    assert sum(sizes.values()) < 2_000_000 and sizes["data.json"] < 500_000
    content = json.loads((folder / "data.json").read_text())
    assert len(content["rows"]) == len(committed)
    assert content["columns"] == [*explorer.COLUMNS]


def test_every_name_in_the_data_is_told(folder):
    content = json.loads((folder / "data.json").read_text())
    rows = [dict(zip(content["columns"], row, strict=True)) for row in content["rows"]]
    assert all(content["metrics"].values())
    assert {row["stage"] for row in rows} <= content["stages"].keys()
    assert {row["way"] for row in rows} <= content["ways"].keys() | {"none"}
    assert {row["transform"] for row in rows} <= content["families"].keys() | {"none"}
    assert content["stages"]["confirm"] and not content["stages"]["pilot"]


def test_stages_that_are_listed_are_known_to_an_empty_store(committed, tmp_path):
    """The command for their runs is `deepaug run STUDY --results again --only KEY`."""
    content = explorer.payload(committed)
    known = {}
    for row in committed:
        place = row["profile"], row["study"]
        if " ".join((*place, row["stage"])) in content["listed"]:
            if place not in known:
                study = catalogue.load(*reversed(place), root=tmp_path)
                known[place] = {entry.trial.key for entry in study.entries()}
            assert row["key"] in known[place]
    assert known


def test_the_page_names_what_is_written_beside_it(folder):
    script = (BOOK / "_static" / "explorer.js").read_text()
    assert all(f'"{path.name}"' in script for path in folder.iterdir())
    for always in ("untrained", "no-augmentation", "same-mask", "noise"):
        assert f'"{always}"' in script and always in {*arms.CONTROLS, *arms.ARM_CONTROLS}
    assert "explorer.js" in (BOOK / "explorer.md").read_text()


def test_nothing_is_fetched_from_elsewhere():
    for name in ("explorer.md", "_static/explorer.js", "_static/explorer.css"):
        assert "://" not in (BOOK / name).read_text()


def test_nothing_recorded_is_no_fault(tmp_path):
    (tmp_path / "results").mkdir()
    assert explorer.rows(root=tmp_path / "results") == []
    assert explorer.payload([])["rows"] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["taken"], "is a file; name a folder"),
        (["new", "--results", "nowhere"], "nowhere is no folder of records"),
    ],
)
def test_bad_input_is_refused_in_one_line(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("")
    Path("results").mkdir()
    monkeypatch.setenv("DEEPAUG_RESULTS", "results")
    with pytest.raises(SystemExit) as end:
        main(["explorer", *words])
    out, err = capsys.readouterr()
    assert end.value.code == 2 and told in err and err.count("\n") == 1 and not out
    assert tiny.tree(tmp_path) == {"results": None, "taken": b""}


def test_it_needs_no_matplotlib():
    code = "import sys; sys.modules['matplotlib'] = None; import deepaug.pages.explorer"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_keys_of_the_committed_rows_are_files(committed):
    names = {path.stem for path in records.files(ROOT / "results")}
    assert {row["key"] for row in committed} <= names
