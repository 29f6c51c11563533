"""Whose test metrics anyone may read: of records all of whose claims have been judged."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from deepaug.studies import catalogue, records, rulebook
from deepaug.studies.profile import load, packaged
from deepaug.studies.study import Study
from deepaug.training.trial import Trial
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


def of_profiles(profiles: Iterable[str], root: Path | None = None) -> dict[str, frozenset[str]]:
    """Keys as of `keys`, by the label of all profiles that have records and a stage that judges.

    Profiles share trials, and each judges by its own runs: what one has opened stays sealed in
    another.

    Args:
        profiles: by name or YAML file.
        root: the folder of all records; by default `$DEEPAUG_RESULTS` or results/.
    """
    root = root or records.default_root()
    labels = {profile: load(profile)[0] for profile in profiles}
    recorded = (profile for profile, label in labels.items() if records.files(root, label))
    every = ((profile, catalogue.every(profile, root)) for profile in recorded)
    return {labels[p]: keys_of(p, studies) for p, studies in every if judges(studies)}


def beside(path: Path) -> frozenset[str]:
    """Keys as of `keys`, of the records among which that in the file `path` lies.

    None where the record holds nothing that is sealed: judging takes seconds. Raises RecordError
    for one that is damaged, before anything else is read.
    """
    record, folder = records.read_record(path), path.resolve().parent
    if folder.name not in packaged() or not records.sealed_test(Trial.from_dict(record["trial"])):
        return frozenset()
    return of_profiles([folder.name], folder.parent).get(folder.name, frozenset())


def _serving(cell: Cell, evidence: Evidence) -> Iterator[str]:
    """Keys of the records that a claim rests on in one modality, and of those told beside it."""
    for place in rulebook.rules()["claims"][cell.claim]["records"]:
        if evidence.has(place):
            yield from evidence.keys(place)
    for row in cell.tests:
        yield from row.keys
