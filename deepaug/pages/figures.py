"""One figure grammar for the book: the same colours, axes and order on every page."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from pandas.io.formats.style import Styler

from deepaug.studies import records
from deepaug.training import registry
from deepaug.verdicts.statistics import Effect, paired_effect

if TYPE_CHECKING:
    from deepaug.studies.study import Entry

    Recorded = Iterable[tuple[Entry, dict[str, Any]]]

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
METRICS = {
    "knn": "kNN accuracy, %",
    "probe": "probe accuracy, %",
    "spearman": "Spearman × 100",
    "retrieval": "halves of documents found again, %",
    "svc": "SVC accuracy, %",
}
# What a view is, of a modality, or where text is cropped.
VIEWS = {
    "vision": "views of {} pixels a side",
    "text": "sentences of up to {} tokens",
    "crops": "crops of {} tokens",
    "nodes": "views of all nodes",
    "graphs": "whole graphs",
}
# Twins side by side: line, and whether the dots are filled.
TWINS = {"contrastive": ("-", True), "supervised": ("--", False)}
INTERVAL_FROM = 3  # seeds; the interval of two is too wide to draw on the scale of the effects


def use_style() -> None:
    """Opaque white, legible at phone width; call once in a notebook."""
    sns.set_theme(style="whitegrid", palette=list(COLOURS.values()))
    plt.rcParams.update(
        {
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.dpi": 110,
            "savefig.bbox": "tight",
            "font.size": 13,
            "axes.titlesize": 13,
            "axes.labelsize": 13,
            "xtick.labelsize": 12,
            "ytick.labelsize": 12,
            "legend.fontsize": 11,
            "legend.frameon": False,
            "svg.hashsalt": "deepaug",
        }
    )


def frame(recorded: "Recorded", split: str = "validation") -> pd.DataFrame:
    """One row for each recorded trial: its place in the study and its metrics on a split.

    Raises ValueError for the test split of a trial with a transform: verdict code alone reads it.
    """
    recorded = list(recorded)
    if split == "test" and any(records.judged(entry.trial) for entry, _ in recorded):
        raise ValueError("test metrics of arms are read by the verdict code alone")
    rows = [
        {
            "stage": entry.stage,
            "base": entry.base,
            "modality": entry.trial.modality,
            "data": entry.trial.data,
            "objective": entry.objective,
            "arm": entry.arm,
            "layer": entry.trial.layer,
            "transform": entry.trial.transform,
            "strength": entry.trial.strength,
            "seed": entry.trial.seed,
            "status": record["status"],
            "collapsed": records.collapsed(record),
            "device": record["device"],
            "precision": entry.trial.precision,
            "seconds": record["seconds"],
            **record["metrics"].get(split, {}),
        }
        for entry, record in recorded
    ]
    return pd.DataFrame(rows)


def gains(table: pd.DataFrame, metric: str, against: str = "baseline") -> pd.DataFrame:
    """Each arm's difference to another in points, by seed, within one stage of one study.

    Twins and data sets are paired with their own. A diverged run counts at its seed's
    random-initialisation score. Runs on another device or in another precision are not paired, nor
    are seeds that lack the other arm. Raises ValueError for a diverged run whose random
    initialisation is not recorded.
    """
    by_seed = {(r.base, r.objective, r.arm, r.seed): r for r in table.itertuples()}

    def score(run) -> float:
        if run.status != "diverged":
            return getattr(run, metric)
        untrained = by_seed.get((run.base, run.objective, "untrained", run.seed))
        if untrained is None:
            raise ValueError(f"seed {run.seed} of {run.arm!r} diverged; record its 'untrained' too")
        return getattr(untrained, metric)

    rows = []
    for (base, objective, arm, seed), run in by_seed.items():
        other = by_seed.get((base, objective, against, seed))
        if arm == against or other is None:
            continue
        if (run.device, run.precision) == (other.device, other.precision):
            gain = score(run) - score(other)
            place = (base, objective, arm, run.layer, run.transform, run.strength, seed)
            rows.append((*place, gain))
    columns = ["base", "objective", "arm", "layer", "transform", "strength", "seed", "gain"]
    return pd.DataFrame(rows, columns=columns)


def effects(
    table: pd.DataFrame, metric: str, against: str = "baseline", also: Iterable[str] = ()
) -> Styler:
    """Arms by rows: mean metric, gain with its interval, how many runs, diverged and collapsed.

    Args:
        also: further metrics to give the mean of.
    """
    gained = gains(table, metric, against)
    rows = []
    for (base, objective, arm), runs in table.groupby(["base", "objective", "arm"], sort=False):
        of_arm = (gained["base"] == base) & (gained["objective"] == objective)
        values = gained.loc[of_arm & (gained["arm"] == arm), "gain"]
        rows.append(
            {
                "of": base,
                "training": objective,
                "arm": arm,
                "mean": runs[metric].mean(),
                **{name: runs[name].mean() for name in also},
                f"over {against} [95 % interval]": str(_effect(values)) if len(values) else "–",
                "runs": len(runs),
                "diverged": int((runs["status"] == "diverged").sum()),
                "collapsed": int(runs["collapsed"].sum()),
            }
        )
    told = pd.DataFrame(rows)
    # What is the same in all rows is said above the table.
    told = told.drop(columns=[n for n in ("of", "training") if told[n].nunique() == 1])
    return plain(told).format({name: "{:.2f}" for name in ("mean", *also)})


def plain(table: pd.DataFrame) -> Styler:
    """A table as the pages show it: no index, left-aligned, on one line."""
    style = table.style.hide(axis="index")
    return style.set_properties(
        **{"text-align": "left", "white-space": "nowrap", "padding-right": "1em"}
    )


def _effect(values: pd.Series) -> Effect:
    return paired_effect(values, np.zeros(len(values)))


def panels(number: int, height: float = 4.6) -> tuple[Figure, np.ndarray]:
    """Panels of full width below each other, on one scale, so that a phone shows them."""
    return plt.subplots(
        number,
        1,
        figsize=(6.4, height * number + 0.4),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )


def gain_by_depth(
    ax: Axes, table: pd.DataFrame, metric: str, layers: Iterable[str], title: str
) -> None:
    """Gain over the baseline against the target's depth: every seed a dot, means joined.

    Colour tells the transform; of twins the contrastive one is solid, the supervised one dashed and
    hollow. Bars are 95 % intervals, drawn from three seeds on and cut at the frame, which fits the
    dots.
    """
    gained = gains(table, metric)
    gained = gained[gained["transform"] != "none"]
    layers = [layer for layer in layers if layer in set(gained["layer"])]
    twins = gained["objective"].nunique() > 1
    arms = list(gained.groupby(["objective", "transform", "strength"], sort=False))
    for number, ((objective, transform, strength), runs) in enumerate(arms):
        colour = COLOURS[transform]
        # Strengths of one transform differ by line; arms stand side by side at their layer.
        strengths = sorted(gained.loc[gained["transform"] == transform, "strength"].unique())
        line, filled = ("-", "--", ":", "-.")[strengths.index(strength) % 4], True
        if twins:
            line, filled = TWINS[objective]
        label = f"{transform} {strength:g}" + (f", {objective}" if twins else "")
        shift = (number - (len(arms) - 1) / 2) * 0.5 / max(len(arms), 1)
        at = np.array([layers.index(layer) for layer in runs["layer"]]) + shift
        _dots(ax, at, runs["gain"], colour, filled)
        by_layer = sorted(
            (layers.index(layer) + shift, _effect(group["gain"]))
            for layer, group in runs.groupby("layer", sort=False)
        )
        means = [effect.mean for _, effect in by_layer]
        ax.plot([x for x, _ in by_layer], means, line, color=colour, lw=2, label=label, zorder=3)
        for x, effect in by_layer:
            if effect.n >= INTERVAL_FROM:
                ax.plot([x, x], [effect.low, effect.high], color=colour, linewidth=1.5, zorder=3)
    ax.axhline(0, color=COLOURS["baseline"], linewidth=1.5, zorder=1)
    drawn = [line.get_ydata() for other in _sharing_y(ax) for line in other.lines if _is_dots(line)]
    _fit(ax.set_ylim, pd.Series(np.concatenate([np.zeros(1), *drawn])))
    ax.set_xticks(range(len(layers)), layers, rotation=35, ha="right")
    ax.set(title=title, xlabel="target, from shallow to deep", ylabel="gain over baseline, points")
    if twins:  # four lines leave no free corner
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.34), ncols=2)
    else:
        ax.legend(loc="best")


def forest(
    ax: Axes, table: pd.DataFrame, metric: str, title: str, against: str = "baseline"
) -> None:
    """One row for each arm: its difference to another, every seed a dot, the mean a bar.

    Lines are 95 % intervals, drawn from three seeds on and cut at the frame, which fits the dots.
    """
    gained = gains(table, metric, against)
    arms = list(dict.fromkeys(gained["arm"]))
    for row, arm in enumerate(arms):
        runs = gained[gained["arm"] == arm]
        transform = runs["transform"].iloc[0]
        colour = COLOURS.get(arm if transform == "none" else transform, COLOURS["baseline"])
        _dots(ax, runs["gain"], [row] * len(runs), colour)
        ax.plot(runs["gain"].mean(), row, "|", color=colour, ms=16, mew=2.5, zorder=3)
        effect = _effect(runs["gain"])
        if effect.n >= INTERVAL_FROM:
            ax.plot([effect.low, effect.high], [row, row], color=colour, linewidth=1.5, zorder=2)
    ax.axvline(0, color=COLOURS["baseline"], linewidth=1.5, zorder=1)
    _fit(ax.set_xlim, gained["gain"])
    ax.set_yticks(range(len(arms)), arms)
    ax.set_ylim(len(arms) - 0.5, -0.5)
    ax.set(title=title, xlabel=f"{METRICS[metric]}: difference to {against}, points")


def gradient_norms(ax: Axes, recorded: "Recorded", title: str) -> None:
    """Norm of the gradient below the target against epochs: a line for each arm, over its seeds."""
    recorded = [(entry, record) for entry, record in recorded if entry.trial.layer != "none"]
    points = [
        {"arm": entry.arm, **point}
        for entry, record in recorded
        for point in record["curve"]
        if "gradient_below" in point
    ]
    table = pd.DataFrame(points, columns=["arm", "epoch", "gradient_below"])
    # An arm has its colour whether or not the arms before it were recorded with their gradients.
    arms = list(dict.fromkeys(entry.arm for entry, _ in recorded))
    for colour, arm in zip(sns.color_palette("viridis", len(arms)), arms, strict=True):
        runs = table[table["arm"] == arm]
        if len(runs):
            means = runs.groupby("epoch")["gradient_below"].mean()
            ax.plot(means.index, means, "-o", color=colour, label=arm, ms=4)
    # Linear below the smallest norm that is not zero, so that zero has a place.
    positive = table.loc[table["gradient_below"] > 0, "gradient_below"]
    ax.set_yscale("symlog", linthresh=positive.min() if len(positive) else 1.0)
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(title=title, xlabel="epoch", ylabel="gradient norm below the target")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


def _dots(ax: Axes, x, y, colour: str, filled: bool = True) -> None:
    face = colour if filled else "white"
    ax.plot(x, y, "o", color=colour, mfc=face, alpha=0.45 if filled else 0.8, ms=5, zorder=2)


def _sharing_y(ax: Axes) -> list[Axes]:
    return ax.get_shared_y_axes().get_siblings(ax)


def _is_dots(line: Line2D) -> bool:
    return line.get_marker() == "o"


def _fit(set_limits: Callable, values: pd.Series) -> None:
    """Limits that hold zero and all values."""
    least, most = min(0, values.min()), max(0, values.max())
    margin = 0.15 * (most - least) or 1
    set_limits(least - margin, most + margin)


def scores(ax: Axes, table: pd.DataFrame, metric: str, label: str, title: str) -> None:
    """The metric itself, one row for each arm, every seed a dot, the mean a bar."""
    arms = list(dict.fromkeys(table["arm"]))
    for row, arm in enumerate(arms):
        runs = table[table["arm"] == arm]
        transform = runs["transform"].iloc[0]
        colour = COLOURS.get(arm if transform == "none" else transform, COLOURS["baseline"])
        ax.plot(runs[metric], [row] * len(runs), "o", color=colour, alpha=0.6)
        ax.plot(runs[metric].mean(), row, "|", color=colour, markersize=16, markeredgewidth=2.5)
    ax.set_yticks(range(len(arms)), arms)
    ax.invert_yaxis()
    ax.set(title=title, xlabel=label)


def learning_curves(
    axes: tuple[Axes, Axes],
    recorded: "Recorded",
    metric: str,
    label: str,
) -> None:
    """Loss, and the validation metric where it was taken, against epochs: one line for each arm.

    Lines are means over seeds; the band spans the seeds.
    """
    points = [
        {"arm": entry.arm, "seed": entry.trial.seed, "transform": entry.trial.transform, **point}
        for entry, record in recorded
        for point in _with_final(record, metric)
    ]
    table = pd.DataFrame(points)
    for ax, quantity, name in zip(axes, ("loss", metric), ("training loss", label), strict=True):
        present = table.dropna(subset=quantity)
        for arm, runs in present.groupby("arm", sort=False):
            transform = runs["transform"].iloc[0]
            colour = COLOURS.get(arm if transform == "none" else transform, COLOURS["baseline"])
            over_seeds = runs.groupby("epoch")[quantity].agg(["mean", "min", "max"])
            line = _line_of(arm, present)
            # A metric taken at the end alone is a dot.
            dot = "o" if len(over_seeds) == 1 else None
            ax.plot(over_seeds.index, over_seeds["mean"], line, marker=dot, color=colour, label=arm)
            ax.fill_between(
                over_seeds.index,
                over_seeds["min"],
                over_seeds["max"],
                color=colour,
                alpha=0.12,
                linewidth=0,
            )
        ax.set(xlabel="epoch", ylabel=name)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].legend(loc="upper left", bbox_to_anchor=(1, 1))


def _with_final(record: dict[str, Any], metric: str) -> list[dict[str, float]]:
    """The curve with the final validation metric at its last point."""
    curve = [dict(point) for point in record["curve"]]
    if curve and record["status"] == "ok":
        curve[-1][metric] = record["metrics"]["validation"][metric]
    return curve


def _line_of(arm: str, table: pd.DataFrame) -> str:
    """Lines tell apart the arms that share a transform and thus a colour."""
    transform = table.loc[table["arm"] == arm, "transform"].iloc[0]
    if transform == "none":
        return "-"
    arms = list(dict.fromkeys(table.loc[table["transform"] == transform, "arm"]))
    return ("-", "--", ":", "-.")[arms.index(arm) % 4]


def conditions(recorded: "Recorded") -> str:
    """One sentence: data, network, seeds, device, precision and time of these records."""
    recorded = list(recorded)
    if not recorded:
        return "No records."
    runs = {record["key"]: record for _, record in recorded}
    trials = [entry.trial for entry, _ in recorded]
    minutes = max(1, round(sum(record["seconds"] for record in runs.values()) / 60))

    def every(name: str) -> str:
        values = sorted({getattr(trial, name) for trial in trials})
        # 0 samples are all there are; 0 epochs are those of the untrained network.
        told = [f"{v:,}" if isinstance(v, int) else v for v in values if v != 0 or name == "seed"]
        return ", ".join(told) or "all"

    devices = ", ".join(sorted({record["device"] for record in runs.values()}))
    hub = registry.from_hub(trials[0].modality, trials[0].encoder)  # has a width of its own
    width = "" if hub else f" of width {every('width')}"
    views = "crops" if trials[0].views.startswith("crops") else trials[0].modality
    size = VIEWS[views].format(every("view_size"))
    return (
        f"{len(runs)} runs on {every('data')} ({every('samples')} samples), {every('encoder')}"
        f"{width}, {size}, {every('epochs')} epochs; seeds {every('seed')}; {devices}, "
        f"{every('precision')}, CPU threads each: {every('threads')}; "
        f"runs took {minutes} minute{'s' if minutes > 1 else ''} in all."
    )


def scale_reached(table: pd.DataFrame, metric: str, needed: float, aim: float) -> str:
    """How the scale stage stands to its rules: above random initialisation, and doubled epochs.

    Over data sets it is the mean. Of a data set that lacks either nothing is told.
    """
    means = gains(table, metric).groupby(["arm", "base"])["gain"].mean().unstack()
    if not {"untrained", "doubled"} <= set(means.index):
        return "The scale is not fully recorded."
    told = means.loc[["untrained", "doubled"]].reindex(columns=table["base"].unique())
    if told.isna().any(axis=None):
        return "The scale is not fully recorded."
    above, doubling = -told.loc["untrained"].mean(), told.loc["doubled"].mean()
    over = f", as the mean of {told.shape[1]} data sets" if told.shape[1] > 1 else ""
    return (
        f"The baseline stands {above:.1f} points above random initialisation{over} "
        f"(needed: {needed:g}; {'met' if above >= needed else '**not met**'}). "
        f"Doubling its epochs adds {doubling:.1f} "
        f"(aim: below {aim:g}; {'met' if doubling < aim else '**not met**'})"
        + ("." if doubling < aim else ": gains here are those of short training.")
    )
