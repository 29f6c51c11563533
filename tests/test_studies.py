"""What a profile makes of a study, and what a screen's records choose."""

import itertools
import json
from collections import Counter
from dataclasses import replace
from statistics import fmean

import pytest
import tiny
import yaml

from deepaug import modalities, studies
from deepaug.records import sealed

TRANSFORMS = ("dropout", "pca")
JUDGED = ("cpu", "gpu")  # profiles whose stages are those of the verdict rules
NO_AUGMENTATION, UNTRAINED = "no-augmentation", "untrained"
BASELINES = ("baseline", "baseline untuned")  # of the stages that wait for a choice


def seeds_by_arm(entries):
    seeds = {}
    for entry in entries:
        seeds.setdefault(entry.arm, []).append(entry.trial.seed)
    return seeds


def fill(study, stage, score, diverged=()):
    """Records of a whole stage: `score` gives an entry's validation metric."""
    study.store.folder.mkdir(parents=True, exist_ok=True)
    for entry in study.stage_entries(stage):
        metrics = {"validation": {"knn": float(score(entry))}, "test": {"knn": 50.0}}
        record = tiny.record(entry.trial, metrics=metrics)
        if (entry.arm, entry.trial.seed) in diverged:
            record |= {"status": "diverged", "metrics": {}}
        study.store.path(entry.trial.key).write_text(json.dumps(sealed(record)))


def scattered(entry):
    """A score without a pattern, the same for a trial each time."""
    return int(entry.trial.key, 16) % 10007 / 100


# Profiles as they are


@pytest.mark.parametrize("profile", ["quick", *JUDGED])
def test_profile_loads_and_every_arm_has_a_key_of_its_own(profile, tmp_path):
    names = studies.names(profile)
    assert "vision" in names
    for name in names:
        entries = studies.load(name, profile, tmp_path).entries()
        # Random initialisation alone belongs to both twins.
        trained = [entry for entry in entries if entry.trial.objective != "untrained"]
        of_stage = Counter((entry.stage, entry.trial.key) for entry in trained)
        assert entries and max(of_stage.values()) == 1
        assert {entry.trial.modality for entry in entries} <= set(modalities.NAMES)


def test_quick_is_the_default_and_stays_small(tmp_path):
    study = studies.load("vision", root=tmp_path)
    assert study.profile == "quick" and list(study.stages) == ["quick"]
    assert study.base.data == "mnist-5k"
    assert {entry.trial.precision for entry in study.entries()} == {"float32"}
    assert len(study.entries()) <= 60


@pytest.mark.parametrize("profile", JUDGED)
def test_screen_has_as_many_baselines_as_arms_with_a_transform(profile, tmp_path):
    study = studies.load("vision", profile, tmp_path)
    screen = seeds_by_arm(study.stage_entries("screen"))
    assert all(seeds == [2, 3] for seeds in screen.values())
    trials = {entry.arm: entry.trial for entry in study.stage_entries("screen")}
    arms = {t for t in trials.values() if t.layer != "none"}
    baselines = set(trials.values()) - arms - {trials[UNTRAINED]}
    assert (len(arms), len(baselines)) == (28, 28)
    targets = modalities.layers("vision", study.base.encoder)
    assert {(t.layer, t.transform, t.strength) for t in arms} == set(
        itertools.product(targets, TRANSFORMS, (0.2, 0.5))
    )


@pytest.mark.parametrize("profile", JUDGED)
def test_screened_baselines_differ_in_what_is_tuned_alone(profile, tmp_path):
    study = studies.load("vision", profile, tmp_path)
    tuned = ("temperature", "view_strength", "learning_rate", "weight_decay")
    for entry in study.stage_entries("screen"):
        settings = {name: getattr(study.base, name) for name in tuned}
        if entry.trial.layer == "none" and entry.arm != UNTRAINED:
            assert replace(entry.trial, seed=0, **settings) == study.base


@pytest.mark.parametrize("profile", JUDGED)
@pytest.mark.parametrize("stage", ["scale", "pilot"])
def test_early_stages_keep_to_their_seeds(profile, stage, tmp_path):
    arms = seeds_by_arm(studies.load("vision", profile, tmp_path).stage_entries(stage))
    assert {"baseline", UNTRAINED} <= arms.keys()
    assert all(seeds == [0, 1] for seeds in arms.values())


@pytest.mark.parametrize("profile", JUDGED)
def test_scale_is_set_on_the_baseline_alone(profile, tmp_path):
    study = studies.load("vision", profile, tmp_path)
    scale = {entry.arm: entry.trial for entry in study.stage_entries("scale")}
    assert {trial.layer for trial in scale.values()} == {"none"}
    assert scale["doubled"] == replace(scale["baseline"], epochs=2 * study.base.epochs)


@pytest.mark.parametrize("profile", JUDGED)
def test_confirm_is_ten_seeds_of_what_the_screen_chose(profile, tmp_path):
    study = studies.load("vision", profile, tmp_path)
    assert study.stage_entries("confirm") == study.stage_entries("longer") == []
    fill(study, "screen", scattered)
    confirm, longer = (study.stage_entries(stage) for stage in ("confirm", "longer"))
    choice = study.choice("screen")
    chosen = [studies.arm_name(replace(study.base, **arm)) for arm in choice.arms.values()]
    of_arms = {f"{arm}{control}" for arm in chosen for control in ("", " same-mask", " noise")}
    arms = seeds_by_arm(confirm)
    baselines = {"baseline", "baseline untuned"}
    assert set(arms) == {*baselines, UNTRAINED, NO_AUGMENTATION, *of_arms}
    assert all(seeds == list(range(100, 110)) for seeds in arms.values())
    assert seeds_by_arm(longer) == {arm: list(range(100, 105)) for arm in (*baselines, *chosen)}
    epochs = {entry.arm: entry.trial.epochs for entry in confirm}
    assert all(entry.trial.epochs == 4 * epochs[entry.arm] for entry in longer)


@pytest.mark.parametrize("profile", JUDGED)
def test_no_stage_uses_seeds_that_chose_or_set_the_scale(profile, tmp_path):
    stages = studies.load("vision", profile, tmp_path).stages
    earlier = {seed for name in ("scale", "pilot") for seed in stages[name].seeds}
    assert earlier.isdisjoint(stages["screen"].seeds)
    assert (earlier | set(stages["screen"].seeds)).isdisjoint(stages["confirm"].seeds)


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
    return studies.load("vision", str(path), tmp_path / "results")


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
        path.write_text(json.dumps(sealed(record)))
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
    with pytest.raises(ValueError, match="every baseline"):
        study.choice("screen")


def test_controls_are_not_the_tuned_baseline(study):
    fill(study, "screen", lambda e: 99 if e.arm in (UNTRAINED, NO_AUGMENTATION) else 50)
    baseline = replace(study.base, **study.choice("screen").baseline)
    assert baseline.objective == "contrastive" and baseline.view_strength == 1


def test_the_tuned_baseline_and_the_arms_are_confirmed_with_their_controls(study):
    liked = {"stem pca 0.5": 80, "stem dropout 0.5": 80, "tune temperature=0.1": 60}
    fill(study, "screen", lambda entry: liked.get(entry.arm, 50))
    arms = {e.arm: e.trial for e in study.stage_entries("confirm") if e.trial.seed == 100}
    baseline, arm = arms["baseline"], arms["stem pca 0.5"]
    assert baseline == replace(study.base, temperature=0.1, seed=100)
    assert arms["baseline untuned"] == replace(study.base, seed=100)
    assert arms[UNTRAINED] == replace(baseline, objective="untrained", epochs=0)
    assert arms[NO_AUGMENTATION] == replace(baseline, view_strength=0)
    assert (arm.layer, arm.transform, arm.strength) == ("stem", "pca", 0.5)
    assert arms["stem pca 0.5 same-mask"] == replace(arm, transformed="same")
    assert arms["stem pca 0.5 noise"] == replace(arm, transform="noise-centred")


def test_a_longer_stage_changes_the_epochs_alone(study):
    fill(study, "screen", scattered)
    confirm = {(e.arm, e.trial.seed): e.trial for e in study.stage_entries("confirm")}
    for entry in study.stage_entries("longer"):
        assert entry.trial == replace(confirm[entry.arm, entry.trial.seed], epochs=8)


def test_missing_and_recorded_make_up_the_study(study):
    fill(study, "screen", scattered)
    assert study.missing("screen") == []
    assert [entry for entry, _ in study.recorded()] == study.stage_entries("screen")
    waiting = {e.trial.key for e in study.entries() if e.stage != "screen"}
    assert {e.trial.key for e in study.missing()} == waiting


def test_a_trial_in_two_stages_is_missing_once(tmp_path):
    path = tiny.profile(tmp_path, scale={"seeds": [0]}, pilot={"seeds": [0, 1]})
    study = studies.load("vision", str(path), tmp_path / "results")
    assert [e.trial.seed for e in study.entries()] == [0, 0, 1]
    assert sorted(e.trial.seed for e in study.missing()) == [0, 1]


# Parameters


def test_parameters_change_the_grid():
    grid = {"layers": ["stage2"], "transforms": ["noise"], "strengths": [0.1, 0.3], "seeds": [7]}
    study = studies.load("vision", "quick", data="fashion-mnist", **grid)
    arms = {e.trial for e in study.entries() if e.trial.layer != "none"}
    assert {(t.layer, t.transform, t.strength, t.seed) for t in arms} == {
        ("stage2", "noise", 0.1, 7),
        ("stage2", "noise", 0.3, 7),
    }
    assert {e.trial.data for e in study.entries()} == {"fashion-mnist"}
    assert {e.trial.seed for e in study.entries()} == {7}


def test_parameters_leave_stages_without_a_grid_alone(tmp_path):
    study = studies.load("vision", "cpu", tmp_path, layers=["stem"], strengths=[0.1])
    assert {e.trial.layer for e in study.stage_entries("scale")} == {"none"}


def test_all_layers_can_be_asked_for():
    everywhere = {e.trial.layer for e in studies.load("vision", layers=["all"]).entries()}
    assert everywhere == {"none", *modalities.layers("vision", "resnet10")}


def test_repeated_values_count_once():
    study = studies.load("vision", layers=["stem", "stem"], strengths=[0.5, 0.5], seeds=[0, 0])
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
        ({"name": "visoin"}, "'vision'"),
    ],
)
def test_bad_parameter_is_named_in_one_line(given, named):
    with pytest.raises(ValueError) as caught:
        studies.load(**{"name": "vision", **given})
    assert named in str(caught.value) and "\n" not in str(caught.value)


# Profiles as others may write them


def refusal(path) -> str:
    with pytest.raises(ValueError) as caught:
        studies.load("vision", str(path))
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
        ({"seeds": [0], **GRID, "strengths": ["5e-1"]}, "'5e-1'"),
        ({"seeds": [0], "layers": ["stem"]}, "transforms"),
        ({"seeds": [0], "variants": 3}, "variants"),
        ({"seeds": [0], "variants": {"doubled": 3}}, "doubled"),
        ({"seeds": [0], "variants": {"doubled": None}}, "doubled"),
        ({"seeds": [0], "variants": {"doubled": {"epoch": 3}}}, "'epochs'"),
        ({"seeds": [0], "tune": {"temperature": 0.1}}, "temperature"),
        ({"seeds": [0], "tune": {"temperature": None}}, "temperature"),
        ({"seeds": [0], "tune": {"temprature": [0.1]}}, "'temperature'"),
        ({"seeds": [0], "tune": {"temperature": ["1e-1"]}}, "temperature"),
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


def test_a_stage_that_waits_is_checked_before_the_one_it_waits_for(tmp_path):
    longer = {"seeds": [100], "chosen_from": "screen", "trial": {"epochs": -1}}
    assert "epochs" in refusal(tiny.profile(tmp_path, screen={"seeds": [2]}, longer=longer))


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
        ({"studies": {3: {"stages": STAGES}}}, "'vision'"),
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


def test_yaml_reads_a_bare_exponent_as_text_and_is_told_so(tmp_path):
    path = tiny.profile(tmp_path)
    path.write_text(path.read_text().replace("width: 4", "learning_rate: 1e-3"))
    assert "1.0e-3 rather than 1e-3" in refusal(path)


@pytest.mark.parametrize("name", ["...yaml", "..yaml", ".hidden.yaml", "a b.yaml", "-x.yaml"])
def test_a_profile_whose_records_would_lie_elsewhere_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_text(tiny.profile(tmp_path).read_text())
    with pytest.raises(ValueError, match="cannot name a folder"):
        studies.load("vision", str(path), tmp_path / "results")
