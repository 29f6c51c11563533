"""One figure grammar for the book: the same colours, axes and order on every page."""

import html
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib_inline.backend_inline import set_matplotlib_formats
from pandas.io.formats.style import Styler

from deepaug.studies import rulebook
from deepaug.verdicts.effects import METRICS, Recorded, gains
from deepaug.verdicts.statistics import mean_effect

# Wong's colour-blind-safe palette; a transform has its colour on every page.
COLOURS = {
    "baseline": "#555555",
    "untrained": "#999999",
    "no-augmentation": "#CC79A7",
    "dropout": "#0072B2",
    "pca": "#D55E00",
    "dropout-feature": "#56B4E9",
    "pca-truncate": "#E69F00",
    "noise": "#009E73",
    "noise-centred": "#009E73",
}
NAMES = {"vision": "images", "text": "text", "nodes": "graphs"}  # of modalities, as pages say
OF_MODALITIES = {"images": "#0072B2", "text": "#D55E00", "graphs": "#009E73"}
LINES = ("-", "--", ":", "-.")  # tell apart what has one colour
# Twins side by side: line, and whether the dots are filled.
TWINS = {"contrastive": ("-", True), "supervised": ("--", False)}
WIDTH = 5.0  # inches: at the width of a phone, text of 12 points is 11 pixels high
ROW = 0.52  # inches, of a row with its label above
MEAN: dict[str, Any] = {"marker": "|", "ms": 16, "mew": 2.5, "zorder": 3}  # of a mean


def use_style() -> None:
    """Vectors on opaque white, legible at phone width; call once in a notebook."""
    set_matplotlib_formats("svg")
    sns.set_theme(style="whitegrid", palette=list(COLOURS.values()))
    plt.rcParams.update(
        {
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "savefig.bbox": None,  # tight, a figure would not keep the width that sizes count on
            "font.size": 12,
            "axes.titlesize": 12,
            "axes.titlelocation": "left",
            "axes.labelsize": 12,
            "xtick.labelsize": 12,
            "ytick.labelsize": 12,
            "legend.fontsize": 12,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.hashsalt": "deepaug",
        }
    )


def figure(height: float, rows: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure of full width, `height` inches high, and its axes below each other."""
    return plt.subplots(rows, figsize=(WIDTH, height), layout="constrained", **options)


def row_axes(rows: int, legend: int = 0) -> Axes:
    """Axes of full width for so many labelled rows.

    Args:
        legend: lines of the legend below them.
    """
    return figure(1.0 + ROW * rows + 0.3 * legend)[1]


def fold(summary: str, content: str) -> None:
    """HTML behind a line that opens it."""
    told = f"<summary>{html.escape(summary)}</summary>{content}"
    display(HTML(f"<details>{told}</details>"))


def plain(table: pd.DataFrame, wrap: bool = False) -> Styler:
    """A table as the pages show it: no index, left-aligned; on one line, or cells that wrap."""
    lines = {"white-space": "normal" if wrap else "nowrap", "vertical-align": "top"}
    style = {"text-align": "left", "padding-right": "1em", **lines}
    return table.style.hide(axis="index").set_properties(**style)


def panels(number: int, height: float = 4.6) -> tuple[Figure, np.ndarray]:
    """Panels of full width below each other, on one scale, so that a phone shows them."""
    return figure(height * number + 0.4, number, sharey=True, squeeze=False)


def gain_by_depth(
    ax: Axes, table: pd.DataFrame, metric: str, layers: Iterable[str], title: str
) -> None:
    """Gain over the baseline against the target's depth: every seed a dot, means joined.

    Colour tells the transform; of twins the contrastive one is solid, the supervised one dashed and
    hollow. Bars are 95 % intervals, drawn from five seeds on and cut at the frame, which fits the
    dots.

    Args:
        table: as `effects.frame` makes it.
        layers: the targets in order of depth.
    """
    gained = gains(table, metric)
    gained = gained[gained["transform"] != "none"]
    layers = [layer for layer in layers if layer in set(gained["layer"])]
    twins = gained["objective"].nunique() > 1
    arms = list(gained.groupby(["objective", "transform", "strength"], sort=False))
    for number, ((objective, transform, strength), runs) in enumerate(arms):
        # Strengths of one transform differ by line; arms stand side by side at their layer.
        strengths = sorted(gained.loc[gained["transform"] == transform, "strength"].unique())
        line, filled = LINES[strengths.index(strength) % len(LINES)], True
        label = f"{transform} {strength:g}"
        if twins:
            (line, filled), label = TWINS[objective], f"{label}, {objective}"
        shift = (number - (len(arms) - 1) / 2) * 0.5 / len(arms)
        places = {layer: place + shift for place, layer in enumerate(layers)}
        _arm_by_depth(ax, runs, places, COLOURS[transform], line, filled, label)
    _over_depth(ax, layers)
    ax.set_title(title)
    legend_below(ax)


def depth_profile(ax: Axes, gains: pd.DataFrame, layers: Sequence[str], transform: str) -> None:
    """Gain at each target: seeds as dots, means joined, bars for 95 % intervals.

    Args:
        gains: a row for each target and seed, "layer" and "gain".
    """
    places = {layer: float(place) for place, layer in enumerate(layers)}
    _arm_by_depth(ax, gains, places, COLOURS[transform], "-", True, transform)
    _over_depth(ax, layers)


def _over_depth(ax: Axes, layers: Sequence[str]) -> None:
    ax.axhline(0, color=COLOURS["baseline"], linewidth=1.5, zorder=1)
    _fit(ax.set_ylim, [0.0, *_dots_of(ax)])
    ax.set_xticks(range(len(layers)), layers, rotation=35, ha="right")
    ax.set(xlabel="target, from shallow to deep", ylabel="gain over baseline, points")


def _arm_by_depth(
    ax: Axes,
    runs: pd.DataFrame,
    places: dict[str, float],
    colour: str,
    line: str,
    filled: bool,
    label: str,
) -> None:
    """One line of `gain_by_depth`; `places` says where on the x axis each layer stands."""
    gains = {layer: of_layer.tolist() for layer, of_layer in runs.groupby("layer")["gain"]}
    points = [(place, gains[layer]) for layer, place in places.items() if layer in gains]
    over_seeds(ax, points, colour, label, line, filled)


def over_seeds(
    ax: Axes,
    points: Sequence[tuple[float, Sequence[float]]],
    colour: str,
    label: str,
    line: str = "-",
    filled: bool = True,
) -> None:
    """Seeds as dots, means joined, and bars for 95 % intervals from five seeds on.

    Args:
        points: places on the x axis in their order, and the values of the seeds at each.
    """
    for x, values in points:
        _dots(ax, [x] * len(values), values, colour, filled)
    effects = [mean_effect(values) for _, values in points]
    at = [x for x, _ in points]
    ax.plot(at, [e.mean for e in effects], line, color=colour, lw=2, label=label, zorder=3)
    for x, effect in zip(at, effects, strict=True):
        if effect.n >= rulebook.fewest_seeds():
            ax.plot([x, x], [effect.low, effect.high], color=colour, linewidth=1.5, zorder=3)


def forest(ax: Axes, table: pd.DataFrame, metric: str, title: str) -> None:
    """One row for each arm: its difference to the baseline, every seed a dot, the mean a bar.

    Lines are 95 % intervals, drawn from five seeds on and cut at the frame, which fits the dots.
    """
    gained = gains(table, metric)
    _arms_in_rows(ax, gained, "gain", intervals=True)
    ax.axvline(0, color=COLOURS["baseline"], linewidth=1.5, zorder=1)
    _fit(ax.set_xlim, gained["gain"])
    ax.set(title=title, xlabel=f"{METRICS[metric]}: points over baseline")


def scores(ax: Axes, table: pd.DataFrame, metric: str, title: str) -> None:
    """The validation metric itself, one row for each arm, every seed a dot, the mean a bar."""
    _arms_in_rows(ax, table, metric, intervals=False)
    ax.set(title=title, xlabel=f"validation {METRICS[metric]}")


def learning_curves(axes: tuple[Axes, Axes], recorded: Recorded, metric: str) -> None:
    """Loss, and the validation metric where it was taken, against epochs: one line for each arm.

    Lines are means over seeds; the band spans the seeds.
    """
    table = _points(recorded, metric)
    names = ("training loss", f"validation\n{METRICS[metric]}")
    for ax, quantity, name in zip(axes, ("loss", metric), names, strict=True):
        present = table.dropna(subset=quantity)
        for arm, runs in present.groupby("arm", sort=False):
            transform, colour = runs["transform"].iloc[0], _colour(runs)
            alike = list(present.loc[present["transform"] == transform, "arm"].unique())
            line = "-" if transform == "none" else LINES[alike.index(arm) % len(LINES)]
            over_seeds = runs.groupby("epoch")[quantity].agg(["mean", "min", "max"])
            # A metric taken at the end alone is a dot.
            dot = "o" if len(over_seeds) == 1 else None
            ax.plot(over_seeds.index, over_seeds["mean"], line, marker=dot, color=colour, label=arm)
            low, high = over_seeds["min"], over_seeds["max"]
            ax.fill_between(low.index, low, high, color=colour, alpha=0.12, linewidth=0)
        _over_epochs(ax, name)
        ax.label_outer()
    legend_below(axes[-1])


def gradient_norms(ax: Axes, recorded: Recorded, title: str) -> None:
    """Norm of the gradient below the target against epochs: a line for each arm, over its seeds.

    Lines of one arm and its controls are named by what these change, since all else is the arm's.
    """
    recorded = [(entry, record) for entry, record in recorded if entry.trial.layer != "none"]
    table = _points(recorded).reindex(columns=["arm", "epoch", "gradient_below"]).dropna()
    lone = len({entry.arm for entry, _ in recorded if entry.role == "arm"}) == 1
    names = {e.arm: (e.control or e.trial.way) if lone else e.arm for e, _ in recorded}
    # An arm has its look whether or not the arms before it were recorded with their gradients.
    looks = itertools.product(LINES, sns.color_palette("colorblind", 6))
    looks = dict(zip(names, looks, strict=False))
    for arm, runs in table.groupby("arm", sort=False):
        means, (line, colour) = runs.groupby("epoch")["gradient_below"].mean(), looks[arm]
        ax.plot(means.index, means, line, marker="o", color=colour, label=names[arm], ms=4)
    # Linear below the smallest norm that is not zero, so that zero has a place.
    positive = table.loc[table["gradient_below"] > 0, "gradient_below"]
    ax.set_yscale("symlog", linthresh=positive.min() if len(positive) else 1.0)
    ax.set_ylim(bottom=0)
    _over_epochs(ax, "gradient norm")
    ax.set_title(title)
    legend_below(ax)


def _points(recorded: Recorded, metric: str = "") -> pd.DataFrame:
    """A row for each point of the curves; the last ones with the final validation metric."""
    rows = []
    for entry, record in recorded:
        curve = [dict(point) for point in record["curve"]]
        if metric and curve and record["status"] == "ok":
            curve[-1][metric] = record["metrics"]["validation"][metric]
        rows += [{"arm": entry.arm, "transform": entry.trial.transform, **p} for p in curve]
    return pd.DataFrame(rows)


def _over_epochs(ax: Axes, name: str) -> None:
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch", ylabel=name)


def _arms_in_rows(ax: Axes, table: pd.DataFrame, value: str, intervals: bool) -> None:
    """A row for each arm: every seed's value a dot, their mean a bar, its interval a line."""
    arms = list(table.groupby("arm", sort=False))
    for row, (_, runs) in enumerate(arms):
        colour, effect = _colour(runs), mean_effect(runs[value])
        _dots(ax, runs[value], [row] * len(runs), colour)
        ax.plot(effect.mean, row, color=colour, **MEAN)
        if intervals and effect.n >= rulebook.fewest_seeds():
            ax.plot([effect.low, effect.high], [row, row], color=colour, linewidth=1.5, zorder=2)
    label_rows(ax, [arm for arm, _ in arms])


def label_rows(ax: Axes, labels: Sequence[str]) -> None:
    """A label above each row, where it takes no width from the data."""
    for row, label in enumerate(labels):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        where = ax.get_yaxis_transform()
        ax.text(0, row - 0.28, label, transform=where, va="bottom", bbox=box, zorder=4)
    ax.grid(False, axis="y")
    ax.set_yticks(range(len(labels)), [""] * len(labels))
    ax.set_ylim(len(labels) - 0.6, -0.75)


def legend_below(ax: Axes) -> None:
    """One legend below all axes of the figure, in as many columns as its labels leave room for."""
    named: dict[str, Any] = {}
    for axes in ax.figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    for legend in list(ax.figure.legends):
        legend.remove()
    if named:
        columns = max(1, min(3, 34 // (max(map(len, named)) + 4)))
        ax.figure.legend(named.values(), named, loc="outside lower center", ncols=columns)


def _colour(runs: pd.DataFrame) -> str:
    """The colour of an arm: that of its transform, or its own where it has none."""
    arm, transform = runs["arm"].iloc[0], runs["transform"].iloc[0]
    return COLOURS.get(arm if transform == "none" else transform, COLOURS["baseline"])


def _dots(ax: Axes, x, y, colour: str, filled: bool = True) -> None:
    face = colour if filled else "white"
    ax.plot(x, y, "o", color=colour, mfc=face, alpha=0.45 if filled else 0.8, ms=5, zorder=2)


def _dots_of(ax: Axes) -> np.ndarray:
    """Heights of all dots in the panels that share this one's y axis."""
    panels = ax.get_shared_y_axes().get_siblings(ax)
    lines = (line for panel in panels for line in panel.lines if line.get_marker() == "o")
    return np.concatenate([np.zeros(0), *(line.get_ydata() for line in lines)])


def _fit(set_limits: Callable, values: Iterable[float]) -> None:
    """Limits that hold zero and all values."""
    least, most = min([0, *values]), max([0, *values])
    margin = 0.15 * (most - least) or 1
    set_limits(least - margin, most + margin)
