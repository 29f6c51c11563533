"""Batches hold every missing trial once and are long enough; what a stage costs."""

import hashlib
from collections import Counter

import pytest
import tiny

from deepaug.studies import batches, catalogue, durations, listing

STAGE = {"seeds": list(range(20))}


@pytest.fixture
def study(tmp_path):
    profile = tiny.profile(tmp_path, quick=STAGE)
    return catalogue.load("vision", str(profile), tmp_path / "results")


@pytest.mark.parametrize(("each", "least", "sizes"), [(10, 50, [5, 5, 5, 5]), (10, 60, [6, 6, 8])])
def test_sizes(study, each, least, sizes):
    entries = study.entries()
    found = batches.assign(entries, {e.trial.key: each for e in entries}, least)
    assert set(found) == {e.trial.key for e in entries}
    assert list(Counter(found.values()).values()) == sizes


def test_a_long_trial_is_a_batch_of_its_own(study):
    entries = study.entries()[:3]
    found = batches.assign(entries, {e.trial.key: 1000.0 for e in entries}, 300)
    assert len(set(found.values())) == 3


def test_a_batch_is_named_by_a_hash_of_its_trials(study):
    entries = study.entries()
    found = batches.assign(entries, {e.trial.key: 10 for e in entries}, 50)
    keys = [e.trial.key for e in entries[:5]]
    name = hashlib.sha256(" ".join(keys).encode()).hexdigest()[:16]
    assert [key for key, batch in found.items() if batch == name] == keys
    # Whatever else there is to run, the same trials have the same name.
    assert set(batches.assign(entries[:5], dict.fromkeys(keys, 10), 50).values()) == {name}


def test_nothing_to_do_is_no_batch():
    assert batches.assign([], {}, 300) == {}


def test_a_trial_of_two_stages_is_in_one_batch(study):
    entries = study.entries()
    found = batches.assign(entries + entries, {e.trial.key: 1.0 for e in entries}, 5)
    assert len(found) == 20


def test_seconds_are_the_profiles_until_some_are_recorded(study):
    first, *others = (entry.trial for entry in study.entries())
    assert set(batches.expected_seconds(study).values()) == {study.seconds}
    study.store.write(tiny.record(first, seconds=7.0))
    assert batches.expected_seconds(study)[others[0].key] == pytest.approx(7.0)


def test_a_diverged_trial_tells_nothing_of_how_long_others_take(study):
    first, other, *_ = (entry.trial for entry in study.entries())
    ended = {"status": "diverged", "metrics": {}, "curve": [], "seconds": 1.0}
    study.store.write(tiny.record(first, **ended))
    assert batches.expected_seconds(study)[other.key] == study.seconds


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": 0},
        {"width": 8},
        {"encoder": "resnet18"},
        {"objective": "untrained", "epochs": 0},
    ],
    ids=str,
)
def test_trials_of_another_kind_tell_nothing(changes):
    known, trial, other = durations.Durations(), tiny.trial(), tiny.trial(**changes)
    known.add(other, tiny.record(other, seconds=7.0))
    assert known.of(trial, trial, 100.0).seconds == pytest.approx(100.0)


def test_those_of_another_objective_tell_until_one_of_their_own_is_recorded():
    known, trial, twin = durations.Durations(), tiny.trial(), tiny.trial(objective="supervised")
    known.add(trial, tiny.record(trial, seconds=7.0))
    assert known.of(twin, twin, 100.0).seconds == pytest.approx(7.0)
    known.add(twin, tiny.record(twin, seconds=3.0))
    found = [known.of(each, each, 100.0).seconds for each in (trial, twin)]
    assert found == pytest.approx([7.0, 3.0])


def test_what_other_machines_took_counts_until_this_one_knows():
    known, trial = durations.Durations(), tiny.trial()
    for seconds, here in ((90.0, False), (7.0, True), (90.0, False)):
        known.add(trial, tiny.record(trial, seconds=seconds), here)
    assert known.of(trial, trial, 100.0).seconds == pytest.approx(7.0)


def test_what_was_emulated_counts_on_the_machine_alone_that_emulates():
    known, trial = durations.Durations(), tiny.trial(precision="bfloat16")
    known.add(trial, tiny.record(trial, seconds=30.0, training_seconds=20.0))
    emulated = tiny.record(trial, seconds=300.0, training_seconds=200.0, emulated=True)
    known.add(trial, emulated)
    assert known.of(trial, trial, 1.0).seconds == pytest.approx(30.0)
    known.add(trial, emulated, here=True)
    assert known.of(trial, trial, 1.0).seconds == pytest.approx(300.0)


def test_training_takes_time_in_proportion_to_the_work_and_evaluation_does_not(tmp_path):
    stage = {**STAGE, "variants": {"longer": {"epochs": 20}}}
    study = catalogue.load("vision", str(tiny.profile(tmp_path, quick=stage)), tmp_path / "results")
    short, long = (next(e.trial for e in study.entries() if e.trial.epochs == n) for n in (2, 20))
    study.store.write(tiny.record(short, seconds=3.0, training_seconds=2.5))
    assert batches.expected_seconds(study)[long.key] == pytest.approx(0.5 + 10 * 2.5)


def test_what_stages_cost_by_hand(tmp_path):
    """Of 36, 72 and 108 seconds the quarter that took least ends at 54; on two cores."""
    stages = {"quick": {"seeds": [0, 1, 2, 3, 4]}, "pilot": {"seeds": [0, 1]}}
    path = tiny.profile(tmp_path, trial={"threads": 2}, **stages)
    study = catalogue.load("vision", str(path), tmp_path / "results")
    for number, entry in enumerate(study.stage_entries("quick")[:3]):
        taken = {"seconds": 36.0 * (number + 1), "training_seconds": 0.0}
        study.store.write(tiny.record(entry.trial, **taken))
    first, again = listing.budget([(study, "quick"), (study, "pilot")])
    assert (first["trials"], first["recorded"], again["trials"]) == (5, 3, 0)
    assert first["core_hours"] == pytest.approx(5 * 2 * 54 / 3600)
    assert first["core_hours_left"] == pytest.approx(2 * 2 * 54 / 3600)
    assert again["core_hours"] == again["core_hours_left"] == 0


@pytest.mark.parametrize("given", ["0", "-1", '"5"', ".inf", ".nan", "null", "true"])
def test_seconds_of_a_profile_are_checked(tmp_path, given):
    path = tiny.profile(tmp_path)
    path.write_text(f"seconds: {given}\n{path.read_text()}")
    with pytest.raises(ValueError, match="seconds must be"):
        catalogue.load("vision", str(path), tmp_path / "results")


@pytest.mark.parametrize("of_own_kind", [False, True])
def test_a_network_and_its_two_copies_are_each_evaluated(of_own_kind):
    """Of 0.5 s of evaluation and 2 s of training a cut trial has three; and one the other way."""
    known, trial, cut = durations.Durations(), tiny.trial(), tiny.trial(cut="stage2")
    known.add(trial, tiny.record(trial, seconds=2.5, training_seconds=2.0))
    if of_own_kind:
        known.add(cut, tiny.record(cut, seconds=9.0, training_seconds=6.0))
    found = known.of(cut, trial, 100.0)
    assert found.rest == pytest.approx(3.0 if of_own_kind else 3 * 0.5)
    assert found.seconds == pytest.approx(9.0 if of_own_kind else 3 * 2.5)
    other = durations.Durations()
    other.add(cut, tiny.record(cut, seconds=7.5, training_seconds=6.0))
    assert other.of(trial, trial, 100.0).seconds == pytest.approx(2.5)
    assert durations.Durations().of(cut, trial, 100.0).seconds == pytest.approx(300.0)
