"""Sentences to train on, with topic labels where there are some."""

import contextlib
import functools
import hashlib
import io
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from deepaug.training import registry
from deepaug.training.modalities import datasets, folders
from deepaug.training.modalities.text import tables
from deepaug.validation import DataError, one_of, reason

NAMES = registry.MODALITIES["text"].data
MOST_HELD_OUT = 2000  # labelled sentences in validation and in test, each


@dataclass(frozen=True)
class Corpus:
    """Sentences, no two alike, and which of them are trained on.

    Where there are labels, up to 2,000 labelled sentences each are held out for validation and
    test, the same for every seed; sentences of one origin (a WordNet synset) stay together.
    """

    name: str
    sentences: tuple[str, ...]
    labels: Tensor  # int64 (n,), indices into `classes`; -100: none
    classes: tuple[str, ...]  # topics; empty if there are none
    train: Tensor  # int64 indices into `sentences`, like the next two
    validation: Tensor
    test: Tensor
    digest: str  # sha256 of all sentences and labels, 16 digits
    # What a vocabulary, and the weights of counted words, are learnt from: all, if empty.
    learnt_from: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    told: str = ""  # of a folder or file: what was taken and what was left out

    @property
    def vocabulary(self) -> list[str]:
        """The sentences that a vocabulary is learnt from, without their labels."""
        index = self.learnt_from.tolist() or range(len(self.sentences))
        return [self.sentences[i] for i in index]


@functools.lru_cache(maxsize=2)
def load(name: str) -> Corpus:
    """The corpus `name`: "lee", "wordnet", "brown", "wordnet-brown" or the path of a text file.

    Raises DataError, in one line, for what is missing, damaged or too small.
    """
    left_out: Counter[str] = Counter()
    if name in _NAMED:
        rows = list(_NAMED[name]())
    elif Path(name).is_file():
        rows, left_out = _text_file(Path(name))
    elif os.sep in name or Path(name).suffix:
        raise DataError(
            f"no text file {name!r}; data takes one with a sentence a line, "
            f"or one of {', '.join(NAMES)}"
        )
    else:
        one_of("data set", name, NAMES, "or give the path of a text file with a sentence a line")
    # A sentence that comes twice would be its own negative, or be trained on and tested.
    first: dict[str, tuple[str, int]] = {}
    for sentence, topic, origin in rows:
        first.setdefault(sentence, (topic, origin))
    if len(first) < 2:
        raise DataError(
            f"data {name!r} has {len(first)} different sentences; needed: two or more, one a line"
        )
    classes = tuple(sorted({topic for topic, _ in first.values() if topic}))
    if len(classes) == 1:
        raise DataError(
            f"data {name!r} has one label, {classes[0]!r}; needed: two or more, or none"
        )
    number = {topic: i for i, topic in enumerate(classes)} | {"": -100}
    labels = torch.tensor([number[topic] for topic, _ in first.values()])
    origins = torch.tensor([origin for _, origin in first.values()])
    parts = _split(labels >= 0, origins)
    fingerprint = digest(f"{sentence}\t{topic}" for sentence, (topic, _) in first.items())
    # Topics of a file of one's own are asked for of sentences that nothing was learnt from.
    learnt_from = parts[0] if name not in _NAMED else torch.empty(0, dtype=torch.int64)
    left_out["equal to another"] = len(rows) - len(first)
    told = f"took {len(first)} lines; left out {folders.counts(+left_out)}"
    told = "" if name in _NAMED else told
    return Corpus(name, tuple(first), labels, classes, *parts, fingerprint, learnt_from, told)


def digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _split(labelled: Tensor, origins: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Indices to train on, validate and test with; of the labelled a tenth at most for each."""
    most = min(MOST_HELD_OUT, int(labelled.sum()) // 10)
    order = torch.randperm(int(origins.max()) + 1, generator=torch.Generator().manual_seed(0))
    ranks = order[origins]
    # Labelled sentences of this origin and of those before it, in a random order of origins.
    seen = ranks[labelled].bincount(minlength=len(order)).cumsum(0)[ranks]
    test = labelled & (seen <= most)
    validation = labelled & (seen > most) & (seen <= 2 * most)
    parts = ~(test | validation), validation, test
    train, validation, test = (part.nonzero().squeeze(1) for part in parts)
    return train, validation, test


Row = tuple[str, str, int]  # sentence, its topic or "", number of its origin


def _wordnet() -> Iterator[Row]:
    """Definitions and examples of each synset; topics are the 45 lexicographer files.

    Read from the data files (format: WordNet's wndb(5WN)): the corpus reader of NLTK, which builds
    an object for every synset and word, takes much longer.
    """
    folder = _nltk("wordnet")
    with _damage_in(folder):
        topics = [line.split("\t")[1] for line in tables.lines(folder / "lexnames")]
        origin = 0
        for part in ("adj", "adv", "noun", "verb"):
            for line in tables.lines(folder / f"data.{part}"):
                if line.startswith("  "):  # the licence
                    continue
                entry, gloss = line.split(" | ", 1)
                topic = topics[int(entry.split(" ", 2)[1])]
                definition, *examples = re.split(r'[;,:]?\s*"', gloss.strip(), maxsplit=1)
                for sentence in (definition, *"".join(examples).split('"')[::2]):
                    if sentence := sentence.strip(" ;"):
                        yield sentence, topic, origin
                origin += 1


def _brown() -> Iterator[Row]:
    """The Brown corpus's sentences as plain text."""
    folder = _nltk("brown")
    with _damage_in(folder):
        files = [f for f in folder.iterdir() if re.fullmatch(r"c[a-r]\d\d", f.name)]
        for file in sorted(files, key=lambda f: f.name):
            for line in filter(str.strip, tables.lines(file)):
                yield _detokenised([t.rsplit("/", 1)[0] for t in line.split()]), "", 0


def _detokenised(words: list[str]) -> str:
    """Words joined as they are written, with straight quotation marks."""
    text = re.sub(r"`` | ''", '"', " ".join(words))
    text = re.sub(r" ([.,;:?!)\]])", r"\1", text)
    # The corpus doubles a final mark: "Why?? Now;;".
    return re.sub(r"([?!;:])\1", r"\1", re.sub(r"([(\[]) ", r"\1", text))


def _lee() -> Iterator[Row]:
    """Sentences of 300 news documents (Lee et al. 2005) in gensim's wheel.

    A sentence ends with a full stop, question or exclamation mark, perhaps quoted, before white
    space and a capital, digit or quotation mark.
    """
    for document in lee_documents():
        for sentence in re.split(r"(?:(?<=[.!?])|(?<=[.!?][\"']))\s+(?=[\"'A-Z0-9])", document):
            if sentence.strip():
                yield sentence.strip(), "", 0


def lee_documents() -> list[str]:
    """Lee's 300 news documents of some 60 to 300 words, one a line."""
    return tables.lines(gensim_file("lee_background.cor"))


def _text_file(path: Path) -> tuple[list[Row], Counter[str]]:
    """One sentence a line, or sentence TAB label; and what was left out, by kind."""
    if not path.read_bytes().strip():
        return [], Counter()
    table, left_out = tables.table(path, ("sentence", "label"), least=1)
    table = table.apply(lambda column: column.str.strip())
    for name in table:
        tables.check(path, table[name] != "", f"{name} is empty")
    if "label" not in table:
        return [(sentence, "", 0) for sentence in table["sentence"]], left_out
    return list(zip(table["sentence"], table["label"], table.index, strict=True)), left_out


_NAMED = {
    "lee": _lee,
    "wordnet": _wordnet,
    "brown": _brown,
    "wordnet-brown": lambda: [*_wordnet(), *_brown()],
}


@contextlib.contextmanager
def _damage_in(folder: Path | zipfile.Path) -> Iterator[None]:
    """Turns what reading damaged files raises into one line."""
    try:
        yield
    except DataError:
        raise
    except (OSError, KeyError, IndexError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{folder} is damaged ({error}); remove it and fetch it again") from None


def gensim_file(file: str) -> Path:
    path = datasets.in_wheel("gensim", "lee") / "test" / "test_data" / file
    if not path.is_file():
        raise DataError(f"data set 'lee': no file {path}; reinstall gensim")
    return path


def _nltk(name: str) -> Path | zipfile.Path:
    """The folder of a corpus of NLTK, perhaps in an archive; downloaded where there is none."""
    own = registry.data_root() / "nltk_data"
    if found := _corpus_in(own, name):
        return found
    import nltk

    looked = [own, *map(Path, nltk.data.path)]
    for root in looked[1:]:
        if found := _corpus_in(root, name):
            return found
    why = ""
    try:
        own.mkdir(parents=True, exist_ok=True)
        if str(own) not in nltk.data.path:
            nltk.data.path.append(str(own))  # NLTK writes nowhere else
        nltk.download(name, download_dir=str(own), quiet=True, print_error_to=io.StringIO())
        if found := _corpus_in(own, name):
            return found
        if not any(own.iterdir()):
            own.rmdir()
    except OSError as error:  # where nothing can be written
        why = f" ({reason(error)})"
    raise DataError(
        f"NLTK corpus {name!r} not found, and it could not be downloaded{why}; looked in "
        f"{', '.join(map(str, looked))}; run 'python -m nltk.downloader {name}', or set "
        f"DEEPAUG_DATA to the folder that holds nltk_data/corpora/{name}"
    )


def _corpus_in(root: Path, name: str) -> Path | zipfile.Path | None:
    folder = root / "corpora" / name
    if folder.is_dir():
        return folder
    archive = folder.with_suffix(".zip")
    with _damage_in(archive):
        return zipfile.Path(archive, f"{name}/") if archive.is_file() else None
