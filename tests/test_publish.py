"""Records for others: table, schema, copies."""

import contextlib
import csv
import dataclasses
import json
import zipfile
from pathlib import Path

import jsonschema
import pytest
import tiny

from deepaug import cli
from deepaug.studies import catalogue, fields, publish, records
from deepaug.studies.records import Store
from deepaug.training import origin
from deepaug.training.trial import CHOICES, Trial
from deepaug.verdicts import opened

SCHEMA = publish.schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
PLAIN = tiny.trial()
ARM = tiny.trial(layer="stage2", transform="pca", strength=0.5)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "results"
    Store(root, "quick").write(tiny.record(PLAIN))
    Store(root, "cpu").write(tiny.record(ARM))
    return root


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["required"]) == set(fields.FIELDS)
    assert set(SCHEMA["properties"]) == {*fields.FIELDS, *fields.OPTIONAL}


def test_the_schema_knows_the_trial():
    known = SCHEMA["properties"]["trial"]["properties"]
    fields = {field.name: field for field in dataclasses.fields(Trial)}
    assert known.keys() == fields.keys()
    for name, field in fields.items():
        kind = {str: "string", int: "integer", float: "number"}[field.type]
        assert (known[name]["type"], known[name]["default"]) == (kind, field.default), name
        assert tuple(known[name].get("enum", ())) == CHOICES.get(name, ()), name


def test_settings_are_explained_where_their_names_do_not_say_enough():
    known = SCHEMA["properties"]["trial"]["properties"]
    assert known["strength"]["description"] == "The transform's p."
    assert known["protocol"]["description"].endswith("0: the current one.")


def test_a_record_is_valid_and_a_changed_one_is_not():
    record = tiny.record(ARM)
    VALIDATOR.validate(record)
    for name in record:
        short = {n: v for n, v in record.items() if n != name}
        for wrong in (short, {**record, name: [1]}, {**record, "note": 1}):
            assert not VALIDATOR.is_valid(wrong), name


@pytest.mark.parametrize(
    ("layers", "cka", "valid"),
    [
        (["a", "b"], [[1.0, 0.5], [0.5, 1]], True),
        (["a"], [[1.0]], False),
        (["a", 1], [[1.0, 0.5], [0.5, 1]], False),
        (["a", "b"], [[1.0, "0.5"], [0.5, 1]], False),
        (["a", "b"], None, False),
        (None, [[1.0, 0.5], [0.5, 1]], False),
    ],
)
def test_a_similarity_may_be_there_and_is_a_table(layers, cka, valid):
    record = tiny.record(tiny.trial(cut="stage2"), similarity={"layers": layers, "cka": cka})
    assert VALIDATOR.is_valid(record) is valid
    with contextlib.nullcontext() if valid else pytest.raises(ValueError):
        records.check(record)


def test_the_table_has_no_similarity_and_one_column_for_each_setting_of_older_records(root):
    similarity = {"layers": ["a", "b"], "cka": [[1.0, 0.5], [0.5, 1.0]]}
    cut, store = tiny.trial(cut="stage2"), Store(root, "quick")
    store.write(tiny.record(cut, similarity=similarity))
    older = tiny.record(tiny.trial(seed=3))
    del older["trial"]["cut"]  # as it was before there was this setting
    store.write(records.with_checksum(older))
    before, frame = publish.table(root).columns, publish.table(root).set_index("key")
    assert not any("similarity" in name or "cka" in name for name in before)
    assert frame["trial.cut"].to_dict()[cut.key] == "stage2"
    assert sorted(frame["trial.cut"]) == ["none", "none", "none", "stage2"]


OUT_OF_RANGE = [("modality", "sound"), ("width", 0), ("samples", -1), ("learning_rate", 0.0)]
OUT_OF_RANGE += [
    ("strength", 1.0),
    ("held_out", -0.1),
    ("seed", -1),
    ("epochs", 1.5),
    ("warm_up", 5),
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_a_setting_out_of_range_is_not_valid(name, value):
    record = tiny.record(ARM)
    assert not VALIDATOR.is_valid({**record, "trial": {**record["trial"], name: value}})


@pytest.mark.parametrize(
    "change",
    [
        {"key": "short"},
        {"status": "fine"},
        {"metrics": {"validation": {}}},
        {"metrics": {"training": {"knn": 50.0}}},
        {"metrics": {"test": {"knn": "50"}}},
        {"curve": [{"loss": 4.5}]},
        {"curve": [{"epoch": 1, "loss": "low"}]},
        {"curve": [{"epoch": 1}] * 51},
        {"seconds": -1.0},
        {"created": "yesterday"},
        {"versions": {"torch": 2}},
        {"data_digest": "0" * 15},
        {"revision": "main"},
    ],
    ids=str,
)
def test_a_damaged_field_is_not_valid(change):
    assert not VALIDATOR.is_valid({**tiny.record(ARM), **change})


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_the_books_evidence_follows_the_schema(profile):
    for path in (origin.PACKAGE.parent / "results" / profile).glob("*.json"):
        VALIDATOR.validate(json.loads(path.read_text()))


def rows(path):
    with open(path, newline="") as file:
        return {row["key"]: row for row in csv.DictReader(file)}


def test_one_row_for_each_record(root, tmp_path):
    target = tmp_path / "new" / "all.csv"
    publish.write_table(publish.table(root), target)
    found = rows(target)
    assert found.keys() == {PLAIN.key, ARM.key}
    plain = found[PLAIN.key]
    assert (plain["profile"], plain["trial.width"], plain["versions.torch"]) == ("quick", "4", "2")
    assert plain["metrics.validation.knn"] == plain["metrics.test.knn"] == "50.0"


def test_the_table_leaves_out_test_metrics_of_arms(root):
    frame = publish.table(root).set_index("key")
    assert frame.loc[ARM.key, "metrics.validation.knn"] == 50.0
    assert frame.loc[ARM.key].filter(like="metrics.test").isna().all()


def test_the_table_has_test_metrics_of_what_is_judged(root):
    frame = publish.table(root, unsealed={"cpu": {ARM.key}}).set_index("key")
    assert frame.loc[ARM.key, "metrics.test.knn"] == 50.0


def test_what_one_profile_judges_stays_sealed_in_another(tmp_path):
    """They share trials, and each judges by its own runs."""
    for profile in ("cpu", "gpu-small"):
        Store(tmp_path, profile).write(tiny.record(ARM))
    frame = publish.table(tmp_path, unsealed={"gpu-small": {ARM.key}}).set_index("profile")
    shown = frame.filter(like="metrics.test").notna().all(axis=1)
    assert shown.to_dict() == {"cpu": False, "gpu-small": True}


def test_the_exported_table_has_those_of_the_repositorys_judged_records(tmp_path):
    """Arms of confirm among them; none of those that nothing has judged, the tuning's say."""
    root, target = Path(__file__).parents[1] / "results", tmp_path / "all.csv"
    cli.main(["export", str(target), "--results", str(root)])
    shown = {k: row for k, row in rows(target).items() if row["trial.layer"] != "none"}
    with_test = {
        key
        for key, row in shown.items()
        if any(value for name, value in row.items() if name.startswith("metrics.test."))
    }
    assert with_test and with_test < shown.keys()
    assert with_test <= opened.keys("cpu", root)
    confirmed = catalogue.load("nodes", "cpu", root).stage_entries("confirm")
    assert {e.trial.key for e in confirmed if e.trial.layer != "none"} <= with_test


def test_the_bundle_has_records_table_and_schema(root, tmp_path):
    target = tmp_path / "site"
    for _ in range(2):
        assert publish.bundle(root, target) == 2
    copies = {f"quick/{PLAIN.key}.json", f"cpu/{ARM.key}.json"}
    assert json.loads((target / publish.SCHEMA).read_text()) == SCHEMA
    files = {name for name, content in tiny.tree(target).items() if content is not None}
    assert files == {*copies, "records.csv", "record.schema.json"}
    for name in copies:
        assert (target / name).read_bytes() == (root / name).read_bytes()


@pytest.mark.parametrize("where", ["", "cpu", "new"])
def test_copies_do_not_go_among_the_records(root, where):
    before = tiny.tree(root)
    with pytest.raises(ValueError, match="choose another"):
        publish.bundle(root, root / where)
    assert tiny.tree(root) == before


def test_parquet_reads_back(root, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pandas as pd

    target = tmp_path / "all.parquet"
    frame = publish.table(root)
    publish.write_table(frame, target)
    pd.testing.assert_frame_equal(pd.read_parquet(target), frame)


def test_a_table_that_cannot_be_written_leaves_the_one_before_it(root, tmp_path, monkeypatch):
    target = tmp_path / "all.csv"
    target.write_text("before")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setitem(publish.WRITERS, ".csv", full)
    before = tiny.tree(tmp_path)
    with pytest.raises(OSError):
        publish.write_table(publish.table(root), target)
    assert tiny.tree(tmp_path) == before


def test_a_damaged_record_is_named(root, tmp_path):
    path = Store(root, "cpu").path(ARM.key)
    path.write_text("{")
    with pytest.raises(records.RecordError, match=f"{path.name}.*remove it"):
        publish.table(root)


def test_a_target_below_a_file_is_refused(root, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file is no folder to write x\.csv to"):
        publish.write_table(publish.table(root), tmp_path / "file" / "x.csv")


@pytest.mark.parametrize(
    ("target", "suffix"), [("sent.zip", ".zip"), ("sent", ""), ("t.csv", ".csv")]
)
def test_one_profile_alone_is_exported(root, tmp_path, target, suffix):
    """For sending in: its records, their table and their schema; of the others nothing."""
    path = tmp_path / "out" / target
    assert publish.export(root, path, "cpu") == 1
    if suffix == ".zip":
        with zipfile.ZipFile(path) as packed:
            packed.extractall(tmp_path / "again")
        path = tmp_path / "again"
    if suffix != ".csv":
        names = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
        assert names == {f"cpu/{ARM.key}.json", "records.csv", publish.SCHEMA}
        assert records.read_record(path / "cpu" / f"{ARM.key}.json")["key"] == ARM.key
    assert [p.name for p in (tmp_path / "out").glob(".*")] == []


@pytest.mark.parametrize(
    ("profile", "message"), [("gpu", "no records of gpu"), ("cpus", "unknown profile: 'cpus'")]
)
def test_a_profile_without_records_is_one_line_and_no_file(root, tmp_path, profile, message):
    with pytest.raises(ValueError, match=message):
        publish.export(root, tmp_path / "sent.zip", profile)
    assert not (tmp_path / "sent.zip").exists() and not [*tmp_path.glob(".sent*")]
