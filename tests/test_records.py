"""Records are written whole or not at all, and a damaged one is never taken for a result."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest
import tiny

from deepaug.studies import fields, records
from deepaug.studies.records import Store
from deepaug.training import origin

TRIAL = tiny.trial()
KEY = TRIAL.key


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results", "quick")


@pytest.fixture
def put(store):
    """Puts text, or what is changed in a record, where the trial's record belongs."""

    def put(text=None, **changes):
        store.folder.mkdir(parents=True, exist_ok=True)
        if text is None:
            record = {**tiny.record(TRIAL), **changes}
            with contextlib.suppress(ValueError):  # what is not JSON has no checksum
                record = record if "checksum" in changes else records.with_checksum(record)
            text = json.dumps(record)
        data = text if isinstance(text, bytes) else text.encode()
        store.path(KEY).write_bytes(data)
        return data

    return put


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def test_round_trip(store):
    record = tiny.record(TRIAL)
    store.write(record)
    assert store.read(TRIAL) == record
    assert list(tiny.tree(store.folder)) == [f"{KEY}.json"]


def test_the_similarity_of_layers_is_kept_with_a_record_that_has_one(store):
    trial = tiny.trial(cut="stage2")
    record = tiny.record(trial, similarity=SIMILARITY)
    store.write(record)
    assert store.read(trial) == record
    with pytest.raises(ValueError, match="its similarity is"):
        store.write(tiny.record(trial, similarity={**SIMILARITY, "cka": [[1, 2], None]}))
    assert store.read(trial) == record


def test_settings_that_a_record_does_not_name_have_their_defaults(store, put):
    """As the schema says; whoever reads the record need not know which."""
    whole = TRIAL.to_dict()
    named = {"modality", "precision", "batch_size", "temperature", "threads", "protocol"}
    put(trial={name: value for name, value in whole.items() if name not in named - {"batch_size"}})
    assert store.read(TRIAL)["trial"] == whole


def test_absent_record_is_none(store):
    assert store.read(TRIAL) is None
    assert not store.folder.exists()


def test_a_record_is_written_the_same_way_each_time(store):
    record = tiny.record(TRIAL)
    store.write(record)
    first = store.path(KEY).read_bytes()
    store.write(dict(reversed(record.items())))
    assert store.path(KEY).read_bytes() == first


def test_a_record_is_small(store):
    trial = tiny.trial(epochs=50)
    curve = [{"epoch": epoch, "loss": 4.12345, "knn": 51.234} for epoch in range(1, 51)]
    store.write(tiny.record(trial, curve=curve))
    assert store.path(trial.key).stat().st_size < 8192


def test_profiles_lie_apart(tmp_path):
    Store(tmp_path, "quick").write(tiny.record(TRIAL))
    assert Store(tmp_path, "cpu").read(TRIAL) is None


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space left"), KeyboardInterrupt()])
def test_interrupted_writing_leaves_nothing(store, monkeypatch, step, error):
    monkeypatch.setattr(os, step, failing(error))
    with pytest.raises(type(error)):
        store.write(tiny.record(TRIAL))
    assert tiny.tree(store.folder) == {}


def test_interrupted_writing_leaves_the_record_before_it(store, monkeypatch):
    store.write(tiny.record(TRIAL))
    monkeypatch.setattr(os, "replace", failing(OSError(errno.EIO, "input/output error")))
    with pytest.raises(OSError):
        store.write(tiny.record(TRIAL, device="another"))
    assert store.read(TRIAL) == tiny.record(TRIAL)


def test_no_reader_sees_a_record_half_written(store, monkeypatch):
    seen = []
    replace = os.replace

    def look_then_replace(*paths):
        seen.append((store.read(TRIAL), list(store.folder.glob("*.json"))))
        replace(*paths)

    monkeypatch.setattr(os, "replace", look_then_replace)
    store.write(tiny.record(TRIAL))
    assert seen == [(None, [])]


def test_a_record_is_on_the_disk_before_it_has_its_name(store, monkeypatch):
    steps = []
    for step in ("fsync", "replace"):
        real = getattr(os, step)
        monkeypatch.setattr(os, step, lambda *a, s=step, f=real: (steps.append(s), f(*a))[1])
    store.write(tiny.record(TRIAL))
    assert steps == ["fsync", "replace"]


OTHER = tiny.trial(seed=1)
HALF = json.dumps(tiny.record(TRIAL))[:300]
SIMILARITY = {"layers": ["a", "b"], "cka": [[1.0, 0.5], [0.5, 1]]}
NAN = float("nan")
DAMAGES = {
    "truncated": {"text": HALF},
    "empty": {"text": ""},
    "not text": {"text": b"\xff\xfe\x00"},
    "not JSON": {"text": "knn: 50"},
    "not an object": {"text": "[1, 2]"},
    "nested without end": {"text": "[" * 200_000},
    "number without end": {"text": '{"seconds": ' + "1" * 5000 + "}"},
    "merge conflict": {"text": f"<<<<<<< ours\n{HALF}"},
    "field missing": {"text": json.dumps({"key": KEY, "trial": TRIAL.to_dict()})},
    "field unknown": {"note": "by hand"},
    "field of wrong type": {"seconds": "fast"},
    "trial edited": {"trial": {**TRIAL.to_dict(), "epochs": 200}},
    "trial with unknown field": {"trial": {**TRIAL.to_dict(), "warm_up": 5}},
    "trial of another protocol": {"trial": {**TRIAL.to_dict(), "protocol": 1}},
    "trial empty": {"trial": {}},
    "record of another trial": {"text": json.dumps(tiny.record(OTHER))},
    "status unknown": {"status": "fine"},
    "metric as text": {"metrics": {"validation": {"knn": "50"}, "test": {"knn": 50.0}}},
    "metric not a number": {"metrics": {"validation": {"knn": float("nan")}, "test": {"knn": 1}}},
    "metric true": {"metrics": {"validation": {"knn": True}, "test": {"knn": 50.0}}},
    "metric too large": {"metrics": {"validation": {"knn": 10**400}, "test": {"knn": 50.0}}},
    "split a number": {"metrics": {"validation": 50.0, "test": {"knn": 50.0}}},
    "split missing": {"metrics": {"validation": {"knn": 50.0}}},
    "split empty": {"metrics": {"validation": {}, "test": {}}},
    "primary metric missing": {"metrics": {"validation": {"probe": 40}, "test": {"probe": 40}}},
    "primary metric of a split missing": {
        "metrics": {"validation": {"knn": 50.0, "probe": 40.0}, "test": {"probe": 40.0}}
    },
    "copy of a split missing": {
        "metrics": {"validation": {"knn": 50.0, "knn_free": 50.0}, "test": {"knn": 50.0}}
    },
    "curve cut short": {"curve": [{"epoch": 1, "loss": 4.5}]},
    "curve of something else": {"curve": [4.5, 4.4]},
    "curve missing": {"curve": []},
    "metrics of a diverged run": {"status": "diverged"},
    "similarity null": {"similarity": None},
    "similarity a list": {"similarity": [["a", "b"], [[1, 0], [0, 1]]]},
    "similarity without layers": {"similarity": {"cka": [[1, 0], [0, 1]]}},
    "similarity with a note": {"similarity": {**SIMILARITY, "note": 1}},
    **{
        f"similarity of layers {layers!r}": {"similarity": {**SIMILARITY, "layers": layers}}
        for layers in (None, 2, "ab", [], ["a"], ["a", "a"], ["a", 1], ["a", ["b"]], ["a", None])
    },
    **{
        f"similarity table {str(cka)[:40]}": {"similarity": {**SIMILARITY, "cka": cka}}
        for cka in (
            *(None, 1, "ab", {"a": 1}, [], [[1, 0]], [[1, 0], [0, 1], [0, 0]], [[1, 0], [0]]),
            *([[1, 0], [0, 1, 2]], [[1, 0], "01"], [[1, 0], None], [1, 0], [[1, 0], {"a": 0}]),
            *([[1, [0]], [0, 1]], [[1, NAN], [NAN, 1]], [[1, "0"], [0, 1]], [[1, True], [0, 1]]),
            *([[1, None], [0, 1]], [[1, 3.0], [3.0, 1]], [[1, 10**400], [0, 1]]),
        )
    },
    "edited by hand": {"seconds": 2.0, "checksum": tiny.record(TRIAL)["checksum"]},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_record_is_set_aside_with_a_message(store, put, damage, capsys):
    store.write(tiny.record(OTHER))
    neighbour = tiny.tree(store.folder)
    content = put(**damage)
    assert store.read(TRIAL) is None
    assert tiny.tree(store.folder) == {**neighbour, f"{KEY}.damaged": content}
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{KEY}.json" in line and f"set aside as {KEY}.damaged" in line


def test_a_folder_in_the_place_of_a_record_is_set_aside(store, capsys):
    store.path(KEY).mkdir(parents=True)
    assert store.read(TRIAL) is None
    assert f"set aside as {KEY}.damaged" in capsys.readouterr().err
    store.write(tiny.record(TRIAL))
    assert store.read(TRIAL) == tiny.record(TRIAL)


def test_a_damaged_record_is_replaced_by_a_new_one(store, put):
    content = put(text=HALF)
    store.read(TRIAL)
    store.write(tiny.record(TRIAL))
    assert store.read(TRIAL) == tiny.record(TRIAL)
    assert store.path(KEY).with_suffix(".damaged").read_bytes() == content


@pytest.mark.parametrize(
    "changes", [{"key": OTHER.key}, {"metrics": {}}, {"seconds": None}, {"extra": 1}]
)
def test_no_bad_record_is_ever_written(store, changes):
    with pytest.raises(ValueError):
        store.write(records.with_checksum({**tiny.record(TRIAL), **changes}))
    assert not store.folder.exists()


def test_a_diverged_run_is_a_record(store):
    record = tiny.record(TRIAL, status="diverged", metrics={}, curve=[])
    store.write(record)
    assert store.read(TRIAL) == record


@pytest.mark.parametrize("field", [f for f in fields.FIELDS if f != "checksum"])
def test_an_edit_of_any_field_is_noticed(field):
    record = tiny.record(TRIAL)
    edits = {"metrics": {"validation": {"knn": 50.1}, "test": {"knn": 50.0}}, "revision": "a" * 40}
    numbers = {n: 2.0 for n, field in fields.FIELDS.items() if field["type"] == "number"}
    edits |= numbers | {"curve": [{"epoch": 2, "loss": 4.4}], "versions": {"torch": "3"}}
    edits |= {"key": OTHER.key, "trial": OTHER.to_dict(), "status": "diverged"}
    with pytest.raises(ValueError):
        records.check({**record, field: edits.get(field, "another")})


def test_one_at_a_time_computes_a_record(store):
    with store.claim(KEY) as first, store.claim(KEY) as second, store.claim(OTHER.key) as another:
        assert (first, second, another) == (True, False, True)
    with store.claim(KEY) as again:
        assert again
    assert tiny.tree(store.folder) == {}


def test_a_claim_ends_with_its_process_and_what_that_left_is_removed(store):
    code = f"""
import os, pathlib, signal
from deepaug.studies.records import Store
store = Store({str(store.folder.parent)!r}, "quick")
with store.claim({KEY!r}):
    for left in (".{KEY}.partial", "{KEY}.123.tmp"):
        (store.folder / left).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(tiny.tree(store.folder)) == 3
    with store.claim(KEY) as claimed:
        assert claimed and set(tiny.tree(store.folder)) == {f".{KEY}.lock"}


def test_records_of_another_protocol_are_counted(store):
    store.write(tiny.record(TRIAL))
    assert store.other_protocols() == {}
    for seed in range(3):
        store.write(tiny.record(tiny.trial(protocol=1, seed=seed)))
    store.path("damaged").write_text("{")
    store.path("odd").write_text('{"trial": {"protocol": "1"}}')
    assert store.other_protocols() == {1: 3}
    assert store.read(TRIAL) is not None


def test_a_writable_folder_passes_and_nothing_is_left_in_it(store):
    store.check_writable()
    assert not store.folder.exists() or tiny.tree(store.folder) == {}


def check_refused(store) -> str:
    with pytest.raises(OSError) as caught:
        store.check_writable()
    message = str(caught.value)
    assert str(store.folder) in message and "--results" in message
    assert "\n" not in message
    return message


def test_a_file_in_the_place_of_the_folder_has_no_records_and_takes_none(tmp_path):
    (tmp_path / "results").write_text("mine")
    store = Store(tmp_path / "results", "quick")
    assert store.read(TRIAL) is None
    assert "Not a directory" in check_refused(store)
    assert tiny.tree(tmp_path) == {"results": b"mine"}


def test_full_disk_is_told_before_training(tmp_path, store, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(OSError(errno.ENOSPC, "No space left on device")))
    assert "No space left on device" in check_refused(store)
    assert tiny.tree(tmp_path) == {}


def test_full_disk_leaves_a_folder_that_was_there(tmp_path, store, monkeypatch):
    store.write(tiny.record(TRIAL))
    before = tiny.tree(tmp_path)
    monkeypatch.setattr(tempfile, "TemporaryFile", failing(OSError(errno.ENOSPC, "No space")))
    check_refused(store)
    assert tiny.tree(tmp_path) == before


def test_a_file_in_the_folders_place_is_told_before_training(tmp_path, store):
    store.folder.parent.write_text("not a folder")
    check_refused(store)
    assert tiny.tree(tmp_path) == {"results": b"not a folder"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write where permissions forbid it")
def test_read_only_folder_is_told_before_training(tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert "ermission denied" in check_refused(Store(tmp_path, "quick"))
    finally:
        tmp_path.chmod(0o700)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package whose digest may be taken."""
    copy = tmp_path / "deepaug"
    shutil.copytree(origin.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(origin, "PACKAGE", copy)
    return copy


def digest():
    return origin.source_digest.__wrapped__()


def test_source_digest_is_that_of_the_sources(package):
    assert digest() == origin.source_digest()
    (package / "training" / "trial.py").touch()
    (package / "training" / "__pycache__").mkdir()
    (package / "training" / "__pycache__" / "trial.pyc").write_bytes(b"compiled")
    assert digest() == origin.source_digest()


@pytest.mark.parametrize("name", ["method/transforms.py", "training/modalities/vision/task.py"])
def test_source_digest_changes_with_a_byte(package, name):
    before = digest()
    with open(package / name, "a") as file:
        file.write("\n")
    assert digest() != before


def test_source_digest_changes_with_a_name(package):
    before = digest()
    (package / "training" / "loop.py").rename(package / "training" / "loops.py")
    assert digest() != before


def test_revision_is_none_without_git(tmp_path, monkeypatch):
    monkeypatch.setattr(origin, "PACKAGE", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert origin.revision.__wrapped__() is None
    monkeypatch.setenv("PATH", str(tmp_path))  # and where there is no git at all
    assert origin.revision.__wrapped__() is None


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_revision_is_the_commit_and_marks_a_changed_package(package):
    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *who, *words], cwd=package.parent, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    git("add", "deepaug")
    git("commit", "--quiet", "--no-verify", "--message", "a package")
    commit = git("rev-parse", "HEAD")
    (package.parent / "results").write_text("records come and go")
    assert origin.revision.__wrapped__() == commit
    (package / "training" / "trial.py").write_text("changed")
    assert origin.revision.__wrapped__() == f"{commit}+"


def test_results_lie_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPAUG_RESULTS", str(tmp_path))
    assert records.default_root() == tmp_path
    monkeypatch.delenv("DEEPAUG_RESULTS")
    assert records.default_root() == origin.PACKAGE.parent / "results"


def test_results_of_an_installed_package_lie_in_the_working_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("DEEPAUG_RESULTS", raising=False)
    monkeypatch.setattr(records, "PACKAGE", tmp_path / "site-packages" / "deepaug")
    monkeypatch.chdir(tmp_path)
    assert records.default_root() == tmp_path / "results"


RECORDED = sorted((origin.PACKAGE.parent / "results").glob("[cg]pu/*.json"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_books_evidence_is_valid(path):
    assert records.read_record(path)["revision"], "made outside a checkout"


def test_test_metrics_that_a_verdict_reads_are_left_out():
    plain, diverged = tiny.record(TRIAL), tiny.record(TRIAL, status="diverged", metrics={})
    assert records.without_sealed(plain) == plain and records.without_sealed(diverged) == diverged
    for changes in ({"layer": "stem", "transform": "pca"}, {"view_strength": 0.0}, {"cut": "stem"}):
        record = tiny.record(tiny.trial(**changes))
        shown = records.without_sealed(record)
        assert shown == {**record, "metrics": {"validation": record["metrics"]["validation"]}}


@pytest.mark.parametrize(
    ("share", "changes", "collapsed"),
    [
        (1.0, {}, True),
        (0.997, {}, True),
        (1.003, {}, True),
        (0.995, {}, False),  # 1 % of the reach of a similarity at temperature 0.5 is 0.02
        (1.005, {}, False),
        (0.991, {"temperature": 0.1}, True),
        (0.989, {"temperature": 0.1}, False),
        (0.991, {"temperature": 1e9}, False),  # where all losses lie near each other
        (1.0, {"objective": "supervised"}, False),
        (1.0, {"objective": "untrained", "epochs": 0}, False),
    ],
)
def test_a_training_that_ends_at_the_loss_of_like_features_has_collapsed(share, changes, collapsed):
    trial = tiny.trial(**{"batch_size": 64, **changes})
    loss = share * 4.844187086  # log(2·64 − 1)
    curve = [{"epoch": 1, "loss": 4.0}, {"epoch": 2, "loss": loss}] if trial.epochs else []
    assert records.collapsed(tiny.record(trial, curve=curve)) is collapsed


def test_a_diverged_training_has_not_collapsed():
    curve = [{"epoch": 1, "loss": 4.595}]  # log(2·50 − 1)
    diverged = tiny.record(TRIAL, status="diverged", metrics={}, curve=curve)
    assert not records.collapsed(diverged)


def test_loss_of_features_that_are_all_alike_is_the_level_of_collapse():
    torch = pytest.importorskip("torch")
    from deepaug.training.contrastive import nt_xent

    loss = nt_xent(torch.ones(50, 4), torch.ones(50, 4), 0.5).item()
    curve = [{"epoch": TRIAL.epochs, "loss": loss}]
    assert records.collapsed(tiny.record(TRIAL, curve=curve))
