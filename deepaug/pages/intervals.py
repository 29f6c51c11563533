"""Figures of verdicts: the interval of each test against what is negligible."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes

from deepaug.pages import figures
from deepaug.verdicts.comparison import CONTEXT, FAMILY
from deepaug.verdicts.table import Cell, Row


def of_cells(cells: Sequence[Cell], title: str, unit: str) -> None:
    """Every interval of a claim's tests against ±δ, the grey band; a row for each.

    Tests of the family are filled, all others hollow. A cell without an effect says why.

    Args:
        unit: of the effects: points, τ or shares.
    """
    rows: list[tuple[str, Row | None]] = []
    for cell in cells:
        shown = drawn(cell)
        of = figures.NAMES[cell.modality]
        rows += [(f"{of}: {row.name}, {row.transform}".rstrip(", "), row) for row in shown]
        if not shown:
            why = cell.state if cell.state == "not begun" else cell.verdict
            rows.append((f"{of}: {textwrap.shorten(why, 44, placeholder=' …')}", None))
    ax = draw(rows)
    ax.set(title=title, xlabel=f"effect, {unit}; grey: ±δ")


def draw(rows: Sequence[tuple[str, Row | None]]) -> Axes:
    """A labelled row for each test: its mean and interval on the band of what is negligible."""
    ax = figures.row_axes(len(rows))
    for at, (_, row) in enumerate(rows):
        if row is None:
            continue
        effect, colour = row.effect, figures.COLOURS.get(row.transform, figures.COLOURS["baseline"])
        face = colour if row.kind == FAMILY else "white"
        ax.barh(at, 2 * row.delta, left=-row.delta, height=0.4, color="#dddddd", zorder=0)
        ax.plot([effect.low, effect.high], [at, at], color=colour, lw=2, zorder=2)
        ax.plot(effect.mean, at, "o", color=colour, mfc=face, ms=7, zorder=3)
    ax.axvline(0, color=figures.COLOURS["baseline"], linewidth=1.5, zorder=1)
    figures.label_rows(ax, [label for label, _ in rows])
    return ax


def drawn(cell: Cell) -> list[Row]:
    """The tests of a cell that a figure shows: those with an interval, but for context.

    Of the arm beside the primary one only the family's own tests: its controls may lie so far away
    that they leave no room for the rest. They stand in the tables.
    """
    shown = [row for row in cell.tests if row.interval and row.kind != CONTEXT]
    judged = {row.test: row.transform for row in shown if row.kind == FAMILY}
    primary = set(judged.values())
    return [r for r in shown if not primary or r.transform in primary or r.test in judged]
