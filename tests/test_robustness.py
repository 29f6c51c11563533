"""What verdicts hang on, and gains under other settings: made-up records, known by hand."""

import pytest
from synthetic import Memory, World, jitter, judged, profile, world

from deepaug.studies import arms, catalogue
from deepaug.verdicts import exploratory, robustness
from deepaug.verdicts.evidence import Evidence
from deepaug.verdicts.exploratory import AUGMENTATION, ROBUSTNESS

LEFT = sum(map(jitter, range(100, 105))) / 5  # of the jitter, on average over five seeds


def of_c1(table):
    return next(found for found in robustness.of(table) if found.claim == "C1")


def both_metrics(score_beside):
    """Records with a second metric, a function of trial and primary score."""

    def record(self, trial):
        made = World.record(self, trial)
        for metrics in made["metrics"].values():
            for name, score in list(metrics.items()):
                beside = name.replace("knn", "probe")
                metrics[beside] = score_beside(trial, score)
        return made

    return record


def same(trial, score):
    return score


def test_a_clear_verdict_hangs_on_nothing(monkeypatch, tmp_path):
    found = of_c1(judged(monkeypatch, tmp_path, world(record=both_metrics(same))))
    assert (found.verdict, found.metric, found.by_metric) == ("supported", "probe", "supported")
    assert found.turning == {} and found.told_by_seed == ""
    assert list(found.left_out) == list(range(100, 110))


def test_a_verdict_of_one_metric_alone_says_so(monkeypatch, tmp_path):
    def flat(trial, score):
        return World.contrastive + jitter(trial.seed) * (trial.layer != "none")

    found = of_c1(judged(monkeypatch, tmp_path, world(record=both_metrics(flat))))
    assert (found.verdict, found.by_metric) == ("supported", "negligible")


def test_a_narrow_gain_is_negligible_by_the_rules_and_not_by_half_of_them(monkeypatch, tmp_path):
    made = world(gains=(0, 0, 0, 0.3), size=0.1, record=both_metrics(same))
    found = of_c1(judged(monkeypatch, tmp_path, made))
    assert (found.verdict, found.by_half) == ("supported", "supported")
    made = world(gains=(0, 0, 0, 0.1), size=0.3, record=both_metrics(same))
    found = of_c1(judged(monkeypatch, tmp_path, made))
    assert (found.verdict, found.by_half) == ("negligible", "inconclusive")


def test_a_gain_on_one_data_set_alone_shows(monkeypatch, tmp_path):
    def gain(self, trial):
        return 6.0 if trial.data == "Cora" and trial.layer != "none" else 0.0

    found = of_c1(judged(monkeypatch, tmp_path, world(gain=gain, size=0.1), "nodes"))
    assert found.by_data == {"Cora": "supported", "CiteSeer": "negligible"}
    assert found.told_by_data == "supported on Cora, negligible on CiteSeer"


def test_a_modality_of_one_data_set_has_none_to_tell_apart(monkeypatch, tmp_path):
    found = of_c1(judged(monkeypatch, tmp_path, world(size=0.1)))
    assert found.by_data == {} and found.told_by_data == ""


def test_a_verdict_that_one_seed_makes_names_it(monkeypatch, tmp_path):
    def gain(self, trial):
        return World.gain(self, trial) - (12.0 if trial.seed == 103 else 0.0)

    made = world(gain=gain, size=0.4, record=both_metrics(same))
    found = of_c1(judged(monkeypatch, tmp_path, made))
    assert found.verdict == "inconclusive"
    assert found.turning == {103: "supported"}
    assert found.told_by_seed == "supported without 103"


def test_without_the_other_metric_nothing_is_claimed_of_it(monkeypatch, tmp_path):
    assert of_c1(judged(monkeypatch, tmp_path, World())).by_metric == "not judged"


@pytest.mark.parametrize("modality", ["text", "nodes"])
def test_gains_by_augmentation_by_hand(monkeypatch, tmp_path, modality):
    def gain(self, trial):
        weak = trial.view_strength < 0.5 and trial.objective == "contrastive"
        return 4.0 if weak else World.gain(self, trial)

    table = judged(monkeypatch, tmp_path, world(gain=gain), modality, exploratory=True)
    found = list(exploratory.of_judged(table, AUGMENTATION))
    assert [g.augmentation for g in found] == [0.0, 0.25, 0.5, 1.0]
    per_run = 2 if modality == "nodes" else 1
    for of in found:
        assert (of.recorded, of.planned) == (10 * per_run, 10 * per_run)
        assert of.effect.n == 5 and len(of.values) == 5
    strength = evidence(table, modality).entries(AUGMENTATION)[0].trial.view_strength
    weak = [4.0 if share * strength < 0.5 else 3.0 for share in (0.0, 0.25, 0.5)]
    for of, expected in zip(found, [*weak, 3.0], strict=True):
        # Without augmentation the baseline is 5 points lower, and so is not its arm.
        assert of.effect.mean == pytest.approx(expected + 5 * (of.augmentation == 0) + LEFT)


def evidence(table, modality):
    return Evidence(modality, table.profile, catalogue.every(table.profile))


def test_gains_by_strength_and_of_what_nobody_tuned(monkeypatch, tmp_path):
    def gain(self, trial):
        return 10 * trial.strength

    def record(self, trial):
        made = World.record(self, trial)
        made["metrics"]["validation"]["knn"] += trial.temperature == 0.05  # which tuning prefers
        return made

    table = judged(monkeypatch, tmp_path, world(gain=gain, record=record), exploratory=True)
    found = list(exploratory.of_judged(table, ROBUSTNESS))
    tuned = [of for of in found if not of.setting]
    assert [of.strength for of in tuned] == [0.1, 0.2, 0.35, 0.5, 0.65]
    assert sum(of.judged for of in tuned) == 1
    for of in found:
        assert of.effect.mean == pytest.approx(10 * of.strength + LEFT)
    (untuned,) = [of for of in found if of.setting]
    assert untuned.setting == "untuned" and untuned.judged


def test_where_tuning_kept_the_settings_there_is_nothing_untuned(monkeypatch, tmp_path):
    table = judged(monkeypatch, tmp_path, World(), exploratory=True)
    assert all(of.setting == "" for of in exploratory.of_judged(table, ROBUSTNESS))


def test_nobody_looks_at_test_scores_before_the_verdict(monkeypatch, tmp_path):
    made = world(test=lambda self, trial: None if trial.seed == 109 else World().test(trial))
    table = judged(monkeypatch, tmp_path, made, exploratory=True)
    assert list(exploratory.of_judged(table, AUGMENTATION)) == []
    assert robustness.of(table) == ()


def test_nor_while_another_claim_that_these_runs_judge_is_running(monkeypatch, tmp_path):
    def test(self, trial):
        """C3b lacks arms without augmentation, and C1 lacks nothing."""
        lacks = trial.view_strength == 0 and trial.layer != "none" and trial.seed >= 105
        return None if lacks else World.test(self, trial)

    table = judged(monkeypatch, tmp_path, world(test=test), exploratory=True)
    words = {cell.claim: cell.word for cell in table.cells}
    assert words["C1"] == "supported" and words["C3b"] is None
    assert list(exploratory.of_judged(table, AUGMENTATION)) == []


def test_while_runs_lack_there_is_no_gain(monkeypatch, tmp_path):
    def test(self, trial):
        lacks = 0 < trial.view_strength < 0.3 and trial.seed == 104
        return None if lacks else World.test(self, trial)

    table = judged(monkeypatch, tmp_path, world(test=test), exploratory=True)
    by_share = {of.augmentation: of for of in exploratory.of_judged(table, AUGMENTATION)}
    assert by_share[0.25].effect is None and by_share[0.25].recorded == 8
    assert by_share[0.5].effect is not None


def test_each_setting_has_a_baseline_and_controls_are_shared(monkeypatch, tmp_path):
    monkeypatch.setattr(catalogue, "store", lambda *_: Memory(World(), "made-up"))
    study = catalogue.load("when-it-helps", profile(tmp_path, exploratory=True))
    entries = [e for e in study.stage_entries("exploratory") if e.trial.seed == 100]
    full = next(e.trial for e in entries if e.role == "baseline" and not e.setting)
    shares = {
        e.setting: e.trial.view_strength / full.view_strength
        for e in entries
        if e.role == "baseline"
    }
    assert list(shares.values()) == [1.0, 0.0, 0.25, 0.5]
    for setting, share in shares.items():
        of = [e for e in entries if e.setting == setting]
        assert len({e.unit for e in of}) == 1
        (arm,) = (e for e in of if e.role == "arm")
        assert arm.trial.view_strength == share * full.view_strength
        (untrained,) = (e.trial for e in of if e.arm == "untrained")
        assert untrained.view_strength == full.view_strength
    assert len({e.unit for e in entries}) == 4 and len({e.base for e in entries}) == 1
    assert {arms.targets(e.trial) for e in entries} == {arms.targets(full)}
