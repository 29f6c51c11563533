"""From records to verdicts: made-up records whose effects are known by hand."""

import math

import pytest
import tiny
from synthetic import DIVERGED, World, judged, world

from deepaug.studies import catalogue, rulebook
from deepaug.studies.study import Entry
from deepaug.verdicts import opened, outcomes
from deepaug.verdicts.evidence import Arm, Evidence

FAMILY = rulebook.rules()["family"]["tests"]


def rows(table, kind="family"):
    return {r.test: r for c in table.cells for r in c.tests if r.kind == kind}


def cells(table):
    return {cell.claim: cell.verdict for cell in table.cells}


def of_dropout(table, test):
    """A row of the primary family."""
    return next(
        row
        for cell in table.cells
        for row in cell.tests
        if row.test == test and row.transform in ("dropout", "")
    )


# Gains at the four targets are 0, 1, 2 and 3, and validation chooses the deepest.
BY_HAND = {
    "C1": 3.0,
    "C2": 3.0 - -1.0,
    "C3a": 1.0,
    "C3b standard": 1.5,
    "C3b same_transform": 3.0 - 0.0,
    "C4 exhibited": 6 / 30 - 2 / 40,
    "C4 alleviated": 6 / 30 - 3.3 / 33,
    "C5 random": 3.0 - (1 + 2 + 3) / 3,
}


@pytest.mark.parametrize("modality", ["text", "nodes"])
def test_the_family_of_tests_by_hand(monkeypatch, tmp_path, modality):
    # Plain scores grow by 0 to 6 points with the seed: on average by 2.9 of confirm's ten.
    level = sum(seed % 7 for seed in range(100, 110)) / 10
    expected = BY_HAND | {
        "C4 exhibited": 6 / (30 + level) - 2 / (40 + level),
        "C4 alleviated": 6 / (30 + level) - 3.3 / (33 + level),
    }
    found = judged(monkeypatch, tmp_path, World(), modality)
    assert rows(found).keys() == expected.keys() == set(FAMILY)
    for test, row in rows(found).items():
        assert row.effect.mean == pytest.approx(expected[test], abs=2e-3), test
        assert (row.word, row.effect.n) == ("supported", 10), test
        assert row.adjusted_p < 0.05
    assert {c: v for c, v in cells(found).items() if c != "C7"} == {
        "C1": "supported",
        "C2": "supported: inverse",
        "C3a": "supported",
        "C3b": "supported",
        "C4": "supported",
        "C5": "supported",
    }


# What is changed in the world, and the words that come of it.
OPPOSED = {"gains": (0.0, -1.0, -2.0, -3.0), "twin": 1.0, "alone": -1.5}
FLAT = {"gains": (0.0,) * 4, "twin": 0.0, "alone": 0.0, "control": 0.0}
WORDS = {
    "opposed": (
        OPPOSED | {"lost": {"contrastive": 2.0, "supervised": 8.0, "arm": 6.0}},
        dict.fromkeys(("C1", "C2", "C3a", "C3b", "C4", "C5"), "opposed"),
    ),
    "negligible": (
        FLAT | {"lost": {"contrastive": 3.0, "supervised": 4.0, "arm": 3.0}, "twin": 0.05},
        dict.fromkeys(("C1", "C2", "C3b", "C4", "C5"), "negligible"),
    ),
    "inconclusive": (
        FLAT | {"size": 3.0, "most_similar": 2},
        dict.fromkeys(("C1", "C2", "C3b"), "inconclusive"),
    ),
    "mixed": ({"gains": (4.0, 1.0, 2.0, 3.0)}, {"C1": "supported", "C3b": "mixed"}),
    "interaction only": ({"twin": 1.0}, {"C2": "supported: interaction only"}),
    "an order that four in 24 have by chance": (
        {"gains": (0.0, 2.0, 1.0, 3.0)},
        {"C3a": "inconclusive"},
    ),
    "the wrong layer": ({"most_similar": 1}, {"C1": "supported", "C5": "opposed"}),
    "unmet scale": (
        {"untrained": 57.3},
        dict.fromkeys(
            rulebook.rules()["claims"].keys() - {"C6", "C7"},
            "no verdict: the baseline stands 2.7 points above random initialisation, 10 are needed",
        ),
    ),
}


@pytest.mark.parametrize(("changes", "expected"), WORDS.values(), ids=WORDS)
def test_words_of_cells(monkeypatch, tmp_path, changes, expected):
    found = judged(monkeypatch, tmp_path, world(**changes))
    assert {claim: cells(found)[claim] for claim in expected} == expected
    if changes.get("untrained"):
        assert not any(row.word for cell in found.cells for row in cell.tests)


def test_inconclusive_tells_seeds_and_the_gain_that_is_excluded(monkeypatch, tmp_path):
    row = rows(judged(monkeypatch, tmp_path, world(**FLAT, size=3.0)))["C1"]
    assert row.needed > 10 and row.excluded == row.effect.high > 0


def diverging(*seeds):
    """The arm at its target diverges on these seeds."""

    def test(self, trial):
        lost = trial.layer != "none" and trial.objective == "contrastive" and trial.seed in seeds
        return DIVERGED if lost else World.test(self, trial)

    return test


def test_a_diverged_run_counts_as_its_untrained_self(monkeypatch, tmp_path):
    """Seeds 100 and 101: 30 instead of 63, over plain 62 and 63."""
    row = rows(judged(monkeypatch, tmp_path, world(test=diverging(100, 101))))["C1"]
    others = [3.0 + (0.1 if seed % 2 else -0.1) for seed in range(102, 110)]
    assert row.effect.mean == pytest.approx((sum(others) + (30 - 62) + (30 - 63)) / 10)
    assert row.diverged == pytest.approx(0.2) and len(row.keys) == 20 + 2


@pytest.mark.parametrize(("lost", "word"), [((100, 101), "supported"), ((100, 101, 102), None)])
def test_above_a_fifth_diverged_nothing_is_supported(monkeypatch, tmp_path, lost, word):
    """With an untrained network so good that the mean gain stays well above 0."""
    found = world(test=diverging(*lost), untrained=45.0, gains=(0, 1, 2, 40), contrastive=60.0)
    row = rows(judged(monkeypatch, tmp_path, found))["C1"]
    assert row.effect.mean > 20
    assert (row.word == "supported") == (word == "supported")


def test_a_copy_that_diverged_counts_as_untrained(monkeypatch, tmp_path):
    def record(self, trial):
        made = World.record(self, trial)
        if trial.cut != "none" and trial.objective == "supervised" and trial.seed == 100:
            metrics = {s: {n: v for n, v in m.items() if "frozen" not in n}
                       for s, m in made["metrics"].items()}  # fmt: skip
            return {**made, "metrics": metrics}
        return made

    found = judged(monkeypatch, tmp_path, world(record=record))
    row = rows(found)["C4 exhibited"]
    assert row.diverged == pytest.approx(0.1) and row.effect.mean < 0.1


def without(condition):
    def test(self, trial):
        return None if condition(trial) else World.test(self, trial)

    return world(test=test)


def test_cells_say_how_far_they_are(monkeypatch, tmp_path):
    found = judged(monkeypatch, tmp_path, without(lambda t: t.seed >= 104))
    said = cells(found)
    # Baseline, two arms and the two controls; four seeds of ten. Of C7 four of five seeds.
    assert said["C1"] == "running: 20 of 50" and said["C4"] == "running: 16 of 40"
    assert said["C7"] == "running: 28 of 35"
    # Nobody looks at effects of some seeds, and stops when they please.
    assert not any(row.word or row.told for row in rows(found).values())


def test_a_stage_that_waits_for_a_choice_counts_by_one_that_is_assumed(monkeypatch, tmp_path):
    found = judged(monkeypatch, tmp_path, without(lambda t: t.layer != "none"))
    assert cells(found)["C1"].startswith("running: ") and not found.cells[0].tests
    assert cells(found)["C1"].endswith("of 60") or cells(found)["C1"].endswith("of 70")


def test_a_study_that_the_profile_lacks_is_not_run(monkeypatch, tmp_path):
    missing = {"co-adaptation": None}
    said = cells(judged(monkeypatch, tmp_path, World(), **missing))
    assert said["C4"] == said["C5"].replace("C5", "C4")
    assert (
        said["C4"].startswith("not run: profile ") and "co-adaptation confirm of text" in said["C4"]
    )
    assert said["C1"] == "supported"


def test_without_a_scale_nothing_is_judged(monkeypatch, tmp_path):
    found = judged(monkeypatch, tmp_path, without(lambda t: t.epochs == 8))
    assert cells(found)["C1"] == "not judged: the scale is not fully recorded"


@pytest.mark.parametrize(
    ("conditions", "pairs"),
    [
        (("a GPU", "2.11.0"), False),
        (("another processor", "2.11.0"), True),
        (("a processor", "2.12.0"), False),
        (("a processor", "2.11.0+cpu"), True),
    ],
)
def test_runs_of_other_conditions_do_not_pair(monkeypatch, tmp_path, conditions, pairs):
    def record(self, trial):
        elsewhere = trial.seed == 105 and trial.layer == "none"
        self.conditions = conditions if elsewhere else World.conditions
        return World.record(self, trial)

    found = judged(monkeypatch, tmp_path, world(record=record))
    row = rows(found)["C1"]
    if pairs:
        assert row.word == "supported"
    else:
        assert cells(found)["C1"] == row.verdict == "not judged: 9 of 10 seeds"
        assert "20newsgroups seed 105: not paired" in row.notes[0]


def test_nothing_is_judged_where_all_baselines_diverged(monkeypatch, tmp_path):
    def test(self, trial):
        return DIVERGED if trial.seed in (2, 3) else World.test(self, trial)

    found = judged(monkeypatch, tmp_path, world(test=test))
    assert cells(found)["C1"].startswith("not judged: every baseline of text tuning")


def test_an_arm_that_diverged_at_every_target_after_the_input_has_no_deep_one(
    monkeypatch, tmp_path
):
    def test(self, trial):
        deep = trial.layer not in ("none", "embeddings")
        return DIVERGED if deep and trial.seed in (3, 4) else World.test(self, trial)

    found = judged(monkeypatch, tmp_path, world(test=test))
    assert cells(found)["C3b"].startswith("not judged: C3b standard and C3b same_transform cannot")
    assert cells(found)["C3a"] == "supported"


# Name of a secondary test or of context -> its effect, in the way that validation chooses.
SECONDARY = {
    "one-view": {
        "C1 over noise": 3 - 0.5,
        "C1 both over same mask": (3 + 1) - 0.5,
        "C1 at four times the epochs": 3.0,
        "C2 contrastive gain": 3.0,
        "C2 twin's gain": -1.0,
        "C5 last": 3 - 3,
        "C5 middle": 3 - 1,
        "C5 validation": 3 - 3,
        "C7 both": 3 + 1,
        "C7 detached": 3 - 2,
        "C7 detached over both": -2 - 1,
        "C3b alone over no-augmentation": 1.5 + 5,
    },
    "one-view-detached": {
        "C1 over the way at p = 0": 3 - 0.5,
        "C2 over the way at p = 0": (3 - 0.5) - 0,
        "C1 over noise": 3 - 0.5,
        "C1 both over same mask": (3 + 1) - 0.5,
        "C7 one-view-detached": 3.0,
    },
}


@pytest.mark.parametrize(("way", "expected"), SECONDARY.items(), ids=SECONDARY)
def test_secondary_tests_by_hand(monkeypatch, tmp_path, way, expected):
    found = judged(monkeypatch, tmp_path, world(way=way, ways={"detached": -2.0, "both": 1.0}))
    for test, effect in expected.items():
        row = of_dropout(found, test)
        # Five seeds waver by 0.02 on average.
        assert row.effect.mean == pytest.approx(effect, abs=0.041), test
        assert row.kind == ("context" if "gain" in test or "alone" in test else "secondary")
        assert (row.adjusted_p is None) == (row.kind == "context")
    assert of_dropout(found, "C1 over noise").effect.n == 5
    names = {row.test for cell in found.cells for row in cell.tests}
    assert ("C1 over the way at p = 0" in names) == ("detached" in way)


def test_several_data_sets_have_aggregates(monkeypatch, tmp_path):
    """The middle half of gains of 2.9 and 3.1; a run of the arm against plain ones of all seeds."""
    found = judged(monkeypatch, tmp_path, World(), "nodes")
    row = of_dropout(found, "C1 interquartile mean")
    assert row.effect.mean == pytest.approx(3.0) and 2.89 < row.effect.low < row.effect.high < 3.11
    plain = [seed % 7 for seed in range(100, 110)]
    arm = [p + 3 + (0.1 if seed % 2 else -0.1) for seed, p in enumerate(plain, 100)]
    wins = sum((a > p) + (a == p) / 2 for a in arm for p in plain) / 100
    row = of_dropout(found, "C1 probability of gain")
    assert row.effect.mean == pytest.approx(wins) and row.effect.low < wins < row.effect.high
    assert (row.kind, row.word, row.adjusted_p) == ("context", None, None)
    of_one = {r.test for c in judged(monkeypatch, tmp_path, World()).cells for r in c.tests}
    assert "C1" in of_one and "C1 interquartile mean" not in of_one


@pytest.mark.parametrize(("most_similar", "tau"), [(1, -2 / math.sqrt(6)), (3, 2 / math.sqrt(6))])
def test_score_and_gain_are_held_against_each_other(monkeypatch, tmp_path, most_similar, tau):
    """Gains of 1, 2 and 3; two targets of one score, and a third with a higher one."""
    found = judged(monkeypatch, tmp_path, world(most_similar=most_similar), "nodes")
    row = of_dropout(found, "C5 rank correlation of score and gain")
    assert row.effect.mean == pytest.approx(tau) and row.delta == 0.2
    assert (row.kind, row.word) == ("context", None) and len(row.keys) == 20 * 4 + 20


def test_random_initialisation_is_asked_for_only_where_a_run_diverged(monkeypatch, tmp_path):
    """Seed 100 diverges on Cora alone, and on CiteSeer its untrained self is not recorded."""

    def test(self, trial):
        if trial.seed == 100 and trial.data == "CiteSeer" and trial.objective == "untrained":
            return None
        of_arm = trial.layer != "none" and trial.objective == "contrastive"
        lost = of_arm and trial.seed == 100 and trial.data == "Cora"
        return DIVERGED if lost else World.test(self, trial)

    found = judged(monkeypatch, tmp_path, world(test=test), "nodes")
    evidence = Evidence("nodes", found.profile, catalogue.every(found.profile))
    (c1,) = (f for f in outcomes.found(evidence) if (f.test, f.kind) == ("C1", "family"))
    assert c1.outcome.effect.n == 10 and c1.outcome.diverged == pytest.approx(0.1)
    assert len(c1.keys) == 2 * 20 + 1


def test_what_is_whole_is_not_told_before_its_claim(monkeypatch, tmp_path):
    """Of C3b one comparison is recorded, the other not; of C3a all gains but those at a target."""

    def lacking(trial):
        return trial.seed == 104 and trial.layer == "embeddings"

    found = judged(monkeypatch, tmp_path, without(lacking))
    c3b = next(cell for cell in found.cells if cell.claim == "C3b")
    assert c3b.word is None and c3b.verdict.startswith("running: ")
    alone, at_input = (row for row in c3b.tests if row.kind == "family")
    assert (alone.test, at_input.test) == ("C3b standard", "C3b same_transform")
    assert alone.verdict == "waits for other runs of its claim" and alone.keys
    assert at_input.verdict.startswith("running: ")
    for row in c3b.tests:
        assert (row.effect, row.word, row.told, row.values) == (None, None, "", ())
    assert rows(found)["C1"].word == "supported"  # which has all of its own
    assert not opened.keys(found.profile) & {*alone.keys}


def test_equal_choices_are_told(monkeypatch, tmp_path):
    found = judged(monkeypatch, tmp_path, World())
    assert "the score chooses pooled 10 times" in rows(found)["C5 random"].notes
    told = of_dropout(found, "C5 middle").notes
    assert "the score chooses block1 too in 0 of 10 runs" in told
    assert "the score chooses pooled too in 10 of 10 runs" in of_dropout(found, "C5 last").notes


def test_an_arm_that_is_best_at_the_input_is_deep_at_its_best_target_after_it(
    monkeypatch, tmp_path
):
    def depth(self, trial):
        return 3 - World.depth(self, trial)  # validation chooses the input, and after it block1

    found = rows(judged(monkeypatch, tmp_path, world(depth=depth)))
    assert found["C1"].arm.startswith("embeddings ") and found["C1"].effect.mean > 0
    assert found["C3b same_transform"].arm.startswith("block1 ")
    assert found["C3b same_transform"].effect.mean == pytest.approx(2 - 3)
    assert found["C3a"].effect.mean == -1 and found["C3a"].word == "opposed"


def test_rows_name_their_records_and_the_command_that_runs_them(monkeypatch, tmp_path):
    found = judged(monkeypatch, tmp_path, World(), "nodes")
    for row in rows(found).values():
        assert len(set(row.keys)) == len(row.keys) and len(row.keys) % 20 == 0
    study = f"--profile {tmp_path / 'made-up.yaml'} --stage confirm"
    assert rows(found)["C1"].again == (f"deepaug run nodes {study}",)
    assert rows(found)["C5 random"].again == (
        f"deepaug run input-or-deep {study} --parts nodes",
        f"deepaug run co-adaptation {study} --parts nodes",
    )


# What must not come to a verdict


def again(place, **settings):
    """The stage of a study in a profile, changed."""
    study, stage = place.split()
    return {study: {"stages": {stage: settings}}}


@pytest.mark.parametrize(
    ("change", "judged_seeds", "note"),
    [
        (again("text confirm", seeds=[*range(10)]), 0, "do not give this seed to confirm"),
        (again("text confirm", seeds=[*range(100, 120)]), 10, "do not give this seed to confirm"),
        (again("text targets", seeds=[100, 101]), 8, "used before to choose or to try out"),
        (again("text tuning", seeds=[109]), 9, "used before to choose or to try out"),
    ],
    ids=["seeds of the screen", "more seeds", "targets by fresh seeds", "tuned by a fresh seed"],
)
def test_seeds_that_are_not_fresh_judge_nothing(monkeypatch, tmp_path, change, judged_seeds, note):
    found = judged(monkeypatch, tmp_path, World(), **change)
    row = rows(found)["C1"]
    assert note in " ".join(row.notes)
    assert (row.effect.n if row.effect else 0) == judged_seeds
    if judged_seeds == 10:
        assert row.word == "supported"
    else:
        assert row.word is None and cells(found)["C1"].startswith("not judged: ")


def test_a_secondary_control_from_elsewhere_leaves_the_verdict_as_it_is(monkeypatch, tmp_path):
    """Supported, C2 is told as inverse by the gains of both twins, whatever became of p = 0."""

    def record(self, trial):
        at_zero = trial.layer != "none" and not trial.strength
        self.conditions = ("a GPU", "2.11.0") if at_zero else World.conditions
        return World.record(self, trial)

    found = judged(monkeypatch, tmp_path, world(record=record, way="one-view-detached"))
    assert cells(found)["C2"] == "supported: inverse"
    assert of_dropout(found, "C2 over the way at p = 0").verdict == "not judged: no seed pairs"


def test_a_way_is_the_arms_and_no_other_control_of_it(monkeypatch, tmp_path):
    more = {"arm_controls": ["both", "detached", "noise", "no-transform"]}
    change = again("stop-gradient confirm", **more)
    change["stop-gradient"]["stages"] |= {"pilot": None}
    change["stop-gradient"]["stages"]["confirm"]["bases"] = ["text"]
    change["stop-gradient"]["of"] = dict.fromkeys(("nodes", "vision", "sentences", "graphs"))
    made = {"way": "one-view-detached", "ways": {"detached": -2.0, "both": 1.0}}
    found = judged(monkeypatch, tmp_path, world(**made), **change)
    assert of_dropout(found, "C7 one-view-detached").effect.mean == pytest.approx(3, abs=0.041)


def test_two_arms_where_a_verdict_asks_for_one_are_refused(monkeypatch, tmp_path):
    one, other = (judged_entry(seed=100, strength=p) for p in (0.2, 0.5))
    with pytest.raises(ValueError, match="are both the arm of mnist-5k seed 100") as caught:
        Arm.of([one, other], lambda entry: None)
    assert "\n" not in str(caught.value)


def judged_entry(**changes):
    settings = {"layer": "stage1", "transform": "dropout", **changes}
    return Entry("confirm", "", "contrastive", "an arm", tiny.trial(**settings), role="arm")


def test_a_run_without_an_untrained_score_to_count_at_is_missing(monkeypatch, tmp_path):
    def test(self, trial):
        lost = trial.objective == "untrained" and trial.seed == 100
        return DIVERGED if lost else diverging(100)(self, trial)

    found = judged(monkeypatch, tmp_path, world(test=test))
    row = rows(found)["C1"]
    assert row.verdict == cells(found)["C1"] == "not judged: 9 of 10 seeds"
    assert "its untrained self has no score to count at" in row.notes[0]


def test_gpus_pair_by_their_model(monkeypatch, tmp_path):
    def record(self, trial):
        elsewhere = trial.seed == 105 and trial.layer == "none"
        self.conditions = ("another GPU" if elsewhere else "a GPU", "2.11.0")
        return World.record(self, trial)

    found = judged(monkeypatch, tmp_path, world(record=record))
    assert rows(found)["C1"].verdict == "not judged: 9 of 10 seeds"


@pytest.mark.parametrize("conditions", [("a GPU", "2.11.0"), ("a processor", "2.12.0")])
def test_a_scale_of_runs_that_do_not_pair_judges_nothing(monkeypatch, tmp_path, conditions):
    """One of two seeds of the untrained network is from elsewhere: the rules want two or more."""

    def record(self, trial):
        elsewhere = trial.seed == 1 and trial.objective == "untrained"
        self.conditions = conditions if elsewhere else World.conditions
        return World.record(self, trial)

    found = judged(monkeypatch, tmp_path, world(record=record))
    assert cells(found)["C1"] == "not judged: the scale is not fully recorded"
    assert not any(row.word for cell in found.cells for row in cell.tests)


def test_more_targets_than_orders_can_be_told_of_leave_c3a_untold(monkeypatch, tmp_path):
    def gain(self, trial):
        return float(self.depth(trial)) if trial.layer != "none" else 0.0

    change = {"text": {"trial": {"encoder": "bert12"}}}
    found = judged(monkeypatch, tmp_path, world(gain=gain), **change)
    assert cells(found)["C3a"].startswith("not judged: C3a cannot be taken")
    assert "too many" in cells(found)["C3a"] and cells(found)["C1"] == "supported"


def test_a_share_of_nothing_is_told_as_such(monkeypatch, tmp_path):
    """Of a supervised network that has not learnt."""
    found = judged(monkeypatch, tmp_path, world(supervised=20.0))
    row = rows(found)["C4 exhibited"]
    assert row.told == "not defined (n = 10)" and row.needed is row.excluded is None
