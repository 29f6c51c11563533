"""Folders of samples by class, as people have them: images and documents alike."""

import os

import numpy as np
import pytest
from PIL import Image

from deepaug import cli
from deepaug.training import registry
from deepaug.training.modalities.text import documents
from deepaug.training.modalities.vision import sets
from deepaug.validation import DataError

SUFFIXES = {"vision": ".png", "text": ".txt"}
LOAD = {"vision": lambda name: sets.load(name, 8), "text": documents.load}


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPAUG_DATA", str(tmp_path / "cache"))
    sets.load.cache_clear()
    documents.load_documents.cache_clear()


class Folder:
    """A folder of one modality; no two samples are equal."""

    def __init__(self, path, modality):
        self.path, self.modality, self.made = path, modality, 0
        self.suffix = SUFFIXES[modality]

    def add(self, *files):
        """Files by their paths; a name that ends in / is a class of ten samples."""
        for file in files:
            for name in [f"{n}{self.suffix}" for n in range(10)] if file[-1] == "/" else [""]:
                path = self.path / file / name if name else self.path / file
                path.parent.mkdir(parents=True, exist_ok=True)
                self.made += 1
                if path.suffix.lower() in (".png", ".gif", ".jpg"):
                    pixels = np.random.default_rng(self.made).integers(0, 256, (9, 9, 3), np.uint8)
                    Image.fromarray(pixels).save(path)
                else:
                    path.write_text(f"document {self.made} of {path.parent.name}")
        return self

    def load(self):
        found = LOAD[self.modality](str(self.path))
        sizes = tuple(len(getattr(found, p)) for p in ("train", "validation", "test"))
        return found, sizes

    def refusal(self) -> str:
        with pytest.raises(DataError) as caught:
            self.load()
        assert "\n" not in str(caught.value) and str(self.path) in str(caught.value)
        return str(caught.value)


@pytest.fixture(params=SUFFIXES)
def folder(request, tmp_path):
    return Folder(tmp_path / "mine", request.param)


HIDDEN = (
    *(".ipynb_checkpoints", "__MACOSX", "@eaDir", "lost+found", ".git", "$RECYCLE.BIN"),
    *("System Volume Information", "__pycache__"),
)


@pytest.mark.parametrize("where", ["", "cat/", "train/", "train/cat/"])
@pytest.mark.parametrize("content", ["", "0.png", "0.txt"])
def test_hidden_and_system_entries_are_passed_over(folder, where, content):
    part = "train/" if "train" in where else ""
    folder.add(f"{part}cat/", f"{part}dog/")
    before = folder.load()
    for name in HIDDEN:
        (folder.path / where / name).mkdir()
        if content:
            folder.add(f"{where}{name}/{content}")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", f"._0{folder.suffix}"):
        (folder.path / where / name).write_bytes(b"\0")
    sets.load.cache_clear()
    documents.load_documents.cache_clear()
    found, sizes = folder.load()
    assert found.digest == before[0].digest and sizes == before[1]
    assert found.classes == ("cat", "dog")
    assert found.told.endswith(f"left out {len(HIDDEN) + 4} hidden or of the system")
    assert registry.of_data(str(folder.path)) == folder.modality


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (("train",), {"vision": (14, 2, 4), "text": (13, 3, 4)}),
        (("train", "test"), (18, 2, 20)),
        (("training", "testing"), (18, 2, 20)),
        (("train", "val"), (18, 2, 20)),
        (("train", "valid"), (18, 2, 20)),
        (("Train", "Validation"), (18, 2, 20)),
        (("train", "val", "test"), (20, 20, 20)),
        (("train", "valid", "test"), (20, 20, 20)),
        (("train", "dev", "test"), (20, 20, 20)),
    ],
)
def test_parts_go_by_their_usual_names(folder, names, sizes):
    folder.add(*(f"{name}/{label}/" for name in names for label in ("cat", "dog")))
    found, counts = folder.load()
    assert counts == (sizes[folder.modality] if isinstance(sizes, dict) else sizes)
    assert found.classes == ("cat", "dog")
    for name in names[1:]:
        assert f"{name}/ for " in found.told
    assert registry.of_data(str(folder.path)) == folder.modality


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (("cat/",), "1 class folders"),
        (("train/cat/", "train/dog/", "test/cat/"), "train and test differ in class 'dog'"),
        (("train/a/", "train/b/", "valid/b/", "valid/c/"), "train and valid differ in class 'a'"),
        (("train/a/", "train/b/", "val/a/", "val/b/", "valid/a/"), "val and valid, both a name of"),
        (("val/a/", "val/b/", "test/a/", "test/b/"), "test and val, but no classes to train with"),
        (("train/a/", "train/b/", "test/0.txt"), "train and test differ in class 'a'"),
        (("cat/", "dog/", "fish/notes.pdf"), "fish has no"),
        (("cat/", "dog/", "test/cat/", "test/dog/"), "has the classes of test beside it"),
        (("cat/", "dog/", "Val/dog/"), "has the classes of Val beside it; move them to train"),
        (("a.txt", "b.png"), "0 class folders"),
    ],
)
def test_what_leaves_the_classes_open_is_refused(folder, files, told):
    assert told in folder.add(*files).refusal()


def test_a_class_may_be_called_train(folder):
    assert folder.add("car/", "plane/", "train/").load()[0].classes == ("car", "plane", "train")


def test_folders_in_a_class_are_of_it_and_links_are_followed_but_not_in_circles(folder, tmp_path):
    folder.add("cat/", "dog/", f"cat/young/small/kitten{folder.suffix}")
    outside = Folder(tmp_path / "outside", folder.modality).add("far/")
    for n in range(10):  # of other content than those within
        Folder(tmp_path / "outside", folder.modality).add(f"far/{n}{folder.suffix}")
    (tmp_path / "outside" / "far" / f"0{folder.suffix}").rename(tmp_path / f"x{folder.suffix}")
    (folder.path / "dog" / f"linked{folder.suffix}").symlink_to(tmp_path / f"x{folder.suffix}")
    (folder.path / "cat" / "again").symlink_to(folder.path / "cat")
    (folder.path / "cat" / "top").symlink_to(folder.path)
    found, _ = folder.load()
    assert "took 22 " in found.told and "2 link to a folder above" in found.told
    assert outside.path.is_dir()


def test_a_link_that_leads_nowhere_and_a_pipe_are_named(folder):
    folder.add("cat/", "dog/")
    (folder.path / "cat" / f"lost{folder.suffix}").symlink_to("nowhere")
    assert f"lost{folder.suffix} is no file" in folder.refusal()
    (folder.path / "cat" / f"lost{folder.suffix}").unlink()
    os.mkfifo(folder.path / "dog" / f"pipe{folder.suffix}")
    assert f"pipe{folder.suffix} is no file" in folder.refusal()


def test_what_was_taken_and_left_out_is_told_by_reason(folder, capsys):
    other = {"vision": "0.GIF", "text": "x.TXT"}[folder.modality]
    folder.add("cat/", "dog/", f"cat/{other}", "cat/a.svg", "cat/b.svg", "dog/bare", "labels.csv")
    folder.add("train.csv", "dog/.hidden")
    if folder.modality == "text":
        (folder.path / "dog" / "empty.txt").write_text(" \n")
        (folder.path / "dog" / "twice.txt").write_text((folder.path / "cat/0.txt").read_text())
    cli.main(["data", str(folder.path)])
    _, told = capsys.readouterr().out.splitlines()
    if folder.modality == "vision":
        assert told == (
            "took 20 .png, 1 .gif; left out 2 beside the class folders, 2 .svg, "
            "1 hidden or of the system, 1 without a suffix"
        )
    else:
        assert told == (
            "took 23 .txt; left out 2 beside the class folders, 2 .svg, "
            "1 hidden or of the system, 1 without a suffix, 1 empty, 1 equal to another"
        )


def test_a_folder_beside_the_parts_is_told(folder):
    folder.add("train/cat/", "train/dog/", "test/cat/", "test/dog/", "unlabelled/", "README.md")
    assert folder.load()[0].told.endswith(
        "left out 1 beside the class folders, 1 folder unlabelled/"
    )


@pytest.mark.parametrize(
    ("files", "modality"),
    [
        (("cat/", "dog/", "cat/README.md"), "own"),
        (("train/cat/", "train/dog/", "train/cat/README.md"), "own"),
        (("cat/", "dog/", "README.md", "labels.txt"), "own"),
        (("cat/", "dog/", "cat/scores.csv", "dog/notes.pdf"), "own"),
        (("cat/deep/", "dog/deep/"), "own"),
        (("cat/", "dog/", "cat/0.txt", "cat/0.jpg"), "vision"),
    ],
)
def test_notes_among_the_samples_change_no_modality(folder, files, modality):
    folder.add(*files)
    wanted = folder.modality if modality == "own" else modality
    assert registry.of_data(str(folder.path)) == wanted


def test_the_working_folder_is_named_as_it_is_given(tmp_path, monkeypatch):
    (tmp_path / "cat").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"^\. has 1 class folders; needed: two or more, as \./<"):
        sets.load(".", 8)


@pytest.mark.skipif(os.name == "nt", reason="names are of any bytes")
def test_names_of_files_may_be_of_any_bytes(folder):
    folder.add("cat/", "dog/")
    before = folder.load()[0].digest
    for path in (folder.path / "cat").iterdir():
        path.rename(os.fsdecode(os.fsencode(path.with_suffix("")) + b"\xff" + path.suffix.encode()))
    sets.load.cache_clear()
    documents.load_documents.cache_clear()
    assert folder.load()[0].digest == before
