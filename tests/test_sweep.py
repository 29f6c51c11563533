"""A sweep computes what is missing, alone or side by side, and keeps what it has when it ends."""

import errno
import json
import multiprocessing.synchronize
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import tiny

from deepaug.studies import catalogue, fields, running, sweep, workers
from deepaug.studies.study import Entry
from deepaug.training import loop, origin
from deepaug.validation import DataError

ROOT = Path(__file__).parents[1]
CPU = partial(loop.run, accelerator="cpu")
STAGE = {"seeds": [0, 1], "layers": ["stage2"], "transforms": ["dropout"], "strengths": [0.5]}


def load(folder, stage=STAGE):
    return catalogue.load("vision", str(tiny.profile(folder, quick=stage)), folder / "results")


@pytest.fixture
def study(tmp_path):
    return load(tmp_path)


@pytest.fixture
def computed(monkeypatch):
    """Records made at once in place of trainings; the trials they are of."""
    trials = []

    def compute(trial, store, *_, **__):
        trials.append(trial)
        record = tiny.record(trial)
        store.write(record)
        return record

    monkeypatch.setattr(workers, "compute", compute)
    return trials


def kept(study):
    return {path.stem for path in study.store.folder.glob("*.json")}


def results(study):
    """Records without what may differ between two runs of a trial."""
    return {
        record["key"]: {n: v for n, v in record.items() if n not in fields.OF_THE_RUN}
        for _, record in study.recorded()
    }


def test_workers_give_the_records_of_one_process(tmp_path, monkeypatch):
    """Also in containers whose /dev/shm cannot be written: no semaphores."""

    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(multiprocessing.synchronize._multiprocessing, "SemLock", forbidden)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = load(tmp_path / "one"), load(tmp_path / "two")
    sweep.run(one.entries(), one.store, accelerator="cpu")
    new = sweep.run(two.entries(), two.store, workers=2, accelerator="cpu")
    assert results(one) == results(two)
    assert len(results(one)) == len(new) == 4
    assert set(tiny.tree(two.store.folder)) == {f"{key}.json" for key in results(two)}


def test_a_worker_without_its_data_ends_the_sweep_and_its_workers(tmp_path):
    (tmp_path / "images").mkdir()
    study = load(tmp_path)
    earlier = study.entries()[0]
    study.store.write(tiny.record(earlier.trial))
    bad = Entry("quick", "", "contrastive", "bad", tiny.trial(data=str(tmp_path / "images")))
    long = Entry("quick", "", "contrastive", "long", tiny.trial(epochs=100_000))
    with pytest.raises(DataError) as caught:
        sweep.run([earlier, bad, long], study.store, workers=2, accelerator="cpu")
    assert "\n" not in str(caught.value) and str(tmp_path / "images") in str(caught.value)
    assert kept(study) == {earlier.trial.key}
    tiny.wait_until(lambda: not multiprocessing.active_children(), seconds=60)


def test_of_an_agenda_what_cannot_be_prepared_is_passed_over(tmp_path, capsys):
    """A trial that asks for more samples than there are; and all trials of data that are not."""
    nowhere = {"data": str(tmp_path / "nowhere")}
    variants = {
        "large": {"samples": 5000},
        "small": {"samples": 100},
        "other": nowhere,
        "longer": {**nowhere, "epochs": 4},
    }
    study = load(tmp_path, {"seeds": [0], "variants": variants})
    with pytest.raises(SystemExit) as ended:
        everything = partial(running.everything, stages=None, parts=None, only=None)
        everything([(study, "quick")], resources=sweep.Resources(accelerator="cpu"))
    assert ended.value.code == 2
    assert [entry.arm for entry, _ in study.recorded()] == ["baseline", "small"]
    told = capsys.readouterr().err
    assert told.count("samples 5000 is more") == told.count("no folder") == 1
    assert "3 trials were passed over" in told


def test_a_record_tells_what_made_it(study):
    trial = study.entries()[0].trial
    record = workers.compute(trial, study.store, CPU)
    assert study.store.read(trial) == record
    assert record["key"] == trial.key and record["trial"] == trial.to_dict()
    assert record["status"] == "ok" and record["metrics"].keys() == {"validation", "test"}
    assert [point["epoch"] for point in record["curve"]] == [1, 2]
    assert record["source_digest"] == origin.source_digest()
    assert {"python", "torch", "protocol"} <= record["versions"].keys()
    assert record["seconds"] >= record["training_seconds"] > 0
    seen = trial.samples * trial.epochs
    assert record["samples_per_second"] == pytest.approx(seen / record["training_seconds"], rel=0.1)
    assert record["device"] and len(record["data_digest"]) == 16
    json.dumps(record, allow_nan=False)


def test_a_record_names_the_code_that_training_began_with(study, monkeypatch):
    """Whoever edits or commits during an evening's training does not change its origin."""
    now = {"code": "before"}
    monkeypatch.setattr(origin, "source_digest", lambda: now["code"])
    monkeypatch.setattr(origin, "revision", lambda: now["code"])

    def train(*args, **named):
        now.update(code="after")
        return CPU(*args, **named)

    record = workers.compute(study.entries()[0].trial, study.store, train)
    assert (record["source_digest"], record["revision"]) == ("before", "before")


def test_a_diverged_trial_is_recorded_and_not_run_again(study, tmp_path):
    trial = tiny.trial(learning_rate=1e30)
    entries = [Entry("quick", "", "contrastive", "baseline", trial)]
    (record,) = sweep.run(entries, study.store, accelerator="cpu")
    assert record["status"] == "diverged" and record["metrics"] == {}
    assert sweep.run(entries, study.store, accelerator="cpu") == []


def test_recorded_trials_are_not_run_again(study, computed):
    entries = study.entries()
    study.store.write(tiny.record(entries[1].trial, device="earlier"))
    new = sweep.run(entries, study.store)
    assert computed == [entries[0].trial, entries[2].trial, entries[3].trial]
    assert [record["key"] for record in new] == [trial.key for trial in computed]
    assert study.store.read(entries[1].trial)["device"] == "earlier"
    assert sweep.run(entries, study.store) == [] and len(computed) == 3


def test_a_trial_of_two_stages_is_run_once(study, computed):
    (entry, *_) = study.entries()
    sweep.run([entry, Entry("pilot", "", "contrastive", "another name", entry.trial)], study.store)
    assert computed == [entry.trial]


def test_a_damaged_record_is_computed_anew(study, computed, capsys):
    entries = study.entries()
    sweep.run(entries, study.store)
    study.store.path(entries[0].trial.key).write_text("{")
    sweep.run(entries, study.store)
    assert computed[4:] == [entries[0].trial]
    assert study.missing() == []
    assert "set aside" in capsys.readouterr().err


def test_nothing_to_do_touches_nothing(study, tmp_path):
    assert sweep.run([], study.store) == []
    assert not study.store.folder.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DataError("no data"), OSError("disk full")])
def test_what_is_recorded_stays_when_a_sweep_ends(study, computed, monkeypatch, error):
    compute = workers.compute

    def third_fails(trial, store, *args, **named):
        if len(computed) == 2:
            raise error
        return compute(trial, store, *args, **named)

    monkeypatch.setattr(workers, "compute", third_fails)
    with pytest.raises(type(error)):
        sweep.run(study.entries(), study.store)
    assert kept(study) == {trial.key for trial in computed} and len(computed) == 2
    monkeypatch.setattr(workers, "compute", compute)
    sweep.run(study.entries(), study.store)
    assert study.missing() == [] and len(computed) == 4


def test_a_place_that_cannot_be_written_is_told_before_any_training(study, computed):
    study.store.folder.parent.parent.mkdir(exist_ok=True)
    study.store.folder.parent.write_text("a file")
    with pytest.raises(OSError):
        sweep.run(study.entries(), study.store)
    assert computed == []


def test_a_worker_that_the_system_refuses_is_told_in_one_line(study, monkeypatch):
    """Limits on open files, processes or memory."""

    def refuse(_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
    with pytest.raises(OSError, match=r"^worker 1 cannot begin: Too many .* fewer --workers$"):
        sweep.run(study.entries(), study.store, workers=2, accelerator="cpu")


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
def test_a_worker_that_is_killed_is_told_in_one_line(study, monkeypatch, busy):
    """For want of memory, say."""
    submit = workers.WorkerProcesses.submit

    def killed(crew, trial, rest):
        future = submit(crew, trial, rest) if busy else None
        for process in crew.processes.values():
            process.kill()
            process.join(10)
        return future or submit(crew, trial, rest)

    monkeypatch.setattr(workers.WorkerProcesses, "submit", killed)
    with pytest.raises(OSError, match=r"outside by SIGKILL, .* go on with fewer --workers") as told:
        sweep.run(study.entries(), study.store, workers=2, accelerator="cpu")
    assert "\n" not in str(told.value) and not multiprocessing.active_children()


def test_a_trial_that_somebody_else_is_at_is_waited_for(study, computed, monkeypatch):
    monkeypatch.setattr(sweep, "POLL", 0.01)
    first, *others = (entry.trial for entry in study.entries())
    with ThreadPoolExecutor() as threads:
        with study.store.claim(first.key):
            run = threads.submit(sweep.run, study.entries(), study.store)
            tiny.wait_until(lambda: len(computed) == len(others), seconds=30)
            time.sleep(0.1)
            assert not run.done()
            study.store.write(tiny.record(first, device="elsewhere"))
        new = run.result(timeout=30)
    assert computed == others and [record["key"] for record in new] == [t.key for t in others]
    assert study.store.read(first)["device"] == "elsewhere"


def test_a_trial_that_somebody_else_gave_up_is_taken_over(study, computed, monkeypatch):
    monkeypatch.setattr(sweep, "POLL", 0.01)
    first, *others = (entry.trial for entry in study.entries())
    with ThreadPoolExecutor() as threads:
        with study.store.claim(first.key):
            run = threads.submit(sweep.run, study.entries(), study.store)
            tiny.wait_until(lambda: len(computed) == len(others), seconds=30)
        assert len(run.result(timeout=30)) == 4
    assert computed == [*others, first]


def test_a_checkpoint_that_outlived_its_trial_is_removed(study):
    (entry, *_) = study.entries()
    study.store.write(tiny.record(entry.trial))
    study.store.checkpoint(entry.trial.key).write_text("left by a kill")
    assert workers.take(entry.trial, study.store, CPU).here is False
    assert set(tiny.tree(study.store.folder)) == {f"{entry.trial.key}.json"}


@pytest.mark.parametrize("total", [0.3, 0.4, 4.1])  # of 0.4 the sum of shares is larger
def test_progress_grows_to_its_end_and_not_past_it(total):
    class Bar:
        n = 0.0

        def update(self, amount):
            assert amount >= 0
            self.n += amount
            assert self.n <= self.total

    bar = Bar()
    bar.total = sum([0.1] * round(total * 10))
    shares = sweep._Shares(bar, {number: 0.1 for number in range(round(total * 10))})
    for number in range(round(total * 10)):
        for share in (0.1, 0.7, 0.3, 1.0, 1.0):  # a trial that starts again goes back
            shares(number, share)
    assert bar.n == pytest.approx(total)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds workers under /proc")
def test_a_killed_sweep_leaves_no_worker_and_goes_on_where_it_was(tmp_path):
    profile = tiny.profile(tmp_path, trial={"epochs": 40}, quick=STAGE)
    command = [sys.executable, "-m", "deepaug", "run", "vision", "--profile", str(profile)]
    command += ["--results", str(tmp_path / "results"), "--workers", "2"]
    study = catalogue.load("vision", str(profile), tmp_path / "results")
    sweeping = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        tiny.wait_until(lambda: kept(study), 120, sweeping)
        children = Path(f"/proc/{sweeping.pid}/task/{sweeping.pid}/children").read_text().split()
    finally:
        sweeping.kill()
        sweeping.wait(timeout=60)
    assert len(children) >= 2
    tiny.wait_until(
        lambda: not any(Path(f"/proc/{child}").exists() for child in children), seconds=60
    )
    before = {key: study.store.path(key).stat().st_mtime_ns for key in kept(study)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{4 - len(before)} new records" in done.stdout and len(kept(study)) == 4
    assert all(study.store.path(key).stat().st_mtime_ns == at for key, at in before.items())
