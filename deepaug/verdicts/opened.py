"""Whose test metrics anyone may read: of records all of whose claims have been judged."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from deepaug.studies import catalogue, records, rulebook
from deepaug.studies.profile import load, packaged
from deepaug.studies.study import Study
from deepaug.verdicts.evidence import Evidence
from deepaug.verdicts.table import Cell, judges, table_of


def keys(profile: str = "cpu", root: Path | None = None) -> frozenset[str]:
    """Keys of the records that serve a claim, and none that has still to be judged.

    A baseline serves several claims: its test metrics stay sealed until the last one is judged.

    Args:
        profile, root: as `catalogue.load` takes them.

    Raises ValueError where the profile has no stage that judges.

        found = keys("cpu")
        "002b548f47cc54e6" in found
    """
    return keys_of(profile, catalogue.every(profile, root))


def keys_of(profile: str, studies: Mapping[str, Study]) -> frozenset[str]:
    """As `keys`, of a profile's studies."""
    cells = table_of(profile, studies).cells
    evidences = {c.modality: Evidence(c.modality, profile, studies) for c in cells}
    opened: set[str] = set()
    sealed: set[str] = set()
    for cell in cells:
        (opened if cell.judged else sealed).update(_serving(cell, evidences[cell.modality]))
    return frozenset(opened - sealed)


def of_profiles(profiles: Iterable[str], root: Path | None = None) -> frozenset[str]:
    """Keys as of `keys`, of all profiles that have records and a stage that judges.

    Args:
        profiles: by name or YAML file.
        root: the folder of all records; by default `$DEEPAUG_RESULTS` or results/.
    """
    root = root or records.default_root()
    recorded = (p for p in profiles if records.files(root, load(p)[0]))
    every = ((p, catalogue.every(p, root)) for p in recorded)
    return frozenset().union(*(keys_of(p, studies) for p, studies in every if judges(studies)))


def beside(path: Path) -> frozenset[str]:
    """Keys as of `keys`, of the records among which that in the file `path` lies."""
    folder = path.resolve().parent
    return of_profiles({folder.name}.intersection(packaged()), folder.parent)


def _serving(cell: Cell, evidence: Evidence) -> Iterator[str]:
    """Keys of the records that a claim rests on in one modality, and of those told beside it."""
    for place in rulebook.rules()["claims"][cell.claim]["records"]:
        if evidence.has(place):
            yield from evidence.keys(place)
    for row in cell.tests:
        yield from row.keys
