"""Compiling whole, exporting, tracing, scripting and vmap after `attach`; torch's fast paths."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.modules.module import _global_forward_hooks

import deepaug
from deepaug import PCA, Dropout, GaussianNoise

X = torch.randn(4, 3)
TRANSFORMS = [Dropout(), Dropout(0.5, "feature"), PCA(), PCA(0.5, "truncate"), GaussianNoise()]
GRAPHS = {
    "fullgraph": lambda model: torch.compile(model, fullgraph=True, backend="eager"),
    "strict export": lambda model: torch.export.export(model, (X,), strict=True).module(),
    "export": lambda model: torch.export.export(model, (X,), strict=False).module(),
    "fx": torch.fx.symbolic_trace,
    "trace": lambda model: torch.jit.trace(model, X),
    "script": torch.jit.script,
}
IN_EVAL = [name for name in GRAPHS if name != "script"]


def mlp():
    return nn.Sequential(
        nn.Linear(3, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 2)
    )


@pytest.fixture(autouse=True)
def compiler():
    torch.compiler.reset()


@pytest.mark.parametrize("graph", IN_EVAL)
@pytest.mark.parametrize("options", [{}, {"mask": lambda x: x[:, 0] > 0}], ids=["plain", "mask"])
def test_an_evaluation_is_one_graph(graph, options):
    model = mlp()
    deepaug.attach(model, "1", Dropout(), **options)
    model.eval()
    torch.testing.assert_close(GRAPHS[graph](model)(X), model(X))


@pytest.mark.parametrize(
    ("graph", "training"), [*((name, True) for name in GRAPHS), ("script", False)]
)
def test_one_graph_of_what_acts_is_refused_in_words(graph, training):
    model = mlp().train(training)
    handle = deepaug.attach(model, "1", Dropout())
    with pytest.raises(Exception, match=r"call handle\.remove\(\)"):
        GRAPHS[graph](model)(X)
    handle.remove()
    assert torch.equal(GRAPHS[graph](model)(X), model(X))


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
@pytest.mark.parametrize("layer", ["1", "input"])
def test_vmap_draws_for_each_sample(transform, layer):
    model, sample = mlp(), torch.ones(3)
    deepaug.attach(model, layer, transform)
    rows = 5  # of each sample, for PCA to have some
    noise = torch.randn(rows, 3)

    def loss(parameters, x):
        return functional_call(model, parameters, (x + noise,)).square().sum()

    gradients = vmap(grad(loss), (None, 0), randomness="different")
    found = gradients(dict(model.named_parameters()), sample.expand(6, 3))["0.weight"]
    alike = getattr(transform, "mode", None) == "truncate"
    assert found.isfinite().all() and (len(found.unique(dim=0)) == 1) == alike


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_the_meta_device_has_shapes_and_no_numbers(transform):
    model = mlp().to("meta")
    handle = deepaug.attach(model, "1", transform)
    handle.seed(1)
    assert model(X.to("meta")).shape == (4, 2) and handle.calls == 1
    tokens = torch.randn(2, 5, 4, device="meta")
    for rows in ("mask", "groups"):
        given = {rows: torch.ones(2, 5, dtype=torch.int64, device="meta")}
        assert transform(tokens, **given).shape == tokens.shape


class Encoder(nn.Module):
    def __init__(self, norm_first):
        super().__init__()
        self.inward = nn.Linear(3, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x, padding):
        return self.encoder(self.inward(x), src_key_padding_mask=padding)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("layer", ["encoder", "encoder.layers.0", "encoder.layers.1.linear1"])
def test_evaluation_of_a_transformer_is_bit_for_bit_that_without(layer, norm_first, dtype):
    torch.manual_seed(0)
    model = Encoder(norm_first).to(dtype)
    plain = copy.deepcopy(model).eval()
    x, padding = (
        torch.randn(4, 6, 3, dtype=dtype),
        torch.arange(6) > torch.tensor([[5], [3], [4], [1]]),
    )
    order = []
    target = model.get_submodule(layer)
    handles = [deepaug.attach(model, layer, Dropout())]
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(model.eval()(x, padding), plain(x, padding))
            model.train()(x, padding)
    hook = target.register_forward_hook(lambda *_: order.append(handles[0].calls))
    handles.append(deepaug.attach(model, layer, Dropout()))
    with torch.no_grad():
        model.eval()(x, padding)
        with pytest.raises(RuntimeError):
            model(x[..., :1], padding)
    model.train()(x, padding)
    assert [handle.calls for handle in handles] == [3, 1] and order[-1] == 3
    hook.remove()
    for handle in handles:
        handle.remove()
    assert not target._forward_hooks and not model._forward_hooks


class Above(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder(norm_first=True)

    def forward(self, x, padding):
        return self.encoder(x, padding).mean(1)


def single():
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=True)
    return layer, 8, lambda model, x, padding: model(x, src_key_padding_mask=padding)


def part():
    return Above(), 3, lambda model, x, padding: model.encoder(x, padding)


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (single, "input"),
        (single, "linear1"),
        (single, "self_attn"),
        (part, "encoder.encoder.layers.0"),
        (part, "encoder.encoder.layers.1.linear1"),
    ],
)
def test_a_layer_with_a_fast_path_evaluates_on_it_however_it_is_called(build, layer):
    torch.manual_seed(0)
    model, width, forward = build()
    plain = copy.deepcopy(model).eval()
    x, padding = torch.randn(4, 6, width), torch.arange(6) > torch.tensor([[5], [3], [4], [1]])
    hooks = [(m._forward_pre_hooks, m._forward_hooks) for m in model.modules()]
    handles = [deepaug.attach(model, layer, Dropout()) for _ in range(2)]
    before = [list(hooks) for pair in hooks for hooks in pair]
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(forward(model.eval(), x, padding), forward(plain, x, padding))
            with pytest.raises(Exception, match=r"must be equal|shape|size"):
                forward(model, x, padding[:, :-1])
            assert [list(hooks) for pair in hooks for hooks in pair] == before
        assert not torch.equal(forward(model.train(), x, padding), forward(plain, x, padding))
    assert [handle.calls for handle in handles] == [1, 1]
    for handle in handles:
        handle.remove()
    with torch.no_grad():
        assert torch.equal(forward(model.eval(), x, padding), forward(plain, x, padding))
    assert not any(any(pair) for pair in hooks) and not _global_forward_hooks


def test_what_was_set_aside_as_it_was_interrupted_and_then_removed_stays_away(monkeypatch):
    model, width, forward = single()
    x, padding = torch.randn(4, 6, width), torch.zeros(4, 6).bool()
    handle = deepaug.attach(model, "linear1", Dropout())

    def interrupt(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), torch.no_grad():
        patch.setattr(model, "forward", interrupt)
        forward(model.eval(), x, padding)
    handle.remove()
    forward(model.train(), x, padding)
    assert handle.calls == 0 and not model.linear1._forward_hooks and not _global_forward_hooks
