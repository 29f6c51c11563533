"""Attaching to a layer: handles, pausing, repeating, stopping the gradient, and bad input."""

import collections
import copy
import dataclasses
import types

import pytest
import torch
from torch import nn

import deepaug
from deepaug import PCA, Dropout, GaussianNoise


def mlp():
    return nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 2))


@pytest.fixture
def model():
    return mlp()


@pytest.fixture
def x():
    return torch.randn(4, 3)


def seeded(model, *args, seed=1, **kwargs):
    torch.manual_seed(seed)
    return model(*args, **kwargs)


class TestHandle:
    def test_counts_the_times_it_acted(self, model, x):
        handle = deepaug.attach(model, "1", Dropout())
        assert handle.calls == 0
        model(x), model(x)
        model.eval()(x)
        assert handle.calls == 2

    def test_follows_the_training_flag_of_the_whole_model(self, model, x):
        """A frozen layer, whose own flag is off, is transformed too."""
        handle = deepaug.attach(model, "1", Dropout())
        model[1].eval()
        model(x)
        assert handle.calls == 1

    def test_is_removed_at_the_end_of_its_context(self, model, x):
        plain = model(x)
        with deepaug.attach(model, "1", Dropout()):
            assert not torch.equal(model(x), plain)
        assert torch.equal(model(x), plain)

    def test_is_removed_when_its_context_raises(self, model, x):
        plain = model(x)
        with pytest.raises(KeyError), deepaug.attach(model, "1", Dropout()):
            raise KeyError
        assert torch.equal(model(x), plain)

    def test_can_be_removed_twice(self, model, x):
        plain = model(x)
        handle = deepaug.attach(model, "1", Dropout())
        handle.remove()
        handle.remove()
        assert torch.equal(model(x), plain)

    @pytest.mark.parametrize("layer", ["1", "input"])
    @pytest.mark.parametrize("rows", [None, lambda x: torch.ones(len(x))])
    def test_leaves_no_hook_behind(self, model, layer, rows):
        deepaug.attach(model, layer, Dropout(), mask=rows).remove()
        hooks = ("_forward_hooks", "_forward_pre_hooks")
        assert not any(getattr(module, name) for module in model.modules() for name in hooks)


class TestPaused:
    def test_runs_the_plain_model(self, model, x):
        plain = model(x)
        handle = deepaug.attach(model, "1", Dropout(), stop_gradient=True)
        with handle.paused():
            out = model(x)
            out.sum().backward()
        assert torch.equal(out, plain) and model[0].weight.grad is not None
        assert handle.calls == 0

    def test_acts_again_afterwards(self, model, x):
        handle = deepaug.attach(model, "1", Dropout())
        with handle.paused():
            model(x)
        model(x)
        assert handle.calls == 1

    def test_nests(self, model, x):
        handle = deepaug.attach(model, "1", Dropout())
        with handle.paused():
            with handle.paused():
                model(x)
            model(x)
        assert handle.calls == 0
        model(x)
        assert handle.calls == 1

    def test_ends_on_an_exception(self, model, x):
        handle = deepaug.attach(model, "1", Dropout())
        with pytest.raises(KeyError), handle.paused():
            raise KeyError
        model(x)
        assert handle.calls == 1

    def test_pauses_one_handle_alone(self, model, x):
        first, second = (deepaug.attach(model, layer, Dropout()) for layer in ("0", "1"))
        with first.paused():
            model(x)
        assert (first.calls, second.calls) == (0, 1)


class TestRepeated:
    @pytest.mark.parametrize("layer", ["1", "input"])
    @pytest.mark.parametrize(
        "transform", [Dropout(), Dropout(0.5, "feature"), PCA(), GaussianNoise()], ids=repr
    )
    def test_draws_the_same_again(self, model, x, layer, transform):
        handle = deepaug.attach(model, layer, transform)
        first = model(x)
        with handle.repeated():
            assert torch.equal(model(x), first)
            assert torch.equal(model(x), first)
        assert not torch.equal(model(x), first)

    def test_gives_both_views_one_mask(self):
        model = nn.Sequential(nn.Identity())
        handle = deepaug.attach(model, "0", Dropout())
        first = model(torch.ones(50, 10))
        with handle.repeated():
            second = model(torch.full((50, 10), 2.0))
        assert torch.equal(second == 0, first == 0)

    def test_leaves_the_generator_as_if_nothing_was_drawn(self, model, x):
        handle = deepaug.attach(model, "1", Dropout())
        model(x)
        torch.rand(3)  # so that the state is another than that after the draw repeated
        before = torch.get_rng_state()
        with handle.repeated():
            model(x)
        assert torch.equal(torch.get_rng_state(), before)

    def test_nests_and_ends_on_an_exception(self, model, x):
        handle = deepaug.attach(model, "1", Dropout())
        first = model(x)
        with pytest.raises(KeyError), handle.repeated():
            with handle.repeated():
                pass
            assert torch.equal(model(x), first)
            raise KeyError
        assert not torch.equal(model(x), first)

    def test_needs_something_to_repeat(self, model):
        handle = deepaug.attach(model, "1", Dropout())
        message = r"^repeated\(\) needs an earlier training forward pass to repeat$"
        with pytest.raises(RuntimeError, match=message), handle.repeated():
            pass


class TestSeveralHandles:
    def test_on_different_layers_act_each(self, model, x):
        plain = copy.deepcopy(model)
        deepaug.attach(model, "1", GaussianNoise())
        deepaug.attach(model, "0", Dropout())
        torch.manual_seed(1)
        expected = plain[2](GaussianNoise()(plain[1](Dropout()(plain[0](x)))))
        assert torch.equal(seeded(model, x), expected)

    def test_on_one_layer_act_in_the_order_attached(self, model, x):
        plain = copy.deepcopy(model)
        deepaug.attach(model, "1", Dropout(0.5, "feature"))
        deepaug.attach(model, "1", PCA())
        torch.manual_seed(1)
        hidden = plain[1](plain[0](x))
        expected = plain[2](PCA()(Dropout(0.5, "feature")(hidden)))
        assert torch.equal(seeded(model, x), expected)

    @pytest.mark.parametrize("layers", [("0", "1"), ("1", "1"), ("input", "1"), ("input", "input")])
    def test_removing_one_leaves_the_other(self, model, x, layers):
        first, second = (deepaug.attach(model, layer, Dropout()) for layer in layers)
        first.remove()
        model(x)
        assert (first.calls, second.calls) == (0, 1)
        second.remove()
        assert torch.equal(model(x), model(x))


class TestStopGradient:
    def test_layers_below_learn_nothing_and_those_above_do(self, model, x):
        deepaug.attach(model, "1", Dropout(), stop_gradient=True)
        model(x).square().sum().backward()
        below, above = model[:2].parameters(), model[2].parameters()
        assert all(p.grad is None for p in below)
        assert all(p.grad.any() for p in above)

    def test_changes_no_value(self, model, x):
        with deepaug.attach(model, "1", Dropout()):
            expected = seeded(model, x)
        deepaug.attach(model, "1", Dropout(), stop_gradient=True)
        assert torch.equal(seeded(model, x), expected)

    def test_with_pausing_layers_below_learn_from_the_other_view_alone(self, model, x):
        plain = copy.deepcopy(model)
        handle = deepaug.attach(model, "1", Dropout(), stop_gradient=True)
        transformed = model(x)
        with handle.paused():
            untouched = model(2 * x)
        (transformed + untouched).sum().backward()
        plain(2 * x).sum().backward()
        assert torch.equal(model[0].weight.grad, plain[0].weight.grad)
        assert not torch.equal(model[2].weight.grad, plain[2].weight.grad)

    def test_on_the_input_stops_what_made_it(self, model, x):
        x.requires_grad_()
        deepaug.attach(model, "input", Dropout(), stop_gradient=True)
        model(2 * x).sum().backward()
        assert x.grad is None and model[0].weight.grad.any()


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(5, 4)
        self.inner = nn.ModuleDict({"positions": nn.Embedding(5, 4)})

    def forward(self, ids, features=None, scale=None):
        out = self.tokens(ids) + self.inner["positions"](ids)
        out = out if features is None else out + features
        return out if scale is None else out * scale


class TestInput:
    ids, features = torch.arange(5), torch.ones(5, 4)

    def expected(self, model):
        plain = copy.deepcopy(model)
        torch.manual_seed(1)
        return plain(self.ids, Dropout()(self.features))

    def test_is_the_first_positional_tensor(self, model, x):
        plain = copy.deepcopy(model)
        deepaug.attach(model, "input", Dropout())
        torch.manual_seed(1)
        expected = plain(Dropout()(x))
        assert torch.equal(seeded(model, x), expected)

    def test_skips_integer_arguments(self):
        model = TwoInputs()
        expected = self.expected(model)
        deepaug.attach(model, "input", Dropout())
        assert torch.equal(seeded(model, self.ids, self.features), expected)

    def test_may_be_a_keyword_argument(self):
        model = TwoInputs()
        expected = self.expected(model)
        deepaug.attach(model, "input", Dropout())
        assert torch.equal(seeded(model, ids=self.ids, features=self.features), expected)

    def test_leaves_further_arguments_alone(self):
        model = TwoInputs()
        expected = self.expected(model) * 3
        deepaug.attach(model, "input", Dropout())
        scaled = seeded(model, self.ids, self.features, scale=torch.tensor([3.0]))
        assert torch.equal(scaled, expected)

    def test_does_not_change_the_tensor_given(self, model, x):
        before = x.clone()
        deepaug.attach(model, "input", Dropout())
        model(x)
        assert torch.equal(x, before)

    def test_of_integers_alone_names_the_embedding_layers(self):
        model = TwoInputs()
        handle = deepaug.attach(model, "input", Dropout())
        with pytest.raises(ValueError, match=r"embedding layer: 'tokens', 'inner\.positions'$"):
            model(self.ids)
        model.eval()(self.ids)
        assert handle.calls == 0

    def test_of_integers_without_embeddings_says_where_names_come_from(self):
        class Casting(nn.Module):
            def forward(self, x):
                return x.float()

        model = Casting()
        deepaug.attach(model, "input", Dropout())
        with pytest.raises(ValueError, match=r"by its name from model\.named_modules\(\)$"):
            model(self.ids)


class Padded(nn.Module):
    """Takes tokens and their lengths under names of its own."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 4)

    def forward(self, tokens, lengths, *, double=False):
        return self.inner(tokens) * (2 if double else 1)


class TestRows:
    tokens, lengths = torch.arange(72.0).sin().view(4, 6, 3), torch.tensor([6, 3, 1, 4])

    @staticmethod
    def mask(tokens, lengths, double=False):
        return torch.arange(tokens.shape[1]) < lengths.unsqueeze(1)

    @staticmethod
    def groups(tokens, lengths, double=False):
        return torch.zeros(tokens.shape[:2]).long()

    @pytest.mark.parametrize("layer", ["inner", "input"])
    def test_are_computed_from_the_arguments_of_the_model(self, layer):
        model = Padded()
        plain, rows = copy.deepcopy(model), {"mask": self.mask, "groups": self.groups}
        deepaug.attach(model, layer, PCA(), **rows)
        given = {name: of(self.tokens, self.lengths) for name, of in rows.items()}
        torch.manual_seed(1)
        if layer == "inner":
            expected = PCA()(plain(self.tokens, self.lengths), **given)
        else:
            expected = plain(PCA()(self.tokens, **given), self.lengths)
        assert torch.equal(seeded(model, self.tokens, self.lengths), expected)
        by_name = seeded(model, lengths=self.lengths, tokens=self.tokens, double=True)
        assert torch.equal(by_name, 2 * expected)

    def test_see_the_arguments_before_another_handle_changes_them(self):
        model, seen = Padded(), []
        deepaug.attach(model, "input", Dropout())
        handle = deepaug.attach(
            model, "inner", Dropout(), mask=lambda *args: seen.append(args) or self.mask(*args)
        )
        model(self.tokens, self.lengths)
        assert seen[0][0] is self.tokens and handle.calls == 1

    def test_of_a_wrong_shape_are_refused(self):
        model = Padded()
        deepaug.attach(model, "inner", Dropout(), mask=lambda tokens, lengths: lengths)
        message = r"^mask has shape \(4,\), not \(4, 6\)$"
        with pytest.raises(ValueError, match=message):
            model(self.tokens, self.lengths)

    def test_keep_no_batch_alive(self):
        model = Padded()
        handle = deepaug.attach(model, "inner", Dropout(), mask=self.mask)
        model(self.tokens, self.lengths)
        assert handle._acting.passes.running is None
        with pytest.raises(AttributeError):
            model(self.tokens, None)
        assert handle._acting.passes.running is None

    def test_need_the_model_itself_to_run(self):
        model = Padded()
        deepaug.attach(model, "inner", Dropout(), mask=self.mask)
        with pytest.raises(RuntimeError, match=r"^mask and groups .* the layer ran outside"):
            model.inner(self.tokens)


@pytest.mark.parametrize(
    ("layer", "choice"),
    [
        ("inptu", "nearest: 'input'"),
        (1, "nearest: '1'"),
        *(
            (none_near, "allowed: '0', '1', '2', 'input'")
            for none_near in ("3", "", "weight", None)
        ),
    ],
)
def test_unknown_layer_names_the_nearest_or_all(model, layer, choice):
    with pytest.raises(ValueError) as error:
        deepaug.attach(model, layer, Dropout())
    told = f"unknown layer of Sequential: {layer!r}; {choice}; deepaug.layers lists good targets"
    assert str(error.value) == told


def test_a_module_in_the_place_of_its_name_is_refused_in_one_line(model):
    with pytest.raises(ValueError, match=r"^layer must be a name, .* not the \w+$"):
        deepaug.attach(model, model[0], Dropout())


def test_unknown_layer_of_a_large_model_names_a_few():
    model = nn.ModuleDict({f"stage{i}": nn.Linear(2, 2) for i in range(40)})
    with pytest.raises(ValueError, match="nearest: 'stage17'"):
        deepaug.attach(model, "stagee17", Dropout())
    with pytest.raises(ValueError, match="allowed: 'stage0'") as error:
        deepaug.attach(model, "???", Dropout())
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("transform", [Dropout, 0.5, None, "dropout", nn.Dropout(0.5)])
def test_transform_must_be_one(model, transform):
    with pytest.raises(ValueError, match=r"^transform must be a Dropout, PCA or other Transform"):
        deepaug.attach(model, "1", transform)
    assert not model[1]._forward_hooks


class Returns(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return self.value


@pytest.mark.parametrize("value", [None, 3, "x", (), [], (None, torch.ones(2)), {}, {"a": 1}])
def test_output_without_a_tensor_to_change_is_named(x, value):
    model = nn.Sequential(Returns(value))
    deepaug.attach(model, "0", Dropout())
    kind = type(value).__name__
    with pytest.raises(ValueError, match=f"^the targeted Returns returned {kind}; needed: "):
        model(x)


@pytest.mark.parametrize(
    ("value", "dim", "message"),
    [
        (torch.ones(2, 2).long(), None, "must be floating-point, not torch.int64"),
        (torch.ones(2, 2), 0, "dim=0 does not fit"),
        (torch.ones(2, 2), 2, "dim=2 does not fit"),
        (torch.ones(2), None, "dim=None does not fit"),
    ],
)
def test_activation_that_does_not_fit_is_named(x, value, dim, message):
    model = nn.Sequential(Returns(value))
    deepaug.attach(model, "0", Dropout(), dim=dim)
    with pytest.raises(ValueError, match=message) as error:
        model(x)
    assert "\n" not in str(error.value)
    model.eval()(x)


@dataclasses.dataclass(frozen=True)
class Made:
    """An output that is made of something else than its fields."""

    words: dataclasses.InitVar[list[str]]
    hidden: torch.Tensor = dataclasses.field(init=False)

    def __post_init__(self, words):
        object.__setattr__(self, "hidden", torch.ones(4, len(words)))


@pytest.mark.parametrize(
    "value",
    [
        Made(["a", "b", "c"]),
        collections.defaultdict(list, hidden=torch.ones(4, 3)),
        types.MappingProxyType({"hidden": torch.ones(4, 3)}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_output_that_is_made_in_its_own_way_keeps_its_type(x, value):
    model = nn.Sequential(Returns(value))
    deepaug.attach(model, "0", Dropout())
    changed, plain = model(x), model.eval()(x)
    assert type(changed) is type(value) and plain is value
    first, before = (v.hidden if isinstance(v, Made) else v["hidden"] for v in (changed, value))
    assert set(first.unique().tolist()) == {0, 2} and before.eq(1).all()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"dim": "1"}, "^dim must be the number of an axis, not '1'$"),
        ({"dim": True}, "^dim must be the number of an axis"),
        ({"mask": torch.ones(4)}, "^mask must be a function of .*, not a Tensor$"),
        ({"groups": [0, 1]}, "^groups must be a function of .*, not a list$"),
    ],
)
def test_options_of_another_kind_are_refused_at_once(model, options, told):
    with pytest.raises(ValueError, match=told):
        deepaug.attach(model, "1", Dropout(), **options)
    with pytest.raises(ValueError, match=r"^model must be a torch\.nn\.Module, not a str$"):
        deepaug.attach("model", "1", Dropout())


@pytest.mark.parametrize("name", ["mask", "groups"])
def test_rows_that_are_no_tensor_are_named(model, x, name):
    deepaug.attach(model, "1", PCA(), **{name: lambda x: [True] * len(x)})
    with pytest.raises(ValueError, match=f"^{name} must return a tensor, not a list$"):
        model(x)


class TestPart:
    """Of a model that trains, a part that is called by itself."""

    @pytest.fixture
    def part(self):
        model = nn.Sequential(mlp(), nn.Linear(2, 2))
        deepaug.attach(model, "0.1", Dropout())
        return model[0]

    def test_is_plain_while_it_evaluates(self, part, x):
        assert not torch.equal(part(x), part(x))
        assert torch.equal(part.eval()(x), part[2](part[1](part[0](x))))

    def test_of_which_a_copy_evaluates_is_plain(self, part, x):
        twin = copy.deepcopy(part)
        assert not torch.equal(twin(x), twin(x))
        assert torch.equal(twin.eval()(x), twin(x))

    def test_has_the_transform_where_the_target_alone_evaluates(self, x):
        model = mlp()
        handle = deepaug.attach(model, "1", Dropout())
        model[1].eval()  # as a layer that is frozen
        model(x)
        assert handle.calls == 1


@pytest.mark.parametrize(
    ("activation", "kind"),
    [
        (torch.nested.nested_tensor([torch.ones(2, 3)], layout=torch.jagged), "a nested tensor"),
        (torch.ones(2, 3).to_sparse_csr(), "a sparse_csr"),
    ],
    ids=["nested", "sparse"],
)
def test_an_activation_that_is_not_dense_is_named(x, activation, kind):
    model = nn.Sequential(Returns(activation))
    deepaug.attach(model, "0", Dropout())
    with pytest.raises(ValueError, match=f"^the activation at '0' must be dense, not {kind}$"):
        model(x)


def test_weights_made_for_inference_have_no_versions_to_count(x):
    with torch.inference_mode():
        model = mlp()
        handle = deepaug.attach(model, "1", Dropout())
        model(x)
    assert handle.calls == 1
