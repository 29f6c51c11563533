"""Claim C6: Deep Augmentation on many networks and in many pipelines, each passed or not.

    python benchmarks/matrix.py              # some minutes; needs benchmarks/requirements.txt

The cells and their checks are those of the tests (tests/cells). What lacks a library is recorded as
not run, which is no pass. Only what is committed is recorded, so that its revision tells all.
"""

import contextlib
import io
import json
import subprocess
import sys
import warnings
from importlib import metadata
from pathlib import Path

import measure
import torch

from deepaug.files import whole

ROOT = Path(__file__).parents[1]
CODE = ("deepaug", "examples", "tests/cells", "tests/networks.py", "benchmarks/matrix.py")


def main() -> None:
    sys.path.append(str(ROOT / "tests"))
    from cells import NETWORKS, PIPELINES

    if changed := _changed():
        sys.exit(f"not recorded: {changed[0]} is not committed; commit it first")
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    matrix = {"networks": NETWORKS, "pipelines": PIPELINES}
    cells = NETWORKS | PIPELINES
    libraries = {name for cell in cells.values() for name in (cell.library, *cell.needs)}
    details = {kind: {name: _run(name, cells[name]) for name in of} for kind, of in matrix.items()}
    record = {
        **measure.head("networks", sorted(filter(_installed, libraries - {"torch"}))),
        **{kind: {n: run["outcome"] for n, run in of.items()} for kind, of in details.items()},
        "details": details,
    }
    with whole(path := measure.RECORDS / "networks.json") as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {path}")
    for kind in matrix:
        told = [*record[kind].values()]
        print(f"{told.count('passed')} of {len(told)} {kind} passed")


def _run(name: str, cell) -> dict[str, str]:
    """What a cell is, and its outcome; what libraries print meanwhile is left out."""
    from cells import outcome

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        told = outcome(cell)
        target = "" if told.startswith("not run") else cell.build().target
    print(f"{name}: {told}", flush=True)
    return {"library": cell.library, "kind": cell.kind, "target": target, "outcome": told}


def _installed(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


def _changed() -> list[str]:
    """Files that differ from the commit, or are in none."""
    command = ["git", "-C", str(ROOT), "status", "--porcelain", "--", *CODE]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line[3:] for line in told.splitlines()]


if __name__ == "__main__":
    main()
