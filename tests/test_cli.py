"""The command line: what it tells, and one line for whatever is wrong."""

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

import deepaug
from deepaug.cli import main
from deepaug.studies import catalogue, records, sweep, workers
from deepaug.studies.records import Store
from deepaug.training import devices
from deepaug.training.modalities.vision import sets as images
from deepaug.validation import by_prefix

ROOT = Path(__file__).parents[1]
GRID = {"seeds": [0], "layers": ["stage2"], "transforms": ["dropout"], "strengths": [0.5]}


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """In a folder of its own, with the process's signals and memories put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPAUG_RESULTS", "results")
    monkeypatch.delenv("DEEPAUG_DATA", raising=False)
    monkeypatch.setattr(devices, "cpuinfo", lambda: "")  # or what is said depends on the machine
    handler = signal.getsignal(signal.SIGTERM)
    images.load.cache_clear()
    yield
    images.load.cache_clear()
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def call(capsys):
    def call(*words):
        """Exit code, stdout and stderr of a command."""
        code = 0
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def refused(call, tmp_path):
    def refused(*words) -> str:
        """The one line in which a command is refused; nothing may be written."""
        before = tiny.tree(tmp_path)
        code, _, err = call(*words)
        assert code == 2
        assert err.startswith("deepaug") and err.endswith("\n") and len(err.splitlines()) == 1, err
        assert tiny.tree(tmp_path) == before
        return err

    return refused


def run(profile, *words):
    return "run", "vision", "--profile", profile, "--accelerator", "cpu", *words


def profile(name="tiny", **stage):
    return tiny.profile(Path.cwd(), name=name, quick={**GRID, **stage})


# Help


def python(*words):
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "DEEPAUG_RESULTS": str(Path("results").absolute())},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["run", "--help"], ["list", "vision"]]
)
def test_answers_before_torch_is_imported(words):
    code = (
        "import sys; from deepaug.cli import main\n"
        f"try: main({words!r})\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    _, out, err = python("-c", code)
    assert out and err.strip() == "False"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["data", "cifar11"], "'cifar10'"),
        (["data", "CIFAR10"], "'cifar10'"),
        (["data", "cifar11", "--modality", "vision"], "'cifar10'"),
        (["data", "20newsgroup", "--modality", "text"], "'20newsgroups'"),
        (["data", "cora", "--modality", "nodes"], "'Cora'"),
        (["data", "mutag", "--modality", "graphs"], "'MUTAG'"),
        (["data", "no/such/folder", "--modality", "vision"], "'no/such/folder'"),
        (["run", "vision", "--data", "cifar11"], "'cifar10'"),
        (["run", "sentences", "--pairs", "sst"], "'sts'"),
        (["list", "nodes", "--data", "Core"], "'Cora'"),
        (["notebook", "vision", "-p", "data", "cifar11"], "'cifar10'"),
    ],
)
def test_a_wrong_name_of_data_is_refused_before_torch_is_imported(words, named):
    code = (
        "import sys; from deepaug.cli import main\n"
        f"try: main({words!r})\n"
        "finally: print('torch' in sys.modules)"
    )
    status, out, err = python("-c", code)
    assert status == 2 and named in err and len(err.splitlines()) == 1 and out == "False\n", err


def test_python_m_is_the_same(call):
    code, out, err = python("-m", "deepaug", "--version")
    assert (code, out.strip(), err) == (0, deepaug.__version__, "")
    code, _, err = python("-m", "deepaug", "list", "visoin")
    assert (code, err) == (2, call("list", "visoin")[2])


def test_help_names_every_command(call):
    code, out, err = call("--help")
    assert (code, err) == (0, "")
    for command in ("run", "list", "show", "reproduce", "export", "data", "notebook"):
        assert command in out


# list


def test_list_as_json(call):
    study = catalogue.load("vision", "quick")
    known = study.entries()[0].trial
    study.store.write(tiny.record(known))
    code, out, err = call("list", "vision", "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert all(list(row) == ["key", "stage", "arm", "seed", "recorded"] for row in rows)
    assert [row["key"] for row in rows] == [entry.trial.key for entry in study.entries()]
    assert {row["key"] for row in rows if row["recorded"]} == {known.key}
    assert {row["recorded"] for row in rows} == {True, False}


def test_list_without_a_study_names_those_that_there_are(call):
    study = catalogue.load("vision", "quick")
    study.store.write(tiny.record(study.entries()[0].trial))
    code, out, err = call("list", "--json")
    rows = {row["study"]: row for row in json.loads(out)}
    assert (code, err) == (0, "") and list(rows) == catalogue.names("quick")
    count, (_, *rest) = len(study.entries()), rows["vision"].values()
    assert rest == [["quick"], count, 1]
    lines = call("list")[1].splitlines()
    assert lines[0].split(maxsplit=1) == ["vision", f"1 of {count} trials recorded; stages quick"]
    assert len(lines) == len(rows) + 1 and "deepaug list STUDY" in lines[-1]


def test_list_puts_missing_trials_into_batches_named_by_a_hash(call):
    path = tiny.profile(Path.cwd(), quick={"seeds": [0, 1, 2, 3, 4]})
    study = catalogue.load("vision", str(path))
    first, *others = (entry.trial.key for entry in study.entries())
    study.store.write(tiny.record(study.entries()[0].trial))
    _, out, _ = call("list", "vision", "--profile", path, "--json", "--batch", "2")
    rows = {row["key"]: row for row in json.loads(out)}
    names = [
        hashlib.sha256(" ".join(ks).encode()).hexdigest()[:16] for ks in (others[:2], others[2:])
    ]
    assert rows[first]["batch"] is None
    assert [rows[key]["batch"] for key in others] == [names[0]] * 2 + [names[1]] * 2
    assert {row["threads"] for row in rows.values()} == {1}


def test_list_tells_the_stages_apart(call):
    code, out, _ = call("list", "vision", "--profile", "cpu")
    assert code == 0
    assert "pilot: 0 of 18 recorded" in out and "tuning: 0 of 50 recorded" in out
    assert "screen: waits for all records of tuning" in out
    assert "confirm: waits for all records of targets" in out


def test_list_writes_nothing(call, tmp_path):
    call("list", "vision")
    assert tiny.tree(tmp_path) == {}


# show


BASELINES = ({}, {"objective": "untrained", "epochs": 0}, {"temperature": 0.1})
OTHERS = (
    {"layer": "stem", "transform": "pca", "strength": 0.5},
    {"layer": "input", "transform": "noise", "strength": 0.2},
    {"view_strength": 0.0},
)


def put(**changes):
    trial = tiny.trial(**changes)
    Store(Path("results"), "quick").write(tiny.record(trial))
    return trial.key


@pytest.mark.parametrize("changes", BASELINES)
def test_show_prints_a_baselines_record(call, changes):
    key = put(**changes)
    code, out, _ = call("show", key)
    shown = json.loads(out)
    assert code == 0 and shown["key"] == key and shown["metrics"]["test"]["knn"] == 50.0


def test_show_has_first_what_one_looks_for_and_the_curve_last(call):
    key = put(epochs=3)
    path = Path("results/quick", f"{key}.json")
    curve = [{"epoch": epoch, "loss": 4.5} for epoch in (1, 2, 3)]
    path.write_text(json.dumps(tiny.record(tiny.trial(epochs=3), curve=curve)))
    _, out, _ = call("show", key)
    names = list(json.loads(out))
    assert names[:5] == ["key", "status", "metrics", "trial", "again"] and names[-1] == "curve"
    assert json.loads(out)["curve"] == curve
    assert sum('"epoch"' in line for line in out.splitlines()) == 3  # a line each


def test_a_key_may_be_given_by_how_it_begins(call, refused):
    keys = [put(seed=seed) for seed in (0, 1)]
    assert json.loads(call("show", keys[0][:4])[1])["key"] == keys[0]
    assert f"{keys[1]}: " in call("reproduce", keys[1][:6], "--accelerator", "cpu")[1]
    profile()
    study = catalogue.load("vision", "tiny.yaml")
    key = study.entries()[1].trial.key
    call(*run("tiny.yaml", "--only", key[:5]))
    assert [record["key"] for _, record in study.recorded()] == [key]
    assert "give 4 characters" in refused("show", keys[0][:3])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("0a1b", "'0a1b' is short for 0a1b22, 0a1b33; give more"),
        ("0a1", "give 4 characters"),
        ("0a1b4", "nearest: '0a1b"),
        ("0c", "too short"),
    ],
)
def test_a_beginning_that_several_keys_have_names_them(given, told):
    with pytest.raises(ValueError, match=told):
        by_prefix("key", given, ["0a1b22", "0a1b33", "0c1d44"])


@pytest.mark.parametrize("changes", OTHERS)
def test_show_hides_test_metrics_of_all_others(call, changes):
    code, out, _ = call("show", put(**changes))
    shown = json.loads(out)
    assert code == 0 and shown["metrics"]["validation"]["knn"] == 50.0
    assert isinstance(shown["metrics"]["test"], str)


def test_show_has_test_metrics_of_what_is_judged(call):
    root = ROOT / "results"
    entries = catalogue.load("nodes", "cpu", root).stage_entries("confirm")
    key = next(e.trial.key for e in entries if e.trial.layer != "none")
    code, out, _ = call("show", key, "--results", str(root))
    assert code == 0 and json.loads(out)["metrics"]["test"]["probe"] > 0


def test_show_refuses_a_damaged_record_of_a_profile_that_judges(refused):
    """And leaves it where it lies: judging would set it aside."""
    trial = catalogue.load("nodes", "cpu").base
    path = Path("results/cpu") / f"{trial.key}.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert f"{trial.key}.json" in refused("show", trial.key)
    assert path.read_text() == "{"


def test_show_refuses_a_damaged_record(refused):
    key = put()
    path = Path("results/quick") / f"{key}.json"
    path.write_text(path.read_text()[:100])
    assert f"{key}.json" in refused("show", key)


# run


def test_run_records_what_is_missing_and_says_under_what_conditions(call):
    study = catalogue.load("vision", str(profile()))
    code, out, _ = call(*run("tiny.yaml"))
    assert code == 0 and study.missing() == []
    assert "quick: 2 of 2 trials to run; data mnist-5k, device " in out
    assert "precision float32, threads 1, workers 1" in out
    assert "2 new records in results/tiny" in out
    before = tiny.tree(study.store.folder)
    code, out, _ = call(*run("tiny.yaml"))
    assert "quick: 2 of 2 recorded" in out and "0 new records" in out
    assert tiny.tree(study.store.folder) == before


def test_run_only_some(call):
    study = catalogue.load("vision", str(profile()))
    key = study.entries()[1].trial.key
    call(*run("tiny.yaml", "--only", key))
    assert [record["key"] for _, record in study.recorded()] == [key]


def test_run_some_stages(call):
    path = tiny.profile(Path.cwd(), scale={"seeds": [0]}, pilot={"seeds": [1]})
    study = catalogue.load("vision", str(path))
    _, out, _ = call(*run(path, "--stage", "pilot"))
    assert "scale" not in out
    assert [entry.stage for entry, _ in study.recorded()] == ["pilot"]


def test_run_goes_on_to_what_a_stage_has_chosen(call, monkeypatch):
    def compute(trial, store, *_, **__):
        record = tiny.record(trial)
        store.write(record)
        return record

    monkeypatch.setattr(workers, "compute", compute)
    chosen = {"seeds": [100], "chosen_from": "screen"}
    path = tiny.profile(Path.cwd(), screen={**GRID, "seeds": [2]}, confirm=chosen)
    _, out, _ = call(*run(path, "--stage", "confirm"))
    assert "confirm: waits for all records of screen" in out and "0 new records" in out
    _, out, _ = call(*run(path))
    assert "4 new records" in out
    assert catalogue.load("vision", str(path)).missing() == []


PROCESSOR = "processor\t: 0\nmodel name\t: A processor\nflags\t\t: fpu sse2 avx512f{more}\n"


@pytest.mark.parametrize(
    ("precision", "more", "workers", "lines"),
    [
        ("bfloat16", "", 1, 1),
        ("bfloat16", "", 2, 1),
        ("bfloat16", " avx512_bf16", 1, 0),
        ("float32", "", 1, 0),
    ],
)
def test_run_says_once_that_bfloat16_is_emulated_here(
    call, monkeypatch, precision, more, workers, lines
):
    monkeypatch.setattr(devices, "cpuinfo", lambda: PROCESSOR.format(more=more))
    profile(seeds=[0], trial={"precision": precision})
    code, _, err = call(*run("tiny.yaml", "--workers", workers))
    told = [line for line in err.splitlines() if "bfloat16" in line]
    assert code == 0 and len(told) == lines
    assert all(line.startswith("deepaug: ") and "as long" in line for line in told)
    _, _, err = call(*run("tiny.yaml", "--workers", workers))  # with nothing left to run
    assert "bfloat16" not in err


def test_results_may_lie_anywhere(call, tmp_path):
    profile()
    call(*run("tiny.yaml", "--results", tmp_path / "elsewhere"))
    assert len(list(tmp_path.glob("elsewhere/tiny/*.json"))) == 2
    assert not Path("results").exists()


def test_ctrl_c_keeps_what_is_recorded(call, monkeypatch):
    done, compute = [], workers.compute

    def second_is_interrupted(trial, store, *args, **named):
        if done:
            raise KeyboardInterrupt
        done.append(trial)
        return compute(trial, store, *args, **named)

    monkeypatch.setattr(workers, "compute", second_is_interrupted)
    profile()
    code, _, err = call(*run("tiny.yaml"))
    assert code == 130
    assert err.splitlines()[-1].startswith("deepaug: interrupted")
    assert [p.stem for p in Path("results/tiny").iterdir()] == [done[0].key]


# Bad input: one line, exit code 2, nothing written


@pytest.mark.parametrize("command", ["run", "list"])
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["visoin"], "'vision'"),
        (["vision", "--profile", "cpuu"], "'cpu'"),
        (["vision", "--profile", "none.yaml"], "No such file"),
        (["vision", "--profle", "cpu"], "--profle"),
        (["all", "--profile", "cpuu"], "'cpu'"),
        (["all", "--data", "cifar10"], "--data needs one study by name, not all"),
        (["all", "--pairs", "sts"], "--pairs needs one study by name, not all"),
    ],
)
def test_unknown_study_profile_or_option(refused, command, words, named):
    assert named in refused(command, *words)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--stage", "quik"], "'quick'"),
        (["--stage", "confirm"], "confirm"),
        (["--only", "0123456789abcdef"], "0123456789abcdef"),
        (["--workers", "0"], "'0'"),
        (["--workers", "two"], "'two'"),
        (["--workers", "1.5"], "'1.5'"),
        (["--workers", "99999999999999999999"], "more than 4 for each of the"),
        (["--data", ""], "argument --data: it is empty"),
        (["--pairs", " "], "argument --pairs: it is empty"),
        (["--results", ""], "argument --results: it is empty"),
        (["--accelerator", "tpu"], "tpu"),
        (["--minutes", "0"], "'0'"),
        (["--minutes", "-1"], "'-1'"),
        (["--minutes", "nan"], "'nan'"),
        (["--minutes", "inf"], "'inf'"),
        (["--minutes", "three"], "'three'"),
    ],
)
def test_unknown_stage_key_or_number(refused, words, named):
    assert named in refused("run", "vision", *words)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "COMMAND"),
        (["run"], "STUDY"),
        (["run", "all", "--stage", "quik"], "'quick'"),
        (["run", "all", "--parts", "visoin"], "'vision'"),
        (["run", "all", "--only", "0123456789abcdef"], "0123456789abcdef"),
        (["list", "all", "--batch", "5", "--json"], "--batch needs one study by name, not all"),
        (["list", "--data", "cifar10"], "--data needs one study by name, not none"),
        (["list", "all", "--parts", "text"], "--parts needs one study by name, not all"),
        (["runn", "vision"], "'runn'"),
        (["show"], "KEY"),
        (["data"], "NAME"),
        (["data", ""], "empty"),
    ],
)
def test_unknown_command(refused, words, named):
    assert named in refused(*words)


def test_unknown_key(refused):
    assert "no records" in refused("show", "0123456789abcdef")
    key = put()
    assert key in refused("show", key[:-1] + "x")


def test_nearest_layers_are_named(refused):
    profile(layers=["stage5"])
    line = refused(*run("tiny.yaml"))
    assert "'stage5'" in line and "'stage4'" in line


@pytest.mark.parametrize(
    ("stage", "named"),
    [
        ({"layers": ["layer9"]}, "'layer9'"),
        ({"transforms": ["dropuot"]}, "'dropout'"),
        ({"strengths": [-0.1]}, "-0.1"),
        ({"strengths": [1.0]}, "1.0"),
        ({"strengths": [float("nan")]}, "nan"),
        ({"strengths": ["high"]}, "'high'"),
        ({"trial": {"batch_size": 300}}, "batch_size 300"),
        ({"trial": {"data": "mnist"}}, "'mnist-5k'"),
        ({"trial": {"samples": 0, "batch_size": 4000}}, "batch_size 4000"),
        ({"trial": {"samples": 4000}}, "samples 4000"),
        ({"trial": {"learnig_rate": 0.1}}, "'learning_rate'"),
        ({"trial": {"learning_rate": "fast"}}, "a number, not 'fast'"),
        ({"trial": {"epochs": 2.5}}, "epochs"),
        ({"sedes": [0]}, "'seeds'"),
    ],
)
def test_bad_setting_of_a_profile(refused, stage, named):
    profile(**stage)
    assert named in refused(*run("tiny.yaml"))


def test_misspelt_key_of_a_profile(refused):
    Path("mine.yaml").write_text("studeis: {}\n")
    assert "'studies'" in refused(*run("mine.yaml"))


def test_yaml_tag_that_would_run_code(refused):
    Path("mine.yaml").write_text("studies: !!python/object/apply:os.system ['touch owned']\n")
    assert "not plain YAML" in refused(*run("mine.yaml"))


@pytest.mark.parametrize("name", ["cifar-10", "no/such/folder", ""])
def test_unknown_data_set(refused, name):
    profile()
    assert name in refused(*run("tiny.yaml", "--data", name))
    assert name in refused("data", name)


def empty_folder():
    Path("images").mkdir()
    return "images"


def empty_class():
    tiny.images(Path("images"))
    Path("images/fish").mkdir()
    return "fish"


def truncated_image():
    tiny.images(Path("images"), each=150)
    path = Path("images/cat/3.png")
    path.write_bytes(path.read_bytes()[:100])
    return str(path)


def too_few_images():
    tiny.images(Path("images"))
    return "samples 200"


def one_class():
    tiny.images(Path("images"), classes=["cat"], each=300)
    return "class"


@pytest.mark.parametrize(
    "make", [empty_folder, empty_class, truncated_image, too_few_images, one_class]
)
def test_bad_images(refused, make):
    named = make()
    profile()
    assert named in refused(*run("tiny.yaml", "--data", "images"))
    if make is not too_few_images:
        assert named in refused("data", "images")


def test_data_that_is_not_there(refused, monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPAUG_DATA", str(tmp_path))
    line = refused("run", "vision", "--profile", "cpu", "--stage", "scale", "--accelerator", "cpu")
    assert str(tmp_path / "cifar10") in line and "DEEPAUG_DATA" in line


def test_full_results(refused, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    profile()
    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in refused(*run("tiny.yaml"))


def test_results_in_a_files_place(refused):
    profile()
    Path("results").write_text("a file")
    assert "results" in refused(*run("tiny.yaml"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write where permissions forbid it")
def test_read_only_results(refused):
    profile()
    Path("results").mkdir(mode=0o500)
    assert "ermission denied" in refused(*run("tiny.yaml"))


def test_disk_that_fills_up_during_training(call, monkeypatch):
    profile()
    monkeypatch.setattr(Store, "check_writable", lambda self: None)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = call(*run("tiny.yaml"))
    line = err.splitlines()[-1]
    assert code == 2 and "No space left on device" in line and "--results" in line
    assert list(Path("results").rglob("*")) == []


def test_an_export_that_fails_leaves_no_half_of_a_record(call, monkeypatch):
    def full(source, target):
        Path(target).write_bytes(Path(source).read_bytes()[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    put()
    monkeypatch.setattr(shutil, "copyfile", full)
    code, _, err = call("export", "copies")
    assert code == 2 and "No space left" in err and not list(Path("copies").rglob("*.json"))


@pytest.mark.parametrize("name", ["lightning_fabric", "PIL"])
def test_missing_package_says_what_to_install(refused, monkeypatch, name):
    def missing(*_):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(sweep, "run_backlog", missing)
    profile()
    line = refused(*run("tiny.yaml"))
    assert f"{name} is not installed" in line and "deepaug[run]" in line


def test_errors_of_several_lines_are_told_in_one(refused, monkeypatch):
    def fail(*_):
        raise ValueError("first\n  second")

    monkeypatch.setattr(records, "read_record", fail)
    assert refused("show", put()) == "deepaug: first second\n"


def test_a_bug_is_not_hidden(monkeypatch):
    """Only what a user can mend is told in one line; the rest keeps its traceback."""

    def fail(*_):
        raise KeyError("a bug")

    monkeypatch.setattr(records, "read_record", fail)
    with pytest.raises(KeyError):
        main(["show", put()])
