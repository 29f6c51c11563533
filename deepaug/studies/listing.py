"""What `deepaug list` tells: a study's trials, or what all studies cost."""

import os
from typing import Any

from deepaug.studies import batches
from deepaug.studies.study import Study, progress


def trials(study: Study, batch: int | None = None) -> list[dict[str, Any]]:
    """A row for each settled trial; with its batch of `batch` seconds of work, if given."""
    entries = study.entries()
    rows = [
        {
            "key": e.trial.key,
            "stage": e.stage,
            "arm": e.name,
            "seed": e.trial.seed,
            "recorded": study.store.read(e.trial) is not None,
        }
        for e in entries
    ]
    if batch is None:
        return rows
    number = batches.of(study.missing(), batches.expected_seconds(study), batch)
    threads = {e.trial.key: e.trial.threads for e in entries}
    return [row | {"batch": number.get(row["key"]), "threads": threads[row["key"]]} for row in rows]


def print_trials(study: Study, rows: list[dict[str, Any]]) -> None:
    width = max((len(row["arm"]) for row in rows), default=0)
    for row in rows:
        state = "recorded" if row["recorded"] else "missing"
        print(f"{row['key']}  {row['stage']:8} {row['arm']:{width}} seed {row['seed']:<4} {state}")
    for name in study.stages:
        print(f"{name}: {progress(study, name)}")


COLUMNS = ("study", "part", "stage", "arms", "seeds", "trials", "recorded", "core-hours", "left")


def print_budget(rows: list[dict[str, Any]], profile: str) -> None:
    """The rows of `deepaug.studies.batches.budget` as a table, and their sums."""
    table = [
        (
            *(str(row[name]) for name in ("study", "part", "stage", "arms", "seeds", "trials")),
            str(row["recorded"]),
            f"{row['core_hours']:.2f}",
            f"{row['core_hours_left']:.2f}",
            f"waits for {row['waits_for']}" if row["waits_for"] else "",
        )
        for row in rows
    ]
    sums = {
        name: sum(row[name] for row in rows)
        for name in ("trials", "recorded", "core_hours", "core_hours_left")
    }
    hours = f"{sums['core_hours']:.2f}", f"{sums['core_hours_left']:.2f}"
    total = ("total", "", "", "", "", str(sums["trials"]), str(sums["recorded"]), *hours, "")
    shown = [(*COLUMNS, ""), *table, total]
    widths = [max(len(line[place]) for line in shown) for place in range(len(COLUMNS))]
    for line in shown:
        cells = [
            cell.ljust(width) if place < 3 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=False))
        ]
        print("  ".join((*cells, line[-1])).rstrip())
    cores = os.cpu_count() or 1
    waiting = sum(bool(row["waits_for"]) for row in rows)
    print(
        f"core-hours at {profile}: {hours[0]} planned, {hours[1]} left, which is about "
        f"{sums['core_hours_left'] / cores:.1f} hours on {cores} cores"
    )
    if waiting:
        print(f"{waiting} rows wait for a choice, and are counted by one that is assumed")
