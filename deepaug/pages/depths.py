"""Gain against depth, of what is judged."""

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display

from deepaug.pages import figures, show
from deepaug.pages.answers import by_table
from deepaug.pages.figures import NAMES
from deepaug.pages.page import Page

AT_TARGET = "C3a gain at "
OF_PILOT = (
    "C3a is not judged yet: these are gains in the pilot, with fewer targets and other settings."
)


def gain_by_depth(page: Page, modality: str) -> None:
    """Gain against depth: that of the judged runs, or while they run that of the pilot."""
    if not _judged_depths(modality):
        display(Markdown(OF_PILOT))
        show.gain_by_depth(page, "pilot")


def gain_by_depth_of_all() -> None:
    """Gain against depth of all modalities that are judged."""
    if not _judged_depths():
        display(Markdown("No modality is judged yet."))


def _judged_depths(modality: str | None = None) -> int:
    """Gains at each target that C3a is judged by, a figure for each cell; how many there are."""
    shown = 0
    judged = ((of, cell) for of, found in by_table(["C3a"], modality) for cell in found)
    for of, cell in judged:
        rows = [r for r in cell.tests if r.test.startswith(AT_TARGET) and r.effect and cell.word]
        if not rows:
            continue
        layers = [row.test.removeprefix(AT_TARGET) for row in rows]
        gains = [
            {"layer": layer, "gain": gain}
            for layer, row in zip(layers, rows, strict=True)
            for gain in row.values
        ]
        _, ax = figures.figure(4.4)
        figures.depth_profile(ax, pd.DataFrame(gains), layers, rows[0].transform)
        of_runs = f"{rows[0].transform}, {rows[0].effect.n} seeds, test"
        ax.set_title(f"{NAMES[cell.modality]} at {of.profile}: {of_runs}")
        plt.show()
        shown += 1
    return shown
