"""What the pages on co-adaptation and on choosing a layer show."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from matplotlib.axes import Axes
from torch import Tensor, nn

import deepaug
from deepaug.method.selection import dose
from deepaug.method.transforms import Transform
from deepaug.pages import figures
from deepaug.pages.page import LIVE, Page
from deepaug.pages.show import finish, titled
from deepaug.studies import arms, rulebook
from deepaug.verdicts import effects, splits, wording
from deepaug.verdicts.effects import METRICS, Recorded, by_base
from deepaug.verdicts.statistics import Effect

# Marks of the four networks of a split training: colour, marker, whether it is filled.
NETWORKS = {
    "untrained": (figures.COLOURS["untrained"], "o", False),
    "frozen": (figures.COLOURS["pca"], "v", True),
    "free": (figures.COLOURS["dropout"], "^", True),
    "whole": (figures.COLOURS["baseline"], "o", True),
}
# Marks of trainings, in the order in which records have them; further ones begin anew.
MARKS = (
    ("o", figures.COLOURS["baseline"]),
    ("D", figures.COLOURS["dropout"]),
    ("s", figures.COLOURS["pca"]),
    ("^", figures.COLOURS["noise"]),
    ("v", figures.COLOURS["no-augmentation"]),
)


def copies(page: Page, stage: str = LIVE) -> None:
    """Scores of networks and of their copies, a figure for each base."""
    for title, part, table in _split(page, stage):
        rows = table.groupby(["training", "cut"]).ngroups
        ax = figures.row_axes(rows, legend=2)
        draw_copies(ax, table, METRICS[effects.primary(part)], title)
        finish(part)


def _split(page: Page, stage: str) -> Iterator[tuple[str, Recorded, pd.DataFrame]]:
    """Of each base with split networks the title, the records, and their table."""
    for title, part in titled(page, stage):
        if stage != LIVE:  # the middle cut is that of the verdict, which is told as a whole
            part = [(e, record) for e, record in part if e.trial.cut != arms.middle(e.trial)]
        if part and not (table := splits.frame(part)).empty:
            yield title, part, table


def draw_copies(ax: Axes, table: pd.DataFrame, metric: str, title: str) -> None:
    """A row for each training and cut: seeds as marks, means as bars.

    Args:
        table: as `splits.frame` makes it.
    """
    groups = list(table.groupby(["training", "cut"], sort=False))
    for row, (_, runs) in enumerate(groups):
        for name, (colour, marker, filled) in NETWORKS.items():
            face = colour if filled else "white"
            label = name if row == 0 else None
            at = np.full(len(runs), row)
            ax.plot(runs[name], at, marker, color=colour, mfc=face, alpha=0.7, label=label)
            ax.plot(runs[name].mean(), row, color=colour, **figures.MEAN)
    figures.label_rows(ax, [f"{training}, {cut}" for (training, cut), _ in groups])
    ax.set(title=title, xlabel=f"validation {metric}")
    figures.legend_below(ax)


def drops(page: Page, stage: str = LIVE) -> None:
    """The share of what was learnt that a copy misses whose lower layers stay frozen: a table."""
    parts = list(_split(page, stage))
    if not parts and stage != LIVE:
        display(Markdown("No other cut is recorded yet."))
    for title, _, table in parts:
        found = splits.drops(table)
        share = {"(free − frozen) / (whole − untrained)": found["effect"].map(_told)}
        shown = found.assign(**share).drop(columns=["effect", "base"])
        display(figures.plain(shown).set_caption(title))


def _told(effect: Effect) -> str:
    if not np.isfinite(effect.mean):
        return "not defined: the network is not above random initialisation"
    if effect.n >= rulebook.fewest_seeds():
        return wording.with_n(effect, decimals=2)
    return f"{wording.number(effect.mean, 2)}, n = {effect.n}"


def similarity(page: Page, stage: str = LIVE) -> None:
    """CKA of any two layers after the input, for all trainings; a figure for each base.

    Below them, what the transform changes of it.
    """
    told: list[str] = []
    for title, part in titled(page, stage):
        if found := splits.similarities(part):
            draw_similarity(found, title)
            finish(part)
            told += _more_alike(title, found)
    if told:
        display(Markdown("\n".join(told)))


def _more_alike(title: str, found: Mapping[str, tuple[list[str], np.ndarray]]) -> Iterator[str]:
    """How much more alike layers are with each transform than without, and in how many pairs."""
    if "contrastive" not in found:
        return
    layers, plain = found["contrastive"]
    pairs = np.triu_indices(len(layers), 1)
    for training in (name for name in found if name.startswith("with ")):
        more = (found[training][1] - plain)[pairs]
        raised = f"{(more > 0).sum()} of {len(more)} pairs"
        by = wording.number(more.mean(), 3)
        yield f"- {title}: {training}, layers are more alike in {raised}, by {by} on average."


def draw_similarity(found: Mapping[str, tuple[list[str], np.ndarray]], title: str) -> None:
    """A row for each two layers, neighbours first, with a mark for each training.

    Args:
        found: training -> its layers, and their CKA, (k, k).
    """
    layers, _ = next(iter(found.values()))
    pairs = sorted(itertools.combinations(range(len(layers)), 2), key=lambda p: (p[1] - p[0], p))
    ax = figures.row_axes(len(pairs), legend=len(found))
    for (training, (_, cka)), (marker, colour) in zip(
        found.items(), itertools.cycle(MARKS), strict=False
    ):
        values = [cka[pair] for pair in pairs]
        ax.plot(values, range(len(pairs)), marker, color=colour, alpha=0.8, label=training)
    figures.label_rows(ax, [f"{layers[first]} and {layers[second]}" for first, second in pairs])
    ax.set(title=title, xlabel="linear CKA, unbiased")
    figures.legend_below(ax)


def dose_by_depth(
    encoder: nn.Module, views: tuple[Tensor, Tensor], transforms: Mapping[str, Transform]
) -> None:
    """How far each transform moves features, at each layer, beside another view and another sample.

    Args:
        views: of the same images, (n, c, h, w) each.
        transforms: by names that begin with one of `figures.COLOURS`.
    """
    _, ax = figures.figure(4.4)
    draw_doses(ax, encoder, views, transforms)
    figures.legend_below(ax)
    plt.show()


def dose_by_strength(
    encoder: nn.Module,
    views: tuple[Tensor, Tensor],
    transforms: Mapping[str, Callable[[float], Transform]],
    strengths: Sequence[float],
) -> None:
    """The doses of transforms at each layer, a panel for each strength.

    Args:
        views: of the same images, (n, c, h, w) each.
        transforms: each makes one of a strength p; names as in `dose_by_depth`.
    """
    figure, axes = figures.panels(len(strengths), height=2.5)
    for ax, p in zip(axes.flat, strengths, strict=True):
        draw_doses(ax, encoder, views, {name: make(p) for name, make in transforms.items()})
        ax.set(title=f"p = {p:g}", ylabel="")
    for ax in axes.flat:
        ax.label_outer()
    figure.supylabel("cosine to the plain pass", size=ax.xaxis.label.get_size())
    figures.legend_below(ax)
    plt.show()


def draw_doses(
    ax: Axes,
    encoder: nn.Module,
    views: tuple[Tensor, Tensor],
    transforms: Mapping[str, Transform],
) -> None:
    """A line for each transform, and one for each of the two comparisons."""
    first, second = views
    layers = deepaug.layers(encoder, first)
    for name, transform in transforms.items():
        doses = [dose(encoder, first, layer, transform).mean().item() for layer in layers]
        colour = figures.COLOURS[name.split()[0]]
        ax.plot(range(len(layers)), doses, "-o", color=colour, label=name)
    with torch.no_grad():
        features, others = encoder.eval()(first), encoder(second)
    for label, held, line in (
        ("a second view", others, "--"),
        ("another image", features.roll(1, 0), ":"),
    ):
        cosine = nn.functional.cosine_similarity(features, held).mean().item()
        ax.axhline(cosine, linestyle=line, color=figures.COLOURS["baseline"], label=label)
    ax.set_xticks(range(len(layers)), layers, rotation=35, ha="right")
    ax.set(ylabel="cosine to the plain pass", xlabel="target, from shallow to deep")


def scores_and_gains(page: Page, split_page: Page, stage: str = LIVE) -> None:
    """C5's score of each layer beside the gain of a transform there, a figure for each base.

    Args:
        page: whose study has arms at all targets.
        split_page: whose study has split networks, of the same bases.
    """
    found = {of: part for study, all_ in split_page.recorded(stage) for of, part in _named(all_)}
    for title, part in titled(page, stage):
        trial = part[0][0].trial
        likeness = splits.likeness(found.get(trial.data, []))
        if likeness.empty:
            continue
        layers = [layer for layer in arms.targets(trial) if layer in set(likeness["layer"])]
        _, axes = figures.figure(7.4, 2, sharex=True)
        draw_scores(axes[0], likeness, layers)
        metric = effects.primary(part)
        figures.gain_by_depth(axes[1], effects.frame(part), metric, layers, "")
        axes[0].set_title(title)
        finish(part + found[trial.data])


def _named(recorded: Recorded) -> list[tuple[str, Recorded]]:
    return [(part[0][0].trial.data, part) for part in by_base(recorded).values()]


def draw_scores(ax: Axes, likeness: pd.DataFrame, layers: list[str]) -> None:
    """The score of each layer: seeds as dots, means joined."""
    places = {layer: place for place, layer in enumerate(layers)}
    ax.plot(likeness["layer"].map(places), likeness["score"], "o", color="#009E73", alpha=0.45)
    means = likeness.groupby("layer")["score"].mean().reindex(layers)
    ax.plot(range(len(layers)), means, "-", color="#009E73", lw=2)
    ax.set(ylabel="mean CKA with the other layers")
