"""Folders of samples by class, as people have them: what counts in them, and what is left out."""

import functools
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from deepaug.validation import DataError

PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
# What file systems, archives and viewers put beside the files of people; names with a dot, too.
SYSTEM = (
    *("__macosx", "@eadir", "lost+found", "$recycle.bin", "system volume information"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__pycache__", "#recycle", "#snapshot"),
)
DOCUMENTS = frozenset({".txt"})
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "TGA", "TIFF", "WEBP")


@functools.cache
def images() -> frozenset[str]:
    """The suffixes, in lower case, of the image files that are read."""
    from PIL import Image

    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, kind in known if kind in FORMATS)


@dataclass(frozen=True)
class Part:
    """Samples of one part of a data set; `labels` number the classes."""

    folder: Path
    files: list[Path]
    labels: list[int]


@dataclass(frozen=True)
class Listing:
    """parts: "train" and, where the folder has them, "validation" and "test"."""

    classes: tuple[str, ...]
    parts: dict[str, Part]
    left_out: Counter[str]  # entries by reason

    def told(self, more: Mapping[str, int] = MappingProxyType({})) -> str:
        """One line on what was taken and what was left out, `more` by reason among it."""
        taken = Counter(_suffix(file) for part in self.parts.values() for file in part.files)
        parts = [f"{part.folder.name}/ for {name}" for name, part in self.parts.items()]
        split = f"; {', '.join(parts)}" if len(parts) > 1 else ""
        return f"took {counts(taken)}{split}; left out {counts(self.left_out + Counter(more))}"


def counts(found: Counter[str]) -> str:
    """Counts by kind, the most frequent first.

    >>> counts(Counter({".png": 3, "hidden": 1}))
    '3 .png, 1 hidden'
    """
    first = [f"{count} {kind}" for kind, count in found.most_common(8)]
    return ", ".join([*first, "…"] if len(found) > 8 else first) or "nothing"


def read(folder: Path, what: str, suffixes: AbstractSet[str]) -> Listing:
    """The samples of a folder: <class>/*, or train/<class>/* with test/ and val/ beside it.

    Args:
        what: names a sample, in errors.
        suffixes: those of samples, in lower case.

    Files of a folder within a class are of that class. Entries that are hidden or the system's, and
    other suffixes, are passed over and counted. Parts are known by their usual names (`PARTS`); a
    validation set without a test set is tested with. Raises DataError, in one line, for a folder
    with fewer than two classes, for parts of different classes, and for a class without samples.
    """
    left_out: Counter[str] = Counter()
    split = _layout(folder, left_out)
    example = f"<class>{os.sep}*{min(suffixes & {'.png', '.txt'})}"
    parts, classes = {}, ()
    for part, (within, own) in split.items():
        names = tuple(entry.name for entry in own)
        wanted = f"{within.name or within}{os.sep}{example}"  # "." has no name
        if classes and names != classes:
            other = min({*names} ^ {*classes})
            raise DataError(
                f"{folder}: {split['train'][0].name} and {within.name} differ in class {other!r}; "
                f"needed: the same class folders in both"
            )
        if len(own) < 2:
            raise DataError(
                f"{within} has {len(own)} class folders; needed: two or more, as {wanted}"
            )
        classes = names
        found = [[f for f in _files(c, left_out) if _counts(f, suffixes, left_out)] for c in own]
        for entry, files in zip(own, found, strict=True):
            if not files:
                raise DataError(
                    f"class folder {entry} has no {what}; add some, as {wanted}, or remove it"
                )
        labels = [number for number, files in enumerate(found) for _ in files]
        parts[part] = Part(within, [file for files in found for file in files], labels)
    return Listing(classes, parts, left_out)


def suffixes(folder: Path) -> Iterator[str]:
    """The suffix of each file in a class folder, in lower case."""
    for _, classes in _layout(folder, Counter()).values():
        for entry in classes:
            yield from map(_suffix, _files(entry, Counter()))


def _layout(folder: Path, left_out: Counter[str]) -> dict[str, tuple[Path, list[Path]]]:
    """Each part of a data set: its folder and, within it, those of the classes.

    Raises DataError where a part has two folders, or is there without one to train with.
    """
    below = _below(folder, Counter())
    named = {part: [f for f in below if f.name.casefold() in PARTS[part]] for part in PARTS}
    named = {part: found for part, found in named.items() if found}
    # A class may be called "train", too; then it has samples in it and no classes.
    if not any(_below(training, Counter()) for training in named.get("train", ())):
        if len(named) > 1 and sum(map(len, named.values())) == len(below):
            raise DataError(
                f"{folder} has {' and '.join(f.name for f in below)}, but no classes to train "
                f"with; needed: train{os.sep}<class>{os.sep}* or <class>{os.sep}*"
            )
        _refuse_part_as_class(folder, below, named)
        return {"train": (folder, _below(folder, left_out))}
    for part, found in named.items():
        if len(found) > 1:
            raise DataError(
                f"{folder} has {found[0].name} and {found[1].name}, both a name of the {part} "
                f"set; keep one"
            )
    if "test" not in named and "validation" in named:
        named["test"] = named.pop("validation")
    used = [found[0] for found in named.values()]
    left_out.update(f"folder {f.name}{os.sep}" for f in _below(folder, left_out) if f not in used)
    return {part: (found[0], _below(found[0], left_out)) for part, found in named.items()}


def _refuse_part_as_class(folder: Path, below: list[Path], named: dict[str, list[Path]]) -> None:
    """Raise DataError for a part beside the classes of training, whose classes it has, too."""
    parts = [part for found in named.values() for part in found]
    classes = {entry.name for entry in below if entry not in parts}
    for part in parts:
        own = {entry.name for entry in _below(part, Counter())}
        if own and own <= classes:
            raise DataError(
                f"{folder} has the classes of {part.name} beside it; move them to "
                f"train{os.sep}, as train{os.sep}{min(own)}, or {part.name} elsewhere"
            )


def _below(folder: Path, left_out: Counter[str]) -> list[Path]:
    """The folders in `folder`, by name; the other entries are counted."""
    entries = [e for e in sorted(folder.iterdir()) if not _passed_over(e.name, left_out)]
    folders = [entry for entry in entries if entry.is_dir()]
    if beside := len(entries) - len(folders):
        left_out["beside the class folders"] += beside
    return folders


def _files(folder: Path, left_out: Counter[str]) -> Iterator[Path]:
    """All files in and below `folder`, links followed; ordered as torchvision has them."""
    walked = []
    for root, below, names in os.walk(folder, onerror=_fail, followlinks=True):
        below[:] = [
            name
            for name in below
            if not _passed_over(name, left_out) and not _is_loop(root, name, left_out)
        ]
        walked.append((root, names))
    for root, names in sorted(walked):
        yield from (Path(root, n) for n in sorted(names) if not _passed_over(n, left_out))


def _fail(error: OSError) -> None:
    raise error  # os.walk passes over what it cannot read


def _is_loop(root: str, name: str, left_out: Counter[str]) -> bool:
    path = os.path.join(root, name)
    target = os.path.realpath(path)
    loop = os.path.islink(path) and f"{os.path.realpath(root)}{os.sep}".startswith(target + os.sep)
    left_out.update(["link to a folder above"] if loop else [])
    return loop


def _passed_over(name: str, left_out: Counter[str]) -> bool:
    hidden = name.startswith(".") or name.casefold() in SYSTEM
    left_out.update(["hidden or of the system"] if hidden else [])
    return hidden


def _counts(file: Path, suffixes: Collection[str], left_out: Counter[str]) -> bool:
    """Whether a file is a sample. Raises DataError for a name of one that leads to no file."""
    if (suffix := _suffix(file)) not in suffixes:
        left_out[suffix] += 1
        return False
    if not file.is_file():  # reading from a pipe would wait for ever
        raise DataError(f"{file} is no file, nor a link to one; mend or remove it")
    return True


def _suffix(file: Path) -> str:
    return file.suffix.lower() or "without a suffix"
