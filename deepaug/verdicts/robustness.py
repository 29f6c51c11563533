"""What a verdict would be if its records were read otherwise: exploratory, it judges nothing."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from deepaug.studies import catalogue, rulebook
from deepaug.verdicts.evidence import Evidence
from deepaug.verdicts.table import Table, cells_of, scale_of


@dataclass(frozen=True)
class Firmness:
    """A verdict, and what it would be otherwise."""

    claim: str
    modality: str
    verdict: str
    metric: str  # the one kept beside the primary one
    by_metric: str  # the verdict by that
    left_out: dict[int, str]  # seed -> the verdict without it
    by_half: str  # the verdict with half of δ
    by_data: dict[str, str]  # data set -> the verdict by it alone; empty where there is but one

    @property
    def turning(self) -> dict[int, str]:
        """The seeds without which the verdict would be another."""
        return {seed: other for seed, other in self.left_out.items() if other != self.verdict}

    @property
    def told_by_data(self) -> str:
        """As "negligible on Cora, inconclusive on CiteSeer"; "" where there is one data set."""
        return ", ".join(f"{word} on {data}" for data, word in self.by_data.items())

    def turning_told(self) -> str:
        """As "inconclusive without 100 or 104"; "" where no seed turns it."""
        words: dict[str, list[str]] = {}
        for seed, word in self.turning.items():
            words.setdefault(word, []).append(str(seed))
        return "; ".join(f"{word} without {_either(seeds)}" for word, seeds in words.items())


def _either(words: list[str]) -> str:
    """Words as a choice between them.

    >>> _either(["100", "101", "104"])
    '100, 101 or 104'
    """
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


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

    def verdicts(other: Evidence) -> dict[str, str]:
        return {cell.claim: cell.verdict for cell in cells_of(other, scale) if cell.word}

    found = verdicts(evidence)
    if not found:
        return []
    metric = rulebook.rules()["primary_metric"][evidence.modality]["beside"]
    by_metric = verdicts(evidence.otherwise(metric=metric))
    by_half = verdicts(evidence.otherwise(band=0.5))
    several = evidence.data_sets if len(evidence.data_sets) > 1 else ()
    by_data = {data: verdicts(evidence.otherwise(data=data)) for data in several}
    without = {
        seed: verdicts(evidence.otherwise(left_out=seed)) for seed in rulebook.seeds("confirm")
    }
    return [
        Firmness(
            claim,
            evidence.modality,
            verdict,
            metric,
            by_metric.get(claim, "not judged"),
            {seed: other.get(claim, "not judged") for seed, other in without.items()},
            by_half[claim],
            {data: other.get(claim, "not judged") for data, other in by_data.items()},
        )
        for claim, verdict in found.items()
    ]
