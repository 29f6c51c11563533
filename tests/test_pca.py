"""PCA against naive loops in float64."""

import math

import numpy as np
import pytest
import torch

from deepaug import PCA
from deepaug.method import transforms

IMAGES, TOKENS, WIDE = (6, 3, 2, 2), (4, 5, 6), (4, 7)  # the last: fewer rows than features
SHAPES = [(30, 5), IMAGES, TOKENS, WIDE]


def as_rows(x):
    """(n, ..., features)"""
    return x.movedim(1, -1) if x.ndim == 4 else x


def naive_pca(x, factors, counts):
    """`x` as numpy (n, positions, f): component by component, row by row.

    factors: one for each row and component, (n, positions, k).
    counts: booleans (n, positions), rows outside stay as they are.
    """
    rows = x[counts]
    mean = rows.sum(0) / len(rows)
    covariance = sum(np.outer(row - mean, row - mean) for row in rows) / max(len(rows) - 1, 1)
    directions = np.linalg.eigh(covariance)[1].T[::-1]  # strongest first
    out = x.copy()
    for sample, position in np.argwhere(counts):
        row = mean.copy()
        for factor, direction in zip(factors[sample, position], directions, strict=False):
            row += factor * direction.dot(x[sample, position] - mean) * direction
        out[sample, position] = row
    return out


def compare_with_naive(x, monkeypatch, mask=None, groups=None, p=0.5):
    """Both from the survivors that PCA drew."""
    drawn, draw = [], transforms._survivors

    def spy(*args):
        drawn.append(draw(*args))
        return drawn[-1]

    monkeypatch.setattr(transforms, "_survivors", spy)
    out = as_rows(PCA(p)(x, mask=mask, groups=groups))
    rows = as_rows(x).flatten(1, -2) if x.ndim > 2 else x.unsqueeze(1)
    (factors,) = drawn
    factors = factors.expand(*out.shape[:-1], -1).reshape(*rows.shape[:2], -1)
    counts = torch.ones(rows.shape[:2]) if mask is None else mask.view(rows.shape[:2])
    assert 0 in factors and factors.max() == pytest.approx(1 / (1 - p))
    naive = naive_pca(rows.numpy(), factors.double().numpy(), counts.bool().numpy())
    np.testing.assert_allclose(out.reshape(rows.shape).numpy(), naive, atol=1e-9)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("shape", SHAPES)
def test_drop_equals_a_naive_loop(shape, p, monkeypatch):
    compare_with_naive(torch.randn(shape).double() + 3, monkeypatch, p=p)


@pytest.mark.parametrize("shape", [(30, 5), IMAGES, TOKENS])
def test_drop_with_a_mask_equals_a_naive_loop(shape, monkeypatch):
    x = torch.randn(shape).double() + 3
    mask = torch.rand(as_rows(x).shape[:-1]) < 0.7
    compare_with_naive(x, monkeypatch, mask=mask)


@pytest.mark.parametrize("masked", [False, True])
def test_drop_with_groups_equals_a_naive_loop(masked, monkeypatch):
    x = torch.randn(30, 5).double() + 3
    mask = torch.rand(30) < 0.7 if masked else None
    compare_with_naive(x, monkeypatch, mask=mask, groups=torch.randint(0, 4, (30,)))


@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("shape", SHAPES)
def test_truncate_equals_the_truncated_svd(shape, p):
    x = torch.randn(shape).double() + 3
    rows = as_rows(x).reshape(-1, as_rows(x).shape[-1]).numpy()
    keep = max(1, round((1 - p) * min(len(rows) - 1, rows.shape[1])))
    left, scales, right = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    best = rows.mean(0) + (left[:, :keep] * scales[:keep]) @ right[:keep]
    out = as_rows(PCA(p, "truncate")(x))
    np.testing.assert_allclose(out.reshape(rows.shape).numpy(), best, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
class TestTruncate:
    def test_is_idempotent(self, shape, p):
        transform = PCA(p, "truncate")
        once = transform(torch.randn(shape).double() + 3)
        torch.testing.assert_close(transform(once), once)

    def test_leaves_rank_k(self, shape, p):
        x = torch.randn(shape).double() + 3
        out = as_rows(PCA(p, "truncate")(x)).reshape(-1, as_rows(x).shape[-1])
        keep = max(1, round((1 - p) * min(len(out) - 1, out.shape[1])))
        assert torch.linalg.matrix_rank(out - out.mean(0), rtol=1e-9) == keep

    def test_keeps_the_mean(self, shape, p):
        x = torch.randn(shape).double() + 3
        out = as_rows(PCA(p, "truncate")(x))
        axes = tuple(range(out.ndim - 1))
        torch.testing.assert_close(out.mean(axes), as_rows(x).mean(axes), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("shape", [(8, 3), (3, 4)])
def test_drop_keeps_the_expectation(shape, p):
    """Within 5 standard errors; without rescaling it would be off by a hundred."""
    x, transform = torch.randn(shape), PCA(p)
    draws = torch.stack([transform(x) for _ in range(1500)])
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - x).abs() < 5 * error + 1e-6).all()


def test_p_is_the_share_of_components_dropped_not_kept():
    x = torch.randn(500, 20)
    _, _, directions = PCA().basis(x)
    out = PCA(0.2)(x)
    scores = (out - x.mean(0)) @ directions
    assert (scores.abs() < 1e-4).float().mean().item() == pytest.approx(0.2, abs=0.02)


def test_truncate_drops_the_weakest_components():
    x = torch.randn(500, 4) * torch.tensor([1.0, 10.0, 0.1, 5.0])
    left = PCA(0.5, "truncate")(x).var(0) / x.var(0)
    assert (left[[1, 3]] > 0.9).all() and (left[[0, 2]] < 0.1).all()


def test_at_least_one_component_is_kept():
    x = torch.randn(30, 3)
    out = PCA(0.99, "truncate")(x)
    assert torch.linalg.matrix_rank(out - out.mean(0), rtol=1e-4) == 1


@pytest.mark.parametrize("rows", [4, 60])
def test_basis_is_orthonormal_and_ordered(rows):
    x = torch.randn(rows, 7).double()
    mean, variances, directions = PCA().basis(x)
    identity = torch.eye(min(rows, 7)).double()
    torch.testing.assert_close(directions.T @ directions, identity)
    torch.testing.assert_close(((x - mean) @ directions).var(0), variances)
    assert (variances.diff() <= 0).all()


@pytest.fixture
def isotropic():
    """Eight rows whose four eigenvalues are all equal, so that any basis is theirs."""
    return torch.cat([torch.eye(4), -torch.eye(4)]).requires_grad_()


@pytest.mark.parametrize("mode", ["drop", "truncate"])
def test_gradient_is_finite_where_eigenvalues_repeat(isotropic, mode):
    out = PCA(0.5, mode)(isotropic)
    out.square().sum().backward()
    assert out.isfinite().all() and isotropic.grad.isfinite().all()


def test_truncate_keeps_its_share_of_equal_variances(isotropic):
    out = PCA(0.5, "truncate")(isotropic)
    assert out.square().sum().item() == pytest.approx(isotropic.square().sum().item() / 2)


@pytest.mark.parametrize("mode", ["drop", "truncate"])
@pytest.mark.parametrize("rows", [1, 4, 9])
def test_rows_that_do_not_vary_stay_what_they_are(rows, mode):
    x = torch.randn(5).expand(rows, 5)
    torch.testing.assert_close(PCA(0.5, mode)(x), x)


@pytest.mark.parametrize("mode", ["drop", "truncate"])
@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_is_computed_in_float32(shape, mode):
    x = torch.randn(shape).bfloat16()
    torch.manual_seed(1)
    out = PCA(0.5, mode)(x)
    torch.manual_seed(1)
    assert torch.equal(out, PCA(0.5, mode)(x.float()).bfloat16())


@pytest.mark.parametrize("mode", ["drop", "truncate"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_activation_that_is_not_finite_comes_back_as_it_came(shape, mode, value):
    """For the training loop to notice; one bad number must neither raise nor spread."""
    x = torch.randn(shape)
    x.view(-1)[3] = value
    assert torch.equal(PCA(0.5, mode)(x).nan_to_num(7.0), x.nan_to_num(7.0))


@pytest.mark.parametrize("mode", ["drop", "truncate"])
def test_large_mean_costs_no_precision(mode):
    """Activations after a ReLU lie far from zero: centring must come before the products."""
    x = torch.randn(50, 4).double()
    torch.manual_seed(1)
    expected = PCA(0.5, mode)(x) + 1000
    torch.manual_seed(1)
    shifted = PCA(0.5, mode)((x + 1000).float())
    torch.testing.assert_close(shifted.double(), expected, rtol=0, atol=0.01)
