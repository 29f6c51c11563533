"""Sentence pairs that people scored by how alike the two are, to evaluate features on."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from deepaug.training import registry
from deepaug.training.modalities.text import corpora, tables
from deepaug.validation import DataError

COLUMNS = ("sentence1", "sentence2", "score")
SPLITS = ("validation", "test")
LEAST = 10  # pairs in a split


@dataclass(frozen=True)
class Scored:
    """Sentence pairs (n) and how alike people found them; only the order of the scores counts."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Pairs:
    """split ("validation", "test") -> metric ("spearman", ...) -> its scored pairs."""

    name: str
    splits: dict[str, dict[str, Scored]]
    digest: str


@functools.lru_cache(maxsize=2)
def load(name: str) -> Pairs:
    """Scored sentence pairs: "sts", "lee" or a TSV file.

    "sts": the STS benchmark's dev (validation) and test pairs, and each year's test set of STS12 to
    STS16, its files as one (SentEval's layout; as in SentEval, a pair without a gold score is left
    out). Those years hold the benchmark's own pairs, dev's among them: they are no second test.
    "lee": all pairs of 50 news documents (Lee et al. 2005) in gensim's wheel.
    A TSV file has columns sentence1, sentence2, score and, if it likes, split (validation or test),
    in this order or that of its header. Where there is no split, one fixed random half is each.

    Raises DataError, in one line, for what is missing, damaged or too small.
    """
    if name == "sts":
        splits = _sts(registry.data_root() / "sts")
    elif name == "lee":
        splits = _halves(_lee(), name)
    elif Path(name).is_file():
        splits = _tsv(Path(name))
    else:
        raise DataError(f"no pairs {name!r}; allowed: 'sts', 'lee' or the path of a TSV file")
    lines: list[str] = []
    for split, metrics in splits.items():
        for metric, scored in metrics.items():
            if len(set(scored.scores)) < 2:
                raise DataError(f"pairs {name!r}: all {split} scores are equal; nothing to rank")
            rows = zip(scored.first, scored.second, scored.scores, strict=True)
            lines += (f"{split}\t{metric}\t{a}\t{b}\t{score}" for a, b, score in rows)
    return Pairs(name, splits, corpora.digest(lines))


def _scored(table: pd.DataFrame) -> Scored:
    return Scored(*(tuple(table[column].tolist()) for column in COLUMNS))


def _table(first: pd.Series, second: pd.Series, scores: pd.Series) -> pd.DataFrame:
    return pd.DataFrame(dict(zip(COLUMNS, (first, second, scores), strict=True)))


def _sts(folder: Path) -> dict[str, dict[str, Scored]]:
    years = {f"sts{n}": _year(folder / f"STS{n}-en-test") for n in range(12, 17)}
    dev, test = (
        _benchmark(folder / "STSBenchmark" / f"sts-{part}.csv") for part in ("dev", "test")
    )
    return {"validation": {"spearman": dev}, "test": {"spearman": test, **years}}


def _benchmark(path: Path) -> Scored:
    if not path.is_file():
        raise _no_sts(path)
    # Genre, file, year, id, score, the two sentences, and now and then more.
    table = tables.fields(tables.numbered(tables.lines(path)), columns=7)
    counts = table.notna().sum(axis=1)
    tables.check(path, counts >= 7, lambda n: f"{counts[n]} columns; needed: 7 or more")
    return _scored(_table(table[5], table[6].str.strip(), tables.scores(path, table[4])))


def _year(folder: Path) -> Scored:
    inputs = sorted(folder.glob("STS.input.*.txt"))
    if not inputs:
        raise _no_sts(folder / "STS.input.*.txt")
    return _scored(pd.concat([_year_part(path) for path in inputs]))


def _year_part(path: Path) -> pd.DataFrame:
    """The pairs of one file that the file of gold scores beside it has a score for."""
    gold = path.with_name(path.name.replace("input", "gs", 1))
    if not gold.is_file():
        raise _no_sts(gold)
    texts, scores = tables.lines(path), tables.lines(gold)
    if len(texts) != len(scores):
        raise DataError(f"{path} has {len(texts)} lines and {gold.name} {len(scores)}")
    scores = tables.numbered(scores)
    table = tables.fields(tables.numbered(texts), columns=2).reindex(scores.index)
    tables.check(path, table[1].notna(), lambda n: "needed: two sentences separated by a TAB")
    return _table(table[0], table[1].str.strip(), tables.scores(gold, scores))


def _no_sts(path: Path) -> DataError:
    return DataError(
        f"pairs 'sts' not found; looked for {path}; set DEEPAUG_DATA to the folder that holds "
        f"sts/STSBenchmark and sts/STS12-en-test … STS16-en-test in SentEval's layout"
    )


def _lee() -> pd.DataFrame:
    lines = tables.lines(corpora.gensim_file("lee.cor"), "latin-1")
    documents = np.array([line.strip() for line in lines], dtype=object)
    ratings = np.loadtxt(corpora.gensim_file("similarities0-1.txt"), delimiter="\t")
    first, second = np.triu_indices(len(documents), k=1)
    return _table(documents[first], documents[second], ratings[first, second])


def _tsv(path: Path) -> dict[str, dict[str, Scored]]:
    table, _ = tables.table(path, (*COLUMNS, "split"), least=len(COLUMNS))
    for name in COLUMNS[:2]:
        tables.check(path, table[name].str.strip() != "", f"{name} is empty")
    table["score"] = tables.scores(path, table["score"])
    if "split" not in table:
        return _halves(table, str(path))
    given = table["split"]
    tables.check(
        path,
        given.isin(SPLITS),
        lambda n: f"unknown split {given[n]!r}; allowed: 'validation', 'test'",
    )
    parts = {split: table[given == split] for split in SPLITS}
    for split, part in parts.items():
        if len(part) < LEAST:
            raise DataError(f"{path} has {len(part)} {split} pairs; needed: {LEAST} or more")
    return {split: {"spearman": _scored(part)} for split, part in parts.items()}


def _halves(table: pd.DataFrame, name: str) -> dict[str, dict[str, Scored]]:
    if len(table) < LEAST:
        raise DataError(f"{name} has {len(table)} pairs; needed: {LEAST} or more")
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(0)).tolist()
    half = len(table) // 2
    parts = zip(SPLITS, (order[:half], order[half:]), strict=True)
    return {split: {"spearman": _scored(table.iloc[sorted(part)])} for split, part in parts}
