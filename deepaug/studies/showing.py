"""What `deepaug show` and `deepaug reproduce` do with one record."""

import json
from collections.abc import Container
from pathlib import Path
from typing import Any

from deepaug.studies import provenance, records
from deepaug.validation import by_prefix

# What the fields of a record's origin are called where their names do not say it.
_ORIGINS = {
    "data_digest": "data",
    "emulated": "computation of bfloat16",
    "source_digest": "source",
    "versions": "version of a package",
}


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


def readable(path: Path, unsealed: Container[str] = ()) -> dict[str, Any]:
    """The record in a file, what one looks for first, and the command that makes it again.

    Its curve comes last. Without the test metrics of a trial that a verdict is about: only verdict
    code reads those, until the key is among the `unsealed`.
    """
    record = records.read_record(path)
    shown = dict(records.without_sealed(record, unsealed))
    if shown["metrics"].keys() != record["metrics"].keys():
        shown["metrics"]["test"] = "read by verdict code alone until all its claims are judged"
    first = {name: shown.pop(name) for name in ("key", "status", "metrics", "trial")}
    first["again"], curve = provenance.command(record, path), shown.pop("curve")
    return first | shown | {"curve": curve}


def as_text(record: dict[str, Any]) -> str:
    """A record as JSON that one can read: a line for each epoch of its curve."""
    curve = record["curve"]
    text = json.dumps({**record, "curve": []}, indent=1)
    lines = ",\n".join(f"  {json.dumps(point)}" for point in curve)
    return text.replace('"curve": []', f'"curve": [\n{lines}\n ]') if curve else text


def reproduced(
    path: Path, accelerator: str = "auto", unsealed: Container[str] = ()
) -> tuple[str, bool]:
    """Train the trial of a record again: a line on how it compares, and whether it came out alike.

    What else may differ, the origin of the result, is named but does not count.
    """
    record = records.read_record(path)
    again = provenance.again(record, accelerator)
    differing = provenance.differing(record, again)
    results = sorted({"status", "metrics", "curve", "similarity"}.intersection(differing))
    told = [f"metrics{_apart(record, again, unsealed)}" if n == "metrics" else n for n in results]
    verdict = f"differs in {', '.join(told)}" if told else "the same result"
    origin = [_ORIGINS.get(name, name) for name in differing if name not in results]
    reason = f"; made with another {', '.join(origin)}" if origin else ""
    return f"{record['key']}: {verdict}{reason}", not results


def _apart(record: dict[str, Any], again: dict[str, Any], unsealed: Container[str]) -> str:
    """By how much metrics differ, in brackets, where they may be read."""
    before, after = (records.without_sealed(r, unsealed)["metrics"] for r in (record, again))
    both = [
        f"{split} {name} {before[split][name]:.2f} recorded, {after[split][name]:.2f} now"
        for split in before.keys() & after.keys()
        for name in before[split].keys() & after[split].keys()
        if before[split][name] != after[split][name]
    ]
    return f" ({'; '.join(sorted(both))})" if both else ""
