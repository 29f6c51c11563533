"""Documents to train on, with topics where there are some: by name, or any folder of them."""

import contextlib
import functools
import io
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from deepaug.training import registry
from deepaug.training.modalities.text import corpora
from deepaug.training.modalities.text.corpora import Corpus
from deepaug.validation import DataError, reason

WORDS = 30  # that a document of 20 Newsgroups has at least: less is a signature or a retort
VALIDATION, TEST = 0.1, 0.2  # shares held out where a set has no parts of its own
NAMES = ("20newsgroups", "lee-documents")


def is_folder(path: Path) -> bool:
    """Whether a folder has text files by class, perhaps below train/ and test/.

    A folder of images may have a list of its labels in it; where anything but text lies in a class
    folder, it is not one of documents.
    """
    below = [folder for folder in (path / "train", path / "test") if folder.is_dir()] or [path]
    suffixes = {
        file.suffix
        for folder in below
        for file in folder.glob("*/*")
        if file.name[0] != "." and file.is_file()
    }
    return suffixes == {".txt"}


def load(name: str) -> Corpus:
    """The corpus `name`: documents as below, else sentences as `corpora.load` has them."""
    return load_documents(name) if is_documents(name) else corpora.load(name)


def is_documents(name: str) -> bool:
    """Whether a corpus is one of documents rather than sentences."""
    return name in NAMES or Path(name).is_dir()


@functools.lru_cache(maxsize=2)
def load_documents(name: str) -> Corpus:
    """The documents `name`: "20newsgroups", "lee-documents" or the path of a folder.

    A folder holds <class>/*.txt, or train/<class>/*.txt and test/<class>/*.txt. What is held out is
    the same for every seed; of two equal documents the first stays. Raises DataError, in one line,
    for what is missing, damaged or too small.
    """
    if name == "20newsgroups":
        train, test, classes = _newsgroups()
    elif name == "lee-documents":
        documents = [document for document in corpora.lee_documents() if document.strip()]
        train, test, classes = [(document, -100) for document in documents], None, ()
    else:
        train, test, classes = _folder(Path(name))
    return assemble(name, train, test, classes)


Labelled = list[tuple[str, int]]  # a document and its class, -100 where there is none


def assemble(name: str, train: Labelled, test: Labelled | None, classes: Sequence[str]) -> Corpus:
    """A corpus of documents to train on and, if they have a part of their own, to test with."""
    first: dict[str, tuple[int, bool]] = {}
    for part, documents in ((False, train), (True, test or [])):
        for document, label in documents:
            first.setdefault(document, (label, part))
    labels = torch.tensor([label for label, _ in first.values()])
    tested = torch.tensor([part for _, part in first.values()], dtype=torch.bool)
    order = torch.randperm(len(first), generator=torch.Generator().manual_seed(0))
    parts = _parts(order, tested, torch.zeros_like(labels), test is None)
    if _lacking(parts, labels, len(classes)):
        # Of small classes none may be left for a part: then each is divided by itself.
        parts = _parts(order, tested, labels, test is None)
    for part, index in parts.items():
        if len(index) < 2:
            raise DataError(
                f"data {name!r} has {len(first)} different documents, which leaves {len(index)} "
                f"for {part}; needed: two or more"
            )
    if lacking := _lacking(parts, labels, len(classes)):
        part, number = lacking
        raise DataError(
            f"data {name!r}: class {classes[number]!r} has {int((labels == number).sum())} "
            f"documents, none of which is left for {part}; add some, or remove the class"
        )
    texts = tuple(first)
    fingerprint = corpora.digest(f"{text}\t{label}" for text, (label, _) in first.items())
    learnt_from = parts["train"]
    return Corpus(name, texts, labels, tuple(classes), *parts.values(), fingerprint, learnt_from)


def _lacking(parts: dict[str, Tensor], labels: Tensor, classes: int) -> tuple[str, int] | None:
    """The first part in which a class has no document, and that class."""
    for part, index in parts.items():
        counts = labels[index].clamp_min(0).bincount(minlength=classes)
        if classes and not counts.all():
            return part, int(counts.argmin())
    return None


def _parts(order: Tensor, tested: Tensor, groups: Tensor, draw_test: bool) -> dict[str, Tensor]:
    """Documents for each part, in order; shares of each group are held out."""
    if draw_test:
        tested = torch.isin(torch.arange(len(order)), _leading(order, groups, TEST))
    rest = order[~tested[order]]
    validation = _leading(rest, groups, TEST if draw_test else VALIDATION)
    train = rest[~torch.isin(rest, validation)]
    test = tested.nonzero().squeeze(1)
    return {"train": train.sort().values, "validation": validation.sort().values, "test": test}


def _leading(order: Tensor, groups: Tensor, share: float) -> Tensor:
    """Of the documents of each group, in `order`, the first so many as the share makes."""
    own = [order[groups[order] == group] for group in groups.unique()]
    return torch.cat([documents[: max(1, round(share * len(documents)))] for documents in own])


def _newsgroups() -> tuple[Labelled, Labelled, list[str]]:
    """20 Newsgroups by date, as scikit-learn reads them: headers, footers and quotes removed.

    Downloaded only where it is absent: scikit-learn would do it over a damaged file as well.
    """
    from sklearn.datasets import fetch_20newsgroups

    file = registry.data_root() / "20newsgroups" / "20news-bydate_py3.pkz"
    there = file.is_file()
    read = functools.partial(
        fetch_20newsgroups,
        data_home=str(file.parent),
        remove=("headers", "footers", "quotes"),
        download_if_missing=not there,
        n_retries=1,
    )
    try:
        # It prints what it cannot read, and warns of each try of a download.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = [read(subset=subset) for subset in ("train", "test")]
    except Exception as error:  # of the download, the archive, the pickle: of many kinds
        if there:
            raise DataError(
                f"data set '20newsgroups': {file} is damaged; remove it, and it is downloaded again"
            ) from None
        shutil.rmtree(file.parent / "20news_home", ignore_errors=True)
        with contextlib.suppress(OSError):  # where something else lies there
            file.parent.rmdir()
        raise DataError(
            f"data set '20newsgroups' not found, and it could not be downloaded ({reason(error)}); "
            f"looked for {file}; set DEEPAUG_DATA to the folder that holds 20newsgroups/{file.name}"
        ) from None
    labelled = (zip(part.data, map(int, part.target), strict=True) for part in parts)
    train, test = ([row for row in rows if len(row[0].split()) >= WORDS] for rows in labelled)
    return train, test, parts[0].target_names


def _folder(folder: Path) -> tuple[Labelled, Labelled | None, list[str]]:
    parts = [folder / part for part in ("train", "test")]
    if all(part.is_dir() for part in parts):
        (train, classes), (test, tested) = (_classes(part) for part in parts)
        if classes != tested:
            other = sorted({*classes} ^ {*tested})[0]
            raise DataError(f"{folder}: train and test differ in class {other!r}; needed in both")
        return train, test, classes
    documents, classes = _classes(folder)
    return documents, None, classes


def _classes(folder: Path) -> tuple[Labelled, list[str]]:
    """Documents of folder/<class>/*.txt; hidden entries and empty files are passed over."""
    classes = sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."
    )
    if len(classes) < 2:
        raise DataError(
            f"{folder} has {len(classes)} class folders; needed: two or more, as "
            f"{folder.name}{os.sep}<class>{os.sep}*.txt"
        )
    documents = []
    for number, name in enumerate(classes):
        files = [f for f in sorted((folder / name).glob("*.txt")) if f.name[0] != "."]
        texts = [text for file in files if (text := _read(file))]
        if not texts:
            raise DataError(
                f"class folder {folder / name} has no document; add .txt files or remove it"
            )
        documents += [(text, number) for text in texts]
    return documents, classes


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise DataError(f"{file} is not UTF-8; convert it to UTF-8") from None
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from None
