"""Lines of text files, and their TAB-separated fields by line number."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deepaug.validation import DataError


def lines(path: Path | zipfile.Path, encoding: str = "utf-8-sig") -> list[str]:
    """The lines of a file. Raises DataError that names the first line that is not UTF-8."""
    content = path.read_bytes()
    try:
        # Not splitlines(): it also splits at characters that count as no line end elsewhere.
        return content.decode(encoding).removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8; convert the file to UTF-8") from None


def numbered(lines: Sequence[str], first: int = 1) -> pd.Series:
    """The lines that are not blank, by their numbers from `first` on."""
    numbers = range(first, first + len(lines))
    text = pd.Series(lines, numbers, dtype=object).str.strip("\r")
    return text[text.str.strip() != ""]


def fields(lines: pd.Series, columns: int) -> pd.DataFrame:
    r"""TAB-separated fields of numbered lines, as text: in `columns` columns or more.

    A line with fewer fields has None, or NaN, in place of the others.

    Not by `pandas.read_csv`, which is less strict: it fills short lines with empty fields, renames
    columns of one name, and ends lines at a lone \r.
    """
    table = lines.str.split("\t", expand=True)
    return table.reindex(columns=range(max(columns, table.shape[1]))).astype(object)


def check(path: Path, right: pd.Series, problem: Callable[[int], str]) -> None:
    """Raise DataError about the first line that is not right; `problem` says what is wrong."""
    if not right.all():
        line = right.idxmin()
        raise DataError(f"{path}, line {line}: {problem(line)}")


def scores(path: Path, column: pd.Series) -> pd.Series:
    """A column of text as finite float64. Raises DataError for the first that is none."""
    found = pd.to_numeric(column, errors="coerce").astype(float)
    check(path, np.isfinite(found), lambda n: f"score {column[n].strip()!r} is not a number")
    return found
