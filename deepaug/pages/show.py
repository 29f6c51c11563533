"""What a page of an experiment shows, a function for each cell: a live run, and recorded ones.

Texts that several pages share, and the table at the top of each, stand in notebooks/pages.yaml.
"""

import html
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import Markdown, display
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from deepaug.pages import figures, notebooks
from deepaug.pages.page import LIVE, Page, conditions, larger, load, recorded_of
from deepaug.pages.texts import texts
from deepaug.studies import arms, catalogue, rulebook
from deepaug.studies.standings import standings
from deepaug.studies.study import Study
from deepaug.studies.study import progress as progress_of
from deepaug.training.trial import current_protocol
from deepaug.verdicts import effects as runs
from deepaug.verdicts.effects import Recorded, by_base
from deepaug.verdicts.scale import Scale

PARTS = {"nodes": "nodes of", "graphs": "small graphs"}  # of a study, as titles have them


def open_page(name: str, history: Sequence[str], namespace: Mapping[str, Any]) -> Page:
    """Run a page's live run with the notebook's parameters, and say on what it was computed.

        page = show.open_page("vision", In, globals())

    Args:
        name: the study.
        history, namespace: IPython's `In` and `globals()`; see `notebooks.parameters`.

    Raises ValueError, in one line, for a parameter that is unknown or of wrong type.
    """
    figures.use_style()
    page = load(name, notebooks.parameters(history, namespace))
    _say(texts()["live"])
    tuned = [(entry, record) for entry, record in page.live if not entry.setting]
    for label, part in by_base(tuned).items():
        _say(f"**{label}.** {conditions(part)}" if label else conditions(part))
    if _kind(page.study) == "bases":
        found = runs.learnt(page.live)
        _say(f"{found}: it has {'' if found.enough else '**not** '}learnt more than that.")
    return page


def records(name: str) -> Page:
    """What is recorded of a study at the larger profiles; nothing is run."""
    figures.use_style()
    return Page(catalogue.load(name), [], larger(name))


# Texts


def _say(text: str) -> None:
    display(Markdown(text))


def header(name: str) -> None:
    """The table at the top of a page, and a link to how it is run with other settings."""
    said = texts()
    rows = (f"| **{label}** | {text} |" for label, text in said["headers"][name].items())
    _say("\n".join(["| | |", "|---|---|", *rows]))
    if name in catalogue.names("quick"):
        _say(said["rerun"])


def _kind(study: Study) -> str:
    """Of which block of the rules a study is: "bases", "outside", or neither: "questions"."""
    rules = rulebook.rules()
    return next((kind for kind in ("bases", "outside") if study.name in rules[kind]), "questions")


def outside(name: str) -> None:
    """Why a study of a base that is outside the verdicts is here all the same."""
    _say(texts()["outside"].format(why=rulebook.rules()["outside"][name]))
    _scale(larger(name))


def scale(page: Page, elsewhere: str = "") -> None:
    """Whether the baselines of the larger profiles have learnt enough for a verdict.

    Args:
        elsewhere: the page of another base of the modality, which has not.
    """
    said = texts()
    _say(said["scale"])
    if elsewhere:
        _say(said["scale_elsewhere"].format(name=elsewhere))
    _scale(page.larger)


def _scale(studies: list[Study]) -> None:
    unfinished = "The scale is not fully recorded."
    found = {study.profile: Scale.of(stage) for study, stage in recorded_of(studies, "scale")}
    stands = [f"**{profile}.** {scale or unfinished}" for profile, scale in found.items()]
    for text in stands or ["No scale stage is recorded yet."]:
        _say(text)


def sealed(page: Page) -> None:
    """Say which split the metrics on this page are of."""
    _say(texts()["sealed"][_kind(page.study)])


# Tables


def effects(page: Page) -> None:
    """The effects of the live run, a table for each modality or data set."""
    for label, part in by_base(page.live).items():
        of = f"The live run in numbers: {label}" if label else "The live run in numbers"
        _effects(of, part, runs.metric_of(page.study, part))


def recorded(page: Page) -> None:
    """Conditions and effects of every recorded stage that judges nothing, part by part."""
    for stage in runs.SHOWN:
        for study, found in page.recorded(stage):
            for label, part in by_base(found).items():
                where = f"In numbers: {study.profile}, {stage} {label}".strip()
                _effects(where, part, runs.metric_of(study, part))


def references(page: Page, also: tuple[str, ...] = ()) -> None:
    """Test metrics of baselines, and of what is not trained, over all seeds recorded.

    Args:
        also: further metrics of the table.
    """
    for study in page.larger:
        for label, part in by_base(runs.references(study)).items():
            where = f"In numbers: {study.profile}, test, {label or part[0][0].trial.data}"
            _effects(where, part, runs.primary(part), "test", also)


def _effects(
    summary: str,
    part: Recorded,
    metric: str,
    split: str = "validation",
    also: tuple[str, ...] = (),
) -> None:
    """Conditions and a table of effects, folded."""
    table = runs.frame(part, split)
    if metric not in table:
        return
    also = [name for name in also if name in table]
    found = runs.summary(table, metric, also=also)
    shown = figures.plain(found).format({name: "{:.1f}" for name in ("mean", *also)})
    figures.fold(summary, f"<p>{html.escape(conditions(part))}</p>{shown.to_html()}")


def progress(page: Page) -> None:
    """What is recorded of the larger profiles, what follows from it, and what counts no longer."""
    said = texts()
    _say(f"{said['larger']} {said['verdict'].get(_kind(page.study), '')}")
    rows = [
        {"profile": study.profile, "stage": stage, "records": progress_of(study, stage)}
        for study in page.larger
        for stage in study.stages
    ]
    counts = figures.plain(pd.DataFrame(rows), wrap=True)
    figures.fold("Stages and their records", counts.to_html())
    for study in page.larger:
        old, again = runs.superseded(study)
        if old:
            counts = {"old": old, "again": again, "protocol": current_protocol("pca")}
            _say(f"**{study.profile}.** {said['superseded'].format(**counts)}")


def choices(page: Page) -> None:
    """What validation has chosen at the larger profiles, and how close the runner-up came."""
    for study in page.larger:
        found = [*standings(study)]
        rows = [
            {
                "stage": s.stage,
                "of": f"{s.of}, {s.candidates} candidates",
                "chosen": s.chosen,
                "mean": f"{s.score:.1f}",
                "runner-up": s.second,
                "behind by": f"{s.behind:.1f}" if s.second else "",
            }
            for s in found
        ]
        if rows:
            told = "validation, mean over seeds and data sets, points"
            table = figures.plain(pd.DataFrame(rows), wrap=True).to_html()
            figures.fold(f"What was chosen at {study.profile}: {told}", table)
        for end in (end for s in found for end in s.ends):
            setting, tried = end.setting.replace("_", " "), ", ".join(map(arms.short, end.tried))
            _say(texts()["ends"][end.end].format(setting=setting, tried=tried))


def published(page: Page, *arms: str) -> None:
    """How recorded arms without a transform, or the baseline, stand to the figures published."""
    theirs, rows = rulebook.rules()["published"][page.study.name], []
    for arm in arms or ("baseline",):
        found = [row for study in page.larger for row in runs.published(study, theirs, arm)]
        rows += [{"settings": arm, **row} if arms else row for row in found]
    if not rows:
        _say("Nothing to compare is recorded yet.")
        return
    table = pd.DataFrame(rows)
    # The table is wide: a single profile is named above it, not in a column.
    if len(profiles := table["profile"].unique()) == 1:
        _say(f"At the scale of `{profiles[0]}`:")
        table = table.drop(columns="profile")
    display(figures.plain(table))


def same_mask(page: Page) -> None:
    """What the same mask in both views is worth in the pilots, beside no training at all."""
    rows = []
    for study, found in page.recorded("pilot"):
        for label, part in by_base(found).items():
            metric, table = runs.metric_of(study, part), runs.frame(part)
            control = [entry.control == "same-mask" for entry, _ in part]
            masked = {arm for entry, _ in part if entry.control == "same-mask" for arm in entry.of}
            kinds = {
                "the same mask": table[control],
                "two masks": table[table["arm"].isin(masked)],
                "baseline": table[table["arm"] == "baseline"],
                "untrained": table[table["arm"] == "untrained"],
            }
            means = {kind: f"{of[metric].mean():.1f}" for kind, of in kinds.items() if len(of)}
            rows.append({"pilot of": label or part[0][0].trial.data, **means})
    display(figures.plain(pd.DataFrame(rows).fillna("")))


# Figures: of the live run or of a recorded stage, one for each modality or data set


def gain_by_depth(page: Page, stage: str = LIVE) -> None:
    """Gain against depth, a panel for each modality or data set, all on one scale."""
    for study, found in page.recorded(stage):
        parts = {label: part for label, part in by_base(found).items() if _has_arms(part)}
        if not parts:  # of the stage only the baseline is recorded
            continue
        _, axes = figures.panels(len(parts))
        for ax, (label, part) in zip(axes.flat, parts.items(), strict=True):
            trial, metric = part[0][0].trial, runs.metric_of(study, part)
            title = f"{_title(study, stage, label or trial.data)}\n{runs.METRICS[metric]}"
            figures.gain_by_depth(ax, runs.frame(part), metric, arms.targets(trial), title)
        finish(found)


def scores(page: Page) -> None:
    """The primary metric of each arm of the live run."""
    for label, part in by_base(page.live).items():
        figures.scores(_arms(part), runs.frame(part), runs.primary(part), label)
        finish(part)


def differences(page: Page, stage: str = LIVE) -> None:
    """The difference of each arm to the baseline."""
    for title, part in titled(page, stage):
        figures.forest(_arms(part), runs.frame(part), runs.primary(part), title)
        finish(part)


def learning_curves(page: Page, stage: str = LIVE) -> None:
    """Training loss and primary metric by epoch; in the live run of the deepest target alone."""
    for title, part in titled(page, stage):
        if stage == LIVE:
            plain_or_deepest = ("none", arms.targets(part[0][0].trial)[-1])
            part = [r for r in part if r[0].trial.layer in plain_or_deepest]
        figure, axes = figures.figure(6.2, 2, sharex=True)
        figures.learning_curves(axes, part, runs.primary(part))
        figure.suptitle(title)
        finish(part)


def gradient_norms(page: Page, stage: str = LIVE) -> None:
    """The gradient norm below the target by epoch."""
    for title, part in titled(page, stage):
        _, ax = figures.figure(4.8)
        figures.gradient_norms(ax, part, title)
        finish(part)


def titled(page: Page, stage: str) -> Iterator[tuple[str, Recorded]]:
    """The records of a stage by modality or data set, each with the title of its figure."""
    for study, found in page.recorded(stage):
        for label, part in by_base(found).items():
            yield _title(study, stage, label or part[0][0].trial.data), part


def _title(study: Study, stage: str, of: str) -> str:
    kind, _, data = of.partition(" ")
    named = f"{PARTS[kind]} {data}" if data and kind in PARTS else of
    return f"{study.profile}{'' if stage == LIVE else f' {stage}, no verdict'}: {named}"


def _arms(recorded: Recorded) -> Axes:
    """Axes with a row for each arm."""
    return figures.row_axes(len({entry.arm for entry, _ in recorded}))


def _has_arms(part: Recorded) -> bool:
    return any(entry.trial.layer != "none" for entry, _ in part)


def finish(recorded: Recorded) -> None:
    """Show the figure at hand, and below it what drew it and the records it is made of."""
    plt.show()
    drawn_by = sys._getframe(1).f_code
    revisions = sorted({(record["revision"] or "unknown")[:7] for _, record in recorded})
    links = " · ".join(
        f'<a href="../../results/{entry.profile}/{record["key"]}.json">'
        f"{html.escape(entry.name)}, seed {entry.trial.seed}</a>"
        for entry, record in recorded
    )
    count = f"Made of {len(recorded)} record{'s' * (len(recorded) != 1)}"
    origin = (
        f"Drawn by <code>{drawn_by.co_name}</code> in "
        f"<code>deepaug/pages/{Path(drawn_by.co_filename).name}</code>; recorded at "
        f"revision{'s' * (len(revisions) != 1)} {', '.join(revisions)}."
    )
    figures.fold(count, f"<p>{origin}</p><p>{links}</p>")
