"""What the performance page shows: benchmark records in, tables and figures out."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import yaml
from IPython.display import HTML, Markdown, display

from deepaug.pages.figures import COLOURS, ROW, figure, label_rows, legend_below, plain
from deepaug.studies import rulebook

RECORDS = Path(__file__).parent / "records"
LOSS = "nt_xent"  # beside the metrics of agreement
NONE = Markdown("No benchmark is recorded.")


@dataclass(frozen=True)
class Comparison:
    """Two arms of a benchmark, and the ratio of their rates that was aimed at, if one was."""

    what: str
    benchmark: str
    ours: str
    theirs: str
    aim: float | None = None


def comparisons(group: str) -> list[Comparison]:
    """Those of a group in comparisons.yaml."""
    content = yaml.safe_load((Path(__file__).parent / "comparisons.yaml").read_text())
    return [Comparison(**row) for row in content[group]]


def recorded(name: str, folder: Path = RECORDS) -> list[dict[str, Any]]:
    """Records of a benchmark, one for each kind of device that has run it."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"{name}.*.json"))]


def ratios(record: dict[str, Any], ours: str, theirs: str) -> list[float]:
    """Of each round the rate of `ours` over that of `theirs`."""
    pairs = zip(record["turns"][ours], record["turns"][theirs], strict=True)
    return [a["samples_per_second"] / b["samples_per_second"] for a, b in pairs]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median and range."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def show_conditions(names: Iterable[str]) -> None:
    """Device, cores, versions and revision of each benchmark."""
    rows = []
    for name in names:
        for record in recorded(name):
            versions = ", ".join(f"{p} {v}" for p, v in record["versions"].items())
            revision = (record["revision"] or "no git")[:9]
            where = f"{record['device']}, {record['cores']} cores"
            rows.append((name, where, versions, record["created"][:10], revision))
    if not rows:
        return display(NONE)
    return _show(rows, ("benchmark", "on", "versions", "on day", "at revision"))


def _compared(
    comparisons: Iterable[Comparison],
) -> Iterator[tuple[Comparison, dict[str, Any], list[float]]]:
    """Each comparison with a record that has both arms, and the ratios of its rounds."""
    for c in comparisons:
        for record in recorded(c.benchmark):
            if {c.ours, c.theirs} <= record["turns"].keys():  # else of an earlier day or device
                yield c, record, ratios(record, c.ours, c.theirs)


def show_answer(comparisons: Iterable[Comparison], agreements: Iterable[str]) -> None:
    """How often ours is the faster one, and in how many metrics both sides are told apart."""
    found = [(median(of), c.aim) for c, _, of in _compared(comparisons)]
    if not found:
        return display(NONE)
    medians, aimed = [m for m, _ in found], [m >= aim for m, aim in found if aim is not None]
    metrics = [
        values["difference"]
        for name in agreements
        for record in recorded(name)
        for metric, values in record["metrics"].items()
        if metric != LOSS
    ]
    faster, apart = sum(m > 1 for m in medians), sum(_apart(lo, hi) for _, lo, hi in metrics)
    return display(
        Markdown(
            f"**In short.** Ours is the faster one in {faster} of {len(found)} "
            f"comparisons with peers, by {min(medians):.1f} to {max(medians):.1f} times; "
            f"{sum(aimed)} of {len(aimed)} aims are reached. After the same training the scores of "
            f"both sides are told apart in {apart} of {len(metrics)} metrics."
        )
    )


def show_comparisons(comparisons: Iterable[Comparison]) -> None:
    """Rates side by side, their ratio by round, and whether its median reaches the aim."""
    rows = []
    for c, record, found in _compared(comparisons):
        rates = [
            spread([turn["samples_per_second"] for turn in record["turns"][arm]], 0)
            for arm in (c.ours, c.theirs)
        ]
        told = f"{spread(found)}, n = {len(found)}"
        aim = "" if c.aim is None else f"{c.aim:g}"
        rows.append((c.what, *rates, told, aim, aim and _reached(median(found) >= c.aim)))
    _show(rows, ("comparison", "ours, samples/s", "other's", "ratio", "aim", ""))


def _reached(aim: bool) -> str:
    return "reached" if aim else "not reached"


def show_memory(name: str) -> None:
    """Peak memory of each arm, in MiB."""
    for record in recorded(name):
        rows = [
            (arm, spread([turn["peak_mib"] for turn in turns], 0))
            for arm, turns in record["turns"].items()
        ]
        _show(rows, ("arm", "peak memory, MiB"))


def show_agreement(names: Iterable[str]) -> None:
    """What both sides had learnt after the same training, and whether that is shown to be alike.

    Alike is a difference whose interval lies within ±δ of the verdict rules; one that merely holds
    zero shows nothing. The loss has no δ: of it the table tells the side of zero alone.
    """
    deltas, rows = rulebook.rules()["vocabulary"]["delta"], []
    for name in names:
        for record in recorded(name):
            delta = deltas[record["settings"]["modality"]]
            for metric, values in record["metrics"].items():
                sides = {side: v for side, v in values.items() if side != "difference"}
                (ours, a), (theirs, b) = sides.items()
                mean, low, high = values["difference"]
                of_loss = metric == LOSS
                digits = 4 if of_loss else 2
                told = f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
                both = ((ours, a), (theirs, b))
                ours, theirs = (f"{side}: {spread(v, digits)}" for side, v in both)
                alike = _side(low, high) if of_loss else _alike(low, high, delta)
                benchmark = name.removesuffix("-agreement")
                rows.append((benchmark, metric, ours, theirs, told, len(a), alike))
    columns = ("benchmark", "metric", "ours", "other's", "difference [95 % interval]", "seeds", "")
    _show(rows, columns)


def _alike(low: float, high: float, delta: float) -> str:
    if -delta <= low and high <= delta:
        return f"alike, within ±{delta:g}"
    return (
        f"{'apart' if _apart(low, high) else 'not told apart'}, not shown alike within ±{delta:g}"
    )


def _side(low: float, high: float) -> str:
    if not _apart(low, high):
        return "not told apart"
    return "ours lower" if high < 0 else "ours higher"


def _apart(low: float, high: float) -> bool:
    return low > 0 or high < 0


def show_parts() -> None:
    """Milliseconds of the parts of a step (images) or an epoch (graphs), and their shares of it."""
    for record in recorded("parts"):
        for network, blocks in record["ms"].items():
            whole = median(blocks["whole"])
            rows = [
                (part, spread(times, 1), f"{100 * median(times) / whole:.1f} %")
                for part, times in blocks.items()
            ]
            settings = record["settings"][network]
            graphs = settings["modality"] == "graphs"
            of = f"an epoch of {settings['data']}" if graphs else f"a step of {settings['data']}"
            display(Markdown(f"**{network}**, {of}, batch {settings['batch_size']}"))
            _show(rows, ("part", "ms", "of the whole"))


def rates(name: str, title: str, unit: str = "samples per second", of: str = "") -> None:
    """Rates of all arms, or of those that begin with `of`: a dot a round, a bar for the median."""
    if not (found := recorded(name)):
        return display(NONE)
    arms = [
        {a.removeprefix(of).strip(): t for a, t in r["turns"].items() if a.startswith(of)}
        for r in found
    ]
    height = ROW * sum(map(len, arms)) + 1.2
    _, axes = figure(height, len(found), squeeze=False)
    for ax, record, shown in zip(axes.flat, found, arms, strict=True):
        for place, (arm, turns) in enumerate(shown.items()):
            values = [turn["samples_per_second"] for turn in turns]
            colour = _colour(arm)
            ax.barh(place, median(values), 0.3, color=colour, alpha=0.5)
            ax.plot(values, [place] * len(values), "o", color=colour, markersize=5)
        label_rows(ax, list(shown))
        ax.set(xlabel=unit, title=f"{title}: {record['device']}, {record['cores']} cores")
    return _show_figure(name)


def _colour(arm: str) -> str:
    if "ceiling" in arm:
        return COLOURS["baseline"]
    # `deepaug run` trains side by side.
    return COLOURS["dropout" if "deepaug" in arm or arm == "side by side" else "pca"]


def transform_cost() -> None:
    """A step with a transform at each layer over the same step without, by round."""
    if not (found := recorded("transforms")):
        return display(NONE)
    _, axes = figure(4.2 * len(found), len(found), squeeze=False)
    for ax, record in zip(axes.flat, found, strict=True):
        table = transform_ratios(record)
        layers = list(dict.fromkeys(table["layer"]))
        for shift, (transform, rows) in enumerate(table.groupby("transform", sort=False)):
            colour = COLOURS[transform]
            places = [layers.index(layer) + 0.2 * (shift - 1) for layer in rows["layer"]]
            ax.plot(places, rows["ratio"], "o", color=colour, alpha=0.4, markersize=4)
            medians = rows.groupby("layer", sort=False)["ratio"].median()
            at = [layers.index(layer) + 0.2 * (shift - 1) for layer in medians.index]
            ax.plot(
                at, medians, "_", color=colour, markersize=16, markeredgewidth=3, label=transform
            )
        ax.axhline(1, color="#444444", linewidth=1)
        ax.set_xticks(range(len(layers)), layers)
        ax.set(ylabel="step over step without", title=f"ResNet-18: {record['device']}")
        legend_below(ax)
    return _show_figure("transforms")


def transform_ratios(record: dict[str, Any]) -> pd.DataFrame:
    """One row for each layer, transform and round: step time over that of the plain step."""
    plain = record["ms"]["none"]
    rows = [
        {"layer": arm.split()[0], "transform": arm.split()[1], "ratio": a / b}
        for arm, times in record["ms"].items()
        if arm != "none"
        for a, b in zip(times, plain, strict=True)
    ]
    return pd.DataFrame(rows)


def show_transform_cost(aims: dict[str, float]) -> None:
    """The dearest layer of each transform, by the median over rounds, beside what was aimed at."""
    rows = []
    for record in recorded("transforms"):
        for transform, ratios in transform_ratios(record).groupby("transform"):
            medians = ratios.groupby("layer")["ratio"].median()
            layer, aim = medians.idxmax(), aims[transform]
            found = ratios.loc[ratios["layer"] == layer, "ratio"].tolist()
            told = f"{spread(found)}, n = {len(found)}"
            reached = _reached(medians[layer] <= aim)
            rows.append((record["device"], transform, layer, told, f"{aim:g}", reached))
    columns = ("on", "transform", "dearest at", "step over step without, by round", "aim", "")
    _show(rows, columns)


def growth() -> None:
    """Milliseconds against images, width and batch on logarithmic axes, with a line of slope 1."""
    if not (found := recorded("growth")):
        return display(NONE)
    _, axes = figure(3.4 * 3 * len(found), 3 * len(found), squeeze=False)
    axes = axes.reshape(len(found), 3)
    told = {"images": "an epoch", "width": "a step", "batch": "a step"}
    for row, record in zip(axes, found, strict=True):
        for ax, (along, times) in zip(row, record["ms"].items(), strict=True):
            sizes = [int(size) for size in times]
            medians = [median(values) for values in times.values()]
            for size, values in zip(sizes, times.values(), strict=True):
                ax.plot([size] * len(values), values, "o", color=COLOURS["dropout"], alpha=0.4)
            ax.plot(sizes, medians, color=COLOURS["dropout"])
            straight = [medians[-1] * size / sizes[-1] for size in sizes]
            ax.plot(sizes, straight, ":", color=COLOURS["baseline"], label="in proportion")
            ax.set(xscale="log", yscale="log", xlabel=along, ylabel=f"ms, {told[along]}")
            ax.set_xticks(sizes, [str(size) for size in sizes], rotation=45)
            ax.minorticks_off()
        legend_below(row[0])
    return _show_figure("growth")


def _show_figure(name: str) -> None:
    """Show the figure at hand, and below it the records it is made of, each a link."""
    plt.show()
    names = [f"{name}.{path.name.split('.')[1]}.json" for path in sorted(RECORDS.glob(f"{name}.*"))]
    links = (f'<a href="../../benchmarks/records/{file}">{file}</a>' for file in names)
    display(HTML(f"<p>Made of {' and '.join(links)}.</p>"))


def _show(rows: list[tuple], columns: tuple[str, ...]) -> None:
    display(plain(pd.DataFrame(rows, columns=columns), wrap=True))
