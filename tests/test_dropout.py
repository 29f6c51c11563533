"""Dropout, and the Gaussian noise that matches its norm."""

import pytest
import torch

from deepaug import Dropout, GaussianNoise

GRANULARITIES = ["element", "feature"]
SHARES = [0.1, 0.25, 0.5, 0.8]


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("p", SHARES)
def test_p_is_the_share_dropped_not_kept(p, granularity):
    """Over 40,000 draws the standard error is at most 0.0025."""
    out = Dropout(p, granularity)(torch.ones(200, 200))
    assert (out == 0).float().mean().item() == pytest.approx(p, abs=0.01)


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("p", SHARES)
def test_survivors_are_scaled_to_keep_the_expectation(p, granularity):
    x = torch.randn(200, 200)
    out = Dropout(p, granularity)(x)
    kept = out != 0
    torch.testing.assert_close(out[kept], x[kept] / (1 - p), rtol=1e-4, atol=0)  # p in 2⁻¹⁶ths
    assert Dropout(p, granularity)(torch.ones(500, 500)).mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("p", [2**-16, 1e-3, 1 / 3, 1 - 2**-16, 1 - 1e-9])
def test_element_dropout_is_exact_in_its_own_share(p):
    """Of 2,000,000 draws as many are dropped as p says, and what is left makes up for them."""
    out = Dropout(p)(torch.ones(2_000_001, 1)).flatten().double()
    lost = min(round(p * 2**16), 2**16 - 1) / 2**16
    error = (lost * (1 - lost) / 2e6) ** 0.5
    assert (out == 0).double().mean().item() == pytest.approx(lost, abs=5 * error)
    assert out.unique().tolist() == pytest.approx([0, 1 / (1 - lost)], rel=1e-6)


def test_no_two_places_of_element_dropout_share_a_draw():
    """Of each 64-bit draw four masks are cut: neighbours agree by chance alone."""
    dropped = (Dropout(0.5)(torch.ones(4, 100_000)) == 0).flatten()
    for apart in (1, 2, 3, 4, 5, 8):
        agree = (dropped[apart:] == dropped[:-apart]).float().mean().item()
        assert agree == pytest.approx(0.5, abs=0.005)


def test_element_dropout_draws_at_every_position():
    """A position keeps each of 100 features by its own draw, so that no two agree."""
    dropped = Dropout(0.5, "element")(torch.ones(4, 100, 3, 3)) == 0
    masks = dropped.movedim(1, -1).flatten(0, 2)
    assert len(masks.unique(dim=0)) == len(masks)


@pytest.mark.parametrize("shape", [(4, 100, 3, 3), (4, 9, 100)])
def test_feature_dropout_draws_once_for_each_sample_and_feature(shape):
    axis = 1 if len(shape) == 4 else 2
    dropped = (Dropout(0.5, "feature")(torch.ones(shape)) == 0).movedim(axis, -1).flatten(1, -2)
    assert (dropped == dropped[:, :1]).all()
    assert len(dropped[:, 0].unique(dim=0)) == 4


def test_feature_masks_of_different_samples_agree_only_by_chance():
    """A mask shared over the batch would agree everywhere; independent ones at half the places."""
    dropped = Dropout(0.5, "feature")(torch.ones(2, 10_000)) == 0
    assert (dropped[0] == dropped[1]).float().mean().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_gradient_is_that_of_the_factors(granularity):
    x = torch.randn(5, 6, requires_grad=True)
    out = Dropout(0.5, granularity)(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad, (out / x).detach())


# Samples of very different norm, so that one scale for the whole batch would be seen.
UNEVEN = torch.tensor([0.1, 1.0, 10.0]).repeat(40)


def squared_change(transform, x, of, **rows):
    """Mean squared norm by which `transform` moves each sample, over that of the sample itself."""
    change = transform(x, **rows) - x
    return of(change.square()) / of(x.square())


@pytest.mark.parametrize("p", SHARES)
@pytest.mark.parametrize("shape", [(120, 4000), (120, 20, 200), (120, 40, 10, 10)])
def test_noise_moves_each_sample_as_far_as_dropout(p, shape):
    x = torch.randn(shape) * UNEVEN.view(-1, *[1] * (len(shape) - 1))

    def of(squares):
        return squares.flatten(1).sum(1)

    noise = squared_change(GaussianNoise(p), x, of)
    dropout = squared_change(Dropout(p), x, of)
    for scale in UNEVEN.unique():
        mine = scale == UNEVEN
        torch.testing.assert_close(noise[mine].mean(), dropout[mine].mean(), rtol=0.05, atol=0)
        assert noise[mine].mean().item() == pytest.approx(p / (1 - p), rel=0.05)


@pytest.mark.parametrize("p", SHARES)
def test_noise_matches_dropout_on_the_rows_that_count(p):
    mask = torch.rand(120, 20) < 0.4
    x = torch.randn(120, 20, 40) * UNEVEN.view(-1, 1, 1)
    x[~mask] *= 100

    def of(squares):
        return (squares.sum(2) * mask).sum(1)

    noise = squared_change(GaussianNoise(p), x, of, mask=mask)
    dropout = squared_change(Dropout(p), x, of, mask=mask)
    torch.testing.assert_close(noise.mean(), dropout.mean(), rtol=0.05, atol=0)
    assert noise.mean().item() == pytest.approx(p / (1 - p), rel=0.05)


@pytest.mark.parametrize("counting", [10, 4])
@pytest.mark.parametrize("p", SHARES)
def test_noise_matches_dropout_on_groups(p, counting):
    """Graphs whose ten nodes lie scattered along axis 0, all or some of them counting."""
    order = torch.randperm(1200)
    groups = torch.arange(120).repeat(10)[order]
    mask = torch.arange(10).repeat_interleave(120)[order] < counting
    x = torch.randn(1200, 60) * UNEVEN[groups].unsqueeze(1)
    x[~mask] *= 100

    def of(squares):
        return torch.zeros(120).index_add(0, groups[mask], squares[mask].sum(1))

    noise = squared_change(GaussianNoise(p), x, of, mask=mask, groups=groups)
    dropout = squared_change(Dropout(p), x, of, mask=mask, groups=groups)
    torch.testing.assert_close(noise.mean(), dropout.mean(), rtol=0.05, atol=0)
    assert noise.mean().item() == pytest.approx(p / (1 - p), rel=0.05)


def test_noise_has_mean_zero_and_no_preferred_direction():
    x = torch.zeros(20_000, 3)
    x[:, 0] = 1  # all of a sample's norm in one feature; its noise in all three
    noise = GaussianNoise(0.5)(x) - x
    torch.testing.assert_close(noise.mean(0), torch.zeros(3), rtol=0, atol=0.02)
    torch.testing.assert_close(noise.T.cov(), torch.eye(3) / 3, rtol=0, atol=0.02)


def test_noise_lets_the_gradient_through_unchanged():
    x = torch.randn(5, 6, requires_grad=True)
    GaussianNoise(0.5)(x).sum().backward()
    assert torch.equal(x.grad, torch.ones(5, 6))
