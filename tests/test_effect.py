"""An attached transform without effect is refused or told; a layer may go by any of its names."""

import warnings

import pytest
import torch
from networks import SelfAttention
from torch import nn

import deepaug
from deepaug import Dropout
from deepaug.method.layers import below


class Holding(nn.Module):
    """Containers, which are never called, and layers that are passed by."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(3, 3), nn.ModuleList([nn.Linear(3, 3)])])
        self.parts = nn.ModuleDict({"a": nn.Linear(3, 3)})
        self.empty, self.group, self.unused = nn.ModuleList(), nn.Module(), nn.Linear(3, 3)
        self.group.inner = nn.Linear(3, 3)
        self.weights = nn.ParameterList([torch.ones(3)])

    def forward(self, x):
        x = self.parts["a"](self.blocks[1][0](self.blocks[0](x))) * self.weights[0]
        return nn.functional.linear(self.group.inner(x), self.unused.weight)


class Recurrent(nn.Module):
    def __init__(self, used):
        super().__init__()
        self.lstm, self.used = nn.LSTM(3, 4, batch_first=True), used

    def forward(self, x):
        sequence, (hidden, _) = self.lstm(x)
        parts = {"sequence": [sequence], "h_n": [hidden], "both": [sequence, hidden]}
        return sum(part.sum() for part in parts[self.used])


class Two(nn.Module):
    """One module under two names."""

    def __init__(self):
        super().__init__()
        self.a, self.enc = nn.Linear(3, 3), nn.Module()
        self.enc.lin = self.a

    def forward(self, x):
        return self.a(x)


X = torch.randn(4, 3)


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ("blocks", "'blocks' is a ModuleList, .* target what it holds: 'blocks.0', 'blocks.1.0'$"),
        ("blocks.1", "target what it holds: 'blocks.1.0'$"),
        ("parts", "is a ModuleDict, .* target what it holds: 'parts.a'$"),
        ("empty", "target what it holds: nothing that is called$"),
        ("group", "is a Module, .* target what it holds: 'group.inner'$"),
        ("weights", "is a ParameterList, .* nothing that is called$"),
    ],
)
def test_what_is_never_called_is_refused_with_the_names_inside(layer, told):
    with pytest.raises(ValueError, match=told):
        deepaug.attach(Holding(), layer, Dropout())


def test_containers_of_a_traced_graph_are_refused():
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 3)), nn.Linear(3, 3))
    graphs = torch.fx.symbolic_trace(model), torch.export.export(model, (X,)).module()
    for graph, told in zip(graphs, ("'0.0'", "nothing that is called"), strict=True):
        with pytest.raises(ValueError, match=f"target what it holds: {told}$"):
            deepaug.attach(graph, "0", Dropout())


def traced():
    return torch.jit.trace(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), X)


@pytest.mark.parametrize(
    ("model", "layer", "x"),
    [
        (Holding(), "unused", X),
        (SelfAttention(), "attention.out_proj", torch.randn(2, 5, 3)),
        (traced(), "0", X),
    ],
    ids=["passed by", "used by its weights", "traced"],
)
def test_what_did_not_run_is_told_once(model, layer, x):
    handle = deepaug.attach(model.train(), layer, Dropout())
    model.eval()(x)
    with handle.paused():
        model.train()(x)
    told = rf"^the target '{layer}' \(\w+\) did not run in a training forward pass of the model"
    with pytest.warns(UserWarning, match=told):
        model(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(x)
    assert handle.calls == 0


@pytest.mark.parametrize("failing", [False, True])
def test_what_has_run_or_could_not_is_not_told(failing):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    deepaug.attach(model, "1", Dropout())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if failing:
            with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
                model(torch.ones(2, 99))
        model(X)


@pytest.mark.parametrize("used", ["sequence", "h_n", "both"])
def test_a_tensor_that_nothing_learns_from_is_told_once(used):
    model = Recurrent(used)
    deepaug.attach(model, "lstm", Dropout())
    x = torch.randn(2, 5, 3)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):
            (model(x) + model(x)).backward()
    assert [("not h_n" in str(one.message)) for one in told] == [True] * (used == "h_n")


@pytest.mark.parametrize("layer", ["a", "enc.lin"])
def test_a_shared_module_goes_by_any_of_its_names(layer):
    model = Two()
    with deepaug.attach(model, layer, Dropout()) as handle:
        model(X)
    assert handle.calls == 1 and repr(layer) in repr(handle)
    assert len(below(model, layer, X)) == 2
