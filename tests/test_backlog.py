"""What is run next: in the agenda's order, as choices settle it and as the time left allows."""

import math
import time

import pytest
import tiny

from deepaug.studies import catalogue
from deepaug.studies.backlog import Backlog, Item, of_entries
from deepaug.studies.study import Entry, Study

GRID = {"layers": ["stage2"], "transforms": ["dropout"], "strengths": [0.5]}
SCREEN = {"seeds": [2], **GRID}
CONFIRM = {"seeds": [100], "chosen_from": "screen"}


def load(folder, **stages):
    return catalogue.load("vision", str(tiny.profile(folder, **stages)), folder / "results")


def items(study, *stages):
    return [Item(study, stage, study.store) for stage in stages or study.stages]


def record(work, trial, **changes):
    """As a sweep does that has trained a trial."""
    work.take(trial)
    made = tiny.record(trial, **changes)
    work.found[trial.key][1].store.write(made)
    work.recorded(trial, made, here=True)


@pytest.fixture
def chain(tmp_path):
    """A screen, what it chooses, and something else that waits for nothing."""
    study = load(tmp_path, screen=SCREEN, confirm=CONFIRM, pilot={"seeds": [0, 1]})
    return study, Backlog(items(study))


def stages(work):
    return [work.found[key][0].stage for key in work.pending]


def test_order_is_the_agendas(chain):
    study, work = chain
    assert stages(work) == ["screen"] * 2 + ["pilot"] * 2
    other = Backlog(items(study, "pilot", "screen"))
    assert stages(other) == ["pilot"] * 2 + ["screen"] * 2


def test_a_choice_is_looked_up_once_its_last_record_is_there(chain):
    study, work = chain
    for left in (1, 0):
        record(work, work.fitting())
        assert work.stale is (left == 0)
    work.look()
    # What is settled by now comes before what was waiting its turn.
    confirm = {entry.trial.key for entry in study.stage_entries("confirm")}
    assert confirm and stages(work) == ["confirm"] * len(confirm) + ["pilot"] * 2
    assert not work.waiting and not work.stale


def test_it_is_not_looked_up_again_where_nothing_waits(tmp_path):
    study = load(tmp_path, pilot={"seeds": [0]}, scale={"seeds": [1]})
    work = Backlog(items(study))
    record(work, work.fitting())
    assert not work.stale


def test_stages_are_reported_once_and_again_when_more_of_them_is_settled(tmp_path):
    study = load(tmp_path, screen=SCREEN, confirm=CONFIRM)
    reported = []
    work = Backlog(
        items(study), report=lambda item, *counts: reported.append((item.stage, *counts))
    )
    assert reported == [("screen", 2, 2), ("confirm", 0, 0)]
    for _ in range(2):
        record(work, work.fitting())
    work.look()
    work.look()
    settled = len({entry.trial.key for entry in study.stage_entries("confirm")})
    assert settled and reported[2:] == [("confirm", settled, settled)]


def test_a_trial_of_two_stages_comes_once(tmp_path):
    study = load(tmp_path, pilot={"seeds": [0, 1]}, scale={"seeds": [1, 2]})
    work = Backlog(items(study))
    assert [trial.seed for trial in work.pending.values()] == [0, 1, 2]


def test_what_is_recorded_does_not_come(chain):
    study, work = chain
    record(work, work.fitting())
    assert stages(Backlog(items(study))) == ["screen"] + ["pilot"] * 2


def test_only_what_is_wanted_comes(chain):
    study, _ = chain
    work = Backlog(items(study), wanted=lambda entry: entry.trial.seed == 1)
    assert [trial.seed for trial in work.pending.values()] == [1]


def test_what_somebody_else_is_at_comes_again(chain):
    _, work = chain
    first = work.fitting()
    work.take(first)
    work.elsewhere(first)
    assert work.fitting() != first
    work.look()
    assert first.key not in work.pending
    work.again()
    assert first.key in work.pending and first.key not in work.others


def test_data_that_cannot_be_read_are_passed_over_for_all_their_trials(tmp_path):
    study = load(
        tmp_path,
        scale={"seeds": [0, 1]},
        pilot={"seeds": [0, 2], "trial": {"data": "cifar10"}},
        screen={"seeds": [3], "trial": {"data": "cifar10"}},
        confirm=CONFIRM,
    )
    work = Backlog(items(study))
    lacking = next(t for t in work.pending.values() if t.data == "cifar10")
    work.take(lacking)
    assert work.pass_over(lacking, of_data=True) == (3, ["vision pilot", "vision screen"])
    assert [t.data for t in work.pending.values()] == ["mnist-5k"] * 2
    work.look()
    assert [t.data for t in work.pending.values()] == ["mnist-5k"] * 2
    waiting = {entry.trial.key for entry in study.planned("confirm")}
    assert work.left()[0] == 2 + len(waiting)


def test_a_trial_that_cannot_be_prepared_is_passed_over_alone(chain):
    """Another of the same data may well be: with a smaller batch, or by another seed."""
    _, work = chain
    first, *others = work.pending.values()
    work.take(first)
    assert work.pass_over(first, of_data=False)[0] == 1
    work.look()
    assert [*work.pending.values()] == others and work.left()[0] >= len(others)


# Time that is left. A trial of the profile takes 100 seconds, one of `longer` has 100 times as many
# epochs.


@pytest.fixture
def timed(tmp_path):
    study = load(
        tmp_path,
        pilot={"seeds": [0], "controls": ["untrained"]},
        longer={"seeds": [0], "trial": {"epochs": 200}},
    )
    work = Backlog(items(study))
    plain, untrained, long = work.pending.values()
    return work, plain, untrained, long


def test_a_trial_is_begun_that_is_expected_to_fit(timed):
    work, plain, untrained, long = timed
    assert work.fitting() == plain
    assert work.fitting(20_000.0) == plain
    assert work.fitting(116.0) == plain
    assert work.fitting(116.0, spare=5.0) == untrained  # of 15 seconds
    assert work.fitting(20.0, spare=5.0) is None
    assert work.fitting(-1.0) is None
    work.take(plain)
    assert work.fitting(8_600.0, spare=20.0) == untrained
    work.take(untrained)
    assert work.fitting(8_600.0) is None  # not now; but it may at the next call
    assert work.fitting(10_000.0) == long
    assert work.fitting(math.inf) == long


def test_what_there_is_never_time_for_is_trained_in_pieces(timed):
    work, plain, untrained, long = timed
    assert work.fitting(600.0) == plain
    work.take(plain)
    work.take(untrained)
    assert work.fitting(600.0) == long
    assert work.fitting(100.0) == long
    assert work.fitting(97.0) is None  # two epochs of 42.5 seconds, and what they may take more


def test_what_was_begun_is_gone_on_with(timed):
    work, plain, untrained, long = timed
    for trial in (plain, untrained):
        work.take(trial)
    assert work.fitting(20_000.0) == long
    assert work.fitting(600.0) is None
    work.found[long.key][1].store.folder.mkdir(parents=True)
    work.found[long.key][1].store.checkpoint(long.key).touch()
    assert work.fitting(600.0) == long


def test_what_is_not_expected_to_fit_at_all_is_tried_last_with_all_the_time_there_is(timed):
    work, plain, untrained, _ = timed
    assert (
        work.fitting(10.0) == plain
    )  # not even its evaluation fits: what is expected may be wrong
    assert work.fitting(5.0) is None
    assert work.fitting(20.0) == untrained  # this fits, so it comes first


def test_what_this_run_has_taken_counts_before_what_is_recorded(tmp_path):
    study = load(tmp_path, pilot={"seeds": [0, 1, 2, 3]})
    first, second, *_ = (entry.trial for entry in study.entries())
    study.store.write(tiny.record(first, seconds=10.0, training_seconds=8.0))
    work = Backlog(items(study))
    last = study.entries()[-1].trial
    assert work.expected(last.key).seconds == pytest.approx(10.0)
    record(work, second, seconds=40.0, training_seconds=30.0)
    expected = work.expected(last.key)
    assert expected.seconds == pytest.approx(40.0)
    assert (expected.epoch, expected.rest) == pytest.approx((15.0, 10.0))


def test_what_is_left_counts_what_waits_by_a_choice_that_is_assumed(chain, monkeypatch):
    _, work = chain
    assumed = [
        Entry("confirm", "", "contrastive", "baseline", tiny.trial(seed=seed))
        for seed in (100, 101)
    ]
    monkeypatch.setattr(Study, "planned", lambda self, stage: assumed if stage == "confirm" else [])
    assert work.left() == (6, pytest.approx(600.0))
    record(work, work.fitting(), seconds=50.0)
    assert work.left() == (5, pytest.approx(250.0))


def test_of_entries_waits_for_nothing(chain):
    study, _ = chain
    work = of_entries(study.stage_entries("pilot"), study.store)
    assert len(work.pending) == 2 and not work.waiting


def test_a_long_agenda_is_looked_up_in_no_time(tmp_path):
    """With 2,000 trials of a third of a second nothing may be done for each of all at each."""
    study = load(tmp_path, pilot={"seeds": list(range(2000))})
    work = Backlog(items(study))
    start = time.process_time()
    for _ in range(200):
        trial = work.fitting(1e6)
        work.take(trial)
        work.recorded(trial, tiny.record(trial), here=True)
    assert time.process_time() - start < 2
