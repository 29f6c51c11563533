"""Lines of text files, and their TAB-separated fields by line number."""

import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deepaug.validation import DataError

# What others call columns that are read here.
USUAL = dict.fromkeys(("text", "document"), "sentence")
USUAL |= dict.fromkeys(("class", "topic", "category", "target"), "label")


def lines(path: Path | zipfile.Path, encoding: str = "utf-8-sig") -> list[str]:
    """The lines of a file. Raises DataError that names the first line that is not UTF-8."""
    content = path.read_bytes()
    try:
        # Not splitlines(): it also splits at characters that count as no line end elsewhere.
        return content.decode(encoding).removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8; convert the file to UTF-8") from None


def numbered(lines: Sequence[str]) -> pd.Series:
    """The lines that are not blank, by their numbers from 1 on."""
    text = pd.Series(lines, range(1, len(lines) + 1), dtype=object).str.strip("\r")
    return text[text.str.strip() != ""]


def fields(lines: pd.Series, columns: int) -> pd.DataFrame:
    r"""TAB-separated fields of numbered lines, as text: in `columns` columns or more.

    A line with fewer fields has None, or NaN, in place of the others.

    Not by `pandas.read_csv`, which is less strict: it fills short lines with empty fields, renames
    columns of one name, and ends lines at a lone \r.
    """
    table = lines.str.split("\t", expand=True)
    return table.reindex(columns=range(max(columns, table.shape[1]))).astype(object)


def table(path: Path, names: Sequence[str], least: int) -> tuple[pd.DataFrame, Counter[str]]:
    """Columns of a TAB-separated file by name, as text, and what was left out, by kind.

    A first line that has one of the names, or all of them in the words of others (`USUAL`), in
    letters of any size, is a header: then the columns come in any order, and more are left out.
    Without it they are the first ones of `names`.

    Args:
        names: those of columns that are read.
        least: how many of them, from the first on, a file must have.

    Raises DataError, in one line that names the file's, for a column that is not there or there
    twice, and for a line with another number of columns.
    """
    rows = numbered(lines(path))
    if rows.empty:
        raise DataError(f"{path} is empty; needed: lines of {list(names[:least])}")
    # Spreadsheets put names into quotation marks.
    first = [field.strip(' "').casefold() for field in rows.iloc[0].split("\t")]
    columns = [USUAL.get(name, name) for name in first]
    left_out: Counter[str] = Counter()
    if set(names) & set(first) or set(names) <= set(columns):
        where = f"{path}, line {rows.index[0]}"
        for name in names:
            if columns.count(name) not in ((1,) if name in names[:least] else (0, 1)):
                raise DataError(
                    f"{where}: {columns.count(name)} columns are named {name!r} in {first}; "
                    f"needed, separated by TABs: one of each of {list(names[:least])}"
                )
        rows = rows.iloc[1:]
        left_out.update(["header", *(f"column {name!r}" for name in columns if name not in names)])
    else:
        columns = list(names[: max(least, len(columns))])
    found = fields(rows, len(columns))
    counts = found.notna().sum(axis=1)
    check(
        path,
        counts == len(columns),
        lambda n: f"{counts[n]} columns, not {len(columns)} as in {columns}, separated by TABs",
    )
    kept = [name for name in names if name in columns]
    return found.set_axis(columns, axis=1)[kept], left_out


def check(path: Path, right: pd.Series, problem: str | Callable[[int], str]) -> None:
    """Raise DataError about the first line that is not right; `problem` says what is wrong."""
    if not right.all():
        line = right.idxmin()
        said = problem if isinstance(problem, str) else problem(line)
        raise DataError(f"{path}, line {line}: {said}")


def scores(path: Path, column: pd.Series) -> pd.Series:
    """A column of text as finite float64. Raises DataError for the first that is none."""
    found = pd.to_numeric(column, errors="coerce").astype(float)
    check(path, np.isfinite(found), lambda n: f"score {column[n].strip()!r} is not a number")
    return found
