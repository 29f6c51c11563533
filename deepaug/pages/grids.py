"""A notebook over a grid of parameters: a file for each combination, one table of all records."""

import itertools
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepaug import plain
from deepaug.pages import notebooks
from deepaug.studies import publish

UNUSUAL = r"[^A-Za-z0-9+,._-]+"  # in the name of a file


def execute(
    name: str, parameters: Mapping[str, Any], grid: Mapping[str, Any], folder: Path
) -> Path:
    """Execute notebooks/`name`.py for each combination of values; one table of all their records.

    Args:
        parameters: as in `notebooks.execute`, the same for all.
        grid: parameter -> a list of the values it takes in turn.
        folder: where the notebooks go, named by what they vary, and `name`.csv, in which each
            record that a notebook's live run shows is a row, with the notebook's values before it.

    Raises:
        ValueError: as `notebooks.execute`, before any notebook runs; or, once all have run, for
            those in which a cell failed.
    """
    import pandas as pd

    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder for the notebooks of a grid")
    points = combinations(grid)
    # All of them are checked before one runs.
    values = [notebooks.values_of(name, {**parameters, **point}) for point in points]
    rows, failed = [], []
    files = [folder / file for file in file_names(name, points)]
    runs = zip(points, values, files, strict=True)
    for number, (point, given, output) in enumerate(runs, start=1):
        print(f"{number} of {len(points)}: {output.name}", file=sys.stderr, flush=True)
        try:
            notebooks.execute(name, {**parameters, **point}, output)
        except ValueError as error:
            failed.append(str(error))
            continue
        head = {"notebook": output.name} | {n: _text(value) for n, value in point.items()}
        rows += [head | row for row in _live_records(name, given)] or [head]
    if rows:
        publish.write_table(pd.json_normalize(rows), folder / f"{name}.csv")
    if failed:
        raise ValueError(f"{len(failed)} of {len(points)} notebooks failed: {'; '.join(failed)}")
    return folder / f"{name}.csv"


def read(path: Path) -> dict[str, Any]:
    """A grid from a YAML file: a mapping of parameters to lists. Raises ValueError, OSError."""
    content = plain.read(f"grid {path}", path)
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"grid {path} must be a mapping of parameters to lists")
    return content


def combinations(grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All combinations of a grid's values, each by parameter.

    Raises ValueError for a value that is not a list of one or more.
    """
    axes = []
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"grid of {name}: {values!r} is not a list of one value or more")
        texts = [_text(value) for value in values]
        if twice := [value for value in texts if texts.count(value) > 1]:
            raise ValueError(f"grid of {name}: {twice[0]} is given twice")
        axes.append([(name, value) for value in values])
    return [dict(point) for point in itertools.product(*axes)]


def _text(value: Any) -> str:
    """A value as it stands in a file's name or a cell of the table."""
    return json.dumps(value, separators=(",", ":"), default=str)


def file_names(name: str, points: list[dict[str, Any]]) -> list[str]:
    """The file of each notebook: its name and what varies, in characters that any system takes.

    Where two would be alike, or one long, each also has its number.
    """
    stems = []
    for point in points:
        texts = {given: re.sub(UNUSUAL, "_", _text(value)) for given, value in point.items()}
        parts = (f"{given}={text.strip('_')}" for given, text in texts.items())
        stems.append(".".join([name, *parts]))
    if len(set(stems)) < len(stems) or max(map(len, stems)) > 120:
        stems = [f"{stem[:120]}.{number}" for number, stem in enumerate(stems, start=1)]
    return [f"{stem}.ipynb" for stem in stems]


def _live_records(name: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table, of the records that a page's live run shows."""
    study = notebooks.study_of(name, values)
    if study is None:
        return []
    return [
        {"stage": entry.stage, "arm": entry.name, **publish.row(study.profile, record)}
        for entry, record in study.recorded(study.live_stage)
    ]
