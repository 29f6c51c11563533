"""Gradient caching: a second forward pass of the whole model, within a backward pass.

Gao et al. 2021, arXiv 2101.06983. Who caches puts torch's global generator back, as the known
libraries do.
"""

import pytest
import torch
from torch import nn

import deepaug
from deepaug import PCA, Dropout, nt_xent
from deepaug.method import passes

X = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
TRANSFORMS = [Dropout(), Dropout(0.5, "feature"), PCA(), deepaug.GaussianNoise()]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.2), nn.Linear(16, 8))


def cached(model, chunks):
    """The features of all chunks, whose gradient runs each again."""
    states, features = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(torch.get_rng_state())
            features.append(model(chunk))
    features = torch.cat(features).requires_grad_()

    def again(gradient):
        with torch.enable_grad():
            for chunk, state, part in zip(chunks, states, gradient.split(4), strict=True):
                now = torch.get_rng_state()
                torch.set_rng_state(state)
                model(chunk).backward(part)
                torch.set_rng_state(now)

    features.register_hook(again)
    return features


def plainly(model, chunks):
    return torch.cat([model(chunk) for chunk in chunks])


def both(handle, model, run, other):
    """Two views, the second within a context of the handle."""
    first = run(model, X.split(4))
    with other():
        second = run(model, X.flip(0).split(4))
    return nt_xent(first, second)


def seeded(handle, model, run):
    handle.seed(5)
    return both(handle, model, run, handle.repeated if handle.calls else handle.paused)


def stopping(handle, model, run):
    first = run(model, X.split(4))
    handle.stop_gradient = True
    second = run(model, X.flip(0).split(4))
    handle.stop_gradient = False
    return nt_xent(first, second)


def after_one_pause(handle, model, run):
    with handle.paused():
        model(X)
    return nt_xent(run(model, X.split(4)), run(model, X.flip(0).split(4)))


USED = {
    "mask": after_one_pause,
    "groups": after_one_pause,
    "paused": lambda handle, model, run: both(handle, model, run, handle.paused),
    "repeated": lambda handle, model, run: both(handle, model, run, handle.repeated),
    "seed": seeded,
    "stop_gradient": stopping,
    "one pause before": after_one_pause,
}


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
@pytest.mark.parametrize("used", USED)
def test_gradients_are_those_without(used, transform):
    found = []
    for run in (plainly, cached):
        model = network()
        rows = {"mask": lambda x: x[:, 0] > -0.5, "groups": lambda x: torch.arange(len(x)) // 2}
        options = {used: rows[used]} if used in rows else {}
        handle = deepaug.attach(model, "0", transform, **options)
        for _ in range(2):  # what the first step kept is forgotten
            torch.manual_seed(1)
            model.zero_grad()
            USED[used](handle, model, run).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= parameter.grad
        found.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*found)


def by_hand(model, first, second, mode, times=1):
    """Features of `first`, whose gradient runs the model on `second`."""
    with mode():
        for _ in range(times):
            features = model(first)
    features = features.detach().requires_grad_()

    @torch.enable_grad()
    def again(gradient):
        model(second).backward(gradient)

    features.register_hook(again)
    features.sum().backward()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_a_second_pass_by_hand_is_found_too(mode):
    model, drawn = nn.Sequential(network()[0], nn.Identity()), []
    handle = deepaug.attach(model, "0", Dropout())
    handle.seed(5)
    model[1].register_forward_hook(lambda module, args, output: drawn.append(output.detach()))
    by_hand(model, X, X, mode)
    assert torch.equal(*drawn) and model[0].weight.grad.any()


@pytest.mark.parametrize("times", [1, 2])
def test_a_second_pass_that_cannot_be_told_is_refused_in_one_line(times):
    model = network()
    deepaug.attach(model, "0", Dropout()).seed(5)
    second = X.clone() if times == 1 else X
    told = f"as {'no' if times == 1 else times} earlier ones had these very tensors; .* exactly one"
    with pytest.raises(RuntimeError, match=told) as error:
        by_hand(model, X, second, torch.no_grad, times)
    assert "\n" not in str(error.value)


def test_nothing_is_kept_beyond_a_step():
    model = network()
    handle = deepaug.attach(model, "0", Dropout())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        for chunk in X.split(4):
            model(chunk).sum().backward()
        optimizer.step()
    assert len(handle._acting.passes._kept) == 4


def test_a_step_is_seen_where_the_first_parameters_learn_nothing():
    model = network()
    handle = deepaug.attach(model, "0", Dropout(), stop_gradient=True)
    handle.seed(1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(5):
        for chunk in X.split(4):
            model(chunk).sum().backward()
        optimizer.step()
    assert [len(states) for states in handle._acting.passes._kept.values()] == [1, 1, 1, 1]


def test_what_is_kept_is_bounded_where_no_step_is_seen(monkeypatch):
    """Some optimisers write to `.data`, which counts no version."""
    monkeypatch.setattr(passes, "MOST", 6)
    monkeypatch.setattr(passes, "MOST_ALIKE", 3)
    model = network()
    handle = deepaug.attach(model, "0", Dropout())
    handle.seed(1)
    others = [X.clone() for _ in range(8)]
    for x in (*others, *others[:5] * 5):
        model(x)
    assert len(kept := handle._acting.passes._kept) == 6
    assert max(map(len, kept.values())) == 3
