"""Choosing a layer: by how like it is to all others, on any network, leaving no trace."""

import math

import pytest
import torch
from networks import NETWORKS, network
from torch import nn

import deepaug
from deepaug.method import cka
from deepaug.method.selection import dose
from deepaug.method.transforms import Dropout


def chain(*parts):
    return nn.Sequential(*parts)


def plain(features=8):
    return chain(nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 4))


def batches(count=1, size=64, features=8):
    return list(torch.randn(count, size, features, generator=torch.Generator().manual_seed(1)))


class Side(nn.Module):
    """Layers side by side, each with what it is given of the input."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        return sum(part(x).sum() for part in self.parts)


class Columns(nn.Module):
    def __init__(self, *which):
        super().__init__()
        self.which = list(which)

    def forward(self, x):
        return x[:, self.which]


class Constant(nn.Module):
    def forward(self, x):
        return torch.full_like(x, 0.1)


# The score


def test_the_layer_that_is_most_like_all_others_is_chosen():
    """One has a part of each of the others, which have nothing in common."""
    model = Side(Columns(0, 1), Columns(2, 3), Columns(0, 1, 2, 3, 4, 5), Columns(4, 5))
    found = deepaug.select_layer(model, batches(size=400))
    assert found.layer == "parts.2" and list(found.scores) == [f"parts.{i}" for i in range(4)]
    # Linear CKA of one with three blocks of independent columns, and of the others with it alone.
    expected = [math.sqrt(1 / 3) * share for share in (1 / 3, 1 / 3, 1, 1 / 3)]
    assert list(found.scores.values()) == pytest.approx(expected, abs=0.05)


def test_independent_layers_score_nothing_where_a_biased_estimator_sees_likeness():
    model = Side(*(Columns(*range(8 * i, 8 * i + 8)) for i in range(4)))
    scores = [
        list(deepaug.select_layer(model, [torch.randn(24, 32)]).scores.values()) for _ in range(100)
    ]
    mean = torch.tensor(scores).mean()
    assert abs(mean) < 0.02  # the biased one is above 0.2 here


def test_scores_are_the_means_of_pairwise_cka():
    model, (x,) = plain(), batches()
    found = deepaug.select_layer(model, [x])
    outputs = [x := part(x) for part in model]
    for i, one in enumerate(outputs):
        others = [deepaug.cka(one, other) for other in outputs]
        assert found.cka[i].tolist() == pytest.approx(others, rel=1e-9)
        others.pop(i)
        assert found.scores[str(i)] == pytest.approx(sum(others) / len(others))
    assert found.layer == max(found.scores, key=found.scores.get)
    assert torch.equal(found.cka, found.cka.mT)


def test_one_batch_and_many_agree_and_a_small_rest_is_left_out():
    model, samples = plain(), torch.cat(batches(8))
    whole = deepaug.select_layer(model, [samples])
    parts = deepaug.select_layer(model, samples.split(64))
    torch.testing.assert_close(parts.cka, whole.cka, atol=0.05, rtol=0)
    with_rest = deepaug.select_layer(model, [*samples.split(64), samples[:3]])
    assert torch.equal(with_rest.cka, parts.cka)
    # Over batches it is the estimates of HSIC that are averaged, by their samples, not the ratios.
    pieces = samples[:100], samples[100:164]
    total = 0
    for piece in pieces:
        outputs = [piece := part(piece) for part in model]
        total = total + len(piece) * cka.hsic([of.detach() for of in outputs])
    own = total.diagonal().sqrt()
    found = deepaug.select_layer(model, iter(pieces)).cka
    torch.testing.assert_close(found, total / own / own[:, None])


def test_layers_whose_output_is_constant_score_nothing():
    model = chain(nn.Linear(8, 8), nn.Tanh(), Constant(), nn.Linear(8, 8))
    found = deepaug.select_layer(model, batches())
    assert found.scores["2"] == found.scores["3"] == 0 < found.scores["0"]
    assert not found.cka[2:].any() and found.layer == "0"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_activations_are_compared_in_double(dtype):
    model, x = plain(), batches()
    expected = deepaug.select_layer(model, x)
    with torch.autocast("cpu", dtype):
        assert model(x[0]).dtype == dtype
        found = deepaug.select_layer(model, x)
    torch.testing.assert_close(found.cka, expected.cka, atol=0.02, rtol=0)
    halves = deepaug.select_layer(plain().to(dtype), [of.to(dtype) for of in x])
    assert halves.cka.dtype == torch.float64 and halves.cka.isfinite().all()


def test_a_layer_is_seen_as_it_was_before_the_next_worked_in_place():
    parts = nn.Linear(8, 16), nn.Linear(16, 4)
    inplace, apart = (chain(parts[0], nn.ReLU(inplace=i), parts[1]) for i in (True, False))
    one, other = (deepaug.select_layer(of, batches(), ["0", "1", "2"]) for of in (inplace, apart))
    assert torch.equal(one.cka, other.cka) and one.cka[0, 1] < 0.999


# On what it runs


def _resnet():
    from torchvision.models import resnet18

    return resnet18(num_classes=2), torch.randn(8, 3, 32, 32), {}


def _vit():
    built = network("vit")
    return built.model, torch.randn(8, 3, 16, 16), {}


def _bert():
    """Sentences of several lengths: what stands where there is no token is nothing."""
    built, n = network("bert"), 8
    mask = (torch.arange(6) < torch.tensor([6, 4, 2, 5, 3, 6, 1, 4])[:, None]).long()
    batch = {"input_ids": torch.randint(0, 30, (n, 6)), "attention_mask": mask}

    def features(outputs, batch):
        kept = outputs * batch["attention_mask"][..., None] if outputs.ndim == 3 else outputs
        return kept.flatten(1)

    return built.model, batch, {"features": features}


def _gcn():
    """Nodes of a graph are the samples."""
    from torch_geometric.nn.models import GCN

    ring = torch.stack([torch.arange(40), torch.arange(40).roll(1)])
    return GCN(5, 16, 3), {"x": torch.randn(40, 5), "edge_index": ring}, {}


def _own():
    return plain(), torch.randn(32, 8), {}


@pytest.mark.parametrize("build", [_resnet, _vit, _bert, _gcn, _own])
def test_it_runs_on_any_network_and_names_a_layer_that_attach_takes(build):
    model, batch, options = build()
    found = deepaug.select_layer(model.train(), [batch, batch], **options)
    listed = [name for name in deepaug.layers(model, batch) if name != "input"]
    assert list(found.scores) == listed and found.layer in listed and len(listed) > 2
    assert all(-0.2 < score <= 1 for score in found.scores.values())
    torch.testing.assert_close(found.cka.diagonal(), torch.ones(len(listed)).double())
    call = model if isinstance(batch, torch.Tensor) else lambda b: model(**b)
    with deepaug.attach(model, found.layer, Dropout(0.5)) as handle:
        call(batch)
    assert handle.calls == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_may_return_what_attach_takes(name):
    built = network(name)
    features = (lambda outputs, batch: outputs[:4].flatten(1)) if name == "gin" else None
    found = deepaug.select_layer(built.model, [built.batch], features=features)
    assert built.target in found.scores


def test_padding_tells_nothing_where_features_leave_it_out():
    model, batch, options = _bert()
    other = {**batch, "input_ids": batch["input_ids"].where(batch["attention_mask"] > 0, 1)}
    assert not torch.equal(batch["input_ids"], other["input_ids"])
    one, two = (deepaug.select_layer(model, [of], **options).cka for of in (batch, other))
    torch.testing.assert_close(one, two, atol=1e-5, rtol=0)
    one, two = (deepaug.select_layer(model, [of]).cka for of in (batch, other))
    assert (one - two).abs().max() > 1e-3


def test_batches_go_in_as_forward_says_and_from_a_generator():
    model, x = plain(), batches(3)
    labelled = ({"pixels": of, "labels": None} for of in x)
    found = deepaug.select_layer(model, labelled, forward=lambda m, b: m(b["pixels"]))
    assert torch.equal(found.cka, deepaug.select_layer(model, x).cka)
    assert torch.equal(found.cka, deepaug.select_layer(model, [(of,) for of in x]).cka)


def test_forward_may_run_a_part_of_the_model_alone():
    model, x = plain(), batches()
    found = deepaug.select_layer(model, x, forward=lambda m, batch: m[2](m[1](m[0](batch))))
    expected = deepaug.select_layer(model[:3], x)
    assert list(found.scores) == ["0", "1", "2"] and found.layer == expected.layer
    assert torch.equal(found.cka, expected.cka)


def test_a_layer_goes_by_any_of_its_names():
    model = chain(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    model.add_module("again", model[2])
    model.forward = lambda x: model[2](model[1](model[0](x)))
    one, other = (deepaug.select_layer(model, batches(), ["0", n]) for n in ("2", "again"))
    assert torch.equal(one.cka, other.cka) and list(other.scores) == ["0", "again"]


def test_a_compiled_network_is_looked_into():
    model, x = plain(), batches()
    compiled = torch.compile(model, backend="eager")
    compiled(x[0])  # hooks that come after compilation are not seen by what was compiled
    assert torch.equal(deepaug.select_layer(compiled, x).cka, deepaug.select_layer(model, x).cka)


def test_some_layers_may_be_chosen_from():
    model = plain()
    for names in (["4", "0"], ("4", "0"), iter(["4", "0"]), ["4", "0", "4"]):
        assert list(deepaug.select_layer(model, batches(), names).scores) == ["4", "0"]


# It leaves no trace


class Drawing(nn.Module):
    """Draws random numbers, in evaluation too."""

    def forward(self, x):
        return x + torch.randn_like(x)


def trace(model):
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    values = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [m.training for m in model.modules()]
    gradients = [p.grad is None and p.requires_grad for p in model.parameters()]
    return hooks, flags, gradients, values, torch.get_rng_state()


def failing(model, batch):
    model(batch)
    raise OSError("the forward pass failed")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, None),
        ({"names": ["0", "3"]}, None),
        ({"forward": failing}, OSError),
        ({"forward": failing, "names": ["0", "3"]}, OSError),
        ({"features": lambda outputs, batch: 1 / 0}, ZeroDivisionError),
        ({"names": ["0", "none"]}, ValueError),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_flags_weights_hooks_and_random_numbers_are_as_before(options, error):
    model = chain(nn.Linear(8, 16), nn.BatchNorm1d(16), Drawing(), nn.Dropout(0.5)).train()
    model[1].eval()
    before = trace(model)
    if error:
        with pytest.raises(error):
            deepaug.select_layer(model, batches(2), **options)
    else:
        deepaug.select_layer(model, batches(2), **options)
    for one, other in zip(before, trace(model), strict=True):
        torch.testing.assert_close(other, one, atol=0, rtol=0)


def test_transforms_that_are_attached_do_not_act():
    model, x = plain().train(), batches()
    expected = deepaug.select_layer(model, x).cka
    with deepaug.attach(model, "1", Dropout(0.9)) as handle:
        assert torch.equal(deepaug.select_layer(model, x).cka, expected)
        assert handle.calls == 0 and model.training


# Bad input


class Silent(nn.Module):
    """Has a layer that does not run, and one that returns no tensor."""

    def __init__(self):
        super().__init__()
        self.first, self.unused, self.last = nn.Linear(8, 4), nn.Linear(8, 4), nn.Linear(4, 4)
        self.text = Text()

    def forward(self, x):
        self.text(x)
        return self.last(self.first(x))


class Text(nn.Module):
    def forward(self, x):
        return "text"


INFINITE = [torch.full((8, 8), math.inf)]
ROWS = {"features": lambda outputs, batch: outputs.flatten()}
WHOLE = {"features": lambda outputs, batch: outputs.long()}
LISTED = {"features": lambda outputs, batch: outputs.tolist()}


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        ([], {}, "no batch was given"),
        (iter(()), {}, "no batch was given"),
        ({"x": batches()[0]}, {}, "a single batch; give a list of them"),
        (batches()[0], {}, "a single batch; give a list of them"),
        (batches(size=3), {}, "no batch has 4 samples that differ"),
        ([torch.ones(8, 8)], {}, "no batch has 4 samples that differ"),
        (INFINITE, {}, "layer 'first' has activations that are not finite"),
        (batches(), {"names": ["first"]}, "two layers or more, not from .'first'."),
        (batches(), {"names": ["first", "first"]}, "two layers or more, not from .'first'."),
        (batches(), {"names": []}, "two layers or more"),
        (batches(), {"names": ["first", "lsat"]}, "unknown layer of Silent: 'lsat'; nearest: 'las"),
        (batches(), {"names": ["first", "input"]}, "unknown layer of Silent: 'input'"),
        (batches(), {"names": ["first", ""]}, "unknown layer of Silent: ''"),
        (batches(), {"names": ["first", 3]}, "unknown layer of Silent: 3"),
        (batches(), {"names": ["first", "unused"]}, "layer 'unused' did not run"),
        (batches(), {"names": ["text", "first"]}, "layer 'text' did not run, or returned no te"),
        (batches(), ROWS, r"rows of layer 'first' are torch.float32 of shape \(256,\)"),
        (batches(), WHOLE, "rows of layer 'first' are torch.int64"),
        (batches(), LISTED, "features= returned list of layer 'first', no tensor"),
        (batches(), {"names": "first"}, "two layers or more, not from .'first'."),
        (batches(), {"forward": lambda model, batch: None}, "two layers or more, not from .."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_told_in_one_line(given, options, told):
    with pytest.raises(ValueError, match=told) as caught:
        deepaug.select_layer(Silent(), given, **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_layers_of_unlike_samples_are_told():
    """Nodes and graphs of one batch, say."""
    model = chain(nn.Linear(8, 4), Columns(0, 1), nn.Flatten(0), nn.Unflatten(0, (-1, 4)))
    with pytest.raises(ValueError, match=r"unlike samples: \{'0': 64, '3': 32\}"):
        deepaug.select_layer(model, batches(), ["0", "3"])


def test_a_network_of_one_layer_leaves_no_choice():
    with pytest.raises(ValueError, match="two layers or more"):
        deepaug.select_layer(nn.Linear(8, 4), batches())


# How far a transform moves samples


class Functional(nn.Module):
    """Dropout that asks for the model's own flag, as many a GCN has it."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x):
        x = nn.functional.dropout(self.first(x), 0.9, training=self.training)
        return self.last(x)


def test_nothing_but_the_transform_moves_a_sample():
    for training in (True, False):
        model, (x,) = Functional().train(training), batches()
        moved = dose(model, x, "first", Dropout(0.0))
        torch.testing.assert_close(moved, torch.ones(64))
        assert dose(model, x, "first", Dropout(0.5)).mean() < 0.99
        assert model.training == training and not moved.requires_grad


@pytest.mark.parametrize("layer", ["input", "0", "4"])
def test_the_cosine_is_to_the_plain_pass(layer):
    model, (x,) = plain(), batches()
    with torch.random.fork_rng(devices=[]):
        moved = dose(model, x, layer, Dropout(0.5))
    with torch.no_grad(), deepaug.attach(model.train(), layer, Dropout(0.5)):
        changed = model(x)
    expected = nn.functional.cosine_similarity(model(x), changed)
    torch.testing.assert_close(moved, expected.detach())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, None),
        ({"forward": failing}, OSError),
        ({"layer": "none"}, ValueError),
        ({"transform": nn.Dropout()}, ValueError),
    ],
)
def test_dose_leaves_flags_weights_and_hooks_as_they_were(options, error):
    model = chain(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.5)).train()
    model[1].eval()
    before, given = trace(model), {"layer": "0", "transform": Dropout(0.5)} | options
    if error:
        with pytest.raises(error):
            dose(model, batches()[0], **given)
    else:
        dose(model, batches()[0], **given)
    for one, other in zip(before[:-1], trace(model)[:-1], strict=True):  # masks are drawn anew
        torch.testing.assert_close(other, one, atol=0, rtol=0)


def test_transforms_that_are_attached_do_not_add_to_the_dose():
    model, (x,) = plain().train(), batches()
    with deepaug.attach(model, "1", Dropout(0.9)) as handle:
        torch.testing.assert_close(dose(model, x, "3", Dropout(0.0)), torch.ones(64))
        assert handle.calls == 0


@pytest.mark.parametrize("wrap", [lambda y: (y, 1), lambda y: {"hidden": y}, lambda y: [y]])
def test_dose_takes_the_first_tensor_of_an_output(wrap):
    model, (x,) = plain(), batches()
    torch.manual_seed(0)
    expected = dose(model, x, "1", Dropout(0.5))
    torch.manual_seed(0)
    found = dose(model, x, "1", Dropout(0.5), forward=lambda model, batch: wrap(model(batch)))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("wrap", [lambda y: "text", lambda y: None, lambda y: y.sum(1)])
def test_dose_needs_features(wrap):
    with pytest.raises(ValueError, match=r"needed: features \(n, f\)"):
        dose(plain(), batches()[0], "1", Dropout(), forward=lambda model, b: wrap(model(b)))


def test_dose_draws_other_masks_each_time():
    model, (x,) = plain(), batches()
    assert not torch.equal(*(dose(model, x, "1", Dropout(0.5)) for _ in range(2)))


def test_dose_of_a_compiled_network_is_that_of_the_network():
    model, (x,) = plain(), batches()
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    found = []
    for of in (model, compiled):
        torch.manual_seed(0)
        found.append(dose(of, x, "1", Dropout(0.5)))
    torch.testing.assert_close(*found)
    assert found[0].mean() < 0.99


class Sequences(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        torch.manual_seed(0)
        self.inward, self.gru = nn.Linear(4, 6), nn.GRU(6, 6, batch_first=batch_first)
        layer = nn.TransformerEncoderLayer(6, 2, 12, 0.0, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x):
        return self.encoder(self.gru(self.inward(x))[0])


def test_samples_of_sequences_are_found_where_they_lie():
    names, x = ["gru", "encoder.layers.0", "encoder.layers.1"], torch.randn(8, 5, 4)
    expected = deepaug.select_layer(Sequences(True), [x], names)
    found = deepaug.select_layer(Sequences(False), [x.transpose(0, 1)], names)
    assert torch.allclose(found.cka, expected.cka, atol=1e-4) and found.layer == expected.layer
    with pytest.raises(ValueError, match=r"^whether the samples of layer 'inward' .* features=$"):
        deepaug.select_layer(Sequences(False), [x.transpose(0, 1)])
