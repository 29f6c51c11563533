"""What a verdict would be if its records were read otherwise: exploratory, it judges nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from deepaug.studies import catalogue, rulebook
from deepaug.verdicts.comparison import FAMILY
from deepaug.verdicts.evidence import Evidence, Reading
from deepaug.verdicts.table import Cell, Row, Table, cells_of, scale_of

NOT_JUDGED = "not judged"
NAMED = 4  # seeds without which a verdict is another; of more their number is told


@dataclass(frozen=True)
class Firmness:
    """A verdict, and what it would be otherwise."""

    claim: str
    modality: str
    verdict: str
    metric: str  # the one kept beside the primary one
    by_metric: str  # the verdict by that
    tests_by_metric: tuple[
        Row, ...
    ]  # its tests of the family by that, as far as they have intervals
    left_out: dict[int, str]  # seed -> the verdict without it
    by_half: str  # the verdict with half of δ
    by_data: dict[str, str]  # data set -> the verdict by it alone; empty where there is but one

    @property
    def turning(self) -> dict[int, str]:
        """The seeds without which the verdict would be another."""
        return {seed: other for seed, other in self.left_out.items() if other != self.verdict}

    @property
    def told_by_data(self) -> str:
        """As "negligible on Cora, inconclusive on CiteSeer"; "" where there is but one."""
        words = _grouped(self.by_data)
        return ", ".join(f"{word} on {' and '.join(sets)}" for word, sets in words.items())

    @property
    def told_by_seed(self) -> str:
        """As "inconclusive without 100 or 104"; "" where no seed turns it."""
        words, all_of_them = _grouped(self.turning), len(self.left_out)
        return "; ".join(
            f"{word} without {_either(seeds, all_of_them)}" for word, seeds in words.items()
        )


def _grouped(words: Mapping[Any, str]) -> dict[str, list[str]]:
    """What has a word in common, by the word."""
    found: dict[str, list[str]] = {}
    for what, word in words.items():
        found.setdefault(word, []).append(str(what))
    return found


def _either(seeds: list[str], of: int) -> str:
    """Seeds as a choice between them; of many how many.

    >>> _either(["100", "101", "104"], 10)
    '100, 101 or 104'
    >>> _either(["100", "101", "104", "106", "109"], 10)
    'any one of 5 of the 10'
    """
    if len(seeds) > NAMED:
        return f"any one of {len(seeds)} of the {of}"
    return " or ".join(filter(None, [", ".join(seeds[:-1]), seeds[-1]]))


@cache
def of(table: Table, root: Path | None = None) -> tuple[Firmness, ...]:
    """Of every verdict that is in, what it hangs on.

    Args:
        table: the profile's verdicts.
        root: as `catalogue.load` takes it.
    """
    modalities = dict.fromkeys(cell.modality for cell in table.cells if cell.word)
    studies = catalogue.every(table.profile, root) if modalities else {}
    evidences = (Evidence(modality, table.profile, studies) for modality in modalities)
    return tuple(found for evidence in evidences for found in firmness(evidence))


def firmness(evidence: Evidence) -> list[Firmness]:
    """Of each verdict in one modality, whether it hangs on metric, seed, data set, or δ.

    The family is adjusted anew each time. Scale stays that of the primary metric.
    """
    scale = scale_of(evidence)

    def judged(other: Evidence) -> dict[str, Cell]:
        return {cell.claim: cell for cell in cells_of(other, scale) if cell.word}

    def verdicts(other: Evidence) -> dict[str, str]:
        return {claim: cell.verdict for claim, cell in judged(other).items()}

    found = verdicts(evidence)
    if not found:
        return []
    metric = rulebook.rules()["primary_metric"][evidence.modality]["beside"]
    by_metric = judged(evidence.read(Reading(metric=metric)))
    by_half = verdicts(evidence.read(Reading(band=0.5)))
    several = evidence.data_sets if len(evidence.data_sets) > 1 else ()
    by_data = {data: verdicts(evidence.read(Reading(data=data))) for data in several}
    seeds = rulebook.seeds("confirm")
    without = {seed: verdicts(evidence.read(Reading(left_out=seed))) for seed in seeds}

    def each(read: Mapping[Any, Mapping[str, str]], claim: str) -> dict[Any, str]:
        return {of: other.get(claim, NOT_JUDGED) for of, other in read.items()}

    return [
        Firmness(
            claim,
            evidence.modality,
            verdict,
            metric,
            by_metric[claim].verdict if claim in by_metric else NOT_JUDGED,
            _tested(by_metric.get(claim)),
            each(without, claim),
            by_half[claim],
            each(by_data, claim),
        )
        for claim, verdict in found.items()
    ]


def _tested(cell: Cell | None) -> tuple[Row, ...]:
    rows = cell.tests if cell else ()
    return tuple(row for row in rows if row.kind == FAMILY and row.interval)
