"""What the pages of experiments share: a live run, and recorded runs of larger profiles."""

import html
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from IPython.display import HTML, Markdown, display
from matplotlib import pyplot as plt

from deepaug.pages import figures
from deepaug.studies import catalogue, rulebook, sweep
from deepaug.studies.records import judged
from deepaug.studies.study import Entry, Study
from deepaug.training import registry
from deepaug.training.trial import Trial, current_protocol
from deepaug.validation import one_of

LARGER = ("cpu", "gpu-small", "gpu")
Recorded = list[tuple[Entry, dict[str, Any]]]
Metric = Callable[[Trial], str]  # the metric that a page shows of a trial
# Recorded stages that a page may show; only verdict code looks at those that judge.
SHOWN = ("scale", "pilot")
BELOW_PUBLISHED = 1.0  # points that a baseline may stand below a published figure


@dataclass(frozen=True)
class Page:
    """A study as one page of the book shows it."""

    study: Study
    stage: str  # the one that runs while the page is built
    live: Recorded
    larger: list[Study]  # read, never run

    def recorded(self, stage: str) -> Iterator[tuple[Study, Recorded]]:
        """Larger studies with records of a stage, and these."""
        for study in self.larger:
            if stage in study.stages and (found := study.recorded(stage)):
                yield study, found


def open_page(name: str, profile: str = "quick", **grid) -> Page:
    """Run the small stage of a study where its records are missing, and find the larger ones.

    Of a larger profile the page runs the pilot at most; long stages are for `deepaug run`.

    Args:
        grid: as in `deepaug.studies.study.load`.
    """
    figures.use_style()
    study = catalogue.load(name, profile, **grid)
    stage = study.live_stage
    one_of(f"stage of {name} at {study.profile}", stage, study.stages, "a page runs quick or pilot")
    sweep.run(study.stage_entries(stage), study.store, sweep.local_workers(study.base))
    others = [p for p in LARGER if p != study.profile and name in catalogue.names(p)]
    larger = [catalogue.load(name, other) for other in others]
    if grid.get("parts"):
        larger = [part for whole in larger for part in _with_parts(whole, grid["parts"])]
    return Page(study, stage, study.recorded(stage), larger)


def _with_parts(study: Study, parts: list[str]) -> list[Study]:
    """The study with those parts that it has, if any."""
    known = catalogue.parts(study)
    wanted = [part for part in parts if part in known]
    return [catalogue.load(study.name, study.profile, parts=wanted)] if wanted else []


def targets(trial: Trial) -> tuple[str, ...]:
    """The layers of a trial's encoder, from the input on."""
    return registry.layers(trial.modality, trial.encoder)


def by_labels(trial: Trial) -> str:
    """The metric by which a supervised twin is held against the contrastive training.

    It is the primary one, but for text that is evaluated on pairs: its twin learns topics, which a
    linear probe reads out of both.
    """
    return "probe" if trial.pairs != "none" else registry.primary(trial)


def by_base(recorded: Recorded) -> dict[str, Recorded]:
    """Records by the modality or data set they are of, in the study's order."""
    parts: dict[str, Recorded] = {}
    for entry, record in recorded:
        parts.setdefault(entry.base, []).append((entry, record))
    return parts


def gain_by_depth(recorded: Recorded, title: str, metric: Metric = registry.primary) -> None:
    """Gain against depth, a panel for each modality or data set, all on one scale."""
    parts = {label: part for label, part in by_base(recorded).items() if _has_arms(part)}
    if not parts:  # a stage of which but the baseline is recorded
        return
    _, axes = figures.panels(len(parts))
    for ax, (label, part) in zip(axes.flat, parts.items(), strict=True):
        trial = part[0][0].trial
        named = metric(trial)
        told = f"{title}: {label or trial.data} ({figures.METRICS[named]})"
        figures.gain_by_depth(ax, figures.frame(part), named, targets(trial), told)
    _show(recorded)


def scores(recorded: Recorded) -> None:
    """The primary metric of each arm, a figure for each modality or data set."""
    for label, part in by_base(recorded).items():
        metric = _primary(part)
        table = figures.frame(part)
        _, ax = plt.subplots(figsize=_rows(table), layout="constrained")
        figures.scores(ax, table, metric, f"validation {figures.METRICS[metric]}", label)
        _show(part)


def differences(recorded: Recorded, title: str) -> None:
    """The difference of each arm to the baseline, a figure for each modality or data set."""
    for label, part in by_base(recorded).items():
        table = figures.frame(part)
        _, ax = plt.subplots(figsize=_rows(table), layout="constrained")
        figures.forest(ax, table, _primary(part), f"{title}: {label}")
        _show(part)


def learning_curves(recorded: Recorded, title: str) -> None:
    """Training loss and primary metric by epoch, a figure for each modality or data set."""
    for label, part in by_base(recorded).items():
        trial = part[0][0].trial
        metric = _primary(part)
        fig, axes = plt.subplots(2, 1, figsize=(6.8, 6.6), sharex=True, layout="constrained")
        figures.learning_curves(axes, part, metric, f"validation {figures.METRICS[metric]}")
        fig.suptitle(f"{title}: {label or trial.data}")
        _show(part)


def gradient_norms(recorded: Recorded, title: str) -> None:
    """The gradient norm below the target by epoch, a figure for each modality or data set."""
    for label, part in by_base(recorded).items():
        _, ax = plt.subplots(figsize=(6.8, 4.4), layout="constrained")
        figures.gradient_norms(ax, part, f"{title}: {label}")
        _show(part)


def _show(recorded: Recorded) -> None:
    """Show the figure at hand, and below it the records it is made of, each a link."""
    plt.show()
    links = " · ".join(
        f'<a href="../../results/{entry.profile}/{record["key"]}.json">'
        f"{html.escape(entry.name)}, seed {entry.trial.seed}</a>"
        for entry, record in recorded
    )
    told = f"Made of {len(recorded)} record{'s' * (len(recorded) != 1)}"
    display(HTML(f"<details><summary>{told}</summary><p>{links}</p></details>"))


def _rows(table: pd.DataFrame) -> tuple[float, float]:
    """Size in inches of a figure with a row for each arm."""
    return 6.8, 1.0 + 0.34 * table["arm"].nunique()


def show_conditions(page: Page) -> None:
    """On what the live run was computed."""
    for label, part in by_base(page.live).items():
        display(Markdown(" ".join([f"**{label}.**" * bool(label), figures.conditions(part)])))


def _has_arms(part: Recorded) -> bool:
    return any(entry.trial.layer != "none" for entry, _ in part)


def _primary(part: Recorded) -> str:
    """The primary metric of records of one base."""
    return registry.primary(part[0][0].trial)


@dataclass(frozen=True)
class Learnt:
    """How far training brings a live run's baseline, against what the seeds alone do to it."""

    metric: str
    trained: float  # mean over seeds
    untrained: float
    spread: float  # the largest minus the smallest of the trained scores
    seeds: int

    @property
    def gain(self) -> float:
        return self.trained - self.untrained

    @property
    def enough(self) -> bool:
        """Whether a page of it teaches something."""
        return self.gain > self.spread

    def __str__(self) -> str:
        return (
            f"{figures.METRICS[self.metric]}: trained {self.trained:.1f}, untrained "
            f"{self.untrained:.1f}, trained minus untrained {self.gain:+.1f} points; "
            f"the {self.seeds} trained ones range over {self.spread:.1f} points"
        )


def learnt(recorded: Recorded) -> Learnt:
    """What the baseline of a live run has learnt, by its validation scores.

    Each seed counts by the mean over its data sets. Raises ValueError where the baseline or its
    untrained self lacks a seed of the other, or has diverged.
    """
    metric = _primary(recorded)
    table = figures.frame([r for r in recorded if r[0].arm in ("baseline", "untrained")])
    if (table["status"] == "diverged").any():
        raise ValueError("a baseline of the live run diverged: it has learnt nothing")
    by_seed = table.groupby(["arm", "seed"])[metric].mean().unstack()
    if not {"baseline", "untrained"} <= set(by_seed.index) or by_seed.isna().any(axis=None):
        raise ValueError(f"needs baseline and untrained for the same seeds, not {by_seed}")
    trained, untrained = by_seed.loc["baseline"], by_seed.loc["untrained"]
    spread = trained.max() - trained.min()
    return Learnt(metric, trained.mean(), untrained.mean(), spread, len(trained))


def show_learnt(page: Page) -> None:
    """What the live run has learnt, where it has a baseline and its untrained self."""
    told = learnt(page.live)
    display(Markdown(f"{told}: it has {'' if told.enough else '**not** '}learnt more than that."))


def show_effects(page: Page, metric: Metric = registry.primary) -> None:
    """The effects of the live run, a table for each modality or data set."""
    for label, part in by_base(page.live).items():
        if label:
            display(Markdown(f"**{label}**"))
        display(figures.effects(figures.frame(part), metric(part[0][0].trial)))


def show_progress(page: Page) -> None:
    """A table of what is recorded of the larger profiles."""
    rows = [
        {"profile": study.profile, "stage": stage, "records": study.progress(stage)}
        for study in page.larger
        for stage in study.stages
    ]
    told = figures.plain(pd.DataFrame(rows))
    display(told.set_properties(subset=["records"], **{"white-space": "normal"}))


def show_recorded(page: Page, metric: Metric = registry.primary) -> None:
    """Conditions and effects of every recorded stage that judges nothing, part by part."""
    for stage in SHOWN:
        for study, found in page.recorded(stage):
            for label, part in by_base(found).items():
                where = " ".join(filter(None, (f"{study.profile}, {stage}", label)))
                display(Markdown(f"**{where}.** {figures.conditions(part)}"))
                table, named = figures.frame(part), metric(part[0][0].trial)
                if named in table:
                    display(figures.effects(table, named))


def scale(recorded: Recorded) -> str:
    """How records of a scale stage stand to the rules, in a sentence or two."""
    rules = rulebook.rules()["scale"]
    needed, aim = rules["above_random_initialisation"], rules["gain_from_doubled_epochs"]
    table = figures.frame(recorded)
    return figures.scale_reached(table, _primary(recorded), needed, aim["aim_below"])


def show_scale(page: Page) -> None:
    """Whether the baselines of the larger profiles have learnt enough for a verdict."""
    for study, found in page.recorded("scale"):
        display(Markdown(f"**{study.profile}.** {scale(found)}"))
    if not any(page.recorded("scale")):
        display(Markdown("No scale stage is recorded yet."))


def show_outside(page: Page) -> None:
    """Why a study of a base that is outside the verdicts is here all the same."""
    why = rulebook.rules()["outside"][page.study.name]
    display(Markdown(f"**This base enters no verdict: its baseline hardly learns.** {why}."))
    show_scale(page)


def superseded(study: Study) -> tuple[int, int]:
    """Of the trials shown whose transform has changed since: with an old record, with a new one.

    Old are records of an earlier protocol, which lie in the store and count no longer.
    """
    shown = [study.stage_entries(stage) for stage in SHOWN if stage in study.stages]
    trials = {e.trial.key: e.trial for entries in shown for e in entries}
    old = [
        trial
        for trial in trials.values()
        if any(
            study.store.read(replace(trial, protocol=earlier)) is not None
            for earlier in range(1, current_protocol(trial.transform))
        )
    ]
    return len(old), sum(study.store.read(trial) is not None for trial in old)


def show_superseded(page: Page) -> None:
    """Which recorded runs of PCA count no longer, and why."""
    for study in page.larger:
        old, again = superseded(study)
        if old:
            told = SUPERSEDED.format(old=old, again=again, protocol=current_protocol("pca"))
            display(Markdown(f"**{study.profile}.** {told}"))


SUPERSEDED = """\
PCA trained wrongly until protocol {protocol}. Where a batch had fewer rows than features, its
gradient was cut down to the directions that the batch spans. And the batch's mean was taken for a
constant, which pulled all samples along a common shift that no loss asks for. Of the runs on this
page {old} were recorded with these faults. They lie in the store under the earlier protocol and
count no longer. They are run again: {again} of them so far. Rows of PCA appear as they come."""


def show_references(page: Page, also: tuple[str, ...] = ()) -> None:
    """Test metrics of baselines, and of what is not trained, over all seeds recorded.

    Args:
        also: further metrics of the table.
    """
    for study in page.larger:
        if found := _untransformed(study):
            for label, part in by_base(found).items():
                display(Markdown(f"**{study.profile}, test: {label or part[0][0].trial.data}**"))
                table, metric = figures.frame(part, "test"), _primary(part)
                display(figures.effects(table, metric, also=[m for m in also if m in table]))


def show_published(page: Page, arm: str = "baseline") -> None:
    """How a recorded arm without a transform stands to the figures published of it."""
    theirs = rulebook.rules()["published"][page.study.name]
    if rows := [row for study in page.larger for row in published(study, theirs, arm)]:
        display(figures.plain(pd.DataFrame(rows)))
    else:
        display(Markdown("Nothing to compare is recorded yet."))


def published(
    study: Study, theirs: Mapping[str, Mapping[str, float]], arm: str = "baseline"
) -> list[dict[str, str]]:
    """A row for each data set with published figures and two recorded seeds or more.

    Args:
        theirs: data set -> "mean" and "deviation" as published; with their number of "seeds" the
            means are compared by their standard errors, without it by `BELOW_PUBLISHED`.
    """
    rows = []
    for part in by_base(_untransformed(study)).values():
        table = figures.frame(part, "test")
        figure = theirs.get(table["data"].iloc[0])
        ours = table.loc[table["arm"] == arm, _primary(part)]
        if figure is None or len(ours) < 2:
            continue
        difference = ours.mean() - figure["mean"]
        row = {
            "profile": study.profile,
            "data": table["data"].iloc[0],
            "ours ± deviation": f"{ours.mean():.2f} ± {ours.std():.2f} (n = {len(ours)})",
            "published": f"{figure['mean']:.2f} ± {figure['deviation']:.2f}",
            "difference": f"{difference:+.2f}",
        }
        if "seeds" in figure:
            error = standard_error(ours.std(), len(ours))
            both = math.hypot(error, standard_error(figure["deviation"], figure["seeds"]))
            row["two standard errors"] = f"{2 * both:.2f}"
            row["within"] = "yes" if abs(difference) <= 2 * both else "no"
        else:
            told = f"no more than {BELOW_PUBLISHED:g} point below"
            row[told] = "yes" if difference >= -BELOW_PUBLISHED else "no"
        rows.append(row)
    return rows


def standard_error(deviation: float, n: int) -> float:
    """Of a mean over n values of that standard deviation."""
    return deviation / math.sqrt(n)


def _untransformed(study: Study) -> Recorded:
    """Records of the plain baseline, variants and references; each seed once, whatever the stage.

    Of later stages the baseline is the tuned one, which is not shown here.
    """
    found = {
        (entry.base, entry.arm, entry.trial.seed): (entry, record)
        for stage in study.stages
        if stage in (*SHOWN, "tuning")
        for entry, record in study.recorded(stage)
        if not judged(entry.trial) and entry.role != "tune"
    }
    return list(found.values())
