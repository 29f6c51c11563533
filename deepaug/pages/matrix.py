"""What the page on networks shows: the matrix of claim C6, from its record."""

import json
from typing import Any

import pandas as pd
from IPython.display import Markdown, display

from deepaug.pages import figures
from deepaug.verdicts.table import NETWORKS as RECORD


def recorded() -> dict[str, Any] | None:
    """What benchmarks/matrix.py has recorded; None if there is nothing."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else None


def table(record: dict[str, Any], what: str) -> pd.DataFrame:
    """Cells by kind, a column for each library; those that have not passed are marked.

    >>> cell = {"library": "torch", "kind": "mixer", "outcome": "passed"}
    >>> table({"details": {"networks": {"A": cell, "B": {**cell, "outcome": "why"}}}}, "networks")
        kind      torch
    0  mixer  A, B (no)
    """
    rows = [
        {**told, "name": name if told["outcome"] == "passed" else f"{name} (no)"}
        for name, told in record["details"][what].items()
    ]
    cells = pd.DataFrame(rows).pivot_table("name", "kind", "library", ", ".join, fill_value="")
    return cells.rename_axis(columns=None).reset_index()


def show(what: str) -> None:
    """The cells of "networks" or "pipelines", how many passed, and why others did not."""
    if (record := recorded()) is None:
        display(Markdown(f"Not run: there is no record of {what}."))
        return
    told = record[what]
    passed = [*told.values()].count("passed")
    display(Markdown(f"**{passed} of {len(told)} {what} passed.**"))
    display(figures.plain(table(record, what), wrap=True))
    for name, why in told.items():
        if why != "passed":
            display(Markdown(f"- {name}: {why}"))


def show_conditions() -> None:
    """When, where and with which versions the record was made."""
    if (record := recorded()) is not None:
        versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
        display(
            Markdown(
                f"Recorded on {record['created'][:10]} at revision {record['revision'][:9]}, "
                f"{record['device']}: {versions}. "
                f"[The record](../../benchmarks/records/{RECORD.name}) has every cell's target."
            )
        )
