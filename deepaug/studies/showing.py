"""What `deepaug show` and `deepaug reproduce` do with one record."""

import json
from pathlib import Path
from typing import Any

from deepaug.studies import provenance, records
from deepaug.validation import by_prefix


def find(key: str, root: Path | None = None) -> Path:
    """The file of a record, by its own path, or by how its key begins, among those below `root`.

    `root` is by default `$DEEPAUG_RESULTS` or results/. Raises ValueError where there is no such
    record.
    """
    if key.endswith(".json"):
        if not Path(key).is_file():
            raise ValueError(f"no record {key}")
        return Path(key)
    root = root or records.default_root()
    found = {path.stem: path for path in records.files(root)}
    if not found:
        raise ValueError(f"no records in {root}; make some with 'deepaug run'")
    return found[by_prefix(f"key in {root}", key, found)]


def readable(path: Path) -> dict[str, Any]:
    """The record in a file, what one looks for first, and the command that makes it again.

    Its curve comes last. Without the test metrics of a trial that is no baseline: only verdict code
    reads those.
    """
    record = records.read_record(path)
    shown = dict(records.without_sealed(record))
    if shown["metrics"].keys() != record["metrics"].keys():
        shown["metrics"]["test"] = "read by the verdict code alone"
    first = {name: shown.pop(name) for name in ("key", "status", "metrics", "trial")}
    first["again"], curve = provenance.command(record, path), shown.pop("curve")
    return first | shown | {"curve": curve}


def as_text(record: dict[str, Any]) -> str:
    """A record as JSON that one can read: a line for each epoch of its curve."""
    curve = record["curve"]
    text = json.dumps({**record, "curve": []}, indent=1)
    lines = ",\n".join(f"  {json.dumps(point)}" for point in curve)
    return text.replace('"curve": []', f'"curve": [\n{lines}\n ]') if curve else text


def reproduced(path: Path, accelerator: str = "auto") -> tuple[str, bool]:
    """Train the trial of a record again: a line on how it compares, and whether it came out alike.

    What else may differ, the origin of the result, is named but does not count.
    """
    record = records.read_record(path)
    differing = provenance.reproduce(record, accelerator)
    results = sorted({"status", "metrics", "curve", "similarity"}.intersection(differing))
    verdict = f"differs in {', '.join(results)}" if results else "the same result"
    origin = [name for name in differing if name not in results]
    reason = f"; made with another {', '.join(origin)}" if origin else ""
    return f"{record['key']}: {verdict}{reason}", not results
