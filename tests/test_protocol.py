"""Profiles keep the verdict rules, and the tables of the protocol page tell both as they are."""

import itertools

import matplotlib
import pytest

matplotlib.use("Agg")

from deepaug.pages import protocol
from deepaug.studies import arms, catalogue, choice, rulebook
from deepaug.training import registry
from deepaug.training.trial import WAYS

RULES = rulebook.rules()
LARGER = ("cpu", "gpu-small", "gpu")
OWN = tuple(RULES["bases"])
JUDGING = {name for name, stage in RULES["stages"].items() if stage["judges"]}


# Profiles keep the rules


@pytest.mark.parametrize("profile", LARGER)
def test_seeds_of_the_profile_are_those_of_the_rules(profile, tmp_path):
    for study in catalogue.names(profile):
        for name, stage in catalogue.load(study, profile, tmp_path).stages.items():
            if name == "exploratory":
                confirm = RULES["stages"]["confirm"]["seeds"]
                cuts = RULES["claims"]["C4"]["exploratory"]["other_cuts"]
                assert list(stage.seeds) == (cuts if study == "co-adaptation" else confirm[:5])
                continue
            ruled = RULES["stages"][name]["seeds"]
            fewer = name == "scale" or study == "stop-gradient"  # C7 is secondary
            assert list(stage.seeds) == (ruled[: len(stage.seeds)] if fewer else ruled)
            least = {"scale": 2, "pilot": 2, "confirm": RULES["claims"]["C7"]["n"]}
            assert len(stage.seeds) >= (least[name] if fewer else len(ruled))


@pytest.mark.parametrize(("profile", "name"), [*itertools.product(LARGER, OWN)])
def test_scale_keeps_the_rules(profile, name, tmp_path):
    study = catalogue.load(name, profile, tmp_path)
    assert protocol.features(study.base) >= RULES["scale"]["features_at_least"][name]
    longer = study.stages["longer"].settings["epochs"]
    assert longer == RULES["stages"]["longer"]["epochs"] * study.base.epochs
    assert study.stages["scale"].variants["doubled"]["epochs"] == 2 * study.base.epochs
    assert "untrained" in study.stages["scale"].controls


@pytest.mark.parametrize(("profile", "name"), [*itertools.product(LARGER, OWN)])
def test_the_steps_of_the_screen_are_those_of_the_rules(profile, name, tmp_path):
    stages = catalogue.load(name, profile, tmp_path).stages
    ruled, screen = RULES["stages"]["screen"], stages["screen"]
    assert screen.layers == ("middle",)
    for grid in ("transforms", "strengths", "ways"):
        assert list(getattr(screen, grid)) == ruled[grid]
    assert set(screen.transforms) <= set(itertools.chain(*choice.FAMILIES.values()))
    assert stages["targets"].everywhere and stages["targets"].arms == "both"
    chosen_from = {stage: stages[stage].chosen_from for stage in stages}
    assert chosen_from == {
        **dict.fromkeys(("scale", "pilot", "tuning"), ""),
        "screen": "tuning",
        "targets": "screen",
        **dict.fromkeys(("confirm", "controls", "longer"), "targets"),
    }


@pytest.mark.parametrize("name", OWN)
def test_tuning_costs_about_as_much_as_the_arms(name, tmp_path):
    study = catalogue.load(name, "cpu", tmp_path)

    def epochs(stage, *roles):
        found = {e.trial.key: e.trial.epochs for e in study.planned(stage) if e.role in roles}
        return sum(found.values())

    tuning = epochs("tuning", "baseline", "tune")
    assert 1 <= tuning / (epochs("screen", "arm") + epochs("targets", "arm")) <= 1.5


def test_stages_that_judge_do_not_use_seeds_of_those_that_choose():
    judging, choosing = (
        {seed for s in RULES["stages"].values() if s["judges"] is judges for seed in s["seeds"]}
        for judges in (True, False)
    )
    assert judging.isdisjoint(choosing)


def test_targets_are_chosen_by_other_seeds_than_the_transform():
    screen, targets = (set(RULES["stages"][stage]["seeds"]) for stage in ("screen", "targets"))
    assert targets.isdisjoint(screen)


def test_controls_of_the_rules_are_those_of_the_studies():
    controls = {*RULES["controls"], *RULES["references"], *RULES["ways"]}
    controls |= {"alone", "at-input"}  # C3b's
    controls |= {"plain-statistics"}  # exploratory
    assert controls == {*arms.CONTROLS, *arms.ARM_CONTROLS}


def test_ways_of_the_rules_are_those_of_the_trials():
    assert list(RULES["ways"]) == list(WAYS)


@pytest.mark.parametrize("name", OWN)
def test_bases_of_the_rules_are_those_of_the_studies(name, tmp_path):
    study = catalogue.load(name, "cpu", tmp_path)
    assert [base.trial.data for base in study.bases] == RULES["bases"][name]["data"]
    for profile in LARGER:
        base = catalogue.load(name, profile, tmp_path).base
        assert registry.primary(base) == RULES["primary_metric"][name]["name"]


def test_what_is_outside_the_verdicts_has_no_stage_that_judges(tmp_path):
    for name in RULES["outside"]:
        for stage in catalogue.load(name, "cpu", tmp_path).stages:
            assert stage not in JUDGING
    for study in (catalogue.load(n, "cpu", tmp_path) for n in catalogue.names("cpu")):
        for stage in JUDGING & study.stages.keys():
            of = {(e.base or study.name).split()[0] for e in study.planned(stage)}
            assert of.isdisjoint(RULES["outside"])


def test_every_stage_of_the_order_exists_and_every_judging_one_is_in_it(tmp_path):
    ordered = {tuple(step.split()) for step in RULES["order"]["stages"]}
    found = {
        ("own" if name in OWN else name, stage)
        for name in catalogue.names("cpu")
        for stage in catalogue.load(name, "cpu", tmp_path).stages
    }
    assert ordered <= found
    assert {step for step in found if step[1] in JUDGING} <= ordered
    assert sorted(RULES["order"]["modalities"]) == sorted(OWN)


def test_every_modality_has_its_budget_and_its_delta():
    assert set(RULES["budget"]["hours"]) == set(OWN)
    # That of graphs serves the performance page, which compares what both sides learn.
    assert set(RULES["vocabulary"]["delta"]) == {*OWN, "graphs", "tau", "share"}
    assert set(RULES["primary_metric"]) == set(OWN)
    assert set(RULES["scale"]["features_at_least"]) == set(OWN)


def test_every_test_of_the_family_is_an_effect_of_a_claim():
    for test in RULES["family"]["tests"]:
        claim, *which = test.split()
        effects = RULES["claims"][claim].get("effects", {})
        assert which[0] in effects if which else "effect" in RULES["claims"][claim]


def test_interval_is_that_of_the_rules():
    assert RULES["interval"]["n"] == len(RULES["stages"]["confirm"]["seeds"])


# The tables


def column(rows, key, value):
    return {row[key]: row[value] for row in rows}


def test_stages_told_are_those_of_the_rules():
    told = protocol.stages()
    assert column(told, "stage", "their numbers")["confirm"] == "100–109"
    assert column(told, "stage", "their numbers")["screen"] == "2"
    seeds = column(told, "stage", "seeds")
    assert (seeds["confirm"], seeds["screen"], seeds["tuning"]) == (10, 1, 2)
    assert [row["stage"] for row in told] == list(RULES["stages"])
    assert all(row["what for"] for row in told)
    reads = column(told, "stage", "reads")
    assert {n for n in reads if reads[n] == "test"} == {
        n for n, stage in RULES["stages"].items() if stage["judges"]
    }


def test_every_effect_and_word_is_told():
    told = column(protocol.claims(), "claim", "effect")
    assert set(RULES["family"]["tests"]) <= set(told) and {"C6", "C7 both"} <= set(told)
    assert column(protocol.verdicts("test"), "verdict", "of a test").keys() == {
        "supported",
        "opposed",
        "negligible",
        "inconclusive",
    }
    assert "mixed" in column(protocol.verdicts("cell"), "verdict", "of a cell")


@pytest.mark.parametrize(("profile", "name"), [*itertools.product(protocol.PROFILES, OWN)])
def test_settings_told_are_those_of_the_profile(profile, name):
    told = column(protocol.settings(name), "setting", profile)
    study = catalogue.load(name, profile)
    trial = study.base
    assert told["data"] == ", ".join(base.trial.data for base in study.bases)
    assert told["encoder"] == f"{trial.encoder}, width {trial.width}"
    assert told["epochs"] == f"{trial.epochs}" and told["precision"] == trial.precision
    assert float(told["learning rate"]) == trial.learning_rate
    assert float(told["weight decay"]) == trial.weight_decay
    assert float(told["temperature"]) == trial.temperature
    assert told["views"] == f"{trial.views}, strength {trial.view_strength:g}"
    if name != "nodes":
        samples = next(v for n, v in told.items() if n.endswith("trained on"))
        assert samples == (f"{trial.samples:,}" if trial.samples else "all")
        assert told["batch"] == f"{trial.batch_size}"


# The budget


def row(study, part, stage="confirm", hours=1.0, left=0.5, trials=36):
    counts = dict.fromkeys(("arms", "seeds", "recorded"), 1)
    spent = {"core_hours": hours, "core_hours_left": left, "waits_for": ""}
    made = {"study": study, "part": part, "stage": stage, "trials": trials, **counts, **spent}
    return {"of": protocol._origin(made), **made}


def test_hours_are_those_of_two_cores_by_the_base_that_a_row_is_of():
    rows = [
        row("nodes", "Cora", hours=4.0, left=1.0),
        row("nodes", "CiteSeer", hours=2.0),
        row("supervised", "nodes Cora", hours=1.0, left=0.0),
        row("supervised", "text", hours=3.0),
        row("sentences", "text", hours=50.0),
        row("graphs", "MUTAG", hours=50.0),
        row("supervised", "graphs MUTAG", hours=50.0),
    ]
    told = column(protocol.spent(rows), "modality", "hours")
    assert told == {"vision": 0.0, "text": 1.5, "nodes": 3.5}
    assert column(protocol.spent(rows), "modality", "left")["nodes"] == 0.75


def test_co_adaptation_has_a_budget_of_its_own():
    rows = [row("text", "text", hours=4.0), row("co-adaptation", "text", hours=6.0)]
    told = column(protocol.spent(rows), "modality", "hours")
    assert told["text"] == 2.0 and told["text, co-adaptation"] == 3.0
    allowed = column(protocol.spent(rows), "modality", "allowed")["text, co-adaptation"]
    assert allowed == RULES["budget"]["co_adaptation_hours"]


def told(rows, monkeypatch):
    found = []
    monkeypatch.setattr(protocol, "display", lambda what: found.append(what.data))
    protocol.show_spent(rows)
    return "\n".join(found)


def test_the_page_says_whether_the_budget_is_kept(monkeypatch):
    most = RULES["budget"]["hours"]["nodes"]
    kept = told([row("nodes", "Cora", hours=2.0 * most, trials=1000)], monkeypatch)
    assert f"**nodes**: {most:.1f} hours on 2 cores, within the {most} allowed" in kept
    over = told([row("nodes", "Cora", hours=2.0 * most + 0.3, trials=1000)], monkeypatch)
    assert "over** the" in over


def test_the_page_says_which_trials_are_dearest(monkeypatch):
    rows = [
        row("text", "text", hours=1.0, trials=36),
        row("text", "text", "longer", hours=9.0, trials=9),
        row("vision", "vision", hours=2.0, trials=30),
    ]
    assert "those of vision vision confirm: 240 core-seconds on average, **over**" in told(
        rows, monkeypatch
    )
    assert "those of text text confirm: 100 core-seconds on average, within" in told(
        rows[:2], monkeypatch
    )


@pytest.fixture(scope="module")
def budget():
    return protocol.budget("cpu")


def test_budget_tells_every_stage(budget):
    wanted = {
        (name, stage)
        for name in catalogue.names("cpu")
        for stage in catalogue.load(name, "cpu").stages
    }
    assert {(row["study"], row["stage"]) for row in budget} == wanted
    assert {row["of"] for row in budget} == {*OWN, *RULES["outside"]}


def test_budget_is_kept_where_the_seconds_of_a_trial_are_measured(budget):
    """By the modality's own pilot and scale; what is not recorded is guessed."""
    for row in protocol.spent(budget):
        own = [r for r in budget if r["study"] == row["modality"] and r["stage"] == "scale"]
        if own and all(r["recorded"] == r["trials"] for r in own):
            assert row["hours"] <= row["allowed"], row
