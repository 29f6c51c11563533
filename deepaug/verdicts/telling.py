"""The table of verdicts in lines of 100 columns, words first."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

from deepaug.studies import rulebook
from deepaug.verdicts import wording
from deepaug.verdicts.comparison import CONTEXT, FAMILY, SECONDARY
from deepaug.verdicts.table import Cell, Row, Table, table

WIDTH = 100
WORD = 22  # columns of a verdict
HEADS = {
    SECONDARY: "secondary, each by its own p:",
    CONTEXT: "for context, not judged:",
}


def show(profile: str, root: Path | None, as_json: bool) -> None:
    """Print the verdicts that a profile's records give, or them and the records' keys as JSON."""
    found = table(profile, root)
    print(found.to_json() if as_json else "\n".join(lines(found)))


def lines(table: Table) -> Iterator[str]:
    """All that the table holds, but the keys of its records."""
    yield f"Verdicts at this scale, that of profile {Path(table.profile).stem}:"
    for modality, scale in table.scales.items():
        yield ""
        told = str(scale).replace("**", "") if scale else "The scale is not fully recorded."
        yield from _wrapped(f"{modality.upper()}. {told}")
        for cell in table.cells:
            if cell.modality == modality:
                yield _columns(cell.verdict, _claim(cell.claim))
                yield from _tests(cell)
    yield ""
    yield _columns(table.networks, _claim("C6"))


def undecided(row: Row) -> list[str]:
    """Of an inconclusive test, why, what would decide it and what it excludes."""
    found = [*row.obstacles]
    if row.needed and row.needed > row.effect.n:
        found.append(
            f"{row.needed} seeds in a new study would narrow the interval to ±{row.delta:g}"
        )
    if row.excluded is not None:
        what = wording.SHORT.get(row.unit, "gain")
        limit = wording.number(row.excluded, wording.PLACES[row.unit])
        found.append(f"a {what} above {limit} is excluded")
    return found


def details(row: Row) -> list[str]:
    """What there is to say of a test beside its word and its effect."""
    found = undecided(row)
    if row.diverged:
        found.append(f"{100 * row.diverged:.0f} % of an arm's seeds diverged")
    return [*found, *row.notes]


def _tests(cell: Cell) -> Iterator[str]:
    """Tests with an effect; and where the cell is judged, those that still lack it."""
    for kind in (FAMILY, SECONDARY, CONTEXT):
        rows = [row for row in cell.tests if row.kind == kind and (row.told or cell.word)]
        if rows and kind in HEADS:
            yield f"{'':{WORD + 2}}{HEADS[kind]}"
        for row in rows:
            test = f"{row.test} ({row.transform})" if row.transform else row.test
            verdict = "" if kind == CONTEXT else row.verdict
            # The line of the cell has said it already.
            verdict = "" if verdict == cell.verdict and row.word is None else f"  {verdict}"
            yield _columns(verdict, f"{test:35} {row.told:31} {p_value(row.adjusted_p)}".rstrip())
            for told in details(row):
                yield from _wrapped(told, WORD + 4)


def p_value(value: float | None) -> str:
    """As "p 0.012"; "" where nothing is judged by it."""
    if value is None:
        return ""
    return f"p {value:.3f}" if value >= 0.001 else "p < 0.001"


def p_of(row: Row) -> str:
    """A test's p in words, and whether it is corrected."""
    corrected = ", Holm" if row.kind == FAMILY and row.adjusted_p is not None else ""
    return p_value(row.adjusted_p) + corrected


def _claim(name: str) -> str:
    return f"{name:4} {rulebook.rules()['claims'][name]['claim']}"


def _columns(verdict: str, rest: str) -> str:
    """A verdict and what it is of; on lines of their own where the verdict is a sentence."""
    above = ""
    if len(verdict) > WORD:
        above, verdict = textwrap.fill(verdict, WIDTH) + "\n", ""
    if len(rest) > WIDTH - WORD - 1:
        first, *more = textwrap.wrap(rest, WIDTH - WORD - 6)
        rest = "\n".join([first, *(f"{'':{WORD + 6}}{line}" for line in more)])
    return f"{above}{verdict:{WORD}} {rest}"


def _wrapped(text: str, indent: int = 0) -> list[str]:
    space = " " * indent
    return textwrap.wrap(text, WIDTH, initial_indent=space, subsequent_indent=space)
