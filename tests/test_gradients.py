"""What each transform's and the loss's gradient should be, not only their value.

A draw and a basis are constants, so that with both frozen a transform of the batch is an affine
map: its Jacobian is known in closed form.
"""

import pytest
import torch
from torch.nn import functional as F

from deepaug import PCA, Dropout, GaussianNoise, nt_xent
from deepaug.method import transforms

FEATURES = 6
# Fewer rows than features, as many and one more, many; tokens and maps with positions beyond
# features, which take another path.
SHAPES = {
    "fewer": (4, FEATURES),
    "equal": (FEATURES, FEATURES),
    "one more": (FEATURES + 1, FEATURES),
    "larger": (20, FEATURES),
    "tokens": (3, 4, FEATURES),
    "long": (3, 9, FEATURES),
}
MODES = ("drop", "truncate")


@pytest.fixture
def frozen(monkeypatch):
    """The first basis and draw stay: what a second call would have decided anew."""
    for name in ("_principal", "_survivors"):
        kept, original = [], getattr(transforms, name)

        def once(*args, kept=kept, original=original):
            if not kept:
                kept.append(original(*args))
            return kept[0]

        monkeypatch.setattr(transforms, name, once)


def batch(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def jacobian(transform, x, **rows):
    """(outputs, inputs), flat."""
    whole = torch.autograd.functional.jacobian(lambda x: transform(x, **rows), x)
    return whole.reshape(x.numel(), x.numel())


def pca_jacobian(x, mode, p, factors, counts):
    """Closed form of x + (x − μ)·V(M − I)Vᵀ, row by row.

    factors: M's diagonal, for each row (rows, k). counts: booleans (rows,), which rows count.
    """
    rows = x.reshape(-1, FEATURES)
    centred = rows - rows[counts].mean(0)
    directions = torch.linalg.svd(centred[counts], full_matrices=False)[2].mT
    rank = min(int(counts.sum()) - 1, FEATURES)
    directions = directions[:, :rank]
    if mode == "truncate":
        factors = torch.zeros(len(rows), rank, dtype=x.dtype)
        factors[:, : max(1, round((1 - p) * rank))] = 1
    n, eye = len(rows), torch.eye(FEATURES, dtype=x.dtype)
    whole = torch.zeros(n, FEATURES, n, FEATURES, dtype=x.dtype)
    for row in range(n):
        whole[row, :, row] += eye
        if not counts[row]:
            continue
        change = directions @ torch.diag(factors[row] - 1) @ directions.mT
        for other in range(n):
            # (x_row − μ): one of its own row, less its share of the mean.
            share = float(row == other) - counts[other].double() / counts.sum()
            whole[row, :, other] += share * change
    return whole.reshape(n * FEATURES, n * FEATURES)


def drawn_factors(x):
    """What PCA multiplies each row's components by, from the frozen draw."""
    samples = transforms._survivors(None, None, None, None)
    per_position = samples.expand(*x.shape[:-1], samples.shape[-1])
    return per_position.reshape(-1, samples.shape[-1]).double()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_pca_is_the_affine_map_of_its_basis_and_draw(shape, mode, frozen):
    x, transform = batch(shape), PCA(0.5, mode)
    transform(x)
    factors = None if mode == "truncate" else drawn_factors(x)
    every = torch.ones(x[..., 0].numel(), dtype=torch.bool)
    expected = pca_jacobian(x, mode, 0.5, factors, every)
    torch.testing.assert_close(jacobian(transform, x), expected)
    assert torch.autograd.gradcheck(transform, x.requires_grad_())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(3, 4, FEATURES), (3, 9, FEATURES), (3, 2, FEATURES)], ids=str)
def test_padding_enters_neither_the_map_nor_the_mean(shape, mode, frozen):
    x, mask = batch(shape), torch.ones(shape[:-1], dtype=torch.bool)
    mask[0, 1:] = mask[2, -1:] = False
    transform = PCA(0.5, mode)
    transform(x, mask=mask)
    factors = None if mode == "truncate" else drawn_factors(x)
    expected = pca_jacobian(x, mode, 0.5, factors, mask.flatten())
    torch.testing.assert_close(jacobian(transform, x, mask=mask), expected)


@pytest.mark.parametrize("shape", [(4, FEATURES), (20, FEATURES)], ids=str)
def test_rows_of_a_sample_share_its_draw_in_the_gradient(shape, frozen):
    x, groups = batch(shape), torch.arange(shape[0]) // 2
    transform = PCA(0.5)
    transform(x, groups=groups)
    factors = drawn_factors(x)
    assert torch.equal(factors[::2], factors[1::2]) and not torch.equal(factors[0], factors[2])
    every = torch.ones(len(x), dtype=torch.bool)
    expected = pca_jacobian(x, "drop", 0.5, factors, every)
    torch.testing.assert_close(jacobian(transform, x, groups=groups), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(64, 128), (8, 20, 16)], ids=str)
def test_nothing_is_changed_as_p_goes_to_zero(shape, mode):
    """Forward and backward: also where a batch spans a part of the features alone."""
    x = torch.randn(shape).requires_grad_()
    upstream = torch.randn(shape)
    out = PCA(1e-9, mode)(x)
    out.backward(upstream)
    torch.testing.assert_close(out, x)
    torch.testing.assert_close(x.grad, upstream)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_loss_that_ignores_common_shifts_shifts_nothing(shape, mode):
    """Its gradient, summed over the rows, is zero before the transform as it is behind it."""
    x = batch(shape).requires_grad_()
    rows = PCA(0.5, mode)(x).reshape(-1, FEATURES)
    (rows - rows.mean(0)).pow(4).sum().backward()
    total = x.grad.reshape(-1, FEATURES).sum(0)
    assert x.grad.abs().max() > 0.1
    torch.testing.assert_close(total, torch.zeros_like(total), atol=1e-9, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_what_the_batch_does_not_span_passes_backward(mode):
    """64 rows of 128 features: a gradient orthogonal to all of them arrives unchanged."""
    x = torch.randn(64, 128, dtype=torch.float64).requires_grad_()
    orthogonal = torch.linalg.svd(x.detach() - x.detach().mean(0), full_matrices=True)[2][63:]
    upstream = torch.randn(64, len(orthogonal), dtype=torch.float64) @ orthogonal
    PCA(0.5, mode)(x).backward(upstream)
    torch.testing.assert_close(x.grad, upstream)


@pytest.mark.parametrize("granularity", ["element", "feature"])
@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 6), (2, 5, 3, 3)], ids=str)
def test_dropout_multiplies_the_gradient_as_it_does_the_value(shape, granularity):
    x = torch.randn(shape).requires_grad_()
    upstream = torch.randn(shape)
    out = Dropout(0.5, granularity)(x)
    out.backward(upstream)
    factors = out.detach() / x.detach()
    assert set(factors.round(decimals=3).unique().tolist()) <= {0.0, 2.0}
    torch.testing.assert_close(x.grad, upstream * factors)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 6)], ids=str)
def test_noise_passes_the_gradient_as_it_comes(shape, centred):
    """Noise is added: its size, which the activations decide, is a constant of the batch."""
    x = torch.randn(shape).requires_grad_()
    upstream = torch.randn(shape)
    GaussianNoise(0.5, centred)(x).backward(upstream)
    assert torch.equal(x.grad, upstream)


def test_the_loss_pulls_partners_together_as_a_loop_would_have_it():
    first, second = (torch.randn(5, 8).requires_grad_() for _ in range(2))
    nt_xent(first, second, 0.3).backward()
    found = first.grad.clone(), second.grad.clone()
    first.grad = second.grad = None
    every = [row / row.norm() for row in (*first, *second)]
    losses = []
    for i, anchor in enumerate(every):
        scores = [(anchor @ other / 0.3).exp() for j, other in enumerate(every) if j != i]
        partner = every[(i + 5) % 10]
        losses.append(-((anchor @ partner / 0.3).exp() / sum(scores)).log())
    (sum(losses) / 10).backward()
    torch.testing.assert_close(found, (first.grad, second.grad))


def test_the_loss_has_no_gradient_along_a_projection():
    """Only directions count: nothing pulls a projection's length."""
    first, second = (torch.randn(7, 4).requires_grad_() for _ in range(2))
    nt_xent(first, second, 0.2).backward()
    along = F.cosine_similarity(first.grad, first, dim=1)
    torch.testing.assert_close(along, torch.zeros(7), atol=1e-5, rtol=0)
