"""The kit for a GPU's quarter of an hour: what it packs, and that it ends in time; on the CPU."""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import gpu
import measure
import pytest
import tiny

ROOT = Path(__file__).parents[1]


def kit(folder, **changes):
    given = {"ends": time.monotonic() + 60, "pack": folder / "out", "mib": 1.0, "peers": None}
    return gpu.Kit(profile="toy", **given | changes)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPAUG_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(gpu, "PRINTED", tmp_path / "printed")
    folder = tmp_path / "results" / "toy"
    folder.mkdir(parents=True)
    return folder


def names(archive):
    with tarfile.open(archive) as tar:
        return tar.getnames()


def test_what_is_new_is_packed_under_its_place(store, tmp_path):
    old = store / "old.json"
    old.write_text("{}")
    os.utime(old, (0, 0))
    own = kit(tmp_path)
    (store / "new.json").write_text("{}")
    (archive,) = own.packed()
    assert names(archive) == ["results/toy/new.json"]


def test_archives_are_no_larger_than_asked(store, tmp_path):
    own = kit(tmp_path, mib=0.001)
    for number in range(5):
        (store / f"{number}.json").write_text("x" * 500)
    archives = own.packed()
    assert [len(names(archive)) for archive in archives] == [2, 2, 1]
    assert len(own.packed()) == 3  # again, in the place of the first ones


def test_a_command_that_takes_too_long_is_ended_with_what_it_started(store, tmp_path):
    late = tmp_path / "late"
    child = f"import pathlib, time; time.sleep(4); pathlib.Path({str(late)!r}).touch()"
    code = "import subprocess, sys, time; print('began', flush=True)\n"
    code += f"subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    own, start = kit(tmp_path), time.monotonic()
    assert own.run("slow", ["-c", code], 1.5) is None
    assert time.monotonic() - start < 10
    assert (gpu.PRINTED / "slow.txt").read_text() == "began\n"
    time.sleep(4)
    assert not late.exists()


def test_a_second_call_leaves_the_archives_of_the_first(store, tmp_path):
    first = kit(tmp_path)
    (store / "a.json").write_text("{}")
    (archive,) = first.packed()
    second = kit(tmp_path, began=first.began + 2)
    (store / "b.json").write_text("{}")
    second.packed()
    assert names(archive) == ["results/toy/a.json"]


def test_a_step_that_fails_takes_no_other_with_it(store, tmp_path, monkeypatch, capsys):
    def broken(kit, options):
        raise ValueError("a record cut short")

    monkeypatch.setattr(gpu, "STEPS", {"speed": broken, "sweep": lambda kit, options: "done"})
    monkeypatch.setattr(gpu.signal, "signal", lambda *_: None)
    steps = ["--steps", "speed,sweep", "--profile", "quick"]
    assert gpu.main(["--pack", str(tmp_path / "out"), "--minutes", "1", *steps]) == 0
    printed = capsys.readouterr().out
    assert "speed: failed: ValueError: a record cut short" in printed and "sweep: done" in printed


def test_no_rate_is_told_that_was_not_measured(store, tmp_path):
    own = kit(tmp_path, ends=time.monotonic() + gpu.LEFT + 10)
    told = gpu.workers(own, argparse.Namespace(tried=[1, 4]))
    assert told.startswith("no time")


def test_workers_compare_by_the_samples_they_train_on(store, tmp_path, monkeypatch):
    trials = {1: [tiny.trial(epochs=10)], 4: [tiny.trial(seed=n, epochs=2) for n in (1, 2)]}
    clock = iter([0.0, 10.0, 10.0, 20.0])
    own, written = kit(tmp_path, ends=math.inf), []

    def sweep(name, command, seconds):
        number = int(name.removeprefix("workers-"))
        for trial in trials[number]:
            (store / f"{trial.key}.json").write_text(json.dumps(tiny.record(trial)))
        return 0

    monkeypatch.setattr(own, "run", sweep)
    monkeypatch.setattr(gpu.time, "monotonic", lambda: next(clock, 20.0))
    monkeypatch.setattr(measure, "write", lambda *given: written.append(given[-1]["turns"]))
    monkeypatch.setattr(type(own), "left", 1000.0)
    told = gpu.workers(own, argparse.Namespace(tried=[1, 4]))
    assert "1 workers: 6.0 trials a minute, 200 samples a second" in told
    assert "4 workers: 12.0 trials a minute, 80 samples a second" in told
    (turns,) = written
    assert turns["4 workers"] == [{"trials_a_minute": 12.0, "samples_per_second": 80.0}]


def test_after_the_end_nothing_is_begun(store, tmp_path):
    own = kit(tmp_path, ends=time.monotonic() + gpu.LEFT)
    assert own.run("late", ["-c", "print(1)"], 60) is None
    assert not (gpu.PRINTED / "late.txt").exists()


def test_peers_are_found_beside_the_checkout(store, tmp_path):
    own = kit(tmp_path, peers=tmp_path)
    assert own.run("peers", ["-c", "import sys; print(sys.path[1:3])"], 60) == 0
    assert (gpu.PRINTED / "peers.txt").read_text() == f"{[str(ROOT), str(tmp_path)]}\n"


def test_timings_of_the_code_at_hand_are_not_taken_again(monkeypatch, tmp_path):
    from deepaug.training import origin

    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    records = tmp_path / "benchmarks" / "records"
    records.mkdir(parents=True)
    kind = "cuda" if gpu_is_here() else "cpu"
    path = records / f"vision.{kind}.json"
    assert not gpu._timed("vision")
    path.write_text(f'{{"source_digest": "{origin.source_digest()}"}}')
    assert gpu._timed("vision")
    path.write_text('{"source_digest": "another"}')
    assert not gpu._timed("vision")


def gpu_is_here():
    import torch

    return torch.cuda.is_available()


def toy(folder):
    stage = {"seeds": [0, 1], "controls": ["untrained"]}
    return tiny.profile(folder, pilot=stage)


def start(folder, profile, *options):
    return subprocess.Popen(
        [
            *(sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--pack", str(folder / "out")),
            *("--profile", str(profile), "--workers", "1", *options),
        ],
        env={**os.environ, "DEEPAUG_RESULTS": str(folder / "results"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_rehearsal_brings_its_records_home(tmp_path):
    process = start(tmp_path, toy(tmp_path), "--minutes", "3", "--steps", "sweep")
    printed, _ = process.communicate(timeout=150)
    assert process.returncode == 0, printed
    (archive,) = (tmp_path / "out").glob("*.tar.gz")
    found = names(archive)
    records = {str(path.relative_to(tmp_path)) for path in tmp_path.glob("results/tiny/*.json")}
    assert records and records <= set(found)
    assert f"sweep: {len(records)} records in " in printed
    assert "build/gpu/sweep.txt" in found


def test_cut_short_it_packs_what_there_is(tmp_path):
    process = start(tmp_path, toy(tmp_path), "--minutes", "5", "--steps", "sweep")
    deadline = time.monotonic() + 100
    while not (tmp_path / "results").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "cut short" in printed and "packed " in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--minutes", "0"], "--minutes must be above 0"),
        (["--minutes", "1", "--mib", "0"], "--mib must be above 0"),
        (["--minutes", "1", "--profile", "gpu-smal"], "nearest: 'gpu-small'"),
        (["--minutes", "1", "--pack", __file__], "File exists"),
        (["--minutes", "1", "--steps", "test"], "unknown step 'test'; allowed: tests, speed"),
        (["--minutes", "1", "--peers", "/nowhere"], "--peers /nowhere is no folder"),
    ],
)
def test_wrong_options_are_refused(tmp_path, capsys, options, said):
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--pack", str(tmp_path), *options])
    assert signal.getsignal(signal.SIGTERM) == handler
    assert ended.value.code == 2 and said in capsys.readouterr().err
