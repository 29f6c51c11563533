"""The protocol page, the profiles and the verdict rules must tell the same."""

import inspect
import itertools
import json
from importlib import resources
from pathlib import Path

import pytest
import tiny
import yaml

from deepaug import modalities, statistics, studies

PAGE = (Path(__file__).parents[1] / "book" / "protocol.md").read_text(encoding="utf-8")
RULES = yaml.safe_load(resources.files("deepaug").joinpath("claims.yaml").read_text())
PROFILES = ("quick", "cpu", "gpu")
HOURS = 8  # at most, for a modality on two cores


def tables(corner: str) -> list[tuple[list[str], list[list[str]]]]:
    """Header and rows of each of the page's tables whose first cell is `corner`."""
    found = []
    for block in PAGE.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        if rows and rows[0][0] == corner and len(rows[0]) > 2:
            found.append((rows[0][1:], rows[2:]))
    return found


def table(corner: str) -> tuple[list[str], list[list[str]]]:
    """The first of them."""
    return tables(corner)[0]


# Core-seconds of a trial at its base's epochs, as the page counts them.
SECONDS = {"cifar10-jpeg": 180, "wordnet-brown": 100, "MUTAG": 4, "PROTEINS": 15, "NCI109": 100}
MODALITIES = {"images": "vision", "text": "text", "graphs": "graphs"}


@pytest.fixture(scope="module")
def budget(tmp_path_factory):
    """(study, modality, stage) -> arms, seeds, trials, new ones and hours, the screens recorded."""
    root = tmp_path_factory.mktemp("results")
    for name in modalities.NAMES:
        study = studies.load(name, "cpu", root)
        study.store.folder.mkdir(exist_ok=True)
        primary = modalities.PRIMARY[name]
        for number, entry in enumerate(study.stage_entries("screen")):
            metrics = {split: {primary: float(number % 83)} for split in ("validation", "test")}
            text = json.dumps(tiny.record(entry.trial, metrics=metrics))
            study.store.path(entry.trial.key).write_text(text)
    counted, seen = {}, set()
    for name in studies.names("cpu"):
        study = studies.load(name, "cpu", root)
        epochs = {base.label: base.trial.epochs for base in study.bases}
        for modality, stage in itertools.product(modalities.NAMES, study.stages):
            entries = [e for e in study.stage_entries(stage) if e.trial.modality == modality]
            new = {e.trial.key: e for e in entries if e.trial.key not in seen}
            seen |= set(new)
            trained = [e for e in new.values() if e.trial.objective != "untrained"]
            seconds = sum(SECONDS[e.trial.data] * e.trial.epochs / epochs[e.base] for e in trained)
            if entries:
                counted[name, modality, stage] = (
                    len({e.name for e in entries}),
                    len({e.trial.seed for e in entries}),
                    len(entries),
                    len(new),
                    seconds / 2 / 3600,
                )
    return counted


_, BUDGET = table("study, `cpu`")


def test_budget_tells_every_stage(budget):
    assert [(row[0], MODALITIES[row[1]], row[2]) for row in BUDGET] == list(budget)


@pytest.mark.parametrize("row", BUDGET, ids=lambda row: "-".join(row[:3]))
def test_budget_equals_the_profile(budget, row):
    study, of, stage, *counts, hours = row
    *wanted, time = budget[study, MODALITIES[of], stage]
    assert list(map(int, counts)) == wanted
    assert float(hours) == pytest.approx(time, abs=0.0051)


def test_budget_of_the_first_claim_is_kept():
    for modality in modalities.NAMES:
        own = [row for row in BUDGET if row[0] == modality]
        assert sum(float(row[-1]) for row in own) <= HOURS


def test_budget_of_all_claims_is_told():
    hours = {of: sum(float(row[-1]) for row in BUDGET if row[1] == of) for of in MODALITIES}
    assert 13.5 < hours["images"] < 14.5 and hours["text"] < HOURS and hours["graphs"] < HOURS


DATA = {"mnist-5k": "MNIST-5k", "cifar10-jpeg": "CIFAR-10 (JPEG)"}


@pytest.mark.parametrize("profile", PROFILES)
def test_settings_of_text_equal_the_profile(profile, tmp_path):
    header, rows = tables("")[1]
    column = header.index(f"`{profile}`")
    told = {name: cells[column] for name, *cells in rows}
    trial = studies.load("text", profile, tmp_path).base
    sentences = told.pop("sentences trained on")
    assert sentences == (f"{trial.samples:,}" if trial.samples else "all")
    assert ("Lee" in told.pop("sentences")) == (trial.data == "lee")
    assert ("Lee" in told.pop("scored pairs")) == (trial.pairs == "lee")
    width = "" if "/" in trial.encoder else f", width {trial.width}"
    assert told == {
        "encoder": f"{trial.encoder}{width}",
        "pooling": trial.pooling,
        "views": f"{trial.views}, strength {trial.view_strength:g}",
        "epochs, batch": f"{trial.epochs}, {trial.batch_size}",
        "learning rate, temperature": f"{trial.learning_rate:g}, {trial.temperature:g}",
        "precision": trial.precision,
    }


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
    assert 8 * study.base.width >= RULES["scale"]["features_at_least"]["vision"]
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
