"""Sweeps that are killed, resumed and started twice, as processes of their own."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny

from deepaug.studies import catalogue, fields, sweep

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="kills groups of processes")


class Sweep:
    """`deepaug run --workers 2` of one study into a folder."""

    def __init__(self, folder: Path, trials: int, **settings):
        folder.mkdir()
        self.profile = tiny.profile(folder, trial=settings, quick={"seeds": list(range(trials))})
        self.root = folder / "results"
        self.study = catalogue.load("vision", str(self.profile), self.root)

    def start(self, workers: int = 2) -> subprocess.Popen:
        command = [sys.executable, "-m", "deepaug", "run", "vision", "--accelerator", "cpu"]
        command += ["--profile", self.profile, "--results", self.root, "--workers", str(workers)]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Whoever tests in a shell's background has it ignored, and so would the sweep.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def files(self) -> set[str]:
        folder = self.study.store.folder
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def results(self) -> dict[str, dict]:
        return {
            record["key"]: {
                name: value for name, value in record.items() if name not in fields.OF_THE_RUN
            }
            for _, record in self.study.recorded()
        }


def new(out: str) -> int:
    return int(out.splitlines()[-1].split()[0])


def finish(process: subprocess.Popen) -> int:
    """How many records a sweep that ends well says that it made."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return new(out)


def undisturbed(folder: Path, trials: int, **settings) -> dict[str, dict]:
    """What one process makes of the same trials, one after another."""
    whole = Sweep(folder, trials, **settings)
    assert len(sweep.run(whole.study.entries(), whole.study.store, accelerator="cpu")) == trials
    return whole.results()


@pytest.mark.parametrize(
    ("kills", "trials"), [(3, 12), pytest.param(20, 60, marks=pytest.mark.slow)]
)
def test_killed_at_random_moments_and_resumed(kills, trials, tmp_path):
    killed = Sweep(tmp_path / "killed", trials, epochs=6)
    moments, kept = random.Random(0), {}
    for _ in range(kills):
        process = killed.start()
        # Half of the kills fall while it starts, half among its records.
        until = time.monotonic() + moments.uniform(0, 10)
        before = len(kept)
        while time.monotonic() < until and len(list(killed.study.recorded())) < before + 4:
            assert process.poll() is None, process.communicate(timeout=60)
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        found = {key: killed.study.store.path(key).read_bytes() for key in killed.results()}
        assert found.items() >= kept.items(), "a record was lost, or made again"
        kept = found
    assert finish(killed.start()) == trials - len(kept)
    left = killed.files()
    assert left == {f"{key}.json" for key in killed.results()}, "something was left behind"
    assert all(killed.study.store.path(key).read_bytes() == text for key, text in kept.items())
    assert killed.results() == undisturbed(tmp_path / "whole", trials, epochs=6)


def test_started_twice_at_once_they_share_the_work(tmp_path):
    trials = 16
    sweep = Sweep(tmp_path / "twice", trials, epochs=6)
    both = [sweep.start(workers=1) for _ in range(2)]
    made = [finish(process) for process in both]
    assert sum(made) == trials == len(sweep.results()) and min(made) > 0
    assert sweep.files() == {f"{key}.json" for key in sweep.results()}


def test_interrupted_it_ends_in_one_line_and_leaves_nothing_but_records(tmp_path):
    sweep = Sweep(tmp_path / "interrupted", 40, epochs=6)
    process = sweep.start()
    tiny.wait_until(sweep.results, 120, process)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().splitlines()[-1].startswith("deepaug: interrupted")
    assert "Traceback" not in err and "Traceback" not in out
    assert sweep.files() == {f"{key}.json" for key in sweep.results()}


def test_whoever_waits_for_a_process_that_has_died_is_told_its_last_words():
    command = [sys.executable, "-c", "import sys; sys.exit('no place to write')"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with pytest.raises(AssertionError, match="no place to write"):
        tiny.wait_until(lambda: False, 60, process)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="asks for an alarm")
def test_every_test_has_a_time_limit():
    assert signal.alarm(60) > 60
