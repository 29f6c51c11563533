"""Documents to train on, with topics where there are some: by name, or any folder of them."""

import contextlib
import functools
import io
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from deepaug.training import registry
from deepaug.training.modalities import folders
from deepaug.training.modalities.text import corpora
from deepaug.training.modalities.text.corpora import Corpus
from deepaug.validation import DataError, reason

WORDS = 30  # that a document of 20 Newsgroups has at least: less is a signature or a retort
VALIDATION, TEST = 0.1, 0.2  # shares held out where a set has no parts of its own
NAMES = ("20newsgroups", "lee-documents")


def is_folder(path: Path) -> bool:
    """Whether a folder has text files by class, perhaps below train/ and test/, and no image.

    A folder of images may have notes or a list of its labels in it, and one of documents a README.
    """
    found = False
    for suffix in folders.suffixes(path):
        if suffix in folders.images():
            return False
        found = found or suffix in folders.DOCUMENTS
    return found


def load(name: str) -> Corpus:
    """The corpus `name`: documents as below, else sentences as `corpora.load` has them."""
    return load_documents(name) if is_documents(name) else corpora.load(name)


def is_documents(name: str) -> bool:
    """Whether a corpus is one of documents rather than sentences."""
    return name in NAMES or Path(name).is_dir()


@functools.lru_cache(maxsize=2)
def load_documents(name: str) -> Corpus:
    """The documents `name`: "20newsgroups", "lee-documents" or the path of a folder.

    A folder holds <class>/*.txt, perhaps in parts, as `folders.read` has it. What is held out is
    the same for every seed; of two equal documents the first stays. Raises DataError, in one line,
    for what is missing, damaged or too small.
    """
    if name == "20newsgroups":
        return assemble(name, *_newsgroups())
    if name == "lee-documents":
        documents = [document for document in corpora.lee_documents() if document.strip()]
        return assemble(name, [(document, -100) for document in documents], None, ())
    return _folder(name)


Labelled = list[tuple[str, int]]  # a document and its class, -100 where there is none


def assemble(
    name: str,
    train: Labelled,
    test: Labelled | None,
    classes: Sequence[str],
    validation: Labelled | None = None,
) -> Corpus:
    """A corpus of documents to train on and, where they have such parts, to test and validate."""
    first: dict[str, tuple[int, int]] = {}
    for part, documents in enumerate((train, validation, test)):
        for document, label in documents or ():
            first.setdefault(document, (label, part))
    labels = torch.tensor([label for label, _ in first.values()])
    given = torch.tensor([part for _, part in first.values()])
    order = torch.randperm(len(first), generator=torch.Generator().manual_seed(0))
    parts = _parts(order, given, torch.zeros_like(labels), validation is None, test is None)
    if _lacking(parts, labels, len(classes)):
        # Of small classes none may be left for a part: then each is divided by itself.
        parts = _parts(order, given, labels, validation is None, test is None)
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
    train, validation, test = parts.values()
    return Corpus(
        name, texts, labels, tuple(classes), train, validation, test, fingerprint, train
    )


def _lacking(parts: dict[str, Tensor], labels: Tensor, classes: int) -> tuple[str, int] | None:
    """The first part in which a class has no document, and that class."""
    for part, index in parts.items():
        counts = labels[index].clamp_min(0).bincount(minlength=classes)
        if classes and not counts.all():
            return part, int(counts.argmin())
    return None


def _parts(
    order: Tensor, given: Tensor, groups: Tensor, draw_validation: bool, draw_test: bool
) -> dict[str, Tensor]:
    """Documents for each part, in order; shares of each group are held out.

    given: of each document 0, 1 or 2, for train, validation and test.
    """
    test = (given == 2).nonzero().squeeze(1)
    validation = (given == 1).nonzero().squeeze(1)
    train = order[given[order] == 0]
    if draw_test:
        test = _leading(train, groups, TEST)
        train = train[~torch.isin(train, test)]
    if draw_validation:
        validation = _leading(train, groups, TEST if draw_test else VALIDATION)
        train = train[~torch.isin(train, validation)]
    parts = {"train": train, "validation": validation, "test": test}
    return {part: index.sort().values for part, index in parts.items()}


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


def _folder(name: str) -> Corpus:
    """The documents of a folder; empty files are passed over."""
    listing = folders.read(Path(name), "document", folders.DOCUMENTS)
    parts = {
        part: list(zip(map(_read, found.files), found.labels, strict=True))
        for part, found in listing.parts.items()
    }
    filled = {part: [row for row in rows if row[0]] for part, rows in parts.items()}
    test, validation = filled.get("test"), filled.get("validation")
    corpus = assemble(name, filled["train"], test, listing.classes, validation)
    whole, kept = (sum(map(len, of.values())) for of in (parts, filled))
    left_out = {"empty": whole - kept, "equal to another": kept - len(corpus.sentences)}
    return replace(corpus, told=listing.told(left_out))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise DataError(f"{file} is not UTF-8; convert it to UTF-8") from None
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from None
