"""The protocol page, the profiles and the verdict rules must tell the same."""

import inspect
import json
from importlib import resources
from pathlib import Path

import pytest
import tiny
import yaml

from deepaug import statistics, studies

PAGE = (Path(__file__).parents[1] / "book" / "protocol.md").read_text(encoding="utf-8")
RULES = yaml.safe_load(resources.files("deepaug").joinpath("claims.yaml").read_text())
PROFILES = ("quick", "cpu", "gpu")
HOURS = 8  # at most, for a modality on two cores


def table(corner: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the page's table whose first cell is `corner`."""
    lines = iter(PAGE.splitlines())
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    for header in cells:
        if header[0] == corner and len(header) > 2:
            next(lines)
            rows = []
            for line in lines:
                if not line.startswith("|"):
                    return header[1:], rows
                rows.append([cell.strip() for cell in line.strip("|").split("|")])
            return header[1:], rows
    raise AssertionError(f"no table that starts with {corner!r}")


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Entries by stage of the `cpu` study, once its screen is recorded."""
    study = studies.load("vision", "cpu", tmp_path_factory.mktemp("results"))
    study.store.folder.mkdir()
    for number, entry in enumerate(study.stage_entries("screen")):
        metrics = {split: {"knn": float(number % 83)} for split in ("validation", "test")}
        text = json.dumps(tiny.record(entry.trial, metrics=metrics))
        study.store.path(entry.trial.key).write_text(text)
    return {name: study.stage_entries(name) for name in study.stages}


def core_seconds(cell: str, arm: str) -> float:
    """Of one trial, out of "180, doubled 350": a number for all arms, others by name."""
    common, *named = cell.split(", ")
    return float(dict(text.rsplit(" ", 1) for text in named).get(arm, common))


_, BUDGET = table("study, `cpu`")


def test_budget_tells_every_stage(stages):
    assert [(study, stage) for study, stage, *_ in BUDGET] == [("vision", s) for s in stages]


@pytest.mark.parametrize("row", BUDGET, ids=lambda row: f"{row[0]}-{row[1]}")
def test_budget_equals_the_profile(stages, row):
    _, stage, arms, seeds, trials, seconds, hours = row
    entries = stages[stage]
    assert int(arms) == len({entry.arm for entry in entries})
    assert int(seeds) == len({entry.trial.seed for entry in entries})
    assert int(trials) == len(entries)
    # Random initialisation is evaluated, not trained: it takes seconds.
    trained = [e for e in entries if e.trial.objective != "untrained"]
    on_one_core = sum(core_seconds(seconds, entry.arm) for entry in trained)
    assert float(hours) == pytest.approx(on_one_core / 2 / 3600, abs=0.0051)


def test_budget_is_kept():
    assert sum(int(row[4]) for row in BUDGET) <= 300
    assert sum(float(row[6]) for row in BUDGET) <= HOURS


DATA = {"mnist-5k": "MNIST-5k", "cifar10-jpeg": "CIFAR-10 (JPEG)"}


@pytest.mark.parametrize("profile", PROFILES)
def test_settings_of_vision_equal_the_profile(profile, tmp_path):
    header, rows = table("")
    column = header.index(f"`{profile}`")
    told = {name: cells[column] for name, *cells in rows}
    trial = studies.load("vision", profile, tmp_path).base
    images = told.pop("images trained on")
    assert images == f"{trial.samples:,}" if trial.samples else images.startswith("all")
    assert told == {
        "data": DATA[trial.data],
        "pixels a side": f"{trial.view_size}",
        "encoder": f"{trial.encoder.replace('resnet', 'ResNet-')}, width {trial.width}",
        "features": f"{8 * trial.width}",
        "epochs, batch": f"{trial.epochs}, {trial.batch_size}",
        "learning rate, temperature": f"{trial.learning_rate:g}, {trial.temperature:g}",
        "precision": trial.precision,
    }


def test_stages_told_on_the_page_are_those_of_the_rules():
    """As "0–1" or "100–109, run once"."""
    told = {stage: seeds.partition(",")[0] for stage, seeds, *_ in table("stage")[1]}
    ruled = {name: stage["seeds"] for name, stage in RULES["stages"].items()}
    assert told == {name: f"{seeds[0]}–{seeds[-1]}" for name, seeds in ruled.items()}


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_seeds_of_the_profile_are_those_of_the_rules(profile, tmp_path):
    for study in studies.names(profile):
        for name, stage in studies.load(study, profile, tmp_path).stages.items():
            ruled = RULES["stages"][name]["seeds"]
            fewer = name == "scale" or study == "stop-gradient"  # C7 is secondary
            assert list(stage.seeds) == (ruled[: len(stage.seeds)] if fewer else ruled)
            assert len(stage.seeds) >= (2 if name in ("scale", "pilot", "screen") else 5)


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_scale_keeps_the_rules(profile, tmp_path):
    study = studies.load("vision", profile, tmp_path)
    assert 8 * study.base.width >= RULES["scale"]["features_at_least"]
    longer = study.stages["longer"].trial["epochs"]
    assert longer == RULES["stages"]["longer"]["epochs"] * study.base.epochs


def test_controls_of_the_rules_are_those_of_the_studies():
    effects = {*RULES["claims"]["C7"]["effects"], "alone", "at-input"}  # the last two are C3b's
    controls = {*RULES["controls"], *RULES["references"], *effects}
    assert controls == {*studies.CONTROLS, *studies.ARM_CONTROLS}


def test_interval_is_that_of_the_rules():
    assert RULES["interval"]["n"] == len(RULES["stages"]["confirm"]["seeds"])
    defaults = inspect.signature(statistics.paired_effect).parameters
    assert defaults["confidence"].default == RULES["interval"]["confidence"]
    defaults = inspect.signature(statistics.verdict).parameters
    assert defaults["delta"].default == RULES["vocabulary"]["delta"]["vision"]


def test_stages_that_judge_do_not_use_seeds_of_those_that_choose():
    judging, choosing = (
        {seed for s in RULES["stages"].values() if s["judges"] is judges for seed in s["seeds"]}
        for judges in (True, False)
    )
    assert judging.isdisjoint(choosing)
