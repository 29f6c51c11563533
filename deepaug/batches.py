"""Batches of trials, each long enough that starting a process is a small part of it."""

from collections import defaultdict
from statistics import median

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
