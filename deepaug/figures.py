"""One figure grammar for the book: the same colours, axes and order on every page."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from pandas.io.formats.style import Styler

from deepaug.statistics import Effect, paired_effect

if TYPE_CHECKING:
    from deepaug.studies import Entry

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


def frame(recorded: Iterable[tuple["Entry", dict[str, Any]]]) -> pd.DataFrame:
    """One row for each recorded trial: its place in the study and its validation metrics."""
    rows = [
        {
            "stage": entry.stage,
            "arm": entry.arm,
            "layer": entry.trial.layer,
            "transform": entry.trial.transform,
            "strength": entry.trial.strength,
            "seed": entry.trial.seed,
            "status": record["status"],
            "device": record["device"],
            "precision": entry.trial.precision,
            "seconds": record["seconds"],
            **record["metrics"].get("validation", {}),
        }
        for entry, record in recorded
    ]
    return pd.DataFrame(rows)


def gains(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Each arm's difference to the baseline in points, by seed, within one stage of one study.

    A diverged run counts at its seed's random-initialisation score. Runs on another device or in
    another precision than the baseline's are not paired, nor are seeds without a baseline.
    Raises ValueError for a diverged run whose random initialisation is not recorded.
    """
    by_seed = {(run.arm, run.seed): run for run in table.itertuples()}

    def score(run) -> float:
        if run.status != "diverged":
            return getattr(run, metric)
        if ("untrained", run.seed) not in by_seed:
            raise ValueError(f"seed {run.seed} of {run.arm!r} diverged; record its 'untrained' too")
        return getattr(by_seed["untrained", run.seed], metric)

    rows = []
    for (arm, seed), run in by_seed.items():
        baseline = by_seed.get(("baseline", seed))
        if arm == "baseline" or baseline is None:
            continue
        if (run.device, run.precision) == (baseline.device, baseline.precision):
            gain = score(run) - score(baseline)
            rows.append((arm, run.layer, run.transform, run.strength, seed, gain))
    columns = ["arm", "layer", "transform", "strength", "seed", "gain"]
    return pd.DataFrame(rows, columns=columns)


def effects(table: pd.DataFrame, metric: str) -> Styler:
    """Arms by rows: mean metric, number of runs and of diverged ones, gain with its interval."""
    gained = gains(table, metric)
    rows = []
    for arm, runs in table.groupby("arm", sort=False):
        values = gained.loc[gained["arm"] == arm, "gain"]
        rows.append(
            {
                "arm": arm,
                "mean": runs[metric].mean(),
                "gain [95 % interval]": str(_effect(values)) if len(values) else "–",
                "runs": len(runs),
                "diverged": int((runs["status"] == "diverged").sum()),
            }
        )
    style = pd.DataFrame(rows).style.hide(axis="index").format({"mean": "{:.2f}"})
    return style.set_properties(
        **{"text-align": "left", "white-space": "nowrap", "padding-right": "1em"}
    )


def _effect(values: pd.Series) -> Effect:
    return paired_effect(values, np.zeros(len(values)))


def gain_by_depth(
    ax: Axes, table: pd.DataFrame, metric: str, layers: Iterable[str], title: str
) -> None:
    """Gain over the baseline against the target's depth: every seed a dot, means joined.

    Bars are 95 % intervals, drawn from three seeds on and cut at the frame, which fits the dots.
    """
    gained = gains(table, metric)
    layers = [layer for layer in layers if layer in set(gained["layer"])]
    gained = gained[gained["layer"].isin(layers)]
    arms = list(gained.groupby(["transform", "strength"], sort=False))
    for number, ((transform, strength), runs) in enumerate(arms):
        colour = COLOURS[transform]
        # Strengths of one transform differ by line; arms stand side by side at their layer.
        strengths = sorted(gained.loc[gained["transform"] == transform, "strength"].unique())
        line = ("-", "--", ":", "-.")[strengths.index(strength) % 4]
        shift = (number - (len(arms) - 1) / 2) * 0.5 / max(len(arms), 1)
        at = np.array([layers.index(layer) for layer in runs["layer"]]) + shift
        ax.plot(at, runs["gain"], "o", color=colour, alpha=0.45, markersize=5, zorder=2)
        by_layer = [
            (layers.index(layer) + shift, _effect(group["gain"]))
            for layer, group in runs.groupby("layer", sort=False)
        ]
        by_layer.sort(key=lambda pair: pair[0])
        ax.plot(
            [x for x, _ in by_layer],
            [e.mean for _, e in by_layer],
            line,
            color=colour,
            linewidth=2,
            label=f"{transform} {strength:g}",
            zorder=3,
        )
        for x, effect in by_layer:
            if effect.n >= INTERVAL_FROM:
                ax.plot([x, x], [effect.low, effect.high], color=colour, linewidth=1.5, zorder=3)
    ax.axhline(0, color=COLOURS["baseline"], linewidth=1.5, zorder=1)
    least, most = min(0, gained["gain"].min()), max(0, gained["gain"].max())
    margin = 0.15 * (most - least) or 1
    ax.set_ylim(least - margin, most + margin)
    ax.set_xticks(range(len(layers)), layers, rotation=35, ha="right")
    ax.set(title=title, xlabel="target, from shallow to deep", ylabel="gain over baseline, points")
    ax.legend(loc="best")


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
    recorded: Iterable[tuple["Entry", dict[str, Any]]],
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
            ax.plot(over_seeds.index, over_seeds["mean"], line, color=colour, label=arm)
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


def conditions(recorded: Iterable[tuple["Entry", dict[str, Any]]]) -> str:
    """One sentence: data, network, seeds, device, precision and time of these records."""
    recorded = list(recorded)
    if not recorded:
        return "No records."
    runs = {record["key"]: record for _, record in recorded}
    trials = [entry.trial for entry, _ in recorded]
    minutes = sum(record["seconds"] for record in runs.values()) / 60

    def every(name: str) -> str:
        values = sorted({getattr(trial, name) for trial in trials})
        # 0 samples are all there are; 0 epochs are those of the untrained network.
        told = [f"{v:,}" if isinstance(v, int) else v for v in values if v != 0 or name == "seed"]
        return ", ".join(told) or "all"

    devices = ", ".join(sorted({record["device"] for record in runs.values()}))
    return (
        f"{len(runs)} runs on {every('data')} ({every('samples')} samples), {every('encoder')} of "
        f"width {every('width')}, view size {every('view_size')}, {every('epochs')} epochs; seeds "
        f"{every('seed')}; {devices}, {every('precision')}, {every('threads')} thread(s) each; "
        f"{minutes:.0f} minutes of runs in all."
    )


def scale_reached(table: pd.DataFrame, metric: str, needed: float, aim: float) -> str:
    """How the scale stage stands to its rules: above random initialisation, and doubled epochs."""
    means = gains(table, metric).groupby("arm")["gain"].mean()
    if not {"untrained", "doubled"} <= set(means.index):
        return "The scale is not fully recorded."
    above, doubling = -means["untrained"], means["doubled"]
    return (
        f"The baseline stands {above:.1f} points above random initialisation (needed: {needed:g}; "
        f"{'met' if above >= needed else '**not met**'}). Doubling its epochs adds {doubling:.1f} "
        f"(aim: below {aim:g}; {'met' if doubling < aim else '**not met**'})"
        + ("." if doubling < aim else ": gains here are those of short training.")
    )
