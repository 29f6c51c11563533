"""`Handle.seed`: a transform that draws from a stream of its own."""

import copy

import pytest
import torch
from torch import nn

import deepaug
from deepaug import PCA, Dropout, GaussianNoise
from deepaug.method.transforms import Transform

X = torch.arange(48.0).sin().view(8, 6)
RANDOM = [Dropout(), Dropout(granularity="feature"), PCA(), GaussianNoise()]
each_transform = pytest.mark.parametrize("transform", RANDOM, ids=repr)


class Watched(nn.Module):
    """Dropout of the network's own; keeps what it drew."""

    def __init__(self):
        super().__init__()
        self.drawn = []

    def forward(self, x):
        if self.training:
            self.drawn.append(torch.rand(x.shape))
            x = x * (self.drawn[-1] > 0.2)
        return x


def network():
    """Own dropout before and after the target, "1"; the same weights every time."""
    torch.manual_seed(0)
    return nn.Sequential(Watched(), nn.Linear(6, 16), Watched(), nn.Linear(16, 2))


def plain():
    """Nothing random but what is attached; the target is "0"."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16))


def seeded(model=None, transform=None, seed=5):
    """A model and a handle with a stream of its own."""
    model = model or plain()
    handle = deepaug.attach(model, "0", transform or Dropout())
    handle.seed(seed)
    return model, handle


def steps(model, count=3):
    """What a model makes of one batch, step by step."""
    return torch.stack([model(X).detach() for _ in range(count)])


def own_draws(attached=None, seed=5):
    """The network's own draws in three training steps."""
    model = network()
    if attached is not None:
        handle = deepaug.attach(model, "1", attached)
        if seed is not None:
            handle.seed(seed)
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(X).square().sum().backward()
        optimizer.step()
    return [torch.stack(module.drawn) for module in (model[0], model[2])]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@each_transform
def test_the_networks_own_dropout_is_the_same_with_the_transform_and_without(transform):
    assert same(own_draws(transform), own_draws())
    assert same(own_draws(transform, seed=6), own_draws())
    assert not same(own_draws(transform, seed=None), own_draws())  # without a stream of its own


@each_transform
def test_the_global_generator_is_left_alone(transform):
    model, _ = seeded(transform=transform)
    state = torch.get_rng_state()
    steps(model)
    assert torch.equal(torch.get_rng_state(), state)


def test_seeding_draws_nothing_from_the_global_generator():
    handle = deepaug.attach(plain(), "0", Dropout())
    state = torch.get_rng_state()
    handle.seed(7)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_global_generator_is_left_alone_by_a_transform_that_fails():
    class Failing(Transform):
        def transform(self, x, mask, groups):
            torch.rand(3)
            raise ArithmeticError

    model, _ = seeded(transform=Failing())
    state = torch.get_rng_state()
    with pytest.raises(ArithmeticError):
        model(X)
    assert torch.equal(torch.get_rng_state(), state)


@each_transform
def test_the_same_seed_gives_the_same_draws_whatever_was_drawn_before(transform):
    model, handle = seeded(transform=transform)
    first = steps(model)
    handle.seed(5)
    torch.manual_seed(99)
    assert torch.equal(steps(model), first)
    assert torch.equal(steps(seeded(transform=transform)[0]), first)
    handle.seed(6)
    assert not torch.equal(steps(model), first)


def test_the_draws_are_those_of_torch_from_that_seed():
    """So that a stream can be followed by hand."""
    model, _ = seeded(seed=5)
    got = steps(model)
    model.eval()
    torch.manual_seed(5)
    assert torch.equal(got, torch.stack([Dropout()(model(X)).detach() for _ in range(3)]))


@each_transform
def test_two_calls_draw_different_masks(transform):
    model, _ = seeded(transform=transform)
    assert len(steps(model, 4).flatten(1).unique(dim=0)) == 4


def test_unseeded_calls_draw_from_the_global_generator():
    model = plain()
    deepaug.attach(model, "0", Dropout())
    torch.manual_seed(1)
    first = steps(model)
    assert not torch.equal(steps(model), first)
    torch.manual_seed(1)
    assert torch.equal(steps(model), first)


def test_a_large_seed_is_taken():
    seed = 2**63 - 1  # the largest that `deepaug.training.trial.derive` gives
    assert torch.equal(steps(seeded(seed=seed)[0]), steps(seeded(seed=seed)[0]))


# Repeating, pausing


@each_transform
def test_repeated_repeats_the_last_draw_and_the_stream_goes_on(transform):
    undisturbed = steps(seeded(transform=transform)[0], 3)
    model, handle = seeded(transform=transform)
    got = []
    for _ in range(3):
        got.append(model(X))
        with handle.repeated():
            twice = model(X), model(X)
            model(X[:5])  # a smaller batch draws less
        assert all(torch.equal(again, got[-1]) for again in twice)
    assert torch.equal(torch.stack(got), undisturbed)


def test_repeated_leaves_the_global_generator_alone():
    model, handle = seeded()
    model(X)
    state = torch.get_rng_state()
    with handle.repeated():
        model(X)
    assert torch.equal(torch.get_rng_state(), state)


def test_seeding_anew_ends_what_came_before():
    """As each epoch of a training does."""
    first = steps(seeded()[0], 2)
    model, handle = seeded(seed=8)
    for _ in range(2):
        model(X)
        with handle.repeated():
            model(X)
    handle.seed(5)
    again = model(X).detach()
    with handle.repeated():
        assert torch.equal(model(X), again)
    assert torch.equal(torch.stack([again, model(X).detach()]), first)


@pytest.mark.parametrize("how", ["paused", "eval", "p = 0"])
def test_a_transform_that_does_not_act_draws_nothing(how):
    expected = steps(seeded()[0], 2)
    model, handle = seeded()
    got = [model(X).detach()]
    if how == "paused":
        with handle.paused():
            model(X)
    elif how == "eval":
        model.eval()(X)
        model.train()
    else:
        handle.transform.p = 0.0
        model(X)
        handle.transform.p = 0.5
    got.append(model(X).detach())
    assert torch.equal(torch.stack(got), expected)


# Several handles, copies, removal


def test_two_handles_have_streams_of_their_own():
    def outputs(also):
        model = nn.Sequential(*plain(), nn.Identity())
        handle = deepaug.attach(model, "0", Dropout())
        handle.seed(5)
        if also:
            deepaug.attach(model, "1", Dropout()).seed(6)
        seen = []
        model[0].register_forward_hook(lambda module, args, output: seen.append(output.detach()))
        steps(model)
        return torch.stack(seen)

    assert torch.equal(outputs(also=True), outputs(also=False))


@pytest.mark.parametrize("done", [0, 2])
def test_a_copy_goes_on_with_the_stream_by_itself(done):
    model, _ = seeded()
    for _ in range(done):
        model(X)
    twin = copy.deepcopy(model)
    ahead = steps(twin)
    assert torch.equal(steps(model), ahead)
    assert not torch.equal(steps(twin), ahead)


def test_remove_leaves_the_plain_model():
    model, handle = seeded()
    steps(model)
    handle.remove()
    expected = model.eval()(X)
    state = torch.get_rng_state()
    assert torch.equal(model.train()(X), expected)
    assert torch.equal(torch.get_rng_state(), state)
    handle.seed(5)
    assert torch.equal(model(X), expected)


def test_compiled_models_draw_from_it_too():
    expected = steps(seeded()[0])
    model, _ = seeded()
    assert torch.equal(steps(torch.compile(model, backend="eager")), expected)
