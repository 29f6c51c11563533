"""A sweep on a SLURM cluster: `pytest -m slurm -rs`, as root on Debian, which installs SLURM."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import slurm
import tiny

from deepaug.studies import catalogue, fields, sweep
from deepaug.studies.study import Study

ROOT = Path(__file__).parents[1]
TRIALS = 8  # in two batches, side by side
pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install -e .[slurm]")
    try:
        with slurm.cluster(tmp_path_factory.mktemp("slurm")) as environment:
            yield environment
    except slurm.NotPermitted as reason:
        pytest.skip(f"no SLURM cluster here: {reason}")


@pytest.fixture
def checkout(tmp_path):
    """What the graph needs of the repository, with a study of its own."""
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    for name in ("deepaug", "notebooks", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    stage = {"seeds": list(range(TRIALS))}
    profile = tiny.profile(tmp_path, name="own", trial={"epochs": 40}, quick=stage)
    profile.write_text(f"seconds: 2\n{profile.read_text()}")
    return tmp_path


def results(study: Study) -> dict[str, dict]:
    """Records by key, without what two runs of a trial may differ in."""
    return {
        record["key"]: {
            name: value for name, value in record.items() if name not in fields.OF_THE_RUN
        }
        for _, record in study.recorded()
    }


def start(checkout: Path, environment: dict[str, str]) -> subprocess.Popen:
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    command = ["snakemake", "--workflow-profile", "workflow/profiles/slurm", "records"]
    command += ["--slurm-no-account", "--slurm-status-command", "squeue", "--retries", "0"]
    command += ["--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "5"]
    command += ["--seconds-between-status-checks", "3"]
    command += ["--config", "study=vision", "profile=own.yaml", "seconds=8"]
    return subprocess.Popen(
        command,
        cwd=checkout,
        env={**environment, "PATH": path, "DEEPAUG_RESULTS": str(checkout / "results")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def jobs(environment: dict[str, str]) -> list[str]:
    listed = subprocess.run(
        ["squeue", "--noheader", "--format=%i", "--states=running"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.split()


def test_cancelled_in_mid_run_and_resumed_it_gives_the_same_records(checkout, environment):
    study = catalogue.load("vision", str(checkout / "own.yaml"), checkout / "results")
    first = start(checkout, environment)
    tiny.wait_until(lambda: results(study), 180, first)
    running = jobs(environment)
    assert running, "no job was running while records came"
    subprocess.run(["scancel", *running], env=environment, check=True)
    out, _ = first.communicate(timeout=300)
    assert first.returncode != 0, out
    kept = results(study)
    assert 0 < len(kept) < TRIALS, out

    again = start(checkout, environment)
    out, _ = again.communicate(timeout=400)
    assert again.returncode == 0, out
    found = results(study)
    assert len(found) == TRIALS and found.items() >= kept.items()
    assert not [p for p in (checkout / "results" / "own").iterdir() if p.suffix != ".json"]

    alone = catalogue.load("vision", str(checkout / "own.yaml"), checkout / "alone")
    sweep.run(alone.entries(), alone.store, workers=2, accelerator="cpu")
    assert results(alone) == found
