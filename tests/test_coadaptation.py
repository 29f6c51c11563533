"""CKA against its definition, its invariances, and the bias that others have."""

import math

import pytest
import torch

import deepaug


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def song(x, y):
    """Unbiased HSIC as Song et al. 2012 write it, eq. 5."""
    n, one = len(x), torch.ones(len(x), 1, dtype=torch.float64)
    k, m = x @ x.T, y @ y.T
    k, m = k - torch.diag(k.diag()), m - torch.diag(m.diag())
    cross = (one.T @ k @ one) * (one.T @ m @ one) / ((n - 1) * (n - 2))
    total = torch.trace(k @ m) + cross - 2 / (n - 2) * (one.T @ k @ m @ one)
    return total.item() / (n * (n - 3))


def biased(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return ((x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())).item()


@pytest.mark.parametrize(("n", "p", "q"), [(4, 3, 2), (7, 5, 9), (40, 3, 64)])
def test_it_is_songs_estimator(n, p, q):
    x, y = normal(n, p), normal(n, q, seed=1)
    expected = song(x, y) / math.sqrt(song(x, x) * song(y, y))
    assert deepaug.cka(x, y) == pytest.approx(expected, rel=1e-9)
    assert deepaug.cka(y, x) == pytest.approx(expected, rel=1e-9)


def test_equal_representations_have_1_also_rotated_shifted_and_scaled():
    x = normal(32, 10)
    rotation, _ = torch.linalg.qr(normal(10, 10, seed=1))
    assert deepaug.cka(x, x) == pytest.approx(1)
    assert deepaug.cka(x, 3 * x @ rotation + 100) == pytest.approx(1)
    assert deepaug.cka(x, x * torch.linspace(0.1, 3, 10)) < 0.99  # not any linear map


@pytest.mark.parametrize(("n", "features"), [(200, 64), (1000, 1024)])
@pytest.mark.parametrize("offset", [1e4, 1e5])
def test_cka_sees_a_spread_that_is_small_beside_its_offset(n, features, offset):
    x = torch.randn(n, features).double()
    assert deepaug.cka(x + offset, x) == pytest.approx(1, abs=1e-6)
    rounded = torch.full((n, features), offset) * (1 + 6e-8 * torch.randn(n, features))
    with pytest.raises(ValueError, match="no pair of samples"):
        deepaug.cka(rounded, x)  # of one value, as float32 has it


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_cka_is_of_any_scale(scale):
    x, y = torch.randn(2, 20, 5).double()
    assert deepaug.cka(scale * x, scale * y) == pytest.approx(deepaug.cka(x, y))


def test_independent_data_have_none_where_the_biased_estimator_sees_some():
    pairs = [(normal(32, 10, seed=2 * i), normal(32, 10, seed=2 * i + 1)) for i in range(200)]
    found = torch.tensor([deepaug.cka(x, y) for x, y in pairs])
    assert abs(found.mean()) < 4 * found.std() / math.sqrt(len(found))
    assert sum(biased(x, y) for x, y in pairs) / len(pairs) > 0.2


def test_half_precision_is_computed_in_double():
    x = normal(64, 16)
    assert deepaug.cka(x.bfloat16() + 100, x.bfloat16() + 100) == pytest.approx(1)
    assert isinstance(deepaug.cka(x.float(), x.float()), float)


@pytest.mark.parametrize(
    ("x", "y", "told"),
    [
        (normal(8, 3), normal(9, 3), "as many samples"),
        (normal(3, 3), normal(3, 3), "4 or more"),
        (normal(8, 3, 3), normal(8, 3), "x must be"),
        (normal(8, 3), torch.ones(8, 3, dtype=torch.long), "y must be"),
        (normal(8, 3), torch.full((8, 3), math.nan), "y has features"),
        (torch.full((8, 3), 0.1), normal(8, 3), "x has no pair"),
        (normal(8, 3), torch.eye(8), "y has no pair"),
    ],
)
def test_bad_input_is_refused(x, y, told):
    with pytest.raises(ValueError, match=told):
        deepaug.cka(x, y)
