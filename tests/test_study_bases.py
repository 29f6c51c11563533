"""Studies of several data sets, and studies of other studies: bases, twins, arms, the choice."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import tiny
import yaml

from deepaug import cli
from deepaug.studies import arms as arms_of
from deepaug.studies import catalogue
from deepaug.studies.records import with_checksum
from deepaug.studies.study import progress
from deepaug.training import registry

GRAPHS = {
    "modality": "graphs",
    "data": "MUTAG",
    "encoder": "gin3",
    "width": 8,
    "epochs": 2,
    "batch_size": 10,
}
TEXT = {
    "modality": "text",
    "data": "lee",
    "pairs": "lee",
    "encoder": "bert2",
    "width": 8,
    "view_size": 16,
    "epochs": 2,
    "batch_size": 10,
}
SETS = {"MUTAG": {}, "PROTEINS": {"data": "PROTEINS"}}
GRID = {"layers": ["layer1", "layer3"], "transforms": ["dropout", "pca"], "strengths": [0.5]}
SCREEN = {"seeds": [2, 3], **GRID, "tune": {"temperature": [0.1, 0.5]}}
CHOSEN = {"seeds": [100], "chosen_from": "screen"}


def load(folder, name, only=None, data=None, **specs):
    """The study `name` of a profile that holds all of `specs`."""
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"studies": specs}, sort_keys=False))
    return catalogue.load(name, str(path), folder / "results", parts=only, data=data)


def graphs(folder, only=None, data=None, bases=SETS, trial=GRAPHS, **stages):
    """A study of two data sets, by default with a screen and a stage chosen from it."""
    stages = stages or {"screen": SCREEN, "confirm": CHOSEN}
    spec = {"trial": trial, "bases": bases, "stages": stages}
    return load(folder, "graphs", only, data, graphs=spec)


def vision_and_graphs(folder, only=None, of=None, name="twin", **stages):
    """A study of two others, each with a screen of its own."""
    screen = {"seeds": [2], "transforms": ["dropout"], "strengths": [0.2, 0.5]}
    tune = {"temperature": [0.1, 0.5]}
    specs = {
        "vision": {
            "trial": tiny.SETTINGS,
            "stages": {"screen": {**screen, "layers": ["stem", "stage4"], "tune": tune}},
        },
        "graphs": {
            "trial": GRAPHS,
            "bases": SETS,
            "stages": {"screen": {**screen, "layers": ["layer1", "layer3"]}},
        },
        "twin": {"of": of or {"vision": {}, "graphs": {}}, "stages": stages},
    }
    return load(folder, name, only, **specs)


def fill(study, stage, score=lambda entry: 50, diverged=lambda entry: False):
    """Records of a whole stage: `score` gives an entry's primary validation metric."""
    study.store.folder.mkdir(parents=True, exist_ok=True)
    for entry in study.stage_entries(stage):
        primary = registry.primary(entry.trial)
        others = dict.fromkeys(("knn", "probe", "spearman", "svc", "retrieval"), 7.0)
        metrics = {"validation": {**others, primary: float(score(entry))}, "test": others}
        record = tiny.record(entry.trial, metrics=metrics)
        if diverged(entry):
            record |= {"status": "diverged", "metrics": {}}
        study.store.path(entry.trial.key).write_text(json.dumps(with_checksum(record)))


def names(entries):
    return [entry.name for entry in entries]


def trials(entries):
    return {entry.name: entry.trial for entry in entries}


def grid_of(entries):
    return {(t.data, t.layer, t.transform, t.strength) for t in (e.trial for e in entries)}


# Several bases


def test_each_base_has_every_arm_under_a_name_of_its_own(tmp_path):
    study = graphs(tmp_path, quick={"seeds": [0, 1], "controls": ["untrained"], **GRID})
    entries = study.stage_entries("quick")
    arms = ["baseline", "untrained"]
    arms += [f"{la} {t} 0.5" for la in ("layer1", "layer3") for t in ("dropout", "pca")]
    expected = [f"{data} {arm}" for data in SETS for arm in arms]
    assert names(entries) == 2 * expected
    assert [e.trial.seed for e in entries] == [0] * len(expected) + [1] * len(expected)
    assert all(e.trial.data == e.base and e.name == f"{e.base} {e.arm}" for e in entries)
    assert len({e.trial.key for e in entries}) == len(entries)


def test_a_base_changes_what_it_names_alone(tmp_path):
    study = graphs(tmp_path, bases={"MUTAG": {}, "narrow": {"data": "PROTEINS", "width": 4}})
    first, second = (base.trial for base in study.bases)
    assert first.data == "MUTAG" and study.base == first
    assert second == replace(first, data="PROTEINS", width=4)


def test_the_only_base_needs_no_name(tmp_path):
    study = graphs(tmp_path, bases={"": {}}, quick={"seeds": [0]})
    assert names(study.entries()) == ["baseline"]
    study = load(tmp_path, "graphs", graphs={"trial": GRAPHS, "stages": {"quick": {"seeds": [0]}}})
    assert names(study.entries()) == ["baseline"]


def test_given_data_take_the_place_of_all_bases(tmp_path):
    study = graphs(tmp_path, data="NCI109", quick={"seeds": [0]})
    assert [(e.name, e.trial.data) for e in study.entries()] == [("baseline", "NCI109")]


# The choice over several data sets


def by_data(**scores):
    """A score by layer for each data set; anything else has 50."""
    return lambda entry: scores[entry.trial.data].get(entry.trial.layer, 50)


def test_the_mean_over_data_sets_decides_and_not_one_of_them(tmp_path):
    layers = ["layer1", "layer2", "layer3"]
    study = graphs(tmp_path, screen={**SCREEN, "layers": layers}, confirm=CHOSEN)
    one, other = {"layer1": 80, "layer2": 75}, {"layer3": 80, "layer2": 75}
    fill(study, "screen", by_data(MUTAG=one, PROTEINS=other))
    assert {arm["layer"] for arm in study.choice("screen").arms.values()} == {"layer2"}
    chosen = {(d, "layer2", t, 0.5) for d in SETS for t in ("dropout", "pca")}
    assert grid_of(study.stage_entries("confirm")) == {
        *chosen,
        *((d, "none", "none", 0) for d in SETS),
    }


def test_nothing_is_chosen_until_every_data_set_is_recorded(tmp_path):
    study = graphs(tmp_path)
    fill(study, "screen")
    for data in SETS:
        missing = next(e for e in study.stage_entries("screen") if e.base == data)
        path = study.store.path(missing.trial.key)
        record = path.read_bytes()
        path.unlink()
        assert study.choice("screen") is None and study.stage_entries("confirm") == []
        path.write_bytes(record)
    assert study.choice("screen") is not None


def test_an_arm_that_diverged_on_one_data_set_is_not_chosen(tmp_path):
    study = graphs(tmp_path)
    best = {"layer3": 90}
    score = by_data(MUTAG=best, PROTEINS=best)
    fill(study, "screen", score, lambda e: e.trial.seed == 3 and e.name == "MUTAG layer3 pca 0.5")
    arms = study.choice("screen").arms
    assert {t: arm["layer"] for t, arm in arms.items()} == {"dropout": "layer3", "pca": "layer1"}


@pytest.mark.parametrize("trial", [GRAPHS, TEXT], ids=lambda trial: trial["modality"])
def test_the_choice_reads_the_metric_of_the_modality(tmp_path, trial):
    layers = registry.layers(trial["modality"], trial["encoder"])[1:3]
    spec = {"trial": trial, "stages": {"screen": {**SCREEN, "layers": list(layers)}}}
    study = load(tmp_path, "mine", mine=spec)
    fill(study, "screen", lambda entry: 90 if entry.trial.layer == layers[1] else 50)
    assert {arm["layer"] for arm in study.choice("screen").arms.values()} == {layers[1]}


@pytest.mark.parametrize("rate_of", SETS)
def test_a_chosen_value_is_a_change_of_every_base_that_has_another(tmp_path, rate_of):
    """Also where it is one data set's own value."""
    bases = {name: {"data": name} for name in SETS}
    bases[rate_of]["learning_rate"] = 0.01
    tune = {"learning_rate": [0.01], "temperature": [0.1]}
    study = graphs(tmp_path, bases=bases, screen={"seeds": [2], "tune": tune}, confirm=CHOSEN)
    fill(study, "screen", lambda entry: 90 if entry.trial.temperature == 0.1 else 50)
    tuned = trials(study.stage_entries("confirm"))
    for base in study.bases:
        changed = replace(base.trial, learning_rate=0.01, temperature=0.1, seed=100)
        assert tuned[f"{base.label} baseline"] == changed


def test_a_value_that_is_one_bases_own_is_scored_on_all_bases(tmp_path):
    """There it is the baseline, which is run once: not the mean over the other bases alone."""
    rates = {"MUTAG": 0.01, "PROTEINS": 0.06}
    bases = {name: {"data": name, "learning_rate": rate} for name, rate in rates.items()}
    screen = {"seeds": [2], "tune": {"learning_rate": [0.01, 0.06]}}
    study = graphs(tmp_path, bases=bases, screen=screen)
    scores = {"MUTAG": {0.01: 30, 0.06: 40}, "PROTEINS": {0.01: 60, 0.06: 62}}
    fill(study, "screen", lambda entry: scores[entry.base][entry.trial.learning_rate])
    # Means of 45 and 51; by the entries of those names alone they would be 60 and 40.
    assert study.choice("screen").baseline == {"learning_rate": 0.06}


def test_controls_of_arms_are_not_chosen(tmp_path):
    screen = {**SCREEN, "arm_controls": ["same-mask", "one-view", "noise"]}
    study = graphs(tmp_path, screen=screen)
    fill(
        study, "screen", lambda e: 90 if e.trial.transformed != "both" else 50 + (e.arm[-1] == "e")
    )
    choice = study.choice("screen")
    assert set(choice.arms) == {"dropout", "pca"}
    assert all("transformed" not in arm for arm in choice.arms.values())


def test_the_objective_of_a_screen_is_not_chosen(tmp_path):
    twins = ["contrastive", "supervised"]
    study = graphs(tmp_path, screen={**SCREEN, "objectives": twins}, confirm=CHOSEN)
    fill(study, "screen")
    assert {entry.trial.objective for entry in study.stage_entries("confirm")} == {"contrastive"}


# Parts of a study


@pytest.mark.parametrize("only", [["PROTEINS"], ["graphs"], ["PROTEINS", "graphs"]])
def test_only_takes_data_sets_or_modalities(tmp_path, only):
    study = graphs(tmp_path, only)
    expected = set(SETS) if "graphs" in only else {"PROTEINS"}
    assert {entry.base for entry in study.entries()} == expected


def test_only_one_modality_of_several(tmp_path):
    study = vision_and_graphs(tmp_path, ["graphs"], pilot={"seeds": [0]})
    assert names(study.entries()) == ["graphs MUTAG baseline", "graphs PROTEINS baseline"]
    study = vision_and_graphs(tmp_path, ["graphs PROTEINS", "vision"], pilot={"seeds": [0]})
    assert names(study.entries()) == ["vision baseline", "graphs PROTEINS baseline"]


def test_only_one_data_set_is_of_what_all_of_them_chose(tmp_path):
    whole = graphs(tmp_path)
    fill(whole, "screen", by_data(MUTAG={"layer1": 60}, PROTEINS={"layer3": 80}))
    part = graphs(tmp_path, ["MUTAG"])
    assert part.choice("screen") == whole.choice("screen")
    of_part = [e for e in whole.stage_entries("confirm") if e.base == "MUTAG"]
    assert part.stage_entries("confirm") == of_part
    whole.store.path(whole.stage_entries("screen")[-1].trial.key).unlink()  # of PROTEINS
    assert part.missing("screen") == [] and part.waits_for("confirm") == ["screen"]


@pytest.mark.parametrize(
    ("only", "named"),
    [
        (["MUTG"], "'MUTAG'"),
        (["vision"], "'graphs'"),
        ([], "parts"),
        ("MUTAG", "parts"),
        ([3], "parts"),
    ],
)
def test_an_unknown_part_is_named(tmp_path, only, named):
    with pytest.raises(ValueError) as caught:
        graphs(tmp_path, only)
    assert named in str(caught.value) and "\n" not in str(caught.value)


# Studies of other studies


def test_the_bases_are_those_of_the_other_studies(tmp_path):
    of = {"vision": {"epochs": 3}, "graphs": {"held_out": 0.2}}
    twin = vision_and_graphs(tmp_path, of=of, pilot={"seeds": [0]})
    bases = {base.label: base.trial for base in twin.bases}
    vision = vision_and_graphs(tmp_path, name="vision", pilot={"seeds": [0]}).base
    mutag, proteins = (base.trial for base in vision_and_graphs(tmp_path, name="graphs").bases)
    assert bases == {
        "vision": replace(vision, epochs=3),
        "graphs MUTAG": replace(mutag, held_out=0.2),
        "graphs PROTEINS": replace(proteins, held_out=0.2),
    }
    assert names(twin.entries()) == [f"{label} baseline" for label in bases]


def fill_origins(twin, score, stage="screen"):
    for origin in {base.origin.name: base.origin for base in twin.bases}.values():
        fill(origin, stage, score)


def best(entry):
    """vision: stage4 at 0.5 and temperature 0.1; graphs: layer1 at 0.2."""
    t = entry.trial
    return (
        50
        + 9 * ((t.layer, t.strength) in {("stage4", 0.5), ("layer1", 0.2)})
        + (9 * (t.temperature == 0.1))
    )


def test_each_base_has_the_arms_its_own_study_chose(tmp_path):
    twin = vision_and_graphs(tmp_path, confirm=CHOSEN)
    fill_origins(twin, best)
    assert {e.name for e in twin.entries() if e.trial.layer != "none"} == {
        "vision stage4 dropout 0.5",
        "graphs MUTAG layer1 dropout 0.2",
        "graphs PROTEINS layer1 dropout 0.2",
    }


def test_everything_after_the_tuning_stands_on_the_tuned_baseline(tmp_path):
    """Arms and controls differ from it in one thing alone."""
    controls = ["untrained", "no-augmentation"]
    twin = vision_and_graphs(tmp_path, confirm={**CHOSEN, "controls": controls})
    fill_origins(twin, best)
    assert twin.bases[0].origin.choice("screen").baseline == {"temperature": 0.1}
    arms = {e.arm: e.trial for e in twin.entries() if e.base == "vision"}
    assert set(arms) == {"baseline", *controls, "stage4 dropout 0.5"}
    baseline = replace(twin.base, seed=100, temperature=0.1)
    assert arms["baseline"] == baseline and twin.base.temperature == 0.5
    assert arms["no-augmentation"] == replace(baseline, view_strength=0.0)
    arm = {"layer": "stage4", "transform": "dropout", "strength": 0.5}
    assert arms["stage4 dropout 0.5"] == replace(baseline, **arm)


def test_what_a_study_changes_stays_changed_in_its_arms(tmp_path):
    twin = vision_and_graphs(tmp_path, of={"vision": {"epochs": 3}}, confirm=CHOSEN)
    fill_origins(twin, best)
    assert {entry.trial.epochs for entry in twin.entries()} == {3}


def test_a_part_of_a_study_of_studies_is_of_the_same_choice(tmp_path):
    whole = vision_and_graphs(tmp_path, confirm=CHOSEN)
    fill_origins(whole, best)
    part = vision_and_graphs(tmp_path, ["graphs MUTAG"], confirm=CHOSEN)
    assert part.entries() == [e for e in whole.entries() if e.base == "graphs MUTAG"]


def test_data_are_given_to_the_other_studies(tmp_path):
    with pytest.raises(ValueError, match=r"^study twin has the data of vision, graphs; data can"):
        vision_and_graphs(tmp_path, pilot={"seeds": [0]})
        catalogue.load("twin", str(tmp_path / "mine.yaml"), data="mnist-5k")


# What waits, and how far a stage is


def test_a_study_waits_for_its_own_screen(tmp_path):
    study = graphs(tmp_path)
    assert study.waits_for("screen") == [] and study.waits_for("confirm") == ["screen"]
    assert progress(study, "confirm") == "waits for all records of screen"
    fill(study, "screen")
    assert study.waits_for("confirm") == []


def test_a_study_of_others_waits_for_each_screen_that_is_not_complete(tmp_path):
    twin = vision_and_graphs(tmp_path, confirm=CHOSEN)
    vision, of_graphs = twin.bases[0].origin, twin.bases[1].origin
    waits = ["screen of vision", "screen of graphs"]
    assert twin.waits_for("confirm") == waits and twin.stage_entries("confirm") == []
    assert progress(twin, "confirm") == f"waits for all records of {', '.join(waits)}"
    fill(vision, "screen", best)
    assert {entry.base for entry in twin.stage_entries("confirm")} == {"vision"}
    waiting = "waits for all records of screen of graphs"
    assert progress(twin, "confirm") == f"0 of 2 recorded; {waiting}"
    fill(twin, "confirm")
    assert progress(twin, "confirm") == f"2 of 2 recorded; {waiting}"
    fill(of_graphs, "screen", best)
    assert twin.waits_for("confirm") == [] and progress(twin, "confirm") == "2 of 6 recorded"


def test_a_trial_of_two_names_is_counted_once(tmp_path):
    """Random initialisation is that of both twins."""
    stage = {"seeds": [0, 1], "objectives": ["contrastive", "supervised"]}
    study = graphs(tmp_path, bases={"": {}}, pilot={**stage, "controls": ["untrained"]})
    assert len(study.entries()) == 8 and progress(study, "pilot") == "0 of 6 recorded"
    assert len(study.missing()) == 6
    untrained = next(e.trial for e in study.entries() if e.arm == "untrained")
    study.store.write(tiny.record(untrained))
    assert progress(study, "pilot") == "1 of 6 recorded"
    assert names(entry for entry, _ in study.recorded()) == ["untrained", "supervised untrained"]


def test_the_command_line_lists_parts_and_what_they_wait_for(tmp_path, capsys):
    vision_and_graphs(tmp_path, pilot={"seeds": [0]}, confirm=CHOSEN)
    where = ["--profile", str(tmp_path / "mine.yaml"), "--results", str(tmp_path / "results")]
    cli.main(["list", "twin", *where, "--parts", "graphs MUTAG", "vision"])
    listed = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()[2:]) for line in listed[:2]] == [
        "vision baseline seed 0 missing",
        "graphs MUTAG baseline seed 0 missing",
    ]
    assert listed[2:] == [
        "pilot: 0 of 2 recorded",
        "confirm: waits for all records of screen of vision, screen of graphs",
    ]
    with pytest.raises(SystemExit) as caught:
        cli.main(["list", "twin", *where, "--parts", "text"])
    assert caught.value.code == 2 and capsys.readouterr().err.count("\n") == 1


# Twins


def test_twins_differ_in_their_objective_alone(tmp_path):
    stage = {"seeds": [0], **GRID, "objectives": ["contrastive", "supervised"]}
    study = graphs(tmp_path, pilot={**stage, "arm_controls": ["noise"]})
    arms = trials(study.entries())
    twins = [name for name in arms if "supervised" in name]
    assert len(arms) == len(study.entries()) == 2 * len(twins)
    for name in twins:
        plain = arms[name.replace("supervised ", "")]
        assert plain.objective == "contrastive"
        assert arms[name] == replace(plain, objective="supervised")
    assert "PROTEINS supervised layer3 pca 0.5 noise" in twins


def test_twins_have_the_arms_that_were_chosen_in_contrastive_training(tmp_path):
    twins = {**CHOSEN, "objectives": ["contrastive", "supervised"]}
    study = vision_and_graphs(tmp_path, of={"vision": {}}, confirm=twins)
    fill_origins(study, best)
    arms = ["baseline", "stage4 dropout 0.5"]
    assert names(study.entries()) == [
        *(f"vision {arm}" for arm in arms),
        *(f"vision supervised {arm}" for arm in arms),
    ]
    objectives = {entry.objective: entry.trial.objective for entry in study.entries()}
    assert objectives == {n: n for n in ("contrastive", "supervised")}


def test_random_initialisation_belongs_to_both_twins(tmp_path):
    stage = {"seeds": [0], "objectives": ["contrastive", "supervised"], "controls": ["untrained"]}
    found = [e for e in graphs(tmp_path, pilot=stage).entries() if e.arm == "untrained"]
    assert [e.objective for e in found] == 2 * ["contrastive", "supervised"]
    assert Counter(e.trial.key for e in found).most_common(1)[0][1] == 2


def test_without_objectives_a_study_trains_by_its_own(tmp_path):
    study = graphs(tmp_path, trial={**GRAPHS, "objective": "supervised"}, quick={"seeds": [0]})
    assert names(study.entries()) == [f"{data} supervised baseline" for data in SETS]
    assert {e.trial.objective for e in study.entries()} == {"supervised"}


# Layers


def test_layers_by_modality(tmp_path):
    grid = {"transforms": ["pca"], "strengths": [0.5]}
    layers = {"vision": ["stem", "stage2"], "graphs": "all", "text": ["block1"]}
    twin = vision_and_graphs(tmp_path, pilot={"seeds": [0], **grid, "layers": layers})
    found = {}
    for entry in twin.entries():
        if entry.trial.layer != "none":
            found.setdefault(entry.base, []).append(entry.trial.layer)
    everywhere = list(registry.layers("graphs", "gin3"))
    expected = {"vision": ["stem", "stage2"], "graphs MUTAG": everywhere}
    assert found == {**expected, "graphs PROTEINS": everywhere}


def test_layers_are_given_for_every_modality_of_a_stage(tmp_path):
    grid = {"transforms": ["pca"], "strengths": [0.5], "layers": {"graphs": ["layer2"]}}
    with pytest.raises(ValueError, match="given for graphs, but not for vision"):
        vision_and_graphs(tmp_path, pilot={"seeds": [0], **grid})
    bases = ["graphs MUTAG", "graphs PROTEINS"]
    twin = vision_and_graphs(tmp_path, pilot={"seeds": [0], **grid, "bases": bases})
    assert {e.base for e in twin.entries()} == set(bases)


def test_everywhere_is_what_was_chosen_at_every_other_layer(tmp_path):
    stage = {**CHOSEN, "everywhere": True, "arm_controls": ["alone"]}
    twin = vision_and_graphs(tmp_path, confirm=stage)
    fill_origins(twin, best)
    for label, strength in (("vision", 0.5), ("graphs MUTAG", 0.2), ("graphs PROTEINS", 0.2)):
        arms = [e for e in twin.entries() if e.base == label and e.trial.layer != "none"]
        base = arms[0].trial
        layers = registry.layers(base.modality, base.encoder)
        expected = [arms_of.name(replace(base, layer=layer)) for layer in layers]
        assert Counter(e.arm for e in arms if e.trial.view_strength) == Counter(expected)
        assert {(e.trial.transform, e.trial.strength) for e in arms} == {("dropout", strength)}
        alone = [e.trial for e in arms if not e.trial.view_strength]
        assert alone == [replace(base, view_strength=0.0)]  # of the chosen layer


# Controls


CONTROLS = {
    "same-mask": {"transformed": "same"},
    "noise": {"transform": "noise"},
    "alone": {"view_strength": 0.0},
    "one-view": {"transformed": "one"},
    "detached": {"stop_gradient": "both"},
    "detached-one": {"stop_gradient": "one"},
    "one-view-detached": {"transformed": "one", "stop_gradient": "one"},
}
LEFT_OUT = ("both", "no-transform")  # of an arm in both views, undetached


@pytest.mark.parametrize(
    ("trial", "first"),
    [(tiny.SETTINGS, "input"), (TEXT, "embeddings"), (GRAPHS, "input")],
    ids=["vision", "text", "graphs"],
)
def test_controls_of_an_arm_of_the_grid_change_one_ingredient(tmp_path, trial, first):
    controls = {**CONTROLS, "at-input": {"layer": first}}
    modality = trial.get("modality", "vision")
    if modality != "text":  # whose encoders have no BatchNorm
        controls["plain-statistics"] = {"statistics": "plain"}
    assert {*controls, *LEFT_OUT, "plain-statistics"} == set(arms_of.ARM_CONTROLS)
    layer = registry.layers(modality, trial["encoder"])[2]
    grid = {"layers": [layer], "transforms": ["dropout"], "strengths": [0.2]}
    stage = {"seeds": [0], **grid, "arm_controls": list(arms_of.ARM_CONTROLS)}
    study = load(tmp_path, "mine", mine={"trial": trial, "stages": {"pilot": stage}})
    arms = trials(study.entries())
    arm = arms[f"{layer} dropout 0.2"]
    assert arm == replace(study.base, layer=layer, transform="dropout", strength=0.2)
    for control, change in controls.items():
        at = change.get("layer", layer)
        assert arms[f"{at} dropout 0.2 {control}"] == replace(arm, **change), control
    assert len(arms) == 2 + len(controls)


@pytest.mark.parametrize(
    ("transform", "noise"),
    [
        ("dropout", "noise"),
        ("dropout-feature", "noise"),
        ("pca", "noise-centred"),
    ],
)
def test_noise_is_of_the_norm_that_the_transform_changes(transform, noise):
    arm = tiny.trial(layer="stem", transform=transform, strength=0.5)
    assert arms_of.ARM_CONTROLS["noise"](arm) == replace(arm, transform=noise)


DETACHED = {"transformed": "one", "stop_gradient": "one"}


@pytest.mark.parametrize(
    ("way", "named"),
    [
        (DETACHED, {"both", "detached", "detached-one", "one-view", "no-transform", "same-mask"}),
        ({"transformed": "one"}, {"both", "detached", "detached-one", "one-view-detached"}),
    ],
    ids=lambda way: "-".join(sorted(way)),
)
def test_controls_that_equal_their_arm_are_left_out(way, named):
    """A one-view arm has no second target to detach, and yet the way with both detached."""
    arm = tiny.trial(layer="stage2", transform="pca", strength=0.5, **way)
    found = dict(arms_of.controls(arm, arms_of.ARM_CONTROLS))
    assert found.keys() >= named
    assert arm not in found.values() and arm.way not in found
    both = replace(arm, transformed="both", stop_gradient="none")
    assert found["same-mask"] == replace(both, transformed="same")
    assert found["noise"] == replace(arm, transform="noise-centred")
    assert found["both"] == both


def test_a_detached_arm_is_held_against_its_way_without_a_transform():
    """The same training whatever the transform, so that dropout and PCA share it."""
    detached = [
        tiny.trial(layer="stage2", transform=transform, strength=p, **DETACHED)
        for transform, p in (("pca", 0.5), ("dropout-feature", 0.2))
    ]
    plain = {t for arm in detached for _, t in arms_of.controls(arm, ["no-transform"])}
    assert plain == {replace(detached[0], transform="dropout", strength=0.0)}


def test_the_arm_at_the_input_is_not_held_against_itself():
    arm = tiny.trial(layer="input", transform="dropout", strength=0.5)
    assert list(arms_of.controls(arm, ["at-input"])) == []


def test_controls_of_one_modality_are_passed_over_in_the_others(tmp_path):
    controls = ["untrained", "bag-of-words", "tf-idf", "counts"]
    stages = {"pilot": {"seeds": [0], "controls": controls}}
    own = {
        "vision": (tiny.SETTINGS, ["untrained"]),
        "text": (TEXT, ["untrained", "bag-of-words", "tf-idf"]),
        "graphs": (GRAPHS, ["untrained", "counts"]),
    }
    specs = {name: {"trial": trial, "stages": stages} for name, (trial, _) in own.items()}
    study = load(tmp_path, "every", **specs, every={"of": {n: {} for n in own}, "stages": stages})
    expected = [f"{n} {arm}" for n, (_, has) in own.items() for arm in ["baseline", *has]]
    assert names(study.entries()) == expected
    counts = trials(study.entries())["graphs counts"]
    assert (counts.encoder, counts.objective, counts.epochs) == ("counts", "untrained", 0)


# Profiles as others may write them


STAGES = {"screen": {"seeds": [2]}}
OTHER = {"trial": tiny.SETTINGS, "stages": STAGES}


def refusal(folder, name="mine", **specs) -> str:
    with pytest.raises(ValueError) as caught:
        load(folder, name, **specs)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    return message


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"of": {"visoin": {}}}, "'vision'"),
        ({"of": {3: {}}}, "3"),
        ({"of": {"mine": {}}}, "'mine'"),
        ({"of": {"derived": {}}}, "'derived'"),
        ({"of": {}}, "of must name"),
        ({"of": None}, "of must be"),
        ({"of": "vision"}, "of must be"),
        ({"of": ["vision"]}, "of must be"),
        ({"of": {"vision": None}}, "vision must be"),
        ({"of": {"vision": 3}}, "vision must be"),
        ({"of": {"vision": {"widht": 8}}}, "'width'"),
        ({"of": {"vision": {"width": "8"}}}, "width"),
        ({"of": {"vision": {"modality": "graphs"}}}, "encoder"),
        ({"of": {"vision": {}}, "trial": {"width": 8}}, "takes the place of"),
        ({"of": {"vision": {}}, "bases": {"a": {}}}, "takes the place of"),
        ({"bases": {}}, "bases must name"),
        ({"bases": None}, "bases must be"),
        ({"bases": 3}, "bases must be"),
        ({"bases": ["MUTAG"]}, "bases must be"),
        ({"bases": {"MUTAG": None}}, "MUTAG must be"),
        ({"bases": {"MUTAG": "MUTAG"}}, "MUTAG must be"),
        ({"bases": {2024: {}}}, "must be text, not 2024"),
        ({"bases": {"MUTAG": {"dta": "MUTAG"}}}, "'data'"),
        ({"bases": {"MUTAG": {"width": -1}}}, "width"),
    ],
    ids=str,
)
def test_bad_bases_are_named_in_one_line(tmp_path, spec, named):
    derived = {"of": {"vision": {}}, "stages": STAGES}
    message = refusal(tmp_path, vision=OTHER, derived=derived, mine={**spec, "stages": STAGES})
    assert named in message


def test_studies_of_each_other_are_refused(tmp_path):
    one, other = ({"of": {name: {}}, "stages": STAGES} for name in ("theirs", "mine"))
    assert "'theirs'" in refusal(tmp_path, vision=OTHER, mine=one, theirs=other)


FULL = {"transforms": ["pca"], "strengths": [0.5]}


@pytest.mark.parametrize(
    ("stage", "named"),
    [
        ({"objectives": "supervised"}, "objectives"),
        ({"objectives": []}, "objectives"),
        ({"objectives": [3]}, "objectives"),
        ({"objectives": ["supervized"]}, "'supervised'"),
        ({"objectives": ["untrained"]}, "'untrained'"),
        ({"trial": {"objective": "supervised"}}, "objectives"),
        ({"everywhere": 1}, "everywhere"),
        ({"everywhere": "yes"}, "everywhere"),
        ({"everywhere": None}, "everywhere"),
        ({"everywhere": ["stem"]}, "everywhere"),
        ({**FULL, "layers": {"visoin": ["stem"]}}, "'vision'"),
        ({**FULL, "layers": {3: ["stem"]}}, "3"),
        ({**FULL, "layers": {"vision": "stem"}}, "layers: vision"),
        ({**FULL, "layers": {"vision": None}}, "layers: vision"),
        ({**FULL, "layers": {"vision": []}}, "layers: vision"),
        ({**FULL, "layers": {"vision": ["layer1"]}}, "'layer1'; nearest"),
        ({**FULL, "layers": {"vision": ["stem"], "graphs": ["stem"]}}, "of gin3"),
        ({**FULL, "layers": ["stem"]}, "of gin3"),
        ({**FULL, "layers": {}}, "layers"),
        ({**FULL, "layers": 0}, "layers"),
        ({"layers": False}, "layers"),
        ({"layers": []}, "layers"),
        ({"layers": {"vision": ["stem"]}}, "transforms"),
        ({"variants": {2: {"width": 8}}}, "2"),
        ({"arm_controls": ["alonee"]}, "'alone'"),
        ({"controls": ["count"]}, "'counts'"),
        ({"chosen_from": "confirm"}, "'screen'"),
        ({"chosen_from": "pilot"}, "'screen'"),
    ],
    ids=str,
)
def test_bad_stage_is_named_in_one_line(tmp_path, stage, named):
    """In a study of two modalities, where a layer must be of each it is for."""
    other = {"trial": GRAPHS, "stages": STAGES}
    mine = {"of": {"vision": {}, "graphs": {}}, "stages": {"pilot": {"seeds": [0], **stage}}}
    message = refusal(tmp_path, vision=OTHER, graphs=other, mine=mine)
    assert named in message


def test_a_stage_can_keep_to_some_of_the_bases(tmp_path):
    stages = {"pilot": {"seeds": [0], "bases": ["PROTEINS"]}, "scale": {"seeds": [0]}}
    study = graphs(tmp_path, **stages)
    assert {entry.base for entry in study.stage_entries("pilot")} == {"PROTEINS"}
    assert {entry.base for entry in study.stage_entries("scale")} == set(SETS)


def test_a_stage_waits_for_the_choice_of_its_own_bases_alone(tmp_path):
    study = vision_and_graphs(tmp_path, confirm={**CHOSEN, "bases": ["vision"]})
    assert study.waits_for("confirm") == ["screen of vision"]


def test_a_stage_of_an_unknown_base_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown base of graphs: 'PROTEIN'; nearest: 'PROTEINS'"):
        graphs(tmp_path, pilot={"seeds": [0], "bases": ["PROTEIN"]})


@pytest.mark.parametrize("profile", ["quick", "cpu", "gpu"])
@pytest.mark.parametrize(("name", "data"), [("graphs", "ENZYMES"), ("text", "brown")])
def test_another_data_set_takes_the_place_of_all_bases(tmp_path, profile, name, data):
    study = catalogue.load(name, profile, tmp_path, data=data)
    assert {entry.trial.data for entry in study.entries()} == {data}


def test_two_targets_have_one_arm_at_the_input(tmp_path):
    grid = {"layers": ["layer1", "layer3"], "transforms": ["dropout"], "strengths": [0.5]}
    study = graphs(tmp_path, pilot={"seeds": [0], **grid, "arm_controls": ["at-input"]})
    of_base = Counter(entry.arm for entry in study.entries() if entry.base == "MUTAG")
    assert of_base["input dropout 0.5 at-input"] == 1
    shared = next(entry for entry in study.entries() if entry.control == "at-input")
    assert shared.of == ("layer1 dropout 0.5", "layer3 dropout 0.5")


def test_an_arms_control_knows_its_arm_and_what_it_is(tmp_path):
    controls = ["same-mask", "noise", "alone"]
    entries = graphs(tmp_path, pilot={"seeds": [0], **GRID, "arm_controls": controls}).entries()
    arms = {(e.base, e.arm) for e in entries if e.role == "arm"}
    held = [e for e in entries if e.role == "arm control"]
    assert {(e.base, arm, e.control) for e in held for arm in e.of} == {
        (*arm, control) for arm in arms for control in controls
    }
    assert all(not e.of and not e.control for e in entries if e.role != "arm control")


def test_truncation_has_no_noise_of_its_norm(tmp_path):
    grid = {"layers": ["layer1"], "transforms": ["pca-truncate"], "strengths": [0.5]}
    study = graphs(tmp_path, pilot={"seeds": [0], **grid, "arm_controls": ["noise", "same-mask"]})
    assert {entry.control for entry in study.entries()} == {"", "same-mask"}


def test_what_the_same_mask_does_is_as_its_page_says():
    """Losses, and gradients below the target, at the last epoch of the pilots."""
    ends = {}
    for entry, record in catalogue.load("stop-gradient", "cpu").recorded("pilot"):
        if entry.role in ("arm", "arm control"):
            *_, name = entry.arm.partition(" 0.5")
            ends[entry.base, name.strip(), entry.trial.seed] = record["curve"][-1]
    for seed in (0, 1):
        masked = ends["vision", "same-mask", seed]
        others = [c for (base, way, of), c in ends.items() if base == "vision" and of == seed]
        # The arm itself is the pilot's of images, which kept no gradient; detached it is 0.
        alive = [norm for c in others if c is not masked and (norm := c.get("gradient_below"))]
        assert len(alive) == 4 and masked["gradient_below"] < min(alive) / 10
        assert masked["loss"] < min(c["loss"] for c in others if c is not masked) / 2
        sentences = ends["sentences", "same-mask", seed], ends["sentences", "", seed]
        assert sentences[0]["loss"] < sentences[1]["loss"] / 2
        for data in ("MUTAG", "PROTEINS"):
            masked, plain = (ends[f"graphs {data}", way, seed] for way in ("same-mask", ""))
            assert masked["loss"] == pytest.approx(plain["loss"], rel=0.02)
            assert masked["gradient_below"] > plain["gradient_below"] / 2
    falls = [
        ends["sentences", "same-mask", seed]["gradient_below"]
        < ends["sentences", "", seed]["gradient_below"] / 2
        for seed in (0, 1)
    ]
    assert sum(falls) == 1


def test_the_pilot_of_sentences_is_as_its_page_says():
    """In words, on validation data, since no test metric of an arm is read."""
    found = {
        (entry.arm, entry.trial.seed): record["metrics"]["validation"]
        for entry, record in catalogue.load("sentences", "cpu").recorded("pilot")
    }
    for seed in (0, 1):
        scores = {arm: score for (arm, of), score in found.items() if of == seed}
        spearman = {arm: score["spearman"] for arm, score in scores.items()}
        plain = spearman["baseline"]
        for layer in ("embeddings", "block2", "pooled"):
            assert spearman[f"{layer} dropout 0.5"] < plain < spearman[f"{layer} pca 0.5"]
        brought, added = plain - spearman["untrained"], spearman["pooled pca 0.5"] - plain
        assert 0.7 < added / brought < 1
        assert spearman["pooled pca 0.5"] + 5 < spearman["tf-idf"]
        assert scores["pooled pca 0.5"]["probe"] < scores["baseline"]["probe"] + 0.1
