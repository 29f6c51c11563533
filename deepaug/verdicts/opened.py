"""Whose test metrics anyone may read: of records all of whose claims have been judged."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from deepaug.studies import catalogue, records, rulebook
from deepaug.studies.profile import load, packaged
from deepaug.verdicts.evidence import Evidence
from deepaug.verdicts.table import Cell, judges, table


def keys(profile: str = "cpu", root: Path | None = None) -> frozenset[str]:
    """Keys of the records that serve a claim, and none that has still to be judged.

    A baseline serves several claims: its test metrics stay sealed until the last one is judged.

    Args:
        profile, root: as `catalogue.load` takes them.

    Raises ValueError where the profile has no stage that judges.

        found = keys("cpu")
        "002b548f47cc54e6" in found
    """
    cells = table(profile, root).cells
    studies = catalogue.every(profile, root)
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
    found = (keys(p, root) for p in profiles if _recorded(p, root) and judges(p, root))
    return frozenset().union(*found)


def beside(path: Path) -> frozenset[str]:
    """Keys as of `keys`, of the records among which that in the file `path` lies."""
    folder = path.resolve().parent
    return of_profiles({folder.name}.intersection(packaged()), folder.parent)


def _recorded(profile: str, root: Path) -> bool:
    return bool(records.files(root, load(profile)[0]))


def _serving(cell: Cell, evidence: Evidence) -> Iterator[str]:
    """Keys of the records that a claim rests on in one modality, and of those told beside it."""
    for place in rulebook.rules()["claims"][cell.claim]["records"]:
        if evidence.has(place):
            yield from evidence.keys(place)
    for row in cell.tests:
        yield from row.keys
