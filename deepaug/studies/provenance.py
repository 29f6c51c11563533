"""Where a record comes from, and making it again."""

import shlex
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from deepaug.studies import catalogue, fields, records, workers
from deepaug.studies.profile import packaged
from deepaug.studies.records import Store
from deepaug.training.trial import Trial, current_protocol


def command(record: dict[str, Any], path: Path) -> str:
    """The one shell command that makes the record in the file `path` again, by its own code.

    A trial that other records chose cannot be asked for in an empty store: it is repeated from its
    own record, which lies apart while the older code is checked out. Where no study of the profile
    has the trial (its grid was another), the command repeats it with the code at hand.
    """
    revision, key, profile = record["revision"] or "", record["key"], path.parent.name
    checkout = f"git checkout {revision} && " if revision and not revision.endswith("+") else ""
    found = _place_of(key, profile)
    if found is None:
        at_home = path.resolve().is_relative_to(records.default_root().resolve())
        return f"deepaug reproduce {key if at_home else shlex.quote(str(path))}"
    study, chosen = found
    if chosen:
        aside = f"mkdir -p again && cp {shlex.quote(str(path))} again && "
        return f"{aside}{checkout}deepaug reproduce again/{key}.json"
    return f"{checkout}deepaug run {study} --profile {profile} --only {key} --results again"


def _place_of(key: str, profile: str) -> tuple[str, bool] | None:
    """The study that has a trial, and whether only other records' choice brings it there."""
    if profile not in packaged():
        return None
    for name in catalogue.names(profile):
        study = catalogue.load(name, profile)
        stages = [study.stages[e.stage] for e in study.entries() if e.trial.key == key]
        if stages:
            return name, all(stage.chosen_from for stage in stages)
    return None


def again(record: dict[str, Any], accelerator: str = "auto") -> dict[str, Any]:
    """The record that training a record's trial once more gives, elsewhere.

    Raises ValueError for a trial of another protocol, which this code cannot repeat.
    """
    trial = Trial.from_dict(record["trial"])
    if trial.protocol:
        raise ValueError(
            f"record {trial.key} is of the earlier protocol {trial.protocol}, which this code, of "
            f"{current_protocol(trial.transform)}, cannot repeat; check out "
            f"{record['revision'] or 'the code that made it'}"
        )
    from deepaug.training import loop

    with tempfile.TemporaryDirectory() as folder:
        train = partial(loop.run, accelerator=accelerator)
        return workers.compute(trial, Store(Path(folder), "again"), train)


def differing(record: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The fields in which two records of one trial differ; times do not count."""
    # The trial is the same by its key; an older record may lack fields that have come since.
    result = [n for n in fields.FIELDS if n not in ("trial", *fields.OF_THE_RUN)]
    names = [*result, *fields.OPTIONAL]
    return [name for name in names if not _alike(name, record.get(name), other.get(name))]


def _alike(name: str, value: Any, other: Any) -> bool:
    if name != "versions":
        return value == other
    # Which packages a record names has changed over time; those of both are compared.
    return all(value[package] == other[package] for package in value.keys() & other.keys())
