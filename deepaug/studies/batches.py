"""Batches of trials, each long enough that starting a job for it is a small part of its work."""

import hashlib

from deepaug.studies import durations
from deepaug.studies.study import Entry, Study


def expected_seconds(study: Study) -> dict[str, float]:
    """Seconds that each settled trial of a study may take, by key.

    From the recorded trials of the same kind (`durations.Durations`); where none is recorded, what
    the profile says of its trials.
    """
    entries = study.entries()
    known, _ = durations.from_records((study, entry) for entry in entries)
    return {entry.trial.key: known.of_entry(study, entry).seconds for entry in entries}


def assign(entries: list[Entry], seconds: dict[str, float], least: float) -> dict[str, str]:
    """The batch of each trial by key: in order, a batch ends when it has `least` seconds of work.

    What is left at the end joins the last batch. A batch is named by a hash of its trials' keys
    (sha256 of these, joined by spaces; 16 hexadecimal digits): the same trials, the same name.

    Args:
        seconds: that each trial may take, by key.
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
    return {key: _name(batch) for batch in batches for key in batch}


def _name(keys: list[str]) -> str:
    return hashlib.sha256(" ".join(keys).encode()).hexdigest()[:16]
