"""What is wrong with the records of a profile: files, content, and the rules they are judged by."""

import json
from collections.abc import Iterator
from pathlib import Path

from deepaug.studies import catalogue, publish, records, rulebook
from deepaug.training.origin import PACKAGE
from deepaug.validation import reason
from deepaug.verdicts import history

CHECKOUT = PACKAGE.parent


def faults(profile: str, root: Path | None = None, partial: bool = False) -> Iterator[str]:
    """A line for each fault of a profile's records; nothing is moved or mended.

    Args:
        profile, root: as `catalogue.load` takes them.
        partial: whether records may still be missing.

    Raises:
        ModuleNotFoundError: jsonschema is not installed; it comes with Jupyter.
    """
    import jsonschema  # before any record is read

    validator = jsonschema.Draft202012Validator(publish.schema())
    store = catalogue.store(profile, root)
    holders: dict[str, list[str]] = {}  # key -> files that are of it
    broken = False
    for path in records.files(store.folder.parent, store.folder.name):
        found = [*_of_file(path, validator, holders)]
        broken |= bool(found)
        yield from found
    for key, names in holders.items():
        if len(names) > 1:
            yield f"key {key} has {len(names)} records: {', '.join(sorted(names))}; keep one"
    for path in sorted(store.folder.glob("*.damaged")):
        if not path.with_suffix(".json").exists():
            yield f"{path} was set aside as damaged; run its study again, or remove it"
    if broken:  # what is chosen by records would set damaged ones aside
        yield "what is missing, and whether rules preceded records, is not looked at until then"
        return
    if not partial:
        yield from _missing(profile, root)
    judged = history.judged(rulebook.rules(), profile, root or records.default_root())
    try:
        for change in history.changes(CHECKOUT, rulebook.rules(), judged):
            yield f"rules changed after a record: {change}"
    except history.NoHistory:
        pass  # `unknown` tells it
    except history.HistoryError as error:
        yield str(error)


def show(profile: str, root: Path | None, partial: bool) -> int:
    """Print the faults of a profile's records as they are found, then their number."""
    count = 0
    for count, fault in enumerate(faults(profile, root, partial), start=1):  # noqa: B007
        print(fault)
    print(f"{count} fault{'s' * (count != 1)} in the records of {profile}")
    return count


def unknown() -> str:
    """Why nobody can tell whether the rules preceded the records; "" where git tells."""
    try:
        history.reach(CHECKOUT)
    except (history.NoHistory, history.HistoryError) as error:
        return str(error)
    return ""


def _of_file(path: Path, validator, holders: dict[str, list[str]]) -> Iterator[str]:
    try:
        record = json.loads(path.read_text())
        holders.setdefault(record["key"], []).append(path.name)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        record = None  # what is wrong says `read_record`
    try:
        records.read_record(path)
    except (records.RecordError, OSError) as error:
        yield " ".join(str(error).split())
    if record is not None and (wrong := next(validator.iter_errors(record), None)):
        where = ".".join(map(str, wrong.absolute_path)) or "the record"
        yield f"record {path} does not fit the schema: {where}: {reason(wrong.message)[:120]}"


def _missing(profile: str, root: Path | None) -> Iterator[str]:
    for study, stage in catalogue.agenda(profile, root):
        for entry in study.missing(stage):
            told = f"{entry.name} seed {entry.trial.seed}"
            yield f"missing: {entry.trial.key}, {study.name} {stage}: {told}"
        for awaited in study.waits_for(stage):
            parts = ", ".join(base.label or study.name for base in study.bases)
            yield f"missing: {study.name} {stage} of {parts}, which waits for {awaited}"
