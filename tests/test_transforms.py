"""What all transforms have in common: rows, masks, groups, types, memory, and bad input."""

import math

import pytest
import torch

from deepaug import PCA, Dropout, GaussianNoise

MAKERS = {
    "element dropout": lambda p: Dropout(p, "element"),
    "feature dropout": lambda p: Dropout(p, "feature"),
    "PCA drop": lambda p: PCA(p, "drop"),
    "PCA truncate": lambda p: PCA(p, "truncate"),
    "noise": GaussianNoise,
}
# One draw for each sample and feature (or component), whatever the layout of the memory.
BY_FEATURE = ["feature dropout", "PCA drop", "PCA truncate"]
SHAPES = [(6, 4), (3, 5, 4), (3, 4, 2, 2)]


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def seeded(transform, *args, **kwargs):
    torch.manual_seed(1)
    return transform(*args, **kwargs)


def padded(x, filling):
    """`x` of shape (n, length, f) whose sequences end early, and the mask that tells."""
    mask = torch.arange(x.shape[1]) < torch.tensor([[5], [3], [1], [4]])
    return torch.where(mask.unsqueeze(-1), x, filling), mask


@pytest.mark.parametrize("shape", SHAPES)
def test_p_of_zero_is_the_identity(make, shape):
    x = torch.randn(shape)
    assert torch.equal(make(0.0)(x), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_shape_and_dtype_are_left_alone_and_values_change(make, shape, dtype):
    x = torch.randn(shape, dtype=dtype)
    out = make(0.5)(x)
    assert out.shape == x.shape and out.dtype == dtype
    assert out.isfinite().all() and not torch.equal(out, x)


def test_argument_is_not_changed_in_place(make):
    x = torch.randn(6, 4)
    before = x.clone()
    make(0.5)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("scale", [1e18, 1e20, 1e30])
@pytest.mark.parametrize("shape", [(64, 8), (4, 8), (4, 20, 8)])
def test_large_numbers_come_out_as_small_ones_do(make, shape, scale):
    """Squares of 10²⁰ overflow in float32."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    large, small = seeded(make(0.5), x * scale), seeded(make(0.5), x)
    torch.testing.assert_close(large / scale, small, rtol=1e-3, atol=1e-4)


def test_a_batch_of_no_samples_comes_back(make):
    assert make(0.5)(torch.ones(0, 5, 4)).shape == (0, 5, 4)


@pytest.mark.parametrize("make", BY_FEATURE, indirect=True)
def test_feature_axis_may_be_anywhere_but_first(make):
    x = torch.randn(3, 4, 5)
    last = seeded(make(0.5), x, dim=-1)
    moved = seeded(make(0.5), x.movedim(-1, 1).contiguous(), dim=1)
    torch.testing.assert_close(moved.movedim(1, -1), last)
    assert torch.equal(seeded(make(0.5), x, dim=2), last)


@pytest.mark.parametrize(
    ("shape", "axis"), [((6, 4), 1), ((3, 5, 4), 2), ((3, 4, 2, 5), 1), ((3, 4, 2, 2, 5), 4)]
)
def test_features_lie_along_axis_1_of_images_and_the_last_otherwise(make, shape, axis):
    x = torch.randn(shape)
    assert torch.equal(seeded(make(0.5), x), seeded(make(0.5), x, dim=axis))
    make(0.5)(x, mask=torch.ones(shape[:axis] + shape[axis + 1 :]))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("side", [2, 5])  # with more positions than features PCA makes one product
def test_memory_format_is_left_alone(make, memory_format, masked, side):
    """A model that goes on with `.view(n, -1)` breaks otherwise."""
    x = torch.randn(3, 4, side, side).to(memory_format=memory_format)
    mask = torch.ones(3, side, side) if masked else None
    assert make(0.5)(x, mask=mask).is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("make", BY_FEATURE, indirect=True)
def test_values_do_not_depend_on_the_memory_format(make):
    x = torch.randn(3, 4, 2, 2)
    channels_last = seeded(make(0.5), x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(channels_last, seeded(make(0.5), x))


def test_two_calls_draw_independently(make):
    x = torch.randn(6, 4)
    transform = make(0.5)
    deterministic = getattr(transform, "mode", None) == "truncate"
    assert torch.equal(transform(x), transform(x)) == deterministic


@pytest.mark.parametrize("garbage", [1e6, math.nan, math.inf])
def test_padding_enters_no_statistic_and_comes_back_as_it_came(make, garbage):
    x = torch.randn(4, 6, 3)
    clean, mask = padded(x, torch.tensor(0.0))
    dirty, _ = padded(x, torch.tensor(garbage))
    expected, out = seeded(make(0.5), clean, mask=mask), seeded(make(0.5), dirty, mask=mask)
    assert torch.equal(out[mask], expected[mask])
    assert torch.equal(out[~mask].nan_to_num(7.0), dirty[~mask].nan_to_num(7.0))
    assert not torch.equal(out[mask], dirty[mask])


def test_garbage_in_padding_leaves_gradients_finite(make):
    x, mask = padded(torch.randn(4, 6, 3), torch.tensor(math.nan))
    x.requires_grad_()
    make(0.5)(x, mask=mask)[mask].square().sum().backward()
    assert x.grad.isfinite().all()


def test_mask_of_ones_changes_nothing(make):
    x = torch.randn(4, 6, 3)
    torch.testing.assert_close(
        seeded(make(0.5), x, mask=torch.ones(4, 6)), seeded(make(0.5), x), rtol=0, atol=1e-6
    )


def test_everything_masked_comes_back_as_it_came(make):
    x = torch.randn(4, 6, 3)
    assert torch.equal(make(0.5)(x, mask=torch.zeros(4, 6)), x)


@pytest.mark.parametrize("make", ["feature dropout", "PCA drop"], indirect=True)
class TestMaskOfASample:
    """One draw for each sample and feature (or component), shared by the sample's positions."""

    def test_positions_of_a_sample_share_it(self, make):
        x = torch.randn(6, 1, 4).expand(6, 3, 4).contiguous()
        out = make(0.5)(x)
        torch.testing.assert_close(out, out[:, :1].expand_as(out))

    def test_samples_do_not_share_it(self, make):
        """Equal samples come out in many ways: 2^4 masks are possible."""
        x = torch.randn(4, 4).repeat(50, 1)  # four different samples, 50 times over
        out = make(0.5)(x).view(50, 4, 4)
        assert all(len(out[:, i].unique(dim=0)) > 8 for i in range(4))

    def test_rows_of_a_group_share_it_and_groups_do_not(self, make):
        x = torch.randn(4, 4).repeat(50, 1)
        together = torch.arange(4).repeat(50)  # each of the four samples is a group of its own
        out = make(0.5)(x, groups=together).view(50, 4, 4)
        torch.testing.assert_close(out, out[:1].expand_as(out))
        apart = torch.arange(200)
        out = make(0.5)(x, groups=apart).view(50, 4, 4)
        assert len(out[:, 0].unique(dim=0)) > 8

    def test_groups_equal_to_axis_0_change_nothing(self, make):
        x = torch.randn(6, 3, 4)
        groups = torch.arange(6).unsqueeze(1).expand(6, 3)
        assert torch.equal(seeded(make(0.5), x, groups=groups), seeded(make(0.5), x))


@pytest.mark.parametrize("cls", [Dropout, PCA, GaussianNoise])
@pytest.mark.parametrize(
    "p", [-0.1, 1, 1.0, 1.5, math.nan, math.inf, "high", "0.5", True, False, None]
)
def test_p_must_be_a_share(cls, p):
    with pytest.raises(ValueError, match=r"^p must be a number with 0 <= p < 1, not .+$") as error:
        cls(p)
    assert repr(p) in str(error.value)


@pytest.mark.parametrize("p", [0, 0.0, 0.999])
@pytest.mark.parametrize("cls", [Dropout, PCA, GaussianNoise])
def test_smallest_and_largest_p_are_accepted(cls, p):
    assert cls(p).p == p


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Dropout(0.5, "features"), "unknown granularity: 'features'; nearest: 'feature'"),
        (lambda: Dropout(0.5, None), "unknown granularity: None; allowed: 'element', 'feature'"),
        (lambda: PCA(0.5, "dorp"), "unknown mode: 'dorp'; nearest: 'drop'"),
        (lambda: PCA(0.5, 3), "unknown mode: 3; allowed: 'drop', 'truncate'"),
    ],
)
def test_choices_name_the_nearest_or_all(build, message):
    with pytest.raises(ValueError) as error:
        build()
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (torch.ones(3, 4).long(), {}, "must be floating-point, not torch.int64"),
        (torch.ones(3, 4), {"dim": 0}, r"dim=0 .* \(3, 4\)"),
        (torch.ones(3, 4), {"dim": -2}, r"dim=-2 .* \(3, 4\)"),
        (torch.ones(3, 4), {"dim": 2}, r"dim=2 .* \(3, 4\)"),
        (torch.ones(3, 4), {"dim": -3}, r"dim=-3 .* \(3, 4\)"),
        (torch.ones(3), {}, r"dim=None .* \(3,\)"),
        (torch.tensor(1.0), {}, r"dim=None .* \(\)"),
        (torch.ones(3, 4), {"mask": torch.ones(3, 4)}, r"mask has shape \(3, 4\), not \(3,\)"),
        (torch.ones(3, 4), {"groups": torch.zeros(4)}, r"groups has shape \(4,\), not \(3,\)"),
        (torch.ones(3, 4, 2, 2), {"mask": torch.ones(3, 2)}, r"\(3, 2\), not \(3, 2, 2\)"),
    ],
)
def test_activation_that_does_not_fit_is_named(make, x, arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        make(0.5)(x, **arguments)
    assert "\n" not in str(error.value)


def test_repr_tells_all_settings():
    assert repr(Dropout(0.2, "feature")) == "Dropout(p=0.2, granularity='feature')"
    assert repr(PCA()) == "PCA(p=0.5, mode='drop')"
    assert repr(GaussianNoise()) == "GaussianNoise(p=0.5, centred=False)"
