"""What the verdicts answer, in sentences, and the tables and figures that stand behind them.

The wording stands in notebooks/pages.yaml; every number comes from the records by way of
`deepaug.verdicts.table`.
"""

import html
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display

from deepaug.pages import figures, intervals, show
from deepaug.pages.figures import NAMES
from deepaug.pages.page import LARGER, Page
from deepaug.pages.texts import texts
from deepaug.studies import rulebook
from deepaug.verdicts import robustness, telling, wording
from deepaug.verdicts.comparison import FAMILY, SECONDARY
from deepaug.verdicts.effects import READ_BY
from deepaug.verdicts.robustness import Firmness
from deepaug.verdicts.table import Cell, Row, Table, table

WRITTEN_AT = "cpu"  # the scale of the findings that are written by hand


@cache
def tables() -> tuple[Table, ...]:
    """The verdicts of `cpu`, and of each larger profile with records that judge."""
    found = [table(profile) for profile in LARGER]
    return tuple(t for t in found if t.profile == "cpu" or any(cell.recorded for cell in t.cells))


def by_table(
    claims: Sequence[str], modality: str | None = None
) -> Iterator[tuple[Table, list[Cell]]]:
    """Each table, and of it the cells of some claims, of one modality or of all."""
    for of in tables():
        asked = (cell for cell in of.cells if modality in (None, cell.modality))
        yield of, [cell for cell in asked if cell.claim in claims]


def row(test: str, modality: str, of: Table) -> Row | None:
    """A test by its name, of the primary arm; None where the table lacks it.

    Secondary arms have tests of the same name; theirs come after it.
    """
    rows = (row for cell in of.cells if cell.modality == modality for row in cell.tests)
    return next((row for row in rows if row.test == test), None)


# Sentences


def badge(word: str) -> str:
    """A verdict as a coloured word, in HTML.

    >>> badge("opposed")
    '<span class="verdict opposed">opposed</span>'
    """
    return f'<span class="verdict {word.replace(" ", "-")}">{word}</span>'


def effect(row: Row) -> str:
    """A test's effect with its interval, in its unit."""
    return wording.interval(row.effect, wording.after(row.unit), wording.PLACES[row.unit])


def _with_n(row: Row) -> str:
    return wording.with_n(row.effect, wording.after(row.unit), wording.PLACES[row.unit])


def sentence(cell: Cell) -> str:
    """The answer that a cell gives to its claim's question, in Markdown."""
    name, said = NAMES[cell.modality].capitalize(), texts()["answers"][cell.claim]
    head = f"{badge(cell.state)} **{name}.**"
    if cell.word:
        family = [row for row in cell.tests if row.kind == FAMILY]
        several = len(family) > 1
        told = "; ".join(
            f"{said['tests'][row.test]}: {_with_n(row)}" + (f", {row.word}" if several else "")
            for row in family
        )
        suffix = cell.verdict.partition(": ")[2]  # of a supported C2
        answer = said[_answer(cell)] + (f" ({suffix})" if suffix else "")
        return f"{head} {answer}. {wording.capital(told)}."
    if cell.state == "not begun":
        return f"{head} What it runs is chosen by stages that are not finished."
    if cell.state == "running":
        return f"{head} {cell.recorded} of {cell.planned} runs are recorded."
    if cell.state == "secondary":
        return f"{head} {said['secondary']}: below, without a verdict."
    return f"{head} {wording.capital(cell.verdict)}."


def _answer(cell: Cell) -> str:
    """The word texts answer under: the verdict's, or "between" where no test leaves it open."""
    words = {row.word for row in cell.tests if row.kind == FAMILY}
    return cell.word if cell.word in ("mixed", *words) else "between"


def say(*claims: str, modality: str | None = None) -> None:
    """The questions of some claims, and the answer in each modality."""
    for of, found in by_table(claims, modality):
        scale = "" if of.profile == "cpu" else f" (at the scale of `{of.profile}`)"
        for claim in claims:
            asks = f"**{texts()['answers'][claim]['asks']}**{scale}"
            lines = [f"- {sentence(cell)}" for cell in found if cell.claim == claim]
            if claim == "C6":
                display(Markdown(f"{asks} {of.networks} passed."))
            elif lines:
                display(Markdown("\n".join([asks, "", *lines])))


def scales() -> None:
    """How the baselines stand to the rules' scale, a line for each modality and profile."""
    for of in tables():
        for modality, scale in of.scales.items():
            told = scale or "the scale is not fully recorded."
            display(Markdown(f"*{NAMES[modality].capitalize()} at `{of.profile}`.* {told}"))


def meaning(*claims: str, modality: str | None = None) -> None:
    """What the outcomes mean, what they do not, and what would change them."""
    said, lines, running = texts(), [], []
    found = [(of, cell) for of, part in by_table(claims, modality) for cell in part]
    for of, cell in found:
        name = f"{cell.claim}, {NAMES[cell.modality]}"
        if cell.word:
            beside = (
                beside_it(test, cell.modality, of)
                for test in said["answers"][cell.claim].get("beside", ())
            )
            lines.append(f"- *{name}.* {' '.join(filter(None, (finding(of, cell), *beside)))}")
            if arms := _arms(cell):
                lines.append(f"  - {arms}")
            lines.append(f"  - *How sure.* {_outcome(cell)} {_firm(of, cell)}")
        elif cell.state == "running":
            running.append(name)
        elif told := finding(of, cell):  # of what is secondary
            lines.append(f"- *{name}.* {told}")
    if running:
        lines.append(f"- *{'; '.join(running)}.* {said['meanings']['running']}")
    lines += [f"- *Not meant.* {said['answers'][claim]['not']}" for claim in claims]
    if any(cell.word for _, cell in found):
        pending = said["meanings"]["pending"] if any(map(_pending, found)) else ""
        lines.append(f"- *What would change it.* {said['meanings']['changes']} {pending}".rstrip())
        for claim in dict.fromkeys(cell.claim for _, cell in found if cell.word):
            of_it = f" of {claim}" if len(claims) > 1 else ""
            lines.append(f"- *What would tell more{of_it}.* {said['answers'][claim]['more']}")
    display(Markdown("\n".join(lines)))


def _pending(found: tuple[Table, Cell]) -> bool:
    """Whether a cell is judged while other tests of its modality's family are missing."""
    of, cell = found
    rows = (row for c in of.cells if c.modality == cell.modality for row in c.tests)
    told = [row for row in rows if row.kind == FAMILY and row.effect]
    return bool(cell.word) and len(told) < len(rulebook.rules()["family"]["tests"])


def finding(of: Table, cell: Cell) -> str:
    """What was written by hand on a verdict; "" once it is another, and at any other scale."""
    if of.profile != WRITTEN_AT:
        return ""
    return texts()["findings"].get(cell.claim, {}).get(cell.modality, {}).get(cell.state, "")


def _outcome(cell: Cell) -> str:
    """What a verdict means, with what an inconclusive test excludes and what would decide it."""
    family = [row for row in cell.tests if row.kind == FAMILY]
    deltas = dict.fromkeys(f"{row.delta:g}" for row in family if row.delta)
    meanings = texts()["meanings"]
    meaning = "below" if cell.word == "opposed" and len(family) == 1 else _answer(cell)
    sides = [row.effect.side for row in family if row.word == "inconclusive"]
    if meaning == "inconclusive" and "zero" not in sides:
        meaning = "beside"
    told = meanings[meaning].format(delta=", ±".join(deltas))
    notes = (
        f"{'' if row.test == cell.claim else f'{row.name}: '}{wording.capital(note)}."
        for row in family
        for note in telling.undecided(row)
    )
    reaches = [
        meanings["reaches"].format(delta=f"{row.delta:g}")
        for row in family
        if row.word in ("supported", "opposed")
        and min(abs(row.effect.low), abs(row.effect.high)) < row.delta
    ]
    return " ".join([told, *notes, *reaches])


def _arms(cell: Cell) -> str:
    """Of C1 the arm that is judged, those beside it, and whether controls are missing."""
    if cell.claim != "C1":
        return ""
    said = texts()["meanings"]
    judged, *others = (row for row in cell.tests if row.test == "C1")
    parts = [said["judged"].format(arm=wording.arm(judged.arm))]
    parts += [
        said["other"].format(arm=wording.arm(row.arm), effect=effect(row))
        for row in others
        if row.effect
    ]
    if any(row.kind == SECONDARY and row.verdict.startswith("running") for row in cell.tests):
        parts.append(said["controls"])
    return " ".join(parts)


def _firm(of: Table, cell: Cell) -> str:
    """Whether a verdict hangs on the metric, a single seed, a data set, or how wide δ is."""
    (firm,) = (f for f in robustness.of(of) if (f.claim, f.modality) == (cell.claim, cell.modality))
    said, metric = texts()["meanings"], READ_BY[firm.metric]
    read = "same" if firm.by_metric == firm.verdict else "by_metric"
    told = said[read].format(metric=metric, word=by_other_metric(firm))
    turning = "lost" if {*firm.turning.values()} == {"inconclusive"} else "turning"
    told += " " + said[turning if firm.turning else "firm"].format(turning=firm.told_by_seed)
    if any(word != firm.verdict for word in firm.by_data.values()):
        told += " " + said["by_data"].format(words=firm.told_by_data)
    if firm.by_half != firm.verdict:
        told += " " + said["by_half"].format(word=firm.by_half)
    return told


def by_other_metric(firm: Firmness) -> str:
    """The verdict by the metric beside the primary one, with each test's effect by it."""
    several = len(firm.tests_by_metric) > 1
    told = [
        (f"{row.name.partition(' ')[2]}: {row.word}, " if several else "") + effect(row)
        for row in firm.tests_by_metric
    ]
    return f"{firm.by_metric} ({'; '.join(told)})" if told else firm.by_metric


# Figures and tables


def figure(*claims: str, modality: str | None = None) -> None:
    """Every interval of the claims' tests against ±δ, a figure for each unit and profile."""
    for of, found in by_table(claims, modality):
        for claim in claims:
            of_claim = [cell for cell in found if cell.claim == claim]
            if drawn := [row for cell in of_claim for row in intervals.drawn(cell)]:
                unit = wording.AXES.get(drawn[0].unit, "points")
                intervals.of_cells(of_claim, f"{claim} at {of.profile}", unit)
                plt.show()


def controls(modality: str) -> None:
    """What the controls say of a modality's primary arm, a line for each that is recorded."""
    said, lines = texts()["controls"], []
    for of, found in by_table(["C1"], modality):
        where = "" if of.profile == "cpu" else f" ({of.profile})"
        judged = any(cell.word for cell in found)
        for test in said["tests"]:
            of_test = row(test, modality, of)
            if told := beside_it(test, modality, of):
                lines.append(f"- {told}{where}")
            elif of_test and not of_test.effect and judged:
                lines.append(f"- {test.partition(' ')[2].capitalize()}: {of_test.verdict}.")
    display(Markdown("\n".join(lines) or said["none"]))


def beside_it(test: str, modality: str, of: Table) -> str:
    """What a control says, by its effect and the side of zero it lies on; "" where it has none."""
    of_test = row(test, modality, of)
    if not of_test or not of_test.interval:
        return ""
    told = texts()["controls"]["tests"][test]
    meaning = told.get(of_test.effect.side, "")
    mean = f"{of_test.effect.mean:.1f}"
    return f"{told['says'].format(effect=effect(of_test), mean=mean)} {meaning}".strip()


def evidence(page: Page, *claims: str, modality: str | None = None) -> None:
    """All that is recorded of a page's study and of its claims, folded, and what split it is of."""
    show.progress(page)
    show.choices(page)
    behind(*claims, modality=modality)
    show.recorded(page)
    show.sealed(page)


def behind(*claims: str, modality: str | None = None) -> None:
    """The tests in numbers, folded, with their records and the commands that run these."""
    for of, found in by_table(claims, modality):
        rows = [row for cell in found for row in _rows(cell)]
        if rows:
            shown = figures.plain(pd.DataFrame(rows), wrap=True).to_html()
            figures.fold(f"All tests in numbers, at {of.profile}", shown)
        keys = dict.fromkeys(key for cell in found for row in cell.tests for key in row.keys)
        links = " · ".join(f'<a href="../../results/{of.profile}/{k}.json">{k}</a>' for k in keys)
        again = dict.fromkeys(command for cell in found for command in cell.again)
        again |= dict.fromkeys(c for cell in found for row in cell.tests for c in row.again)
        commands = html.escape("\n".join(again))
        count = f"{len(keys)} record{'s' * (len(keys) != 1)} behind them, and what runs these"
        figures.fold(count, f"<pre>{commands}</pre><p>{links}</p>")


def _rows(cell: Cell) -> list[dict[str, Any]]:
    return [
        {
            "of": NAMES[cell.modality],
            "test": row.name,
            "effect": told(row),
            "verdict": row.verdict if row.kind != "secondary" else f"{row.verdict} (secondary)",
            "arm": row.arm,
            "p": telling.p_of(row),
            "more": "; ".join(telling.details(row)),
        }
        for row in cell.tests
        if row.told
    ]


def told(row: Row) -> str:
    """An effect with its interval, or the values of its seeds where these are few."""
    if row.unit == "probability":  # it has no sign
        return f"{row.effect.mean:.2f} [{row.effect.low:.2f}, {row.effect.high:.2f}]"
    if row.interval:
        return _with_n(row)
    return ", ".join(wording.number(value, wording.PLACES[row.unit]) for value in row.values)
