"""What `deepaug list` shows: a study's trials, or what all studies cost."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deepaug.studies import ALL, backlog, batches, catalogue, durations
from deepaug.studies.records import Store
from deepaug.studies.study import Entry, Study, progress

Rows = list[dict[str, Any]]
SUMMED = ("trials", "recorded", "core_hours", "core_hours_left")
COLUMNS = ("study", "part", "stage", "arms", "seeds", "trials", "recorded", "core-hours", "left")


def trials(study: Study, batch_seconds: int | None = None) -> Rows:
    """A row for each settled trial, with the fields key, stage, arm, seed and recorded.

    Args:
        batch_seconds: adds the fields batch, the name of a missing trial's batch of that much work
            or more (None for a recorded one), and threads.
    """
    entries = study.entries()
    rows: Rows = [
        {
            "key": e.trial.key,
            "stage": e.stage,
            "arm": e.name,
            "seed": e.trial.seed,
            "recorded": study.store.read(e.trial) is not None,
        }
        for e in entries
    ]
    if batch_seconds is None:
        return rows
    batch = batches.assign(study.missing(), batches.expected_seconds(study), batch_seconds)
    return [
        row | {"batch": batch.get(row["key"]), "threads": entry.trial.threads}
        for row, entry in zip(rows, entries, strict=True)
    ]


def studies(profile: str, root: Path | None = None) -> Rows:
    """A row for each study of a profile, with the fields study, stages, trials and recorded.

    Trials that wait for a choice are not among them.
    """
    loaded = [catalogue.load(name, profile, root) for name in catalogue.names(profile)]
    return [
        {
            "study": study.name,
            "stages": list(study.stages),
            "trials": len(study.entries()),
            "recorded": len(list(study.recorded())),
        }
        for study in loaded
    ]


def budget(agenda: Iterable[tuple[Study, str]]) -> Rows:
    """What the stages of an agenda cost, a row for each stage and part (base, or modality).

    Returns:
        Rows with the fields study, part, stage, arms, seeds, trials, recorded, core_hours
        (of all trials, recorded or not), core_hours_left, and waits_for: the stages whose choice
        a row waits for, "" if none; what then counts is a choice that is assumed. Trials that an
        earlier row has as well are counted there alone, in `trials` and all after it.

    Hours are those of a machine that does nothing else: of the trials of a kind the quarter that
    took least, since many were recorded beside other work.
    """
    stages = []
    for study, stage in agenda:
        settled, waits_for = study.stage_entries(stage), ", ".join(study.waits_for(stage))
        stages.append((study, stage, settled, ""))
        if waits_for:
            stages.append((study, stage, backlog.waiting(study, stage, settled), waits_for))
    known, recorded = durations.from_records(
        ((study, entry) for study, _, entries, _ in stages for entry in entries), share=0.25
    )
    rows, counted = [], set[str]()
    for study, stage, entries, waits_for in stages:
        for part, own in _by_part(entries).items():
            new = {e.trial.key: e for e in own if e.trial.key not in counted}
            counted |= new.keys()
            hours = {
                key: known.of_entry(study, e).seconds * e.trial.threads / 3600
                for key, e in new.items()
            }
            rows.append(
                {
                    "study": study.name,
                    "part": part,
                    "stage": stage,
                    "arms": len({(e.objective, e.arm) for e in own}),
                    "seeds": len({e.trial.seed for e in own}),
                    "trials": len(new),
                    "recorded": len(recorded & new.keys()),
                    "core_hours": sum(hours.values()),
                    "core_hours_left": sum(h for key, h in hours.items() if key not in recorded),
                    "waits_for": waits_for,
                }
            )
    return rows


def _by_part(entries: list[Entry]) -> dict[str, list[Entry]]:
    parts: dict[str, list[Entry]] = {}
    for entry in entries:
        parts.setdefault(entry.base or entry.trial.modality, []).append(entry)
    return parts


def show_trials(rows: Rows, study: Study) -> None:
    """Print the rows of `trials`, a line for each, and how far each stage is."""
    width = max((len(row["arm"]) for row in rows), default=0)
    for row in rows:
        state = "recorded" if row["recorded"] else "missing"
        print(f"{row['key']}  {row['stage']:8} {row['arm']:{width}} seed {row['seed']:<4} {state}")
    for name in study.stages:
        print(f"{name}: {progress(study, name)}")


def show_studies(rows: Rows) -> None:
    """Print the rows of `studies`, a line for each."""
    width = max(len(row["study"]) for row in rows)
    for row in rows:
        counts = f"{row['recorded']} of {row['trials']} trials recorded"
        print(f"{row['study']:{width}}  {counts}; stages {', '.join(row['stages'])}")
    print(f"'deepaug list STUDY' lists one's trials, 'deepaug list {ALL}' what all cost")


def show_budget(rows: Rows, profile: str) -> None:
    """Print the rows of `budget` as a table, and their sums."""
    sums = {name: sum(row[name] for row in rows) for name in SUMMED}
    total = dict.fromkeys(("part", "stage", "arms", "seeds", "waits_for"), "")
    lines = [(*COLUMNS, ""), *map(_cells, [*rows, {"study": "total", **total, **sums}])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for *cells, note in lines:
        aligned = [
            cell.ljust(width) if place < 3 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=False))
        ]
        print("  ".join((*aligned, note)).rstrip())
    planned, left = sums["core_hours"], sums["core_hours_left"]
    cores = os.cpu_count() or 1
    print(
        f"core-hours at {profile}: {planned:.2f} planned, {left:.2f} left, which is about "
        f"{left / cores:.1f} hours on {cores} cores"
    )
    if waiting := sum(bool(row["waits_for"]) for row in rows):
        print(f"{waiting} rows wait for a choice, and are counted by one that is assumed")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    counts = ("study", "part", "stage", "arms", "seeds", "trials", "recorded")
    hours = (f"{row[name]:.2f}" for name in ("core_hours", "core_hours_left"))
    note = f"waits for {row['waits_for']}" if row["waits_for"] else ""
    return *(str(row[name]) for name in counts), *hours, note


def note_other_protocols(store: Store) -> None:
    """Say on stderr how many records of earlier protocols lie in a store and do not count."""
    for protocol, count in store.other_protocols().items():
        print(
            f"deepaug: {store.folder} also holds {count} records of the earlier protocol "
            f"{protocol}, which do not count",
            file=sys.stderr,
        )
