"""`deepaug.layers`: which layers are worth targeting, and what lies below one."""

import pytest
import torch
from networks import NETWORKS, Packed, network
from torch import nn

import deepaug
from deepaug.method.layers import below


def mlp():
    return nn.Sequential(
        nn.Linear(3, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 2)
    )


@pytest.fixture
def net(request):
    return network(request.param)


every_network = pytest.mark.parametrize("net", NETWORKS, indirect=True)


@every_network
def test_lists_input_blocks_and_heads_in_execution_order(net):
    assert deepaug.layers(net.model, net.batch) == net.layers


@every_network
def test_a_transform_acts_once_at_every_layer_listed(net):
    for layer in net.layers:
        with deepaug.attach(net.model, layer, deepaug.Dropout()) as handle:
            deepaug.method.layers.call(net.model, net.batch)
        assert handle.calls == 1, layer


@every_network
def test_leaves_flags_weights_and_hooks_as_they_were(net):
    first = next(net.model.children())
    first.eval()  # a frozen part must not be thawed
    flags = [module.training for module in net.model.modules()]
    state = {name: tensor.clone() for name, tensor in net.model.state_dict().items()}
    deepaug.layers(net.model, net.batch)
    assert [module.training for module in net.model.modules()] == flags
    assert all(torch.equal(state[name], t) for name, t in net.model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.model.modules())


def test_flags_and_hooks_are_put_back_when_forward_raises():
    model = mlp()
    model[1].eval()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        deepaug.layers(model, torch.ones(2, 99))
    assert model.training and model[0].training and not model[1].training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


class Asking(nn.Module):
    """Records how it is called."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(3, 4)

    def forward(self, a, b=None):
        self.asked = a, b, self.training, torch.is_grad_enabled()
        return self.first(a) if b is None else self.first(a) + self.second(b)


A, B = torch.ones(2, 3), torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("batch", "listed"),
    [
        (A, ["input", "first"]),
        ((A,), ["input", "first"]),
        ((A, B), ["input", "first", "second"]),
        ({"b": B, "a": A}, ["input", "first", "second"]),
    ],
    ids=["tensor", "tuple of one", "tuple", "mapping"],
)
def test_batch_is_passed_by_its_kind(batch, listed):
    model = Asking()
    assert deepaug.layers(model, batch) == listed
    assert model.asked[0] is A and model.asked[1] is (B if "second" in listed else None)


def test_forward_says_how_other_batches_are_passed():
    model = Asking()
    listed = deepaug.layers(model, [A, "label"], forward=lambda model, batch: model(batch[0]))
    assert listed == ["input", "first"]


def test_runs_in_eval_mode_without_gradient():
    model = Asking()
    deepaug.layers(model, A)
    assert model.asked[2:] == (False, False)


def test_attached_transforms_do_not_act_meanwhile():
    model = mlp()
    handle = deepaug.attach(model, "0", deepaug.Dropout())
    deepaug.layers(model, torch.ones(2, 3))
    assert handle.calls == 0


def test_layers_that_run_twice_or_not_at_all_are_left_out():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.unused, self.once = (nn.Linear(3, 3) for _ in range(3))

        def forward(self, x):
            return self.once(self.shared(self.shared(x)))

    assert deepaug.layers(Twice(), A) == ["input", "once"]


def test_order_is_that_of_execution_not_of_definition():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(4, 2), nn.Linear(3, 4)

        def forward(self, x):
            return self.last(self.first(x))

    assert deepaug.layers(Backwards(), A) == ["input", "first", "last"]


def test_integers_have_no_input_to_target():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2))
    assert deepaug.layers(model, torch.arange(5)) == ["0", "1"]


def test_layers_without_features_are_left_out():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool, self.flat = nn.MaxPool1d(2, return_indices=True), nn.Flatten(0)

        def forward(self, x):
            pooled, _ = self.pool(x)
            return self.flat(pooled)  # one axis: no features

    assert deepaug.layers(Odd(), torch.ones(2, 4)) == ["input", "pool"]


def test_output_that_attach_would_refuse_is_left_out():
    """The tensor must come first in a tuple."""
    model = Packed(lambda x: ("extra", x), lambda packed: packed[1])
    assert deepaug.layers(model, A) == ["input", "inward", "outward"]


@pytest.mark.parametrize("compile_", ["whole", "in place", "a layer"])
def test_compiled_model_has_the_names_of_the_plain_one(compile_):
    model = mlp()
    names = deepaug.layers(model, A)
    if compile_ == "whole":
        compiled = torch.compile(model, backend="eager")
    else:
        (model if compile_ == "in place" else model[1]).compile(backend="eager")
        compiled = model
    compiled(A)
    assert deepaug.layers(compiled, A) == names
    for name in names:
        with deepaug.attach(compiled, name, deepaug.Dropout()) as handle:
            compiled(A)
        assert handle.calls == 1, name


def gpt2():
    from transformers import GPT2Config, GPT2Model

    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16, "vocab_size": 30}
    return GPT2Model(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)), TOKENS


def llama():
    from transformers import LlamaConfig, LlamaModel

    sizes = {"vocab_size": 30, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    return LlamaModel(LlamaConfig(**sizes, **heads)), TOKENS


def t5():
    from transformers import T5Config, T5Model

    sizes = {"vocab_size": 30, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2}
    return T5Model(T5Config(**sizes, num_heads=2)), {
        "input_ids": TOKENS,
        "decoder_input_ids": TOKENS,
    }


def seq2seq():
    x = torch.randn(5, 4, 16)
    return nn.Transformer(16, 2, 2, 2, 32), (x, x.clone())


def positions():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(30, 8), nn.Embedding(16, 8)
            self.out = nn.Linear(8, 2)

        def forward(self, ids):
            return self.out(self.words(ids) + self.places(torch.arange(ids.shape[1])))

    return Model(), TOKENS


TOKENS = torch.randint(0, 30, (4, 6), generator=torch.Generator().manual_seed(0))
STACKS = {
    gpt2: ["wte", "drop", "h.0", "h.1"],
    llama: ["embed_tokens", "layers.0", "layers.1"],
    t5: [
        f"{s}.{n}" for s in ("encoder", "decoder") for n in ("embed_tokens", "block.0", "block.1")
    ],
    seq2seq: ["input", *(f"{s}.layers.{i}" for s in ("encoder", "decoder") for i in (0, 1))],
    positions: ["words", "out"],
}


@pytest.mark.parametrize(
    ("build", "listed"), STACKS.items(), ids=lambda of: getattr(of, "__name__", "")
)
def test_lists_blocks_of_samples_and_no_tables_of_positions(build, listed):
    model, batch = build()
    assert deepaug.layers(model, batch) == listed


# Parameters below a target


def names_below(model, layer, batch):
    """Their names, after a check that each is listed once."""
    found = below(model, layer, batch)
    assert len({id(parameter) for parameter in found}) == len(found)
    ids = {id(parameter) for parameter in found}
    return {name for name, parameter in model.named_parameters() if id(parameter) in ids}


def parameters_of(model, *prefixes):
    wanted = tuple(f"{prefix}." for prefix in prefixes)
    return {name for name, _ in model.named_parameters() if name.startswith(wanted)}


@pytest.mark.parametrize(
    ("layer", "parts"),
    [("0", ["0"]), ("1", ["0", "1"]), ("1.0", ["0", "1.0"]), ("2", ["0", "1", "2"])],
)
def test_below_are_the_parameters_up_to_the_target(layer, parts):
    model = mlp()
    assert names_below(model, layer, A) == parameters_of(model, *parts)


@every_network
def test_nothing_is_below_the_input(net):
    assert below(net.model, "input", net.batch) == []


def test_below_follows_execution_not_definition():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first, self.unused = nn.Linear(4, 2), nn.Linear(3, 4), nn.Linear(3, 3)

        def forward(self, x):
            return self.last(self.first(x))

    model = Backwards()
    assert names_below(model, "first", A) == parameters_of(model, "first")
    assert names_below(model, "last", A) == parameters_of(model, "first", "last")


def test_parts_that_do_not_run_are_not_below():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.used(x)

    model = nn.Sequential(Partly(), nn.Linear(3, 2))
    assert names_below(model, "1", A) == parameters_of(model, "0.used", "1")


def test_shared_parameters_are_below_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    model[1].weight = model[0].weight  # both below the target
    model[2].bias = model[0].bias  # below it and after it
    found = below(model, "1", A)
    expected = [model[0].weight, model[0].bias, model[1].bias]
    assert [id(p) for p in found] == [id(p) for p in expected]


def test_a_stage_of_a_resnet_has_the_stem_and_earlier_stages_below_it():
    net = network("resnet")
    expected = parameters_of(net.model, "conv1", "bn1", "layer1", "layer2", "layer3")
    assert names_below(net.model, "layer3", net.batch) == expected


@pytest.mark.parametrize("number", range(3))
def test_a_block_of_bert_has_the_embeddings_and_earlier_blocks_below_it(number):
    net = network("bert")
    blocks = [f"encoder.layer.{earlier}" for earlier in range(number + 1)]
    expected = parameters_of(net.model, "embeddings", *blocks)
    assert names_below(net.model, f"encoder.layer.{number}", net.batch) == expected


@pytest.mark.parametrize("name", ["resnet", "bert"])
def test_below_are_those_whose_gradient_a_stop_at_the_target_takes(name):
    net = network(name)
    target = {"resnet": "layer2", "bert": "encoder.layer.0"}[name]
    deepaug.attach(net.model, target, deepaug.Dropout(), stop_gradient=True, **net.options)
    out = deepaug.method.layers.call(net.model, net.batch)
    (out if torch.is_tensor(out) else out.pooler_output).square().sum().backward()
    without = {name for name, p in net.model.named_parameters() if p.grad is None}
    assert names_below(net.model, target, net.batch) == without


@every_network
def test_below_leaves_flags_weights_hooks_and_randomness_as_they_were(net):
    next(net.model.children()).eval()
    flags = [module.training for module in net.model.modules()]
    tensors = {name: tensor.clone() for name, tensor in net.model.state_dict().items()}
    state = torch.get_rng_state()
    below(net.model, net.target, net.batch)
    assert [module.training for module in net.model.modules()] == flags
    assert all(torch.equal(tensors[name], t) for name, t in net.model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.model.modules())
    assert all(parameter.grad is None for parameter in net.model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_below_runs_in_eval_mode_without_gradient_and_past_an_attached_transform():
    model = Asking()
    handle = deepaug.attach(model, "first", deepaug.Dropout())
    below(model, "first", A)
    assert model.asked[2:] == (False, False) and handle.calls == 0
    model(A)
    assert handle.calls == 1  # it is still attached


def test_flags_and_hooks_are_put_back_when_the_forward_pass_of_below_raises():
    model = mlp()
    model[1].eval()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        below(model, "1", torch.ones(2, 99))
    assert model.training and model[0].training and not model[1].training
    assert not any(m._forward_hooks for m in model.modules())
