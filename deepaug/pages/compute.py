"""What the recorded runs took, and what the profiles cost: the tables of the page on compute."""

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display

from deepaug.pages import figures
from deepaug.pages.page import LARGER
from deepaug.studies import catalogue, listing, publish, records
from deepaug.studies.profile import packaged

Record = dict[str, Any]
UNIT = ["profile", "study", "modality", "device"]  # what the hours are summed by
HOURS = ("core-hours", "left")
ELSEWHERE = "in no study: of an earlier protocol, or of a grid that has changed"


def spent() -> pd.DataFrame:
    """What all records took, a row for each profile, study, modality and device.

    Returns:
        Columns "profile", "study", "modality", "device", "trials", "diverged", "collapsed" and
        "core-hours". A trial that several studies share counts in the first of them; records that
        no study asks for are counted all the same.
    """
    root = records.default_root()
    rows = [
        {
            "profile": profile,
            "study": study,
            "modality": record["trial"]["modality"],
            "device": record["device"],
            "trials": 1,
            "diverged": record["status"] == "diverged",
            "collapsed": records.collapsed(record),
            "core-hours": record["seconds"] * record["trial"]["threads"] / 3600,
        }
        for profile, record, study in _with_studies(root)
        if profile != "quick"
    ]
    counted = ["trials", "diverged", "collapsed", "core-hours"]
    table = pd.DataFrame(rows, columns=[*UNIT, *counted])  # also where nothing is recorded
    return table.groupby(UNIT, sort=False).sum().reset_index()


def _with_studies(root) -> Iterator[tuple[str, Record, str]]:
    places: dict[str, dict[str, str]] = {}  # profile -> key -> study
    for profile, record in publish.found(root) if records.files(root) else ():
        if profile not in places:
            agenda = catalogue.agenda(profile, root) if profile in packaged() else []
            entries = [(e.trial.key, s.name) for s, at in agenda for e in s.stage_entries(at)]
            places[profile] = dict(reversed(entries))  # the first of several stays
        yield profile, record, places[profile].get(record["key"], ELSEWHERE)


def show_spent(table: pd.DataFrame) -> None:
    """The table of `spent`, and its sums in a sentence."""
    if table.empty:
        display(Markdown("Nothing is recorded yet beside the quick runs of the pages."))
        return
    total = table.sum(numeric_only=True)
    display(
        Markdown(
            f"{total['trials']:,.0f} trials took {total['core-hours']:.1f} core-hours; "
            f"{total['diverged']:.0f} of them diverged and {total['collapsed']:.0f} collapsed."
        )
    )
    show(table)


def hours(table: pd.DataFrame) -> None:
    """A bar of core-hours for each study, its modalities stacked; nothing without records.

    Args:
        table: as `spent` makes it.
    """
    if table.empty:
        return
    by_study = table.pivot_table("core-hours", "study", "modality", "sum", sort=False)
    named = by_study.rename(index={ELSEWHERE: "in no study"})
    ax = figures.row_axes(len(named), legend=1)
    named.plot.barh(stacked=True, ax=ax, colormap="viridis", width=0.3)
    ax.get_legend().remove()
    figures.label_rows(ax, [*named.index])
    ax.set(xlabel="core-hours of recorded trials", ylabel="")
    figures.legend_below(ax)
    plt.show()


def show(table: pd.DataFrame) -> None:
    """A table with its hours rounded."""
    display(figures.plain(table, wrap=True).format({n: "{:.1f}" for n in HOURS if n in table}))


def profiles() -> pd.DataFrame:
    """What each profile costs: core-hours in all, and how many of its trials they are known from.

    Hours are the records' own where there are any of a kind of trial; else they are reckoned from
    what the profile says of its trials.
    """
    rows = []
    for profile in ("quick", *LARGER):
        budget = listing.budget(catalogue.agenda(profile))
        trials, recorded, planned, left = (
            sum(row[name] for row in budget)
            for name in ("trials", "recorded", "core_hours", "core_hours_left")
        )
        rows.append(
            {
                "profile": profile,
                "trials": trials,
                "recorded": recorded,
                "core-hours": planned,
                "left": left,
                "known from": "records" if recorded else "what the profile says",
            }
        )
    return pd.DataFrame(rows)
