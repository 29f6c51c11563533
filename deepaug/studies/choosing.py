"""What the records of a stage choose for the stages after it."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deepaug.studies import arms, choice
from deepaug.studies.choice import Choice
from deepaug.training import registry
from deepaug.training.trial import WAYS, Trial

if TYPE_CHECKING:
    from deepaug.studies.study import Entry, Study


Recorded = list[tuple["Entry", dict[str, Any]]]
BASELINES = ("baseline", "tune", "variant")  # roles of what tuning chooses from


class NothingChosen(ValueError):
    """Every baseline that might have been chosen diverged."""


def assumed(base: Trial) -> Choice:
    """A choice that asks for most trials: arms at the middle target, in a detached way.

    The baseline stays as it is, so that what a stage has of the untuned one is not counted.
    """
    layer = arms.middle(base)
    changes = {
        family: {"layer": layer, "transform": family, "strength": 0.5, **WAYS["one-view-detached"]}
        for family in choice.FAMILIES
    }
    return Choice({}, changes, changes, "dropout")


def chosen(study: "Study", stage: str, found: Recorded, settled: Choice) -> Choice:
    """What a stage chooses, given its entries with their records and what was settled before."""
    entries, scores = by_arm(found)

    def scores_of(*roles: str) -> dict[str, list[float]]:
        return {name: scores[name] for name, own in entries.items() if own[0].role in roles}

    def changes(arm: str) -> dict[str, Any]:
        return _changes(study, stage, entries[arm], settled)

    baseline = choice.best(scores_of(*BASELINES))
    if baseline is None:
        raise NothingChosen(
            f"every baseline of {study.name} {stage} at {study.profile} diverged, so that it "
            f"chooses nothing; lower learning_rate, or give it more to choose from"
        )
    own = scores_of("arm")
    trials = {name: entries[name][0].trial for name in own}
    transforms = {name: trial.transform for name, trial in trials.items()}
    best, primary = choice.targets_and_primary(choice.by_family(own, transforms))
    after = {n: own[n] for n, trial in trials.items() if trial.layer != arms.targets(trial)[0]}
    deepest = choice.best_by_family(after, transforms)
    return Choice(
        settled.baseline | changes(baseline),
        {family: changes(arm) for family, arm in best.items()} or settled.arms,
        {family: changes(deepest.get(family, arm)) for family, arm in best.items()} or settled.deep,
        primary or "",
    )


def by_arm(found: Recorded) -> tuple[dict[str, list["Entry"]], dict[str, list[float]]]:
    """The entries of each arm, and its scores over seeds and bases."""
    entries: dict[str, list[Entry]] = {}
    scores: dict[str, list[float]] = {}
    for entry, record in found:
        entries.setdefault(entry.arm, []).append(entry)
        scores.setdefault(entry.arm, []).append(_score(entry, record))
    # A configuration that is one base's own is its baseline there: all are scored on all bases.
    for name, own in entries.items():
        if own[0].role == "tune":
            known = {entry.base for entry in own}
            scores[name] += [
                _score(entry, record)
                for entry, record in found
                if entry.role == "baseline" and entry.base not in known
            ]
    return entries, scores


def _score(entry: "Entry", record: dict[str, Any]) -> float:
    """The validation score of a record; -inf for a run that diverged."""
    if record["status"] == "diverged":
        return float("-inf")
    return record["metrics"]["validation"][registry.primary(entry.trial)]


def _changes(study: "Study", stage: str, entries: list["Entry"], settled: Choice) -> dict[str, Any]:
    """In what an arm differs from what was settled before the stage."""
    # A value that one base has of itself may be a change of another.
    changes: dict[str, Any] = {}
    for entry in entries:
        base = next(b for b in study.bases if b.label == entry.base)
        tuned = replace(base.trial, **settled.baseline)
        plain = study.stages[stage].applied(tuned, entry.objective)
        changes |= {
            name: value
            for name in Trial.__dataclass_fields__
            if name != "seed" and (value := getattr(entry.trial, name)) != getattr(plain, name)
        }
    return changes
