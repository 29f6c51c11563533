"""Where a record comes from, and making it again."""

import shlex
import tempfile
from pathlib import Path
from typing import Any

from deepaug import records, studies, sweep
from deepaug.records import Store
from deepaug.trial import PROTOCOL, Trial


def command(record: dict[str, Any], path: Path) -> str:
    """The one shell command that makes the record in the file `path` again, by its own code.

    Where no study of the profile has the trial (its grid was another), the command repeats the
    trial with the code at hand.
    """
    revision = record["revision"] or ""
    checkout = f"git checkout {revision} && " if revision and not revision.endswith("+") else ""
    profile = path.parent.name
    study = _study_of(record["key"], profile)
    if study is None:
        at_home = path.resolve().is_relative_to(records.default_root().resolve())
        return f"deepaug reproduce {record['key'] if at_home else shlex.quote(str(path))}"
    return (
        f"{checkout}deepaug run {study} --profile {profile} --only {record['key']} --results again"
    )


def _study_of(key: str, profile: str) -> str | None:
    if profile not in {path.stem for path in studies.PROFILES.glob("*.yaml")}:
        return None
    for name in studies.names(profile):
        if key in {entry.trial.key for entry in studies.load(name, profile).entries()}:
            return name
    return None


def reproduce(record: dict[str, Any], accelerator: str = "auto") -> list[str]:
    """Train a record's trial again, elsewhere, and tell in which fields the outcome differs.

    Times do not count. Raises ValueError for a trial of another protocol, which this code cannot
    repeat.
    """
    trial = Trial.from_dict(record["trial"])
    if trial.protocol != PROTOCOL:
        raise ValueError(
            f"record {trial.key} is of protocol {trial.protocol}, and this is {PROTOCOL}; "
            f"check out {record['revision'] or 'the code that made it'}"
        )
    with tempfile.TemporaryDirectory() as folder:
        again = sweep.compute(trial, Store(Path(folder), "again"), accelerator)
    differing = [name for name in records.FIELDS if again[name] != record[name]]
    return [name for name in differing if name not in records.OF_THE_RUN]
