"""Records for others: one table of all of them, their schema, and a copy of each."""

import contextlib
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from deepaug.files import whole
from deepaug.studies import fields, records
from deepaug.studies import profile as profiles
from deepaug.training.trial import CHOICES, NOT_NEGATIVE, POSITIVE, SHARES, Trial
from deepaug.validation import one_of

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "record.schema.json"
Unsealed = Mapping[str, Container[str]]  # by profile, keys of records that are judged
NONE: Unsealed = MappingProxyType({})


def found(root: Path, profile: str = "*") -> Iterator[tuple[str, dict[str, Any]]]:
    """Profile and record of all records below `root`, or of one profile's, in a fixed order.

    Raises RecordError for the first that is damaged, ValueError if there are none.
    """
    paths = records.files(root, profile)
    if not paths:
        of = "" if profile == "*" else f" of {profile}"
        raise ValueError(f"no records{of} in {root}; make some with 'deepaug run'")
    for path in paths:
        try:
            yield path.parent.name, records.read_record(path)
        except records.RecordError as error:
            raise records.RecordError(
                f"{error}; remove it, or 'deepaug run' its study, which sets it aside"
            ) from None


def table(root: Path, profile: str = "*", unsealed: Unsealed = NONE) -> "pd.DataFrame":
    """One row for each record: trial, metrics, times, origin; nested names joined by dots.

    Test metrics of a trial that a verdict is about are left out, as verdict code alone reads them,
    until its key is among the `unsealed` ones of its profile, from `opened.of_profiles`.
    """
    import pandas as pd

    return pd.json_normalize(
        [row(name, record, unsealed.get(name, ())) for name, record in found(root, profile)]
    )


def row(profile: str, record: dict[str, Any], unsealed: Container[str] = ()) -> dict[str, Any]:
    """A record of `profile` as a row of the table, still nested."""
    last = ("metrics", "versions")
    left_out = ("curve", "similarity", *last)
    rest = {name: value for name, value in record.items() if name not in left_out}
    rest |= {"accelerator": record.get("accelerator", "cpu"), "emulated": "emulated" in record}
    rest["trial"] = Trial.from_dict(record["trial"]).to_dict()  # an older one may lack fields
    shown = records.without_sealed(record, unsealed)
    return {"profile": profile, **rest, **{name: shown[name] for name in last}}


WRITERS: dict[str, Callable[["pd.DataFrame", Path], None]] = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
}


def write_table(frame: "pd.DataFrame", path: Path) -> None:
    """Write a table as CSV or Parquet, whole or not at all. Raises ValueError, OSError."""
    one_of("kind of table", path.suffix, WRITERS, "or .zip for the records themselves")
    try:
        with _writing(path) as partial:
            WRITERS[path.suffix](frame, partial)
    except ImportError:
        raise ValueError("Parquet needs pyarrow: pip install pyarrow; or write .csv") from None


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """A file to write in the place of `path`, in a folder that is made where there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"{path.parent} is no folder to write {path.name} to") from None
    with whole(path) as partial:
        yield partial


def schema() -> dict[str, Any]:
    """The JSON schema of a record."""
    settings = {field.name: _setting(field) for field in dataclasses.fields(Trial)}
    trial = {"additionalProperties": False, "properties": settings}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "deepaug record",
        "description": "The outcome of one trial. Metrics are in per cent or points, times in "
        "seconds.",
        "type": "object",
        "additionalProperties": False,
        "required": list(fields.FIELDS),
        "properties": {
            **fields.FIELDS,
            **fields.OPTIONAL,
            "trial": {**fields.FIELDS["trial"], **trial},
        },
    }


def _setting(field: dataclasses.Field) -> dict[str, Any]:
    """What the schema says of a field of a trial: its type, bounds, names, default and meaning."""
    names: dict[Any, str] = {str: "string", int: "integer", float: "number"}
    said: dict[str, Any] = {"type": names[field.type]}
    if field.name in CHOICES:
        said["enum"] = list(CHOICES[field.name])
    if field.name in POSITIVE:
        said["exclusiveMinimum"] = 0
    if field.name in (*NOT_NEGATIVE, *SHARES):
        said["minimum"] = 0
    if field.name in SHARES:
        said["exclusiveMaximum"] = 1
    return {**said, "default": field.default, **field.metadata}


def bundle(root: Path, folder: Path, profile: str = "*", unsealed: Unsealed = NONE) -> int:
    """Copy records to `folder`/<profile>/, with records.csv and their schema; how many.

    Raises ValueError if the folder is that of the records, or in it: copies are not records.
    """
    if folder.resolve().is_relative_to(Path(root).resolve()):
        raise ValueError(f"{folder} is in {root}, whose records are to be copied; choose another")
    frame = table(root, profile, unsealed)
    for path in records.files(root, profile):
        target = folder / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(path, target)
        except BaseException:  # half a record would pass for damaged
            target.unlink(missing_ok=True)
            raise
    with whole(folder / SCHEMA) as partial:
        partial.write_text(json.dumps(schema(), indent=1) + "\n")
    write_table(frame, folder / "records.csv")
    return len(frame)


def archive(root: Path, path: Path, profile: str = "*", unsealed: Unsealed = NONE) -> int:
    """Pack what `bundle` copies into one zip file, whole or not at all; how many records."""
    with tempfile.TemporaryDirectory() as folder, _writing(path) as partial:
        count = bundle(root, Path(folder), profile, unsealed)
        packed = shutil.make_archive(str(Path(folder).with_suffix(".packed")), "zip", folder)
        try:
            shutil.copyfile(packed, partial)
        finally:
            Path(packed).unlink()
    return count


def export(
    root: Path | None,
    target: Path,
    profile: str | None = None,
    unsealed: Unsealed = NONE,
) -> int:
    """Write records to `target`: a table or an archive by its suffix, else a folder; how many.

    Args:
        root: by default `$DEEPAUG_RESULTS` or results/.
        profile: its records alone, by name or YAML file; by default those of all.
        unsealed: by profile the keys of records whose test metrics stand in the table, from
            `opened.of_profiles`.
    """
    root, label = root or records.default_root(), profiles.load(profile)[0] if profile else "*"
    if not target.suffix:
        return bundle(root, target, label, unsealed)
    if target.suffix == ".zip":
        return archive(root, target, label, unsealed)
    frame = table(root, label, unsealed)
    write_table(frame, target)
    return len(frame)
