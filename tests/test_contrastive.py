"""NT-Xent against a naive loop; the shapes of the projection head."""

import math

import pytest
import torch
from torch import nn

from deepaug import ProjectionHead, nt_xent


def naive_nt_xent(first, second, temperature):
    """Equation 1 of SimCLR, sample by sample, in Python's floats."""
    z = [*first.tolist(), *second.tolist()]
    n = len(first)

    def similarity(i, j):
        dot = sum(a * b for a, b in zip(z[i], z[j], strict=True))
        return dot / math.hypot(*z[i]) / math.hypot(*z[j]) / temperature

    total = 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        others = sum(math.exp(similarity(i, j)) for j in range(2 * n) if j != i)
        total += -math.log(math.exp(similarity(i, partner)) / others)
    return total / (2 * n)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("width", [1, 3, 16])
@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
def test_equals_a_naive_loop(n, width, temperature):
    first, second = torch.randn(n, width), torch.randn(n, width)
    expected = naive_nt_xent(first, second, temperature)
    assert nt_xent(first, second, temperature).item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_temperature_is_a_half_by_default():
    first, second = torch.randn(2, 5, 4)
    assert nt_xent(first, second) == nt_xent(first, second, 0.5)


@pytest.mark.parametrize("n", [1, 2, 8])
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_is_the_logarithm_of_the_others_where_all_are_equal(n, temperature):
    """Each view picks its partner by chance out of the 2n - 1 others."""
    z = torch.randn(1, 4).expand(n, 4)
    loss = nt_xent(z, z, temperature).item()
    assert loss == pytest.approx(math.log(2 * n - 1), abs=1e-5)


def test_is_near_zero_for_well_separated_pairs():
    z = torch.eye(6)
    assert nt_xent(z, z, 0.05).item() < 1e-6
    assert nt_xent(z, z.roll(1, 0), 0.05).item() > 10


def test_is_symmetric_in_the_views():
    first, second = torch.randn(2, 6, 4)
    torch.testing.assert_close(nt_xent(first, second), nt_xent(second, first))


def test_does_not_depend_on_the_order_of_the_samples():
    first, second = torch.randn(2, 6, 4)
    order = torch.randperm(6)
    torch.testing.assert_close(nt_xent(first[order], second[order]), nt_xent(first, second))
    assert nt_xent(first[order], second) != nt_xent(first, second)


def test_does_not_depend_on_the_length_of_the_projections():
    first, second = torch.randn(2, 6, 4)
    lengths = torch.rand(6, 1) + 0.1
    torch.testing.assert_close(nt_xent(100 * first, lengths * second), nt_xent(first, second))


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("fill", [None, 0.0, 1.0, 1e4])
def test_gradient_is_finite(n, fill):
    """Also for projections that are zero, all equal or huge."""
    views = torch.randn(2, n, 4) if fill is None else torch.full((2, n, 4), fill)
    nt_xent(*views.requires_grad_(), 0.05).backward()
    assert views.grad.isfinite().all()


def test_gradient_reaches_both_views_alike():
    first, second = torch.randn(2, 6, 4).requires_grad_()
    grads = torch.autograd.grad(nt_xent(first, second), (first, second))
    swapped = torch.autograd.grad(nt_xent(second, first), (first, second))
    assert all(g.any() for g in grads)
    torch.testing.assert_close(grads, swapped)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_is_float32_under_autocast(dtype):
    first, second = torch.randn(2, 6, 4).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent(first, second)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, nt_xent(first.float(), second.float()))


@pytest.mark.parametrize("shape", [(5, 4), (6, 3), (1, 4)])
def test_views_of_different_shapes_are_refused(shape):
    """Partners would be paired wrongly, without a word."""
    with pytest.raises(ValueError, match=r"^first and second must have one shape"):
        nt_xent(torch.randn(6, 4), torch.randn(shape))


@pytest.mark.parametrize(("features", "arguments", "out"), [(16, {}, 128), (512, {"out": 8}, 8)])
def test_projection_head_keeps_the_width_then_narrows(features, arguments, out):
    head = ProjectionHead(features, **arguments)
    assert head(torch.randn(5, features)).shape == (5, out)
    hidden, last = (layer for layer in head if isinstance(layer, nn.Linear))
    assert (hidden.in_features, hidden.out_features) == (features, features)
    assert (last.in_features, last.out_features) == (features, out)
    # Batch normalisation follows either layer, which makes a bias idle.
    assert hidden.bias is None and last.bias is None


def test_projection_head_normalises_over_the_batch():
    z = ProjectionHead(16)(torch.randn(50, 16) * 7 + 3)
    torch.testing.assert_close(z.mean(0), torch.zeros(128), rtol=0, atol=1e-5)
    torch.testing.assert_close(z.var(0, correction=0), torch.ones(128), rtol=0, atol=1e-2)


def test_projection_head_leaves_the_features_alone():
    """Its ReLU acts in place, but not on what is evaluated."""
    features = torch.randn(5, 16)
    before = features.clone()
    ProjectionHead(16)(features)
    assert torch.equal(features, before)


@pytest.mark.parametrize(("n", "rows"), [(1, 1), (2, 3), (5, 4), (6, 3), (6, 12), (6, 100)])
@pytest.mark.parametrize("temperature", [0.01, 0.4, 2.0])
def test_in_blocks_of_rows_it_is_the_same_with_the_same_gradient(n, rows, temperature, monkeypatch):
    """Blocks that divide the views evenly, that do not, and that are larger than all of them."""
    views = torch.randn(2, n, 4, requires_grad=True)
    whole = nt_xent(*views, temperature)
    (expected,) = torch.autograd.grad(3 * whole, views)
    monkeypatch.setattr("deepaug.training.contrastive.LARGE", 0)
    monkeypatch.setattr("deepaug.training.contrastive.ROWS", rows)
    loss = nt_xent(*views, temperature)
    (gradient,) = torch.autograd.grad(3 * loss, views)
    torch.testing.assert_close(loss, whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6 / temperature)


def test_many_views_are_taken_in_blocks(monkeypatch):
    views = torch.randn(2, 2050, 3, requires_grad=True)
    loss = nt_xent(*views)
    assert "InBlocks" in type(loss.grad_fn).__name__
    (gradient,) = torch.autograd.grad(loss, views)
    monkeypatch.setattr("deepaug.training.contrastive.LARGE", 10**6)
    whole = nt_xent(*views)
    (expected,) = torch.autograd.grad(whole, views)
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-9)
    with torch.no_grad():
        torch.testing.assert_close(nt_xent(*views), whole)
