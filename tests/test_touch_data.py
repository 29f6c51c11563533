"""What the figure to touch is made of: the page's own network, in few bytes."""

import gzip

import pytest
import torch
import touched

import deepaug
from deepaug.method import transforms
from deepaug.pages import touch
from deepaug.training.modalities.vision.resnet import ResNet


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    encoder = ResNet(1, 8, channels=1)
    for _ in range(20):  # running statistics that are not those of initialisation
        encoder(torch.randn(32, 1, 28, 28) + 1)
    return encoder.eval()


@pytest.fixture(scope="module")
def views():
    return torch.randn(2, 80, 1, 28, 28, generator=torch.manual_seed(1)) + 1


@pytest.fixture(scope="module")
def data(encoder, views):
    return touch.data(encoder, views, torch.arange(80) % 10)


def test_numbers_come_back_to_half_a_step():
    x = torch.randn(7, 3)
    error = (touched.unpacked(touch.packed(x)) - x).abs().max()
    assert error <= 0.51 * x.abs().max() / touch.LARGEST
    assert not touched.unpacked(touch.packed(torch.zeros(2))).any()


def test_the_network_is_the_encoder(encoder, views, data):
    images = touched.unpacked(data["images"])
    assert torch.allclose(images, views[0][:10], atol=1e-3)
    for name, found in touch.activations(encoder, images).items():
        number = [layer["name"] for layer in data["layers"]].index(name)
        mine = touched.outputs(data, images)[number]
        assert torch.allclose(mine, found, atol=2e-3 * found.abs().max()), name
    with torch.no_grad():
        assert torch.allclose(touched.unpacked(data["views"]), encoder(views[1][:10]), atol=1e-3)


def test_layers_are_those_worth_targeting(encoder, views, data):
    names = [layer["name"] for layer in data["layers"]]
    assert names == deepaug.layers(encoder, views[0])
    assert data["layers"][1]["shape"] == [8, 28, 28] and data["layers"][-1]["shape"] == [64, 1, 1]
    assert len(data["steps"]) == len(names) - 1 and data["steps"][-1] == []


@pytest.mark.parametrize("transform", touched.TRANSFORMS)
@pytest.mark.parametrize("number", range(7))
def test_transforms_are_those_of_the_package(encoder, views, data, monkeypatch, transform, number):
    """On all the images that the bases are of, with the same draw."""
    x = list(touch.activations(encoder, views[0]).values())[number]
    M = touched.factors(transform, 0.5, tuple(x.shape), seed=3)
    monkeypatch.setattr(transforms.Dropout, "_factors", lambda self, x: M.movedim(1, -1))
    if transform != "element":
        monkeypatch.setattr(
            transforms, "_survivors",
            lambda x, p, k, groups: M[:, :k].view(len(x), *[1] * (x.ndim - 2), k),
        )  # fmt: skip
    theirs = {
        "element": deepaug.Dropout(0.5),
        "feature": deepaug.Dropout(0.5, granularity="feature"),
        "drop": deepaug.PCA(0.5),
        "truncate": deepaug.PCA(0.5, mode="truncate"),
    }[transform](x)
    mine = touched.transformed(data, number, x, transform, M)
    assert torch.allclose(mine, theirs, atol=1e-3 * float(x.abs().max()))


def test_draws_are_uniform_and_their_seeds_differ():
    draws = touched.uniform(5, (4000,))
    assert draws.min() >= 0 and draws.max() < 1
    assert abs(draws.mean() - 0.5) < 0.02 and abs(draws.var() - 1 / 12) < 0.005
    assert not torch.equal(draws, touched.uniform(6, (4000,)))


def test_the_script_is_small_and_reads_back(data, tmp_path):
    touch.write(tmp_path / touch.DATA, data)
    script = (tmp_path / touch.DATA).read_text()
    assert touched.read(script) == data
    assert len(gzip.compress(script.encode())) < 300_000


