"""Batches of trials, each long enough that starting a process is a small part of it."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import median
from typing import Any

from deepaug.studies import Entry, Study
from deepaug.sweep import cost
from deepaug.trial import Trial


def expected_seconds(study: Study) -> dict[str, float]:
    """Seconds that each trial of a study may take, by key.

    From the recorded trials of the same kind (modality, data, objective, encoder), in proportion
    to epochs and samples; where none is recorded, what the profile says of its trials.
    """
    entries = {entry.trial.key: entry.trial for entry in study.entries()}
    rates: dict[tuple, list[float]] = defaultdict(list)
    for trial in entries.values():
        if (record := study.store.read(trial)) is not None:
            rates[_kind(trial)].append(record["seconds"] / cost(trial))
    return {
        key: median(found) * cost(trial) if (found := rates.get(_kind(trial))) else study.seconds
        for key, trial in entries.items()
    }


def of(entries: list[Entry], seconds: dict[str, float], least: float) -> dict[str, int]:
    """The batch, from 0, of each trial by key: in order, until one has `least` seconds of work.

    What is left at the end joins the last batch.
    """
    batches: list[list[str]] = [[]]
    work = 0.0
    for key in dict.fromkeys(entry.trial.key for entry in entries):
        if work >= least:
            batches.append([])
            work = 0.0
        batches[-1].append(key)
        work += seconds[key]
    if work < least and len(batches) > 1:
        batches[-2:] = [batches[-2] + batches[-1]]
    return {key: number for number, batch in enumerate(batches) for key in batch}


def _kind(trial: Trial) -> tuple:
    return trial.modality, trial.data, trial.objective, trial.encoder


def budget(agenda: Iterable[tuple[Study, str]]) -> list[dict[str, Any]]:
    """What the stages of an agenda cost, a row for each stage and part (base, or modality).

    Returns:
        Rows with the fields study, part, stage, arms, seeds, trials, recorded, core_hours (of all
        trials, recorded or not), core_hours_left, and waits_for, "" if a row waits for no choice.
        Trials that an earlier row has as well are counted there alone.
    """
    rows, counted = [], set()
    for study, stage in agenda:
        seconds = expected_seconds(study)
        parts: dict[str, list[Entry]] = {}
        for entry in study.planned(stage):
            parts.setdefault(entry.base or entry.trial.modality, []).append(entry)
        for part, own in parts.items():
            new = {e.trial.key: e.trial for e in own if e.trial.key not in counted}
            counted |= new.keys()
            hours = {
                key: seconds.get(key, study.seconds * bool(t.epochs)) * t.threads / 3600
                for key, t in new.items()
            }
            recorded = {key for key, t in new.items() if study.store.read(t) is not None}
            rows.append(
                {
                    "study": study.name,
                    "part": part,
                    "stage": stage,
                    "arms": len({(e.objective, e.arm) for e in own}),
                    "seeds": len({e.trial.seed for e in own}),
                    "trials": len(new),
                    "recorded": len(recorded),
                    "core_hours": sum(hours.values()),
                    "core_hours_left": sum(h for key, h in hours.items() if key not in recorded),
                    "waits_for": ", ".join(study.waits_for(stage)),
                }
            )
    return rows
