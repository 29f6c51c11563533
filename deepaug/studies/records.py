"""Records: what a trial came to, one small JSON file each, written whole or not at all."""

import contextlib
import hashlib
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

from deepaug.files import whole
from deepaug.studies.fields import FIELDS, OPTIONAL, SPLITS
from deepaug.training import registry
from deepaug.training.origin import PACKAGE
from deepaug.training.trial import Trial, current_protocol

_TYPES = {"string": str, "number": float, "object": dict, "array": list, "null": type(None)}


class RecordError(ValueError):
    """A record that is damaged or does not belong where it lies."""


class StoreError(OSError):
    """Records that cannot be written where they belong: no trial can do without."""


class Store:
    """The records of one profile: `root`/`profile`/<key>.json."""

    def __init__(self, root: Path, profile: str):
        self.folder = Path(root) / profile
        self._read: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def checkpoint(self, key: str) -> Path:
        return self.folder / f"{key}.ckpt"

    def read(self, trial: Trial) -> dict[str, Any] | None:
        """The trial's record, or None; a damaged one is set aside with a message."""
        path = self.path(trial.key)
        try:
            state = path.stat()
            stamp = state.st_mtime_ns, state.st_size
            if self._read.get(trial.key, (None,))[0] != stamp:
                self._read[trial.key] = stamp, read_record(path)
            return self._read[trial.key][1]
        except (FileNotFoundError, NotADirectoryError):
            return None
        except RecordError as error:
            aside = path.with_suffix(".damaged")
            with contextlib.suppress(OSError):
                path.replace(aside)
            print(
                f"deepaug: {error}; set aside as {aside.name}, to be computed anew", file=sys.stderr
            )
            return None

    def write(self, record: dict[str, Any]) -> None:
        """Write a record so that a reader finds it whole or not at all.

        Raises ValueError if it is damaged, OSError if it cannot be written, both in one line.
        """
        check(record)
        text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n"
        with self._writing(), whole(self.path(record["key"])) as partial:
            partial.write_text(text)

    def other_protocols(self) -> dict[int, int]:
        """How many records lie here that do not count, by the protocol they are of."""
        found: dict[int, int] = {}
        for path in self.folder.glob("[!.]*.json"):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
                trial = json.loads(path.read_text(encoding="utf-8"))["trial"]
                protocol = trial["protocol"]
                if type(protocol) is int and protocol != current_protocol(trial["transform"]):
                    found[protocol] = found.get(protocol, 0) + 1
        return dict(sorted(found.items()))

    @contextlib.contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Whether the record of `key` is this process's to compute, until the block ends.

        A claim is the operating system's lock on an empty file, so that it ends with the process
        that holds it, however that ends; it holds on all machines that share the folder, if their
        file system has locks. What a killed process left half-written is removed.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self._lock(key))
        try:
            with self._writing():
                lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            for left in (*self.folder.glob(f".{key}.*"), *self.folder.glob(f"{key}.*.tmp")):
                if left.suffix != ".lock":
                    left.unlink(missing_ok=True)
            yield True
        finally:
            # While the lock is held: who has the old file open looks for the record again.
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def tidy(self, keys: Iterable[str]) -> None:
        """Remove what killed processes left of claims on these keys; claims that hold stay."""
        for key in keys:
            if self._lock(key).exists():
                with contextlib.suppress(OSError), self.claim(key):
                    pass

    def _lock(self, key: str) -> Path:
        return self.folder / f".{key}.lock"

    def forget_empty(self) -> None:
        """Remove the folder, and that of all records, where nothing was written to them."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()
            self.folder.parent.rmdir()

    def check_writable(self) -> None:
        """Raise OSError in one line, before any training, if records could not be written here."""
        try:
            with self._writing(), tempfile.TemporaryFile(dir=self.folder) as file:
                file.write(b"\0" * 65536)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self.forget_empty()
            raise

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Make the folder; say in one line what the operating system refuses, and what to do."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield
        except TimeoutError:  # filelock's: somebody else has the lock
            raise
        except OSError as error:
            raise StoreError(
                f"cannot write records to {self.folder}: {error.strerror}; what is recorded stays: "
                f"free some space or choose another folder with --results"
            ) from None


def files(root: Path, profile: str = "*") -> list[Path]:
    """The files of all records below the folder of all profiles, or of one, in a fixed order."""
    return sorted(p for p in Path(root).glob(f"{profile}/*.json") if not p.name.startswith("."))


def read_record(path: Path) -> dict[str, Any]:
    """A record from its file, settings that its trial does not name at their defaults.

    Raises RecordError if it is damaged or under a wrong name.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except IsADirectoryError:
        raise RecordError(f"record {path} is a folder") from None
    except (ValueError, RecursionError) as error:  # nested too deep: no record is, by far
        raise RecordError(f"record {path} is not valid JSON ({error})") from None
    try:
        trial = check(record)
    except (ValueError, TypeError) as error:
        raise RecordError(f"record {path} is damaged: {error}") from None
    if record["key"] != path.stem:
        raise RecordError(f"record {path} belongs to key {record['key']}")
    return {**record, "trial": trial.to_dict()}


def with_checksum(record: dict[str, Any]) -> dict[str, Any]:
    """The record with its checksum, by which an edit by hand is noticed."""
    return {**record, "checksum": _checksum(record)}


def _checksum(record: dict[str, Any]) -> str:
    """sha256 of the record's other fields as sorted JSON, 16 digits."""
    rest = {name: value for name, value in record.items() if name != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sealed_test(trial: Trial) -> bool:
    """Whether a verdict is about this trial: its test metrics are read by verdict code alone."""
    return trial.layer != "none" or trial.view_strength == 0 or trial.cut != "none"


def without_sealed(record: dict[str, Any], unsealed: Container[str] = ()) -> dict[str, Any]:
    """The record without test metrics that verdict code alone reads, if it has any.

    Args:
        unsealed: keys of records that are judged, from `verdicts.opened`; these are left whole.
    """
    if record["key"] in unsealed or not sealed_test(Trial.from_dict(record["trial"])):
        return record
    metrics = {split: values for split, values in record["metrics"].items() if split != "test"}
    return {**record, "metrics": metrics}


def collapsed(record: dict[str, Any]) -> bool:
    """Whether a contrastive training ended with all features alike.

    NT-Xent of n pairs that it cannot tell apart is log(2n − 1); here the last epoch's mean loss
    is that, but for 1 % of it or of 1 / temperature, the reach of a similarity, if that is less.
    """
    trial, curve = record["trial"], record["curve"]
    if record["status"] != "ok" or trial["objective"] != "contrastive" or not curve:
        return False
    level = math.log(2 * trial["batch_size"] - 1)
    reach = min(level, 1 / trial["temperature"])
    return abs(curve[-1].get("loss", 0.0) - level) <= 0.01 * reach


def _names_accelerator(given: Any) -> bool:
    pattern = OPTIONAL["accelerator"]["pattern"]
    return isinstance(given, str) and re.fullmatch(pattern, given) is not None


def check(record: Any) -> Trial:
    """The trial of `record`; ValueError unless it is whole, finite, and its key that of its trial.

    What ended has on every split the metric that verdicts are about, its own and that of the copies
    that ended as well: one that lacks it would pass for diverged.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a record is a JSON object, not {type(record).__name__}")
    for name, field in FIELDS.items():
        if name not in record:
            raise ValueError(f"field {name!r} is missing")
        kinds = [field["type"]] if isinstance(field["type"], str) else field["type"]
        if not isinstance(record[name], tuple(_TYPES[kind] for kind in kinds)):
            raise ValueError(f"field {name!r} is {record[name]!r}")
    for name in record:
        if name not in FIELDS | OPTIONAL:
            raise ValueError(f"field {name!r} is unknown")
    trial = Trial.from_dict(record["trial"])
    if trial.key != record["key"]:
        raise ValueError(f"its trial has key {trial.key}, not {record['key']!r}")
    if record["status"] not in FIELDS["status"]["enum"]:
        raise ValueError(f"status {record['status']!r} is neither 'ok' nor 'diverged'")
    metrics, curve = record["metrics"], record["curve"]
    if set(metrics) != (set(SPLITS) if record["status"] == "ok" else set()):
        raise ValueError(
            f"a trial that is {record['status']} has other metrics than {set(metrics)}"
        )
    primary, copies = registry.primary(trial), set()
    for split, values in metrics.items():
        if not isinstance(values, dict) or not values:
            raise ValueError(f"metrics of {split!r} are {values!r}")
        for name, value in values.items():
            if type(value) not in (int, float) or not -1e300 < value < 1e300:
                raise ValueError(f"metric {name!r} is {repr(value)[:20]}")
        if primary not in values:
            raise ValueError(f"metrics of {split!r} lack {primary!r}, by which trials are compared")
        copies.add(frozenset(name for name in values if name.startswith(f"{primary}_")))
    if len(copies) > 1:
        raise ValueError(f"its splits hold {primary!r} of unlike copies")
    if "accelerator" in record and not _names_accelerator(record["accelerator"]):
        raise ValueError(
            f"field 'accelerator' is {record['accelerator']!r}; it names one, or is not there"
        )
    if record.get("emulated", True) is not True:
        raise ValueError(f"field 'emulated' is {record['emulated']!r}; it is true, or is not there")
    if "emulated" in record and trial.precision != "bfloat16":
        raise ValueError(
            f"field 'emulated' is there for bfloat16 alone, and the trial is in {trial.precision}"
        )
    if "similarity" in record:
        _check_similarity(record["similarity"])
    if not all(isinstance(point, dict) and "epoch" in point for point in curve):
        raise ValueError("its curve has points without an epoch")
    last = curve[-1]["epoch"] if curve else 0
    if record["status"] == "ok" and last != trial.epochs:
        raise ValueError(f"its curve ends at epoch {last} of {trial.epochs}")
    if record["checksum"] != _checksum(record):
        raise ValueError("its checksum is of another content: it was edited after it was made")
    return trial


def _check_similarity(given: Any) -> None:
    if not isinstance(given, dict) or given.keys() != {"layers", "cka"}:
        raise ValueError("its similarity is not one of layers by their cka")
    layers, rows = given["layers"], given["cka"]
    if not isinstance(layers, list) or not all(isinstance(name, str) for name in layers):
        raise ValueError("its similarity is of layers without names")
    size = len(set(layers))  # of two or more, each by a name of its own
    table = [layers, rows, *(rows if isinstance(rows, list) else ())]
    square = size > 1 and all(isinstance(of, list) and len(of) == size for of in table)
    values: list[Any] = [value for row in rows for value in row] if square else [None]
    if not all(type(value) in (int, float) and -2 <= value <= 2 for value in values):
        raise ValueError(f"its similarity is not a table of {len(layers)} layers by as many")


def default_root() -> Path:
    """`$DEEPAUG_RESULTS`, else results/ in the checkout, else results/ here."""
    if given := os.environ.get("DEEPAUG_RESULTS"):
        return Path(given)
    checkout = PACKAGE.parent
    return (checkout if (checkout / "pyproject.toml").exists() else Path.cwd()) / "results"
