"""The page of claims: the table of verdicts, and of each claim its tests and their intervals."""

import html

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, Markdown, display

from deepaug.pages import figures
from deepaug.pages.page import LARGER
from deepaug.studies import rulebook
from deepaug.verdicts import telling
from deepaug.verdicts.table import Cell, Table, table

UNITS = {"C3a": "Kendall's τ", "C4": "difference of shares"}  # else points


def tables() -> list[Table]:
    """The verdicts of `cpu`, and of each larger profile with records that judge."""
    found = [table(profile) for profile in LARGER]
    return [t for t in found if t.profile == "cpu" or any(cell.recorded for cell in t.cells)]


def summary(found: list[Table]) -> None:
    """Claim by modality, a table for each profile; and how its baselines stand."""
    claims = rulebook.rules()["claims"]
    for of in found:
        display(Markdown(f"**At the scale of `{of.profile}`**"))
        rows = []
        for claim, rule in claims.items():
            words = {c.modality: c.verdict for c in of.cells if c.claim == claim}
            words = words or dict.fromkeys(of.scales, of.networks)
            rows.append({"claim": f"{claim}. {rule['claim']}", **words})
        display(figures.plain(pd.DataFrame(rows), wrap=True))
        for modality, scale in of.scales.items():
            display(Markdown(f"{modality}: {scale or 'the scale is not fully recorded.'}"))


def claim(found: list[Table], name: str) -> None:
    """A claim's tests with their intervals against ±δ, and the records and commands behind them."""
    display(Markdown(f"*{rulebook.rules()['claims'][name]['claim']}*"))
    for of in found:
        cells = [cell for cell in of.cells if cell.claim == name]
        _, ax = plt.subplots(figsize=(6.8, figures.height(cells)), layout="constrained")
        figures.intervals(ax, cells, f"{name} at {of.profile}", UNITS.get(name, "points"))
        plt.show()
        rows = [row for cell in cells for row in _rows(cell)]
        if rows:
            display(figures.plain(pd.DataFrame(rows), wrap=True))
        _behind(cells, of.profile)


def _rows(cell: Cell) -> list[dict[str, str]]:
    return [
        {
            "of": cell.modality,
            "test": row.test,
            "arm": row.arm,
            "verdict": row.verdict if row.kind != "secondary" else f"{row.verdict} (secondary)",
            "effect": row.told,
            "p": telling.p_value(row.adjusted_p),
            "more": "; ".join(telling.details(row)),
        }
        for row in cell.tests
        if row.told
    ]


def _behind(cells: list[Cell], profile: str) -> None:
    keys = dict.fromkeys(key for cell in cells for row in cell.tests for key in row.keys)
    links = " · ".join(f'<a href="../../results/{profile}/{k}.json">{k}</a>' for k in keys)
    again = dict.fromkeys(command for cell in cells for command in cell.again)
    again |= dict.fromkeys(c for cell in cells for row in cell.tests for c in row.again)
    commands = html.escape("\n".join(again))
    count = f"{len(keys)} record{'s' * (len(keys) != 1)}, and what runs them"
    display(
        HTML(f"<details><summary>{count}</summary><pre>{commands}</pre><p>{links}</p></details>")
    )
