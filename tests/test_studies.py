"""What a profile makes of a study, and what a screen's records choose."""

import itertools
import json
from collections import Counter
from dataclasses import replace
from statistics import fmean

import pytest
import tiny
import yaml

from deepaug.studies import arms, catalogue, rulebook
from deepaug.studies.records import with_checksum
from deepaug.studies.standings import End, standings
from deepaug.studies.study import obstacles
from deepaug.training import registry
from deepaug.training.trial import WAYS, Trial

TRANSFORMS = ("dropout", "pca")
JUDGED = ("cpu", "gpu-small", "gpu")  # profiles whose stages are those of the verdict rules
NO_AUGMENTATION, UNTRAINED = "no-augmentation", "untrained"


def seeds_by_arm(entries):
    seeds = {}
    for entry in entries:
        seeds.setdefault(entry.arm, []).append(entry.trial.seed)
    return seeds


def fill(study, stage, score, diverged=()):
    """Records of a whole stage: `score` gives an entry's validation metric."""
    study.store.folder.mkdir(parents=True, exist_ok=True)
    for entry in study.stage_entries(stage):
        primary = registry.primary(entry.trial)
        metrics = {"validation": {primary: float(score(entry))}, "test": {primary: 50.0}}
        record = tiny.record(entry.trial, metrics=metrics)
        if (entry.arm, entry.trial.seed) in diverged:
            record |= {"status": "diverged", "metrics": {}}
        study.store.path(entry.trial.key).write_text(json.dumps(with_checksum(record)))


def scattered(entry):
    """A score without a pattern, the same for a trial each time."""
    return int(entry.trial.key, 16) % 10007 / 100


# Profiles as they are


@pytest.mark.parametrize("profile", ["quick", *JUDGED])
def test_profile_loads_and_every_arm_has_a_key_of_its_own(profile, tmp_path):
    names = catalogue.names(profile)
    assert "vision" in names
    for name in names:
        study = catalogue.load(name, profile, tmp_path)
        entries = [entry for stage in study.stages for entry in study.planned(stage)]
        # Random initialisation belongs to both twins, and two arms may share a control.
        trained = [
            entry
            for entry in entries
            if entry.trial.objective != "untrained" and entry.role != "arm control"
        ]
        of_stage = Counter((entry.stage, entry.trial.key) for entry in trained)
        assert entries and max(of_stage.values()) == 1
        assert {entry.trial.modality for entry in entries} <= set(registry.NAMES)


def test_quick_is_the_default_and_stays_small(tmp_path):
    study = catalogue.load("vision", root=tmp_path)
    assert study.profile == "quick" and list(study.stages) == ["quick"]
    assert study.base.data == "mnist-5k"
    assert {entry.trial.precision for entry in study.entries()} == {"float32"}
    assert len(study.entries()) <= 60


OWN = ("nodes", "text", "vision")  # the studies of the verdicts' own bases
TUNED = ("temperature", "view_strength", "learning_rate", "weight_decay")


@pytest.mark.parametrize("profile", JUDGED)
@pytest.mark.parametrize("name", OWN)
def test_the_baseline_is_tuned_in_what_the_rules_name_alone(name, profile, tmp_path):
    study = catalogue.load(name, profile, tmp_path)
    bases = {base.label: base.trial for base in study.bases}
    tuned = [e for e in study.stage_entries("tuning") if e.role in ("baseline", "tune")]
    assert len({e.arm for e in tuned}) == 24
    for entry in tuned:
        base = bases[entry.base]
        settings = {field: getattr(base, field) for field in TUNED}
        assert replace(entry.trial, seed=0, **settings) == base
    changed = {f for e in tuned for f in TUNED if getattr(e.trial, f) != getattr(study.base, f)}
    assert changed == set(TUNED)


@pytest.mark.parametrize("profile", JUDGED)
@pytest.mark.parametrize("name", OWN)
def test_tuning_costs_about_as_much_as_the_arms(name, profile, tmp_path):
    study = catalogue.load(name, profile, tmp_path)

    def cost(stages, roles):
        return sum(e.role in roles for stage in stages for e in study.planned(stage))

    arms = cost(["screen", "targets"], ["arm"])
    assert 0.9 < cost(["tuning"], ["baseline", "tune"]) / arms < 1.6


@pytest.mark.parametrize("profile", JUDGED)
@pytest.mark.parametrize("name", OWN)
def test_the_screen_is_that_of_the_rules(name, profile, tmp_path):
    study, ruled = catalogue.load(name, profile, tmp_path), rulebook.rules()["stages"]["screen"]
    fill(study, "tuning", scattered)
    entries = study.stage_entries("screen")
    tuned = study.choice("tuning").baseline
    found = {(e.trial.transform, e.trial.strength, e.trial.way) for e in entries if e.role == "arm"}
    grid = itertools.product(ruled["transforms"], ruled["strengths"], ruled["ways"])
    assert found == set(grid)
    assert {e.trial.layer for e in entries if e.role == "arm"} == {arms.middle(study.base)}
    assert all(getattr(e.trial, n) == v for e in entries for n, v in tuned.items())


@pytest.mark.parametrize(
    ("modality", "encoder", "middle"),
    [
        ("vision", "resnet10", "stage2"),  # of stem and four stages the third
        ("text", "bert2", "block1"),
        ("text", "bert3", "block2"),
        ("text", "bert6", "block3"),
        ("nodes", "gcn3", "layer2"),
        ("graphs", "gin3", "layer2"),
    ],
)
def test_the_middle_target(modality, encoder, middle):
    assert arms.middle(Trial(modality=modality, encoder=encoder)) == middle


@pytest.mark.parametrize("profile", JUDGED)
@pytest.mark.parametrize("stage", ["scale", "pilot"])
def test_early_stages_keep_to_their_seeds(profile, stage, tmp_path):
    arms = seeds_by_arm(catalogue.load("vision", profile, tmp_path).stage_entries(stage))
    assert {"baseline", UNTRAINED} <= arms.keys()
    assert all(seeds == [0, 1] for seeds in arms.values())


@pytest.mark.parametrize("profile", JUDGED)
def test_scale_is_set_on_the_baseline_alone(profile, tmp_path):
    study = catalogue.load("vision", profile, tmp_path)
    scale = {entry.arm: entry.trial for entry in study.stage_entries("scale")}
    assert {trial.layer for trial in scale.values()} == {"none"}
    assert scale["doubled"] == replace(scale["baseline"], epochs=2 * study.base.epochs)


def settle(study):
    """Records of all that chooses; the choice of the targets."""
    for stage in ("tuning", "screen", "targets"):
        fill(study, stage, scattered)
    return study.choice("targets")


def test_standings_name_what_is_chosen_and_the_next_best(tmp_path):
    study = catalogue.load("vision", "cpu", tmp_path)
    assert [*standings(study)] == []
    choice = settle(study)
    found = {(s.stage, s.of): s for s in standings(study)}
    assert [of for stage, of in found if stage == "targets"] == [
        "dropout arm",
        "pca arm",
        "primary arm",
    ]
    tuned = replace(study.base, **choice.baseline)
    primary = arms.name(replace(tuned, **choice.arms[choice.primary]))
    assert found["targets", "primary arm"].chosen == primary
    for (stage, _), standing in found.items():
        means = {}
        for entry, record in study.recorded(stage):
            score = record["metrics"]["validation"]["knn"]
            means.setdefault(entry.arm, []).append(score)
        means = {arm: sum(scores) / len(scores) for arm, scores in means.items()}
        assert standing.score == pytest.approx(means[standing.chosen])
        assert standing.behind == pytest.approx(means[standing.chosen] - means[standing.second])
        assert standing.behind >= 0
    assert found["tuning", "baseline"].candidates == 24
    assert found["screen", "dropout arm"].candidates == 12


@pytest.mark.parametrize(("best", "told"), [(0.1, "smallest"), (0.2, None), (0.5, "largest")])
def test_what_tuning_left_at_an_end_of_its_grid_is_told(best, told, tmp_path):
    study = catalogue.load("vision", "cpu", tmp_path)
    assert [*standings(study)] == []
    fill(study, "tuning", lambda entry: 50 - abs(entry.trial.temperature - best))
    assert study.choice("tuning").baseline.get("temperature", study.base.temperature) == best
    # Of view strength, learning rate and weight decay two values were tried.
    (standing,) = standings(study)
    assert standing.ends == ((End("temperature", told, (0.1, 0.2, 0.5)),) if told else ())


@pytest.mark.parametrize("profile", JUDGED)
def test_confirm_is_ten_seeds_of_what_was_chosen(profile, tmp_path):
    study = catalogue.load("vision", profile, tmp_path)
    assert study.stage_entries("confirm") == study.stage_entries("longer") == []
    choice = settle(study)
    tuned = replace(study.base, **choice.baseline)
    chosen = {arms.name(arm): arm for arm in (replace(tuned, **c) for c in choice.arms.values())}
    assert len(chosen) == 2
    plain = {f"{n} no-transform" for n, arm in chosen.items() if arm.stop_gradient != "none"}
    confirm = seeds_by_arm(study.stage_entries("confirm"))
    assert set(confirm) == {"baseline", UNTRAINED, NO_AUGMENTATION, *chosen, *plain}
    assert all(seeds == list(range(100, 110)) for seeds in confirm.values())
    both = [arms.name(replace(arm, **WAYS["both"])) for arm in chosen.values()]
    controls = {f"{n} noise" for n in chosen} | {f"{n} same-mask" for n in both}
    found = seeds_by_arm(study.stage_entries("controls"))
    assert set(found) == {"baseline", UNTRAINED, *chosen, *controls}
    assert all(seeds == list(range(100, 105)) for seeds in found.values())
    longer = study.stage_entries("longer")
    assert seeds_by_arm(longer) == {n: list(range(100, 105)) for n in ("baseline", *chosen)}
    assert {entry.trial.epochs for entry in longer} == {4 * study.base.epochs}


@pytest.mark.parametrize("profile", JUDGED)
def test_depth_and_ways_are_those_of_the_primary_arm(profile, tmp_path):
    choice = settle(catalogue.load("vision", profile, tmp_path))
    arm, deep = choice.arms[choice.primary], choice.deep[choice.primary]
    of = {
        name: [e for e in catalogue.load(name, profile, tmp_path).stage_entries("confirm")]
        for name in ("input-or-deep", "stop-gradient")
    }
    depth, ways = ([e for e in es if e.role == "arm"] for es in of.values())
    assert {e.trial.layer for e in depth} == set(arms.targets(depth[0].trial))
    for entry in (*depth, *ways):
        assert (entry.trial.transform, entry.trial.strength) == (arm["transform"], arm["strength"])
    assert {e.trial.layer for e in ways} == {arm["layer"]}
    assert deep["layer"] != "input"
    alone = [e.trial for e in of["input-or-deep"] if e.control == "alone"]
    assert {(t.layer, t.view_strength) for t in alone} == {(deep["layer"], 0.0)}
    found = {e.trial.way for e in of["stop-gradient"] if e.role in ("arm", "arm control")}
    assert found == set(WAYS)


@pytest.mark.parametrize("profile", JUDGED)
def test_no_stage_uses_seeds_that_chose_or_set_the_scale(profile, tmp_path):
    stages = catalogue.load("vision", profile, tmp_path).stages
    of = {name: set(stage.seeds) for name, stage in stages.items()}
    earlier = of["scale"] | of["pilot"]
    choosing = of["tuning"] | of["screen"] | of["targets"]
    assert earlier.isdisjoint(choosing) and of["screen"].isdisjoint(of["targets"])
    assert (earlier | choosing).isdisjoint(of["confirm"] | of["controls"] | of["longer"])


@pytest.mark.parametrize("profile", JUDGED)
def test_the_agenda_is_in_the_order_of_the_rules(profile, tmp_path):
    agenda = catalogue.agenda(profile, tmp_path)
    places = [
        (s.name, stage, base.label) for s, stage in agenda for base in s.bases_of(s.stages[stage])
    ]
    assert len(set(places)) == len(places)
    every = {
        (name, stage, base.label)
        for name in catalogue.names(profile)
        for study in [catalogue.load(name, profile, tmp_path)]
        for stage in study.stages
        for base in study.bases_of(study.stages[stage])
    }
    assert set(places) == every
    order = rulebook.rules()["order"]
    steps = [step.split() for step in order["stages"]]
    ruled = [
        (modality if name == "own" else name, stage, modality)
        for modality in order["modalities"]
        for name, stage in steps
    ]
    found = [
        (
            name,
            stage,
            next(
                (
                    m
                    for m in order["modalities"]
                    if m in (name, label.split()[0] if label else name)
                ),
                None,
            ),
        )
        for name, stage, label in places
    ]
    found = [place for place in dict.fromkeys(found) if place in ruled]
    assert found == [place for place in ruled if place in found]
    assert len(found) == 3 * len(steps)


def test_a_part_of_the_agenda_waits_for_its_own_choice(tmp_path):
    agenda = catalogue.agenda("cpu", tmp_path)
    twins = next(s for s, stage in agenda if (s.name, stage) == ("supervised", "confirm"))
    assert twins.waits_for("confirm") == ["targets of nodes"]
    assert {entry.base for entry in twins.planned("confirm")} == {"nodes Cora", "nodes CiteSeer"}


# The choice, on a screen of eight arms


@pytest.fixture
def study(tmp_path):
    screen = {
        "seeds": [2, 3],
        "controls": [UNTRAINED, NO_AUGMENTATION],
        "layers": ["stem", "stage4"],
        "transforms": list(TRANSFORMS),
        "strengths": [0.5],
        "tune": {"temperature": [0.1, 0.5]},
    }
    chosen = {"seeds": [100, 101], "chosen_from": "screen"}
    controls = {"controls": [UNTRAINED, NO_AUGMENTATION], "arm_controls": ["same-mask", "noise"]}
    longer = {**chosen, "trial": {"epochs": 8}}
    path = tiny.profile(tmp_path, screen=screen, confirm={**chosen, **controls}, longer=longer)
    return catalogue.load("vision", str(path), tmp_path / "results")


def names_of(choice):
    return choice.baseline.get("temperature"), {t: a["layer"] for t, a in choice.arms.items()}


def test_nothing_is_chosen_until_the_screen_is_complete(study):
    fill(study, "screen", scattered)
    for entry in study.stage_entries("screen"):
        path = study.store.path(entry.trial.key)
        record = path.read_bytes()
        path.unlink()
        assert study.choice("screen") is None
        assert study.stage_entries("confirm") == []
        path.write_bytes(record)
    assert study.choice("screen") is not None


def test_the_best_mean_validation_metric_is_chosen(study):
    fill(study, "screen", scattered)
    scores = {}
    for entry in study.stage_entries("screen"):
        arm = replace(entry.trial, seed=0)
        if arm.objective != "untrained" and arm.view_strength:
            scores.setdefault(arm, []).append(scattered(entry))

    def best(transform):
        arms = [arm for arm in scores if arm.transform == transform]
        return max(arms, key=lambda arm: fmean(scores[arm]))

    choice = study.choice("screen")
    assert replace(study.base, **choice.baseline) == best("none")
    assert {t: replace(study.base, **arm) for t, arm in choice.arms.items()} == {
        t: best(t) for t in TRANSFORMS
    }


def test_the_mean_decides_and_not_the_best_seed(study):
    by_layer = {"none": (50, 50), "stem": (80, 80), "stage4": (90, 60)}
    fill(study, "screen", lambda entry: by_layer[entry.trial.layer][entry.trial.seed - 2])
    assert names_of(study.choice("screen"))[1] == {"dropout": "stem", "pca": "stem"}


def test_the_choice_does_not_read_test_metrics(study):
    fill(study, "screen", scattered)
    before = study.choice("screen"), study.entries()
    for number, path in enumerate(sorted(study.store.folder.glob("*.json"))):
        record = json.loads(path.read_text())
        record["metrics"]["test"] = {"knn": 7.0 * number % 100, "probe": 3.0 * number % 100}
        path.write_text(json.dumps(with_checksum(record)))
    assert (study.choice("screen"), study.entries()) == before


def test_a_diverged_arm_is_not_chosen(study):
    def stage4_leads(entry):
        return 90 if entry.trial.layer == "stage4" else 50

    fill(study, "screen", stage4_leads)
    assert names_of(study.choice("screen"))[1] == {"dropout": "stage4", "pca": "stage4"}
    fill(study, "screen", stage4_leads, diverged={("stage4 pca 0.5", 3)})
    assert names_of(study.choice("screen"))[1] == {"dropout": "stage4", "pca": "stem"}


def test_a_transform_that_always_diverged_has_no_chosen_arm(study):
    diverged = {(f"{layer} pca 0.5", 2) for layer in ("stem", "stage4")}
    fill(study, "screen", scattered, diverged)
    assert set(study.choice("screen").arms) == {"dropout"}


def test_a_screen_without_a_baseline_that_trains_is_told(study):
    arms = {entry.arm for entry in study.stage_entries("screen") if entry.trial.layer == "none"}
    fill(study, "screen", scattered, {(arm, 2) for arm in arms})
    with pytest.raises(ValueError, match="every baseline of vision screen at tiny diverged"):
        study.choice("screen")
    # What waits for it is listed, and waits.
    assert study.waits_for("confirm") == ["screen"] and study.planned("confirm")
    (reason,) = obstacles(study, "confirm")
    assert "every baseline of vision screen" in reason and not [*obstacles(study, "screen")]


def test_controls_are_not_the_tuned_baseline(study):
    fill(study, "screen", lambda e: 99 if e.arm in (UNTRAINED, NO_AUGMENTATION) else 50)
    baseline = replace(study.base, **study.choice("screen").baseline)
    assert baseline.objective == "contrastive" and baseline.view_strength == 1


def test_the_tuned_baseline_and_the_arms_are_confirmed_with_their_controls(study):
    liked = {"stem pca 0.5": 80, "stem dropout 0.5": 80, "tune temperature=0.1": 60}
    fill(study, "screen", lambda entry: liked.get(entry.arm, 50))
    found = {e.arm: e.trial for e in study.stage_entries("confirm") if e.trial.seed == 100}
    baseline, arm = found["baseline"], found["stem pca 0.5"]
    assert baseline == replace(study.base, temperature=0.1, seed=100)
    assert found[UNTRAINED] == replace(baseline, objective="untrained", epochs=0)
    assert found[NO_AUGMENTATION] == replace(baseline, view_strength=0)
    assert arm == replace(baseline, layer="stem", transform="pca", strength=0.5)
    assert found["stem pca 0.5 same-mask"] == replace(arm, transformed="same")
    assert found["stem pca 0.5 noise"] == replace(arm, transform="noise-centred")


def test_a_longer_stage_changes_the_epochs_alone(study):
    fill(study, "screen", scattered)
    confirm = {(e.arm, e.trial.seed): e.trial for e in study.stage_entries("confirm")}
    for entry in study.stage_entries("longer"):
        assert entry.trial == replace(confirm[entry.arm, entry.trial.seed], epochs=8)


CHAIN = {
    "tuning": {"seeds": [2, 3], "tune": {"temperature": [0.1, 0.5]}},
    "screen": {
        "seeds": [2],
        "chosen_from": "tuning",
        "layers": "middle",
        "transforms": ["dropout", "dropout-feature", "pca"],
        "strengths": [0.2, 0.5],
        "ways": ["both", "one-view-detached"],
    },
    "targets": {"seeds": [3, 4], "chosen_from": "screen", "everywhere": True},
    "confirm": {"seeds": [100], "chosen_from": "targets"},
}


@pytest.fixture
def chain(tmp_path):
    return catalogue.load("vision", str(tiny.profile(tmp_path, **CHAIN)), tmp_path / "results")


def liking(**scores):
    """50, and more for each field of a trial that has a value liked."""
    return lambda entry: (
        50
        + sum(
            points
            for (name, value), points in scores["liked"]
            if getattr(entry.trial, name) == value
        )
    )


LIKED = liking(
    liked=[
        (("temperature", 0.1), 5),
        (("transform", "dropout-feature"), 4),
        (("strength", 0.2), 2),
        (("stop_gradient", "one"), 1),
        (("layer", "stage3"), 3),
    ]
)


def test_each_step_stands_on_what_the_one_before_it_chose(chain):
    assert chain.waits_for("screen") == ["tuning"] and chain.waits_for("confirm") == ["targets"]
    fill(chain, "tuning", LIKED)
    assert chain.choice("tuning").baseline == {"temperature": 0.1}
    assert {e.trial.temperature for e in chain.stage_entries("screen")} == {0.1}
    fill(chain, "screen", LIKED)
    detached = {"transformed": "one", "stop_gradient": "one", "strength": 0.2, "layer": "stage2"}
    assert chain.choice("screen").arms == {
        "dropout": {**detached, "transform": "dropout-feature"},
        "pca": {**detached, "transform": "pca"},
    }
    targets = [e for e in chain.stage_entries("targets") if e.role == "arm"]
    found = Counter((e.trial.layer, e.trial.transform) for e in targets)
    layers = registry.layers("vision", chain.base.encoder)
    assert found == dict.fromkeys(itertools.product(layers, ("dropout-feature", "pca")), 2)
    fill(chain, "targets", LIKED)
    choice = chain.choice("targets")
    assert choice.primary == "dropout"
    assert {f: arm["layer"] for f, arm in choice.arms.items()} == dict.fromkeys(
        choice.arms, "stage3"
    )
    assert {e.arm for e in chain.stage_entries("confirm")} == {
        "baseline",
        "stage3 dropout-feature 0.2 one-view-detached",
        "stage3 pca 0.2 one-view-detached",
    }


def test_seeds_of_the_screen_choose_no_target(chain):
    """The targets stage alone does, though the middle target has a screen's score as well."""
    fill(chain, "tuning", LIKED)
    fill(chain, "screen", lambda entry: 99)
    fill(chain, "targets", lambda entry: 60 if entry.trial.layer == "stem" else 50)
    assert {arm["layer"] for arm in chain.choice("targets").arms.values()} == {"stem"}


def test_an_arm_at_the_input_has_a_best_target_after_it_as_well(chain):
    scores = {"input": 90, "stage4": 80}
    for stage in ("tuning", "screen"):
        fill(chain, stage, LIKED)
    fill(chain, "targets", lambda entry: scores.get(entry.trial.layer, 50))
    choice = chain.choice("targets")
    assert {arm["layer"] for arm in choice.arms.values()} == {"input"}
    assert {arm["layer"] for arm in choice.deep.values()} == {"stage4"}


def test_the_primary_arm_is_the_one_of_the_better_mean(chain):
    for stage in ("tuning", "screen"):
        fill(chain, stage, LIKED)
    at_its_best = {("stem", "pca"): 70, ("stage4", "dropout-feature"): 60}
    fill(chain, "targets", lambda e: at_its_best.get((e.trial.layer, e.trial.transform), 50))
    assert chain.choice("targets").primary == "pca"


def test_what_waits_is_planned_in_full(chain):
    """By an assumed choice: as many trials as there will be."""
    planned = {stage: len(chain.planned(stage)) for stage in chain.stages}
    assert chain.stage_entries("targets") == []
    for stage in ("tuning", "screen", "targets"):
        assert len(chain.planned(stage)) == planned[stage]
        fill(chain, stage, LIKED)
    assert {stage: len(chain.stage_entries(stage)) for stage in chain.stages} == planned


def test_a_stage_is_not_chosen_from_a_later_one(tmp_path):
    stages = {**CHAIN, "tuning": {**CHAIN["tuning"], "chosen_from": "targets"}}
    with pytest.raises(ValueError, match="to be chosen from: 'targets'"):
        catalogue.load("vision", str(tiny.profile(tmp_path, **stages)), tmp_path / "results")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ways": ["one-veiw"]}, "'one-view'"),
        ({"ways": "both"}, "ways"),
        ({"layers": "midle"}, "layers"),
        ({"arms": "deepest"}, "'deep'"),
        ({"layers": None}, "layers"),
    ],
    ids=str,
)
def test_bad_steps_are_named_in_one_line(tmp_path, change, named):
    stages = {**CHAIN, "screen": {**CHAIN["screen"], **change}}
    with pytest.raises(ValueError) as caught:
        catalogue.load("vision", str(tiny.profile(tmp_path, **stages)), tmp_path / "results")
    assert named in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("beside", [{"augmentation": [0.0]}, {"untuned": True}])
def test_a_stage_that_chooses_has_one_baseline(tmp_path, beside):
    tuning = {"seeds": [0], "tune": {"temperature": [0.2, 0.5]}}
    screen = {"seeds": [0], "chosen_from": "tuning", **beside}
    confirm = {"chosen_from": "screen", "seeds": [1]}
    profile = tiny.profile(tmp_path, tuning=tuning, screen=screen, confirm=confirm)
    with pytest.raises(ValueError) as caught:
        catalogue.load("vision", str(profile), tmp_path / "results")
    assert "screen, which confirm is chosen from, has baselines beside" in str(caught.value)


def test_untuned_wants_a_stage_that_tunes(tmp_path):
    profile = tiny.profile(tmp_path, pilot={"seeds": [0], "untuned": True})
    with pytest.raises(ValueError, match="give chosen_from too"):
        catalogue.load("vision", str(profile), tmp_path / "results")


def test_standings_of_baselines_that_all_diverged_are_none(tmp_path):
    study = catalogue.load("vision", "cpu", tmp_path)
    for entry in study.stage_entries("tuning"):
        study.store.write(tiny.record(entry.trial, status="diverged", metrics={}))
    assert [*standings(study)] == []


def test_ways_go_with_a_grid(tmp_path):
    stages = {"pilot": {"seeds": [0], "ways": ["both"]}}
    with pytest.raises(ValueError, match="ways are of layers, transforms and strengths"):
        catalogue.load("vision", str(tiny.profile(tmp_path, **stages)), tmp_path / "results")


def test_seeds_are_those_of_the_rules_unless_a_stage_has_its_own(tmp_path):
    stages = {"pilot": {}, "confirm": {"controls": [UNTRAINED]}, "controls": {"seeds": [7]}}
    study = catalogue.load("vision", str(tiny.profile(tmp_path, **stages)), tmp_path / "results")
    seeds = {name: list(stage.seeds) for name, stage in study.stages.items()}
    ruled = {name: stage["seeds"] for name, stage in rulebook.rules()["stages"].items()}
    assert seeds == {"pilot": ruled["pilot"], "confirm": ruled["confirm"], "controls": [7]}


def test_a_stage_without_seeds_that_the_rules_do_not_know_is_refused(tmp_path):
    with pytest.raises(ValueError, match="give the seeds of stage quick"):
        catalogue.load("vision", str(tiny.profile(tmp_path, quick={})), tmp_path / "results")


# Profiles that extend another


def extending(folder, **content):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"extends": "quick", **content}))
    return str(path)


def test_a_profile_may_extend_another(tmp_path):
    """Mappings are merged key by key, lists replaced, and a null takes a key away."""
    change = {"trial": {"width": 4}, "stages": {"quick": {"seeds": [7], "controls": None}}}
    path = extending(tmp_path, seconds=3, studies={"vision": change, "text": None, "nodes": None})
    mine = catalogue.load("vision", path, tmp_path / "results")
    theirs = catalogue.load("vision", "quick", tmp_path / "results")
    assert mine.base == replace(theirs.base, width=4) and mine.seconds == 3
    assert mine.stages["quick"] == replace(theirs.stages["quick"], seeds=(7,), controls=())
    assert "text" not in catalogue.names(path) and mine.profile == "mine"


@pytest.mark.parametrize("extends", ["qick", 3, ["quick"], "mine"])
def test_an_unknown_profile_to_extend_is_named(tmp_path, extends):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"extends": extends, "studies": {}}))
    with pytest.raises(ValueError) as caught:
        catalogue.load("vision", str(path), tmp_path / "results")
    assert "profile to extend" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_and_recorded_make_up_the_study(study):
    fill(study, "screen", scattered)
    assert study.missing("screen") == []
    assert [entry for entry, _ in study.recorded()] == study.stage_entries("screen")
    waiting = {e.trial.key for e in study.entries() if e.stage != "screen"}
    assert {e.trial.key for e in study.missing()} == waiting


def test_a_trial_in_two_stages_is_missing_once(tmp_path):
    path = tiny.profile(tmp_path, scale={"seeds": [0]}, pilot={"seeds": [0, 1]})
    study = catalogue.load("vision", str(path), tmp_path / "results")
    assert [e.trial.seed for e in study.entries()] == [0, 0, 1]
    assert sorted(e.trial.seed for e in study.missing()) == [0, 1]


# Parameters


def test_parameters_change_the_grid():
    grid = {"layers": ["stage2"], "transforms": ["noise"], "strengths": [0.1, 0.3], "seeds": [7]}
    study = catalogue.load("vision", "quick", data="fashion-mnist", **grid)
    arms = {e.trial for e in study.entries() if e.trial.layer != "none"}
    assert {(t.layer, t.transform, t.strength, t.seed) for t in arms} == {
        ("stage2", "noise", 0.1, 7),
        ("stage2", "noise", 0.3, 7),
    }
    assert {e.trial.data for e in study.entries()} == {"fashion-mnist"}
    assert {e.trial.seed for e in study.entries()} == {7}


def test_parameters_leave_stages_without_a_grid_alone(tmp_path):
    study = catalogue.load("vision", "cpu", tmp_path, layers=["stem"], strengths=[0.1])
    assert {e.trial.layer for e in study.stage_entries("scale")} == {"none"}


def test_all_layers_can_be_asked_for():
    everywhere = {e.trial.layer for e in catalogue.load("vision", layers=["all"]).entries()}
    assert everywhere == {"none", *registry.layers("vision", "resnet10")}


def test_repeated_values_count_once():
    study = catalogue.load("vision", layers=["stem", "stem"], strengths=[0.5, 0.5], seeds=[0, 0])
    of_arm = Counter((e.arm, e.trial.seed) for e in study.entries())
    assert set(of_arm.values()) == {1}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"layers": ["layer4"]}, "'stage4'"),
        ({"layers": "stage4"}, "list"),
        ({"layers": []}, "list"),
        ({"layers": [4]}, "4"),
        ({"transforms": ["drop"]}, "'dropout'"),
        ({"transforms": ["none"]}, "'none'"),
        ({"strengths": [-0.1]}, "-0.1"),
        ({"strengths": [1.0]}, "1.0"),
        ({"strengths": [float("nan")]}, "nan"),
        ({"strengths": ["high"]}, "'high'"),
        ({"strengths": [True]}, "True"),
        ({"strengths": 0.5}, "list"),
        ({"seeds": [0.5]}, "0.5"),
        ({"seeds": [-1]}, "seed"),
        ({"seeds": 3}, "list"),
        ({"data": 5}, "data"),
        ({"profile": "cpuu"}, "'cpu'"),
        ({"profile": 5}, "5"),
        ({"layer": ["stem"]}, "'layers'"),
        ({"name": "visoin"}, "'vision'"),
    ],
)
def test_bad_parameter_is_named_in_one_line(given, named):
    with pytest.raises(ValueError) as caught:
        catalogue.load(**{"name": "vision", **given})
    assert named in str(caught.value) and "\n" not in str(caught.value)


# Profiles as others may write them


def refusal(path) -> str:
    with pytest.raises(ValueError) as caught:
        catalogue.load("vision", str(path))
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    return message


GRID = {"layers": ["stem"], "transforms": ["pca"], "strengths": [0.5]}


@pytest.mark.parametrize(
    ("stage", "named"),
    [
        ({"sedes": [0]}, "'seeds'"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": ["0"]}, "seeds"),
        ({"seeds": None}, "seeds"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [0], "trial": 5}, "trial"),
        ({"seeds": [0], "trial": None}, "trial"),
        ({"seeds": [0], "trial": {"epoch": 2}}, "'epochs'"),
        ({"seeds": [0], "trial": {"epochs": "many"}}, "epochs"),
        ({"seeds": [0], "trial": {"seed": 3}}, "'seed'"),
        ({"seeds": [0], "trial": {"protocol": 7}}, "'protocol'"),
        ({"seeds": [0], "controls": ["untraind"]}, "'untrained'"),
        ({"seeds": [0], "controls": "untrained"}, "controls"),
        ({"seeds": [0], "arm_controls": ["same"]}, "'same-mask'"),
        ({"seeds": [0], **GRID, "layers": "stem"}, "layers"),
        ({"seeds": [0], **GRID, "layers": ["stage9"]}, "'stage4'"),
        ({"seeds": [0], **GRID, "transforms": ["pcaa"]}, "'pca'"),
        ({"seeds": [0], **GRID, "strengths": [1.5]}, "1.5"),
        ({"seeds": [0], **GRID, "strengths": ["half"]}, "'half'"),
        ({"seeds": [0], "layers": ["stem"]}, "transforms"),
        ({"seeds": [0], "trial": {"cut": "stage2"}}, "'cut'"),
        ({"seeds": [0], "variants": {"halved": {"cut": "stage2"}}}, "'cut'"),
        ({"seeds": [0], "tune": {"cut": ["stage2"]}}, "'cut'"),
        ({"seeds": [0], "cuts": "stage2"}, "cuts"),
        ({"seeds": [0], "cuts": ["pooled"]}, "unknown cut: 'pooled'"),
        ({"seeds": [0], "cuts": ["stage1", "stage9"]}, "unknown cut: 'stage9'"),
        (
            {"seeds": [0], "cuts": ["stage2"], "chosen_from": "screen", "arm_controls": ["noise"]},
            "cuts",
        ),
        ({"seeds": [0], "variants": 3}, "variants"),
        ({"seeds": [0], "variants": {"doubled": 3}}, "doubled"),
        ({"seeds": [0], "variants": {"doubled": None}}, "doubled"),
        ({"seeds": [0], "variants": {"doubled": {"epoch": 3}}}, "'epochs'"),
        ({"seeds": [0], "tune": {"temperature": 0.1}}, "temperature"),
        ({"seeds": [0], "tune": {"temperature": None}}, "temperature"),
        ({"seeds": [0], "tune": {"temprature": [0.1]}}, "'temperature'"),
        ({"seeds": [0], "tune": {"temperature": [[0.1]]}}, "temperature"),
        ({"seeds": [0], "tune": {"temperature": ["warm"]}}, "temperature"),
        ({"seeds": [0], "chosen_from": "screeen"}, "'screeen'"),
        ({"seeds": [0], "chosen_from": "quick"}, "'quick'"),
        ({"seeds": [0], "chosen_from": 3}, "3"),
        ("fast", "'fast'"),
        (None, "None"),
    ],
)
def test_bad_stage_is_named_in_one_line(tmp_path, stage, named):
    stages = {"screen": {"seeds": [2]}, "quick": stage}
    assert named in refusal(tiny.profile(tmp_path, **stages))


@pytest.mark.parametrize(
    ("change", "named"), [({"trial": {"epochs": -1}}, "epochs"), ({"cuts": ["pooled"]}, "'pooled'")]
)
def test_a_stage_that_waits_is_checked_before_the_one_it_waits_for(tmp_path, change, named):
    longer = {"seeds": [100], "chosen_from": "screen", **change}
    assert named in refusal(tiny.profile(tmp_path, screen={"seeds": [2]}, longer=longer))


STAGES = {"quick": {"seeds": [0]}}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "mapping"),
        ([1], "mapping"),
        ({}, "studies"),
        ({"studies": {}}, "studies"),
        ({"studies": ["vision"]}, "studies"),
        ({"study": {}}, "'studies'"),
        ({"studies": {3: {"stages": STAGES}}}, "not 3"),
        ({"studies": {"vision": None}}, "stages"),
        ({"studies": {"vision": {"stages": ["quick"]}}}, "stages"),
        ({"studies": {"vision": {"stagse": STAGES, "stages": STAGES}}}, "'stages'"),
        ({"studies": {"vision": {"stages": {"confrim": {"seeds": [0]}}}}}, "'confirm'"),
        ({"studies": {"vision": {"stages": STAGES, "trial": None}}}, "trial"),
        ({"studies": {"vision": {"stages": STAGES, "trial": {"widht": 8}}}}, "'width'"),
        ({"studies": {"vision": {"stages": STAGES}}, "trial": [1]}, "trial"),
        ({"studies": {"vision": {"stages": STAGES}}, "trial": {"threads": 0}}, "threads"),
    ],
)
def test_bad_profile_is_named_in_one_line(tmp_path, content, named):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    assert named in refusal(path)


@pytest.mark.parametrize(
    "text",
    [
        "studies: !!python/object/apply:os.system ['touch {mark}']",
        "studies: !!python/object/new:subprocess.Popen [['touch', '{mark}']]",
        "studies: !!python/name:os.system",
    ],
)
def test_a_tag_that_would_run_code_is_refused(tmp_path, text):
    path, mark = tmp_path / "mine.yaml", tmp_path / "mark"
    path.write_text(text.format(mark=mark))
    assert "not plain YAML" in refusal(path)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"studies: [", b"\xff\xfe\x00\x01", b"a: b: c\n\td"])
def test_a_file_that_is_no_yaml_is_refused(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    assert "not plain YAML" in refusal(path)


def test_an_absent_file_is_named(tmp_path):
    assert "No such file" in refusal(tmp_path / "mine.yaml")
    assert "directory" in refusal(tmp_path.rename(tmp_path.with_suffix(".yaml")))


def test_a_bare_exponent_is_a_number(tmp_path):
    path = tiny.profile(tmp_path)
    path.write_text(path.read_text().replace("width: 4", "learning_rate: 1e-3"))
    assert catalogue.load("vision", str(path)).entries()[0].trial.learning_rate == 1e-3


@pytest.mark.parametrize("name", ["...yaml", "..yaml", ".hidden.yaml", "a b.yaml", "-x.yaml"])
def test_a_profile_whose_records_would_lie_elsewhere_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_text(tiny.profile(tmp_path).read_text())
    with pytest.raises(ValueError, match="cannot name a folder"):
        catalogue.load("vision", str(path), tmp_path / "results")


def listed(study, stage="quick"):
    """Role, objective, target and cut of each entry of one seed."""
    entries = study.stage_entries(stage)
    trials = [
        (entry.role, entry.objective, entry.trial.layer, entry.trial.cut) for entry in entries
    ]
    assert len({entry.name for entry in entries}) == len(trials)
    return trials


@pytest.mark.parametrize(
    ("cuts", "after"),
    [
        ("middle", ["stage2"]),
        ("all", ["stem", "stage1", "stage2", "stage3"]),
        (["stem", "stage3"], ["stem", "stage3"]),
    ],
)
def test_networks_of_baselines_and_arms_are_split_and_twins_have_no_arms(tmp_path, cuts, after):
    grid = {"layers": ["stage1"], "transforms": ["pca"], "strengths": [0.5], "cuts": cuts}
    twins = {"objectives": ["contrastive", "supervised"], "controls": ["untrained"]}
    study = catalogue.load(
        "vision", str(tiny.profile(tmp_path, quick={"seeds": [0], **grid, **twins}))
    )
    found = listed(study)
    assert Counter(found) == Counter(
        [("control", objective, "none", "none") for objective in twins["objectives"]]
        + [
            ("baseline", objective, "none", cut)
            for objective in twins["objectives"]
            for cut in after
        ]
        + [("arm", "contrastive", "stage1", cut) for cut in after]
    )
    # What is split is the same network otherwise: pairs, metrics and times are those of its kind.
    plain = catalogue.load("vision", str(tiny.profile(tmp_path, quick={"seeds": [0], **twins})))
    whole = {
        replace(entry.trial, cut="none") for entry in study.entries() if entry.role == "baseline"
    }
    assert whole == {entry.trial for entry in plain.entries() if entry.role == "baseline"}


def test_co_adaptation_is_that_of_the_rules(tmp_path):
    rules = rulebook.rules()
    study = catalogue.load("co-adaptation", "cpu", tmp_path)
    for stage, seeds in (
        ("confirm", rules["stages"]["confirm"]["seeds"]),
        ("exploratory", rules["claims"]["C4"]["exploratory"]["other_cuts"]),
    ):
        entries = study.planned(stage)
        assert sorted({entry.trial.seed for entry in entries}) == seeds
        for base in study.bases:
            own = [e for e in entries if e.base == base.label and e.trial.seed == seeds[0]]
            middle = {"confirm": (arms.middle(base.trial),), "exploratory": arms.cuts(base.trial)}
            split = [(e.role, e.objective, e.trial.cut) for e in own if e.role != "control"]
            kinds = ("baseline", "contrastive"), ("baseline", "supervised"), ("arm", "contrastive")
            assert Counter(split) == Counter((*k, cut) for k in kinds for cut in middle[stage])
            assert {e.arm for e in own if e.role == "control"} == {"untrained"}
    assert [base.trial.data for base in study.bases] == [
        "Cora",
        "CiteSeer",
        "20newsgroups",
        "cifar10-jpeg",
    ]


def test_settings_of_a_stage_go_before_what_was_tuned(tmp_path):
    path = tiny.profile(
        tmp_path,
        tuning={"seeds": [2], "tune": {"epochs": [2, 3]}},
        longer={"seeds": [100], "chosen_from": "tuning", "trial": {"epochs": 8}},
    )
    study = catalogue.load("vision", str(path), tmp_path / "results")
    fill(study, "tuning", lambda entry: entry.trial.epochs)
    assert study.choice("tuning").baseline == {"epochs": 3}
    assert {entry.trial.epochs for entry in study.stage_entries("longer")} == {8}


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"layers": ["middle", "stem"]}, "'middle' stands for layers by itself"),
        ({"cuts": ["stem", "all"]}, "'all' stands for layers by itself"),
        ({"cuts": ["middle", "stem"]}, "'middle' stands for layers by itself"),
        ({"cuts": "all", "arm_controls": ["noise"]}, "leave out these or cuts"),
        ({"variants": {"untrained": {"epochs": 3}}}, "'untrained' has a name that is taken"),
        ({"tune": {"learning_rate": [0.12345678, 0.12345679]}}, "values of learning_rate to tune"),
        ({"variants": {"twin": {"objective": "supervised"}}}, "objective stands under objectives"),
    ],
)
def test_names_and_values_that_clash_are_told(tmp_path, stage, words):
    grid = {"transforms": ["pca"], "strengths": [0.5]} if "layers" in stage else {}
    path = tiny.profile(tmp_path, quick={"seeds": [0], **grid, **stage})
    with pytest.raises(ValueError, match=words):
        catalogue.load("vision", str(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"all": {"trial": {}, "stages": {"quick": {"seeds": [0]}}}}, "'all' stands for all"),
        ({"vision": {"trial": {}, "stages": {}}}, "has no stage; give one to a study"),
    ],
)
def test_a_profile_that_cannot_be_run_as_a_whole_is_told(tmp_path, content, words):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"studies": content}))
    with pytest.raises(ValueError, match=words):
        catalogue.agenda(str(path))
