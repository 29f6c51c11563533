"""Tables of recorded runs -> paired effects, and what a page may say of them; nothing is drawn."""

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from deepaug.studies import records, rulebook
from deepaug.studies.study import Entry, Study
from deepaug.training import registry
from deepaug.training.trial import current_protocol
from deepaug.verdicts import wording
from deepaug.verdicts.claims import counted
from deepaug.verdicts.evidence import CONDITIONS, conditions
from deepaug.verdicts.statistics import CONFIDENCE

Recorded = list[tuple[Entry, dict[str, Any]]]
METRICS = {  # metric -> its name on an axis
    "knn": "kNN accuracy, %",
    "probe": "probe accuracy, %",
    "spearman": "Spearman × 100",
    "retrieval": "halves found again, %",
    "svc": "SVC accuracy, %",
}
READ_BY = {"knn": "kNN", "probe": "a linear probe"}  # what reads out each base of a verdict
# Recorded stages that a page may show; only verdict code looks at those that judge.
SHOWN = ("scale", "pilot")
# Points that a baseline may stand below a figure published without its number of seeds: by the
# deviation alone nobody can tell how far that mean is from its own expectation.
BELOW_PUBLISHED = 1.0


# Runs and their differences


def frame(
    recorded: Iterable[tuple[Entry, dict[str, Any]]],
    split: str = "validation",
    opened: Container[str] = (),
) -> pd.DataFrame:
    """A row for each recorded trial: its place in the study and its metrics on a split.

    Args:
        opened: keys of records whose test metrics anyone may read, from `opened.keys`.

    Raises ValueError for the test split of a trial with a transform: verdict code alone reads it.
    """
    recorded = list(recorded)
    sealed = (e.trial for e, _ in recorded if records.sealed_test(e.trial))
    if split == "test" and any(trial.key not in opened for trial in sealed):
        raise ValueError("test metrics of arms are read by the verdict code alone")
    settings = ("data", "layer", "transform", "strength", "seed")
    rows = [
        {
            "base": entry.unit,
            "objective": entry.objective,
            "arm": entry.arm,
            **{name: getattr(entry.trial, name) for name in settings},
            "status": record["status"],
            "collapsed": records.collapsed(record),
            **dict(zip(CONDITIONS, conditions(record), strict=True)),
            **record["metrics"].get(split, {}),
        }
        for entry, record in recorded
    ]
    return pd.DataFrame(rows)


def gains(table: pd.DataFrame, metric: str, against: str = "baseline") -> pd.DataFrame:
    """Each arm's difference to another in points, by seed, within one stage of one study.

    Twins and data sets are paired with their own. A diverged run counts at its seed's
    random-initialisation score. Runs under other `conditions` (kind of device, precision, release
    of torch) are not paired, nor are seeds that lack the other arm.

    Args:
        table: as `frame` makes it.

    Returns:
        A row for each pair: "base", "objective", "arm", "layer", "transform", "strength", "seed"
        and "gain".

    Raises:
        ValueError: a run diverged whose random initialisation is not recorded under its conditions.
    """
    shared = ["base", "objective", "seed", *CONDITIONS]
    is_other = table["arm"] == against
    others = table.loc[is_other, [*shared, "status", metric]]
    pairs = table[~is_other].merge(others, on=shared, suffixes=("", "_other"))
    untrained = table[table["arm"] == "untrained"].set_index(shared)[metric]
    initial = untrained.reindex(pd.MultiIndex.from_frame(pairs[shared])).to_numpy(float)
    diverged = pairs[["status", "status_other"]] == "diverged"
    for run in pairs[diverged.any(axis=1) & pd.isna(initial)].itertuples():
        arm = run.arm if run.status == "diverged" else against
        raise ValueError(f"seed {run.seed} of {arm!r} diverged; record its 'untrained' too")
    own = counted(pairs[metric], diverged["status"], initial)
    other = counted(pairs[f"{metric}_other"], diverged["status_other"], initial)
    columns = ["base", "objective", "arm", "layer", "transform", "strength", "seed"]
    return pairs[columns].assign(gain=own - other)


def summary(table: pd.DataFrame, metric: str, also: Iterable[str] = ()) -> pd.DataFrame:
    """Arms by rows: mean metric, gain with its interval, how many runs, diverged and collapsed.

    Args:
        also: further metrics to give the mean of.
    """
    fewest = rulebook.fewest_seeds()
    place = ["base", "objective", "arm"]
    gained = dict(iter(gains(table, metric).groupby(place)["gain"]))
    over = f"over baseline [{100 * CONFIDENCE:g} % interval] or (seeds)"
    rows = [
        {
            "of": arm[0],
            "training": arm[1],
            "arm": arm[2],
            over: wording.seeds(gained[arm], fewest) if arm in gained else "–",
            "mean": runs[metric].mean(),
            **{name: runs[name].mean() for name in also},
            "runs": len(runs),
            "diverged": int((runs["status"] == "diverged").sum()),
            "collapsed": int(runs["collapsed"].sum()),
        }
        for arm, runs in table.groupby(place, sort=False)
    ]
    found = pd.DataFrame(rows)
    # What is the same in all rows is said above the table.
    return found.drop(columns=[name for name in ("of", "training") if found[name].nunique() == 1])


def by_base(recorded: Recorded) -> dict[str, Recorded]:
    """Records by the modality or data set, and setting, they are of, in the study's order."""
    parts: dict[str, Recorded] = {}
    for entry, record in recorded:
        parts.setdefault(entry.unit, []).append((entry, record))
    return parts


def primary(recorded: Recorded) -> str:
    """The primary metric of records of one base."""
    return registry.primary(recorded[0][0].trial)


def metric_of(study: Study, recorded: Recorded) -> str:
    """The metric that a page shows of a study's records of one base.

    It is the primary one, but where twins are held against each other on text that is evaluated on
    pairs: the supervised twin learns topics, which a linear probe reads out of both.
    """
    twins = any(stage.objectives for stage in study.stages.values())
    by_topics = twins and recorded[0][0].trial.pairs != "none"
    return "probe" if by_topics else primary(recorded)


# Whether a baseline has learnt enough


@dataclass(frozen=True)
class Learnt:
    """How far training brings a live run's baseline, against what the seeds alone do to it."""

    metric: str
    trained: float  # mean over seeds
    untrained: float
    spread: float  # the largest minus the smallest of the trained scores
    seeds: int

    @property
    def gain(self) -> float:
        return self.trained - self.untrained

    @property
    def enough(self) -> bool:
        """Whether a page of it teaches something."""
        return self.gain > self.spread

    def __str__(self) -> str:
        return (
            f"{METRICS[self.metric]}: trained {self.trained:.1f}, untrained "
            f"{self.untrained:.1f}, trained minus untrained {self.gain:+.1f} points; "
            f"the {self.seeds} trained ones range over {self.spread:.1f} points"
        )


def learnt(recorded: Recorded) -> Learnt:
    """What the baseline of a live run has learnt, by its validation scores.

    Each seed counts by the mean over its data sets. Raises ValueError where the baseline or its
    untrained self lacks a seed of the other, or has diverged.
    """
    metric = primary(recorded)
    table = frame(r for r in recorded if r[0].arm in ("baseline", "untrained"))
    if (table["status"] == "diverged").any():
        raise ValueError("a baseline of the live run diverged: it has learnt nothing")
    by_arm = (table[table["arm"] == arm] for arm in ("baseline", "untrained"))
    trained, untrained = (of_arm.groupby("seed")[metric].mean() for of_arm in by_arm)
    if not len(trained) or set(trained.index) != set(untrained.index):
        raise ValueError(
            f"baseline and untrained must be recorded for the same seeds, not for "
            f"{[*trained.index]} and {[*untrained.index]}"
        )
    spread = trained.max() - trained.min()
    return Learnt(metric, trained.mean(), untrained.mean(), spread, len(trained))


# What stands in the store of a study


def superseded(study: Study) -> tuple[int, int]:
    """Of the trials shown whose transform has changed since: with an old record, with a new one.

    Old are records of an earlier protocol, which lie in the store and count no longer.
    """
    shown = [study.stage_entries(stage) for stage in SHOWN if stage in study.stages]
    trials = {e.trial.key: e.trial for entries in shown for e in entries}
    old = [
        trial
        for trial in trials.values()
        if any(
            study.store.read(replace(trial, protocol=earlier)) is not None
            for earlier in range(1, current_protocol(trial.transform))
        )
    ]
    return len(old), sum(study.store.read(trial) is not None for trial in old)


def references(study: Study) -> Recorded:
    """Records of the plain baseline, variants and references; each seed once, whatever the stage.

    Of later stages the baseline is the tuned one, which is left out.
    """
    found = {
        (entry.base, entry.arm, entry.trial.seed): (entry, record)
        for stage in study.stages
        if stage in (*SHOWN, "tuning")
        for entry, record in study.recorded(stage)
        if not records.sealed_test(entry.trial) and entry.role != "tune"
    }
    return list(found.values())


def published(
    study: Study, theirs: Mapping[str, Mapping[str, float]], arm: str = "baseline"
) -> list[dict[str, str]]:
    """A row for each data set with published figures and two recorded seeds or more.

    Args:
        theirs: data set -> "mean" and "deviation" as published; with their number of "seeds" the
            means are compared by their standard errors, without it by `BELOW_PUBLISHED`.
    """
    rows = []
    for part in by_base(references(study)).values():
        table = frame(part, "test")
        data = table["data"].iloc[0]
        ours = table.loc[table["arm"] == arm, primary(part)]
        if data not in theirs or len(ours) < 2:
            continue
        figure = theirs[data]
        difference = ours.mean() - figure["mean"]
        row = {
            "profile": study.profile,
            "data": data,
            "ours ± deviation": f"{ours.mean():.2f} ± {ours.std():.2f} (n = {len(ours)})",
            "published": f"{figure['mean']:.2f} ± {figure['deviation']:.2f}",
            "difference": f"{difference:+.2f}",
        }
        if "seeds" in figure:
            theirs_error = figure["deviation"] / math.sqrt(figure["seeds"])
            error = math.hypot(ours.sem(), theirs_error)
            row["two standard errors"] = f"{2 * error:.2f}"
            row["within"] = "yes" if abs(difference) <= 2 * error else "no"
        else:
            column = f"no more than {BELOW_PUBLISHED:g} point below"
            row[column] = "yes" if difference >= -BELOW_PUBLISHED else "no"
        rows.append(row)
    return rows
