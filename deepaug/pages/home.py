"""The first page: the answer, the strip of verdicts, and the figure that shows proportions."""

import html

import matplotlib.pyplot as plt
from IPython.display import HTML, Markdown, display

from deepaug.pages import answers, figures, intervals
from deepaug.pages.figures import NAMES
from deepaug.pages.notebooks import SOURCES
from deepaug.pages.texts import texts
from deepaug.studies import rulebook
from deepaug.training.trial import WAYS
from deepaug.verdicts.table import Cell, Table

# Each claim's page; C1 has one in each modality.
PAGES = {
    "C1": "claims",
    "C2": "supervised",
    "C3a": "input-or-deep",
    "C3b": "input-or-deep",
    "C4": "co-adaptation",
    "C5": "layer-selection",
    "C6": "networks",
    "C7": "stop-gradient",
}
DATA = {"20newsgroups": "20 Newsgroups", "cifar10-jpeg": "CIFAR-10"}  # as people call them
SIZES = {"cpu": " (small networks on two cores)"}
# What input augmentation brings, and what Deep Augmentation does beside it and in its place.
PROPORTION = {
    "C1 baseline over no-augmentation": "input augmentation, against none",
    "C1": "Deep Augmentation on top of it",
    "C3b standard": "Deep Augmentation in its place",
}


def answer(found: Table) -> str:
    """The verdicts on C1 in a sentence, and how many of all verdicts are in."""
    said = texts()["answers"]["C1"]
    judged, running = [], []
    for cell in (cell for cell in found.cells if cell.claim == "C1"):
        data = rulebook.rules()["bases"][cell.modality]["data"]
        data = " and ".join(DATA.get(one, one) for one in data)
        name = f"{NAMES[cell.modality]} ({data})"
        if cell.word:
            test = answers.row("C1", cell.modality, found)
            told = said[cell.word]
            told = f"{told[0].lower()}{told[1:]}"
            scale = found.scales[cell.modality]
            short = ", in short training," if scale and scale.short else ""
            judged.append(f"On {name}{short} {told} ({answers.effect(test)}).")
        else:
            running.append(name)
    if running:
        judged.append(f"On {' and '.join(running)} it is not yet judged.")
    words = [c.word for c in found.cells if c.claim not in ("C6", "C7")]
    counts = [f"{words.count(word)} {word}" for word in dict.fromkeys(filter(None, words))]
    told = f": {', '.join(counts)}" if counts else ""
    done = len(words) - words.count(None)
    return (
        f"**{said['asks']}** {' '.join(judged)} In brackets are 95 % intervals. "
        f"At the scale of `{found.profile}`{SIZES.get(found.profile, '')}, {done} of {len(words)} "
        f"verdicts are in{told}."
    )


def strip(found: Table) -> str:
    """The verdicts as a table in HTML: claims by modality, in colour and word."""
    said = texts()["answers"]
    modalities = [*dict.fromkeys(cell.modality for cell in found.cells)]
    heads = "".join(f'<th scope="col">{NAMES[m]}</th>' for m in modalities)
    lines = []
    for claim, page in PAGES.items():
        label = f"{claim} {said[claim]['short']}"
        head = f'<th scope="row"><a href="{page}.html">{html.escape(label)}</a></th>'
        if claim == "C6":
            body = f'<td colspan="{len(modalities)}">{html.escape(found.networks)} passed</td>'
        else:
            by_modality = {c.modality: c for c in found.cells if c.claim == claim}
            body = "".join(f"<td>{_told(by_modality[m])}</td>" for m in modalities)
        lines.append(f"<tr>{head}{body}</tr>")
    return (
        f'<table class="strip"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _told(cell: Cell) -> str:
    if cell.state == "secondary":
        ways = [f"{cell.claim} {way}" for way, of in WAYS.items() if of["stop_gradient"] != "none"]
        words = [row.word for row in cell.tests if row.word and row.test in ways]
        named = [f"{words.count(word)} {word}" for word in dict.fromkeys(words)]
        told = f"detached, against the baseline: {', '.join(named)} (secondary)"
        return f'<span class="ways">{html.escape(told)}</span>'
    return answers.badge(cell.state)


def verdicts() -> None:
    """The answer and the strip."""
    for found in answers.tables():
        if found.profile != "cpu":
            display(Markdown(f"**At the scale of `{found.profile}`**"))
        display(Markdown(answer(found)))
        display(HTML(strip(found)))


def diagram() -> None:
    """The method in one drawing."""
    display(HTML((SOURCES.parent / "book" / "_static" / "method.svg").read_text(encoding="utf-8")))


def proportion() -> None:
    """What input augmentation brings, beside what Deep Augmentation does, with their intervals."""
    figures.use_style()
    for found in answers.tables():
        rows = []
        states = {cell.modality: cell.state for cell in found.cells if cell.claim == "C1"}
        for modality in found.scales:
            tests = {t: answers.row(t, modality, found) for t in PROPORTION}
            shown = {test: row for test, row in tests.items() if row and row.interval}
            name = NAMES[modality]
            rows += [(f"{name}: {PROPORTION[test]}", row) for test, row in shown.items()]
            if not shown:
                rows.append((f"{name}: {states[modality]}", None))
        ax = intervals.draw(rows)
        ax.set_xlabel("effect, points; grey: negligible")
        plt.show()
