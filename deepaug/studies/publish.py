"""Records for others: one table of all of them, their schema, and a copy of each."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepaug.files import whole
from deepaug.studies import records
from deepaug.training.trial import Trial
from deepaug.validation import one_of

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = Path(__file__).parent / "record.schema.json"


def found(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Profile and record of all records below `root`, in a fixed order.

    Raises RecordError for the first that is damaged, ValueError if there are none.
    """
    paths = records.files(root)
    if not paths:
        raise ValueError(f"no records in {root}; make some with 'deepaug run'")
    for path in paths:
        try:
            yield path.parent.name, records.read_record(path)
        except records.RecordError as error:
            raise records.RecordError(
                f"{error}; remove it, or 'deepaug run' its study, which sets it aside"
            ) from None


def table(root: Path) -> "pd.DataFrame":
    """One row for each record: trial, metrics, times, origin; nested names joined by dots.

    Test metrics of a trial that a verdict is about are left out, as verdict code alone reads them.
    """
    import pandas as pd

    return pd.json_normalize([row(profile, record) for profile, record in found(root)])


def row(profile: str, record: dict[str, Any]) -> dict[str, Any]:
    """A record of `profile` as a row of the table, still nested."""
    metrics = dict(record["metrics"])
    if records.judged(Trial.from_dict(record["trial"])):
        metrics.pop("test", None)
    rest = {n: v for n, v in record.items() if n not in ("curve", "metrics", "versions")}
    return {"profile": profile, **rest, "metrics": metrics, "versions": record["versions"]}


WRITERS: dict[str, Callable[["pd.DataFrame", Path], None]] = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
}


def write_table(frame: "pd.DataFrame", path: Path) -> None:
    """Write a table as CSV or Parquet, whole or not at all. Raises ValueError, OSError."""
    one_of("kind of table", path.suffix, WRITERS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"{path.parent} is no folder to write {path.name} to") from None
    try:
        with whole(path) as partial:
            WRITERS[path.suffix](frame, partial)
    except ImportError:
        raise ValueError("Parquet needs pyarrow: pip install pyarrow; or write .csv") from None


def bundle(root: Path, folder: Path) -> int:
    """Copy all records to `folder`/<profile>/, with records.csv and their schema; how many.

    Raises ValueError if the folder is that of the records, or in it: copies are not records.
    """
    if folder.resolve().is_relative_to(Path(root).resolve()):
        raise ValueError(f"{folder} is in {root}, whose records are to be copied; choose another")
    frame = table(root)
    for path in records.files(root):
        target = folder / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copyfile(SCHEMA, folder / SCHEMA.name)
    write_table(frame, folder / "records.csv")
    return len(frame)
