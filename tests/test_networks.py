"""The method on networks of many libraries and with every transform."""

import copy

import pytest
import torch
from networks import NETWORKS, PACKED, first_tensor, network, run, values

import deepaug

TRANSFORMS = [
    deepaug.Dropout(0.5),
    deepaug.Dropout(0.5, "feature"),
    deepaug.PCA(0.5),
    deepaug.PCA(0.5, "truncate"),
    deepaug.GaussianNoise(0.5),
]


@pytest.fixture(params=NETWORKS)
def net(request):
    return network(request.param)


@pytest.fixture(params=TRANSFORMS, ids=repr)
def transform(request):
    return request.param


def attach(net, transform):
    return deepaug.attach(net.model, net.target, transform, **net.options)


def record_layers(model):
    """Name -> tensor that the layer returned, filled in execution order as the model runs."""
    outputs = {}

    def keep(name):
        def hook(module, args, output):
            if (tensor := first_tensor(output)) is not None:
                # Cloned, as the next layer may act in place; modules used twice: the first time.
                outputs.setdefault(name, tensor.detach().clone())

        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(keep(name))
    return outputs


def test_acts_once_in_training(net, transform):
    plain = run(copy.deepcopy(net.model), net.batch)
    handle = attach(net, transform)
    transformed = run(net.model, net.batch)
    assert handle.calls == 1
    assert transformed.shape == plain.shape and transformed.dtype == plain.dtype
    assert not torch.equal(transformed, plain)


def test_eval_is_the_plain_model_bit_for_bit(net, transform):
    plain = copy.deepcopy(net.model).eval()
    handle = attach(net, transform)
    assert torch.equal(run(net.model.eval(), net.batch), run(plain, net.batch))
    assert handle.calls == 0


def test_removal_leaves_the_plain_model_bit_for_bit(net, transform):
    plain = copy.deepcopy(net.model)
    with attach(net, transform) as handle:
        run(net.model, net.batch)
    assert torch.equal(run(net.model, net.batch), run(plain, net.batch))
    assert handle.calls == 1


def test_gradients_are_finite_and_reach_the_first_layer(net, transform):
    attach(net, transform)
    run(net.model, net.batch).square().sum().backward()
    gradients = [p.grad for p in net.model.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients)
    assert next(net.model.parameters()).grad.any()


def test_layers_before_the_target_are_untouched(net, transform):
    plain = copy.deepcopy(net.model)
    attach(net, transform)
    expected, got = record_layers(plain), record_layers(net.model)
    run(plain, net.batch)
    run(net.model, net.batch)
    assert list(got) == list(expected)
    before = list(got)[: list(got).index(net.target)]
    assert before and all(torch.equal(got[name], expected[name]) for name in before)
    assert not torch.equal(got[net.target], expected[net.target])


@pytest.mark.parametrize("name", PACKED)
def test_structure_keeps_its_type_and_all_but_the_first_tensor(name):
    net = network(name)
    plain = copy.deepcopy(net.model)
    attach(net, deepaug.Dropout(0.5))
    run(plain, net.batch)
    run(net.model, net.batch)
    before, after = plain.packed, net.model.packed
    assert type(after) is type(before)
    assert not torch.equal(first_tensor(after), first_tensor(before))
    extras = [[v for v in values(output) if not torch.is_tensor(v)] for output in (before, after)]
    assert extras[0] == extras[1]


def test_padding_comes_back_untouched_in_bert():
    net = network("bert")
    plain = copy.deepcopy(net.model)
    attach(net, deepaug.PCA(0.5))
    expected, got = record_layers(plain), record_layers(net.model)
    run(plain, net.batch)
    run(net.model, net.batch)
    counts = net.batch["attention_mask"].bool()
    before, after = expected[net.target], got[net.target]
    assert torch.equal(after[~counts], before[~counts])
    assert (after[counts] != before[counts]).all()


def test_nodes_of_one_graph_share_a_mask_in_gin():
    net = network("gin")
    attach(net, deepaug.Dropout(0.5, "feature"))
    got = record_layers(net.model)
    run(net.model, net.batch)
    dropped = got[net.target] == 0
    masks = [dropped[net.batch["batch"] == graph] for graph in range(3)]
    assert all((mask == mask[0]).all() for mask in masks)
    assert not torch.equal(masks[0][0], masks[1][0])
