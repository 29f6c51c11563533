"""How long trials take, what a profile's studies cost, and batches for a cluster."""

from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from deepaug import studies
from deepaug.studies import Entry, Study
from deepaug.sweep import cost
from deepaug.trial import Trial

UNTRAINED = 0.2  # share of a trial that its evaluation takes, until one is recorded


def expected_seconds(study: Study) -> dict[str, float]:
    """Seconds that each trial of a study may take, by key; planned ones too.

    From the recorded trials of the same kind (modality, data, encoder, size, objective), in
    proportion to epochs and samples; where none is recorded, from those of another objective;
    else what the profile says of its trials.
    """
    entries = [entry for stage in study.stages for entry in study.planned(stage)]
    trials = {entry.trial.key: entry.trial for entry in entries}
    rates: dict[tuple, list[float]] = defaultdict(list)
    for trial in trials.values():
        if (record := study.store.read(trial)) is not None:
            for kind in _kinds(trial):
                rates[kind].append(record["seconds"] / cost(trial))
    bases = {entry.trial.key: entry.base for entry in entries}
    plain = {base.label: cost(base.trial) for base in study.bases}

    def seconds(key: str, trial: Trial) -> float:
        for kind in _kinds(trial):
            if kind in rates:
                return median(rates[kind]) * cost(trial)
        share = UNTRAINED if trial.objective == "untrained" else cost(trial) / plain[bases[key]]
        return study.seconds * share

    return {key: seconds(key, trial) for key, trial in trials.items()}


def budget(profile: str, root: Path | None = None) -> list[dict[str, Any]]:
    """What the studies of a profile cost, a row for each part of each stage, in order of running.

    A row has study, part (modality), stage, arms, seeds, trials (that no row above has), recorded,
    core_hours of all of these, core_hours_left of those not recorded, and waits (for which stages).
    Stages that wait for a choice are counted by an assumed one, which asks for most.
    """
    seconds: dict[str, dict[str, float]] = {}
    rows, seen = [], set()
    for study, stage in studies.agenda(profile, root):
        whole = study.whole or study
        if study.name not in seconds:
            seconds[study.name] = expected_seconds(whole)
        modalities = dict.fromkeys(entry.trial.modality for entry in study.planned(stage))
        for modality in modalities:
            entries = [e for e in study.planned(stage) if e.trial.modality == modality]
            new = {e.trial.key: e.trial for e in entries if e.trial.key not in seen}
            seen |= set(new)
            missing = [key for key, trial in new.items() if study.store.read(trial) is None]
            rows.append(
                {
                    "study": study.name,
                    "part": modality,
                    "stage": stage,
                    "arms": len({entry.name for entry in entries}),
                    "seeds": len({entry.trial.seed for entry in entries}),
                    "trials": len(new),
                    "recorded": len(new) - len(missing),
                    "core_hours": sum(seconds[study.name][key] for key in new) / 3600,
                    "core_hours_left": sum(seconds[study.name][key] for key in missing) / 3600,
                    "waits": study.waits_for(stage),
                }
            )
    return rows


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


def _kinds(trial: Trial) -> list[tuple]:
    """Kinds that a trial's duration may be told from, the likest first."""
    size = trial.modality, trial.data, trial.encoder, trial.width, trial.view_size, trial.samples
    if trial.objective == "untrained":
        return [(*size, "untrained")]
    return [(*size, trial.objective), (*size, "trained")]
