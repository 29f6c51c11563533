"""What the pages of experiments share: a live run, and recorded runs of larger profiles."""

import html
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from IPython.display import HTML, Markdown, display
from matplotlib import pyplot as plt

from deepaug import figures, modalities, studies, sweep
from deepaug.records import judged
from deepaug.studies import Entry, Study
from deepaug.trial import Trial
from deepaug.validation import one_of

LARGER = ("cpu", "gpu")
Recorded = list[tuple[Entry, dict[str, Any]]]
# Recorded stages that a page may show; only verdict code looks at those that judge.
SHOWN = ("scale", "pilot")


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
        grid: as in `deepaug.studies.load`.
    """
    figures.use_style()
    study = studies.load(name, profile, **grid)
    stage = study.live_stage
    one_of(f"stage of {name} at {study.profile}", stage, study.stages, "a page runs quick or pilot")
    sweep.run(study.stage_entries(stage), study.store, sweep.local_workers(study.base))
    others = [p for p in LARGER if p != study.profile and name in studies.names(p)]
    larger = [studies.load(name, other) for other in others]
    if grid.get("parts"):
        larger = [part for whole in larger for part in _with_parts(whole, grid["parts"])]
    return Page(study, stage, study.recorded(stage), larger)


def _with_parts(study: Study, parts: list[str]) -> list[Study]:
    """The study with those parts that it has, if any."""
    known = studies.parts(study)
    wanted = [part for part in parts if part in known]
    return [studies.load(study.name, study.profile, parts=wanted)] if wanted else []


def targets(trial: Trial) -> tuple[str, ...]:
    """The layers of a trial's encoder, from the input on."""
    return modalities.layers(trial.modality, trial.encoder)


def by_base(recorded: Recorded) -> dict[str, Recorded]:
    """Records by the modality or data set they are of, in the study's order."""
    parts: dict[str, Recorded] = {}
    for entry, record in recorded:
        parts.setdefault(entry.base, []).append((entry, record))
    return parts


def gain_by_depth(recorded: Recorded, metrics: dict[str, str], title: str) -> None:
    """Gain against depth, a panel for each modality or data set, all on one scale.

    Args:
        metrics: modality -> the metric of the gains.
    """
    parts = by_base(recorded)
    _, axes = figures.panels(len(parts))
    for ax, (label, part) in zip(axes.flat, parts.items(), strict=True):
        trial = part[0][0].trial
        metric = metrics[trial.modality]
        told = f"{title}: {label or trial.data} ({figures.METRICS[metric]})"
        figures.gain_by_depth(ax, figures.frame(part), metric, targets(trial), told)
    _show(recorded)


def scores(recorded: Recorded, metrics: dict[str, str]) -> None:
    """The metric of each arm, a figure for each modality or data set."""
    for label, part in by_base(recorded).items():
        metric = metrics[part[0][0].trial.modality]
        table = figures.frame(part)
        _, ax = plt.subplots(figsize=_rows(table), layout="constrained")
        figures.scores(ax, table, metric, f"validation {figures.METRICS[metric]}", label)
        _show(part)


def differences(recorded: Recorded, metrics: dict[str, str], title: str) -> None:
    """The difference of each arm to the baseline, a figure for each modality or data set."""
    for label, part in by_base(recorded).items():
        table = figures.frame(part)
        _, ax = plt.subplots(figsize=_rows(table), layout="constrained")
        figures.forest(ax, table, metrics[part[0][0].trial.modality], f"{title}: {label}")
        _show(part)


def learning_curves(recorded: Recorded, metrics: dict[str, str], title: str) -> None:
    """Training loss and validation metric by epoch, a figure for each modality or data set."""
    for label, part in by_base(recorded).items():
        trial = part[0][0].trial
        metric = metrics[trial.modality]
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


def show_effects(page: Page, metrics: dict[str, str]) -> None:
    """The effects of the live run, a table for each modality or data set."""
    for label, part in by_base(page.live).items():
        if label:
            display(Markdown(f"**{label}**"))
        display(figures.effects(figures.frame(part), metrics[part[0][0].trial.modality]))


def show_progress(page: Page) -> None:
    """A table of what is recorded of the larger profiles."""
    rows = [
        {"profile": study.profile, "stage": stage, "records": study.progress(stage)}
        for study in page.larger
        for stage in study.stages
    ]
    told = figures.plain(pd.DataFrame(rows))
    display(told.set_properties(subset=["records"], **{"white-space": "normal"}))


def show_recorded(page: Page, metrics: dict[str, str], against: str = "baseline") -> None:
    """Conditions and effects of every recorded stage that judges nothing, part by part.

    Args:
        metrics: modality -> the metric of the effects.
    """
    rules = studies.rules()["scale"]
    aim = rules["gain_from_doubled_epochs"]["aim_below"]
    for stage in SHOWN:
        for study, found in page.recorded(stage):
            for label, part in by_base(found).items():
                modality = part[0][0].trial.modality
                where = " ".join(filter(None, (f"{study.profile}, {stage}", label)))
                display(Markdown(f"**{where}.** {figures.conditions(part)}"))
                table = figures.frame(part)
                if metrics[modality] not in table:
                    continue
                display(figures.effects(table, metrics[modality], against))
                if stage == "scale":
                    needed = rules["above_random_initialisation"][modality]
                    told = figures.scale_reached(table, metrics[modality], needed, aim)
                    display(Markdown(told))


def show_references(page: Page, metric: str, also: tuple[str, ...] = ()) -> None:
    """Test metrics of baselines, and of what is not trained, over all seeds recorded.

    Args:
        also: further metrics of the table.
    """
    for study in page.larger:
        if found := _untransformed(study):
            for label, part in by_base(found).items():
                display(Markdown(f"**{study.profile}, test: {label or part[0][0].trial.data}**"))
                table = figures.frame(part, "test")
                display(figures.effects(table, metric, also=[m for m in also if m in table]))


def show_published(page: Page, metric: str, published: dict[str, dict[str, float]]) -> None:
    """How the recorded baseline stands to its published figures.

    Args:
        published: data set -> "mean", "deviation" and number of "seeds", as published.
    """
    rows = []
    for study in page.larger:
        for part in by_base(_untransformed(study)).values():
            table = figures.frame(part, "test")
            theirs = published.get(table["data"].iloc[0])
            ours = table.loc[table["arm"] == "baseline", metric]
            if theirs is None or len(ours) < 2:
                continue
            error = standard_error(ours.std(), len(ours))
            both = math.hypot(error, standard_error(theirs["deviation"], theirs["seeds"]))
            difference = ours.mean() - theirs["mean"]
            rows.append(
                {
                    "profile": study.profile,
                    "data": table["data"].iloc[0],
                    "ours ± deviation": f"{ours.mean():.2f} ± {ours.std():.2f} (n = {len(ours)})",
                    "published": f"{theirs['mean']:.2f} ± {theirs['deviation']:.2f}",
                    "difference": f"{difference:+.2f}",
                    "two standard errors": f"{2 * both:.2f}",
                    "within": "yes" if abs(difference) <= 2 * both else "**no**",
                }
            )
    if rows:
        display(figures.plain(pd.DataFrame(rows)))


def standard_error(deviation: float, n: int) -> float:
    """Of a mean over n values of that standard deviation."""
    return deviation / math.sqrt(n)


def _untransformed(study: Study) -> Recorded:
    """Records of baselines, variants and references; each seed once, whatever the stages."""
    found = {
        (entry.base, entry.arm, entry.trial.seed): (entry, record)
        for stage in study.stages
        if stage in (*SHOWN, "screen")
        for entry, record in study.recorded(stage)
        if not judged(entry.trial) and not entry.arm.startswith("tune ")
    }
    return list(found.values())
