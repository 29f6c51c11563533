"""Attached transforms under autocast, compilation, copying, saving and checkpointing."""

import copy
import io

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import deepaug
from deepaug import PCA, Dropout, GaussianNoise

TRANSFORMS = [Dropout(), Dropout(0.5, "feature"), PCA(), PCA(0.5, "truncate"), GaussianNoise()]


def mlp():
    return nn.Sequential(nn.Linear(3, 8), nn.Sequential(nn.Linear(8, 8)), nn.Linear(8, 2))


@pytest.fixture
def model():
    return mlp()


@pytest.fixture
def x():
    return torch.randn(4, 3)


@pytest.fixture(params=TRANSFORMS, ids=repr)
def transform(request):
    return request.param


class TestAutocast:
    def test_leaves_the_dtype_alone_and_computes_in_float32(self, model, x, transform):
        seen = []
        model[1].register_forward_hook(lambda *args: seen.append(args[-1]))
        handle = deepaug.attach(model, "1", transform)
        model[1].register_forward_hook(lambda *args: seen.append(args[-1]))
        with torch.autocast("cpu", torch.bfloat16):
            torch.manual_seed(1)
            out = model(x)
        before, after = seen
        assert handle.calls == 1
        assert before.dtype == after.dtype == out.dtype == torch.bfloat16
        torch.manual_seed(1)
        assert torch.equal(after, transform(before))

    def test_gradients_are_finite(self, model, x, transform):
        deepaug.attach(model, "1", transform)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(x).float().square().sum()
        loss.backward()
        assert all(p.grad.isfinite().all() for p in model.parameters())
        assert model[0].weight.grad.any()


@pytest.fixture
def compiler():
    """Without what other tests compiled: past its limit the compiler would leave all eager."""
    torch.compiler.reset()


def compile_whole(model):
    return torch.compile(model, backend="aot_eager")


def compile_in_place(model):
    model.compile(backend="aot_eager")
    return model


def compile_the_layer(model):
    model[1] = torch.compile(model[1], backend="aot_eager")
    return model


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("compile_", [compile_whole, compile_in_place, compile_the_layer])
@pytest.mark.parametrize("layer", ["1", "input"])
class TestCompile:
    """Hooks that come after compilation can be ignored silently; these tell by the values too."""

    @pytest.mark.parametrize("when", ["before", "after", "after a compiled forward"])
    def test_acts_whenever_attached(self, compile_, layer, when, x):
        model = mlp()
        plain = copy.deepcopy(model)
        if when == "before":
            handle = deepaug.attach(model, layer, Dropout())
        compiled = compile_(model)
        if when == "after a compiled forward":
            assert torch.equal(compiled(x), plain(x))
        if when != "before":
            handle = deepaug.attach(compiled, layer, Dropout())
        first = compiled(x)
        assert handle.calls == 1
        assert not torch.equal(first, plain(x)) and not torch.equal(compiled(x), first)

    def test_pauses_repeats_and_stops_in_eval_and_when_removed(self, compile_, layer, x):
        model = mlp()
        plain = copy.deepcopy(model)
        compiled = compile_(model)
        handle = deepaug.attach(compiled, layer, Dropout())
        first = compiled(x)
        with handle.repeated():
            assert torch.equal(compiled(x), first)
        with handle.paused():
            assert torch.equal(compiled(x), plain(x))
        assert torch.equal(compiled.eval()(x), plain(x))
        compiled.train()
        assert not torch.equal(compiled(x), plain(x))
        handle.remove()
        assert torch.equal(compiled(x), plain(x))
        assert handle.calls == 3

    def test_trains(self, compile_, layer, x):
        model = mlp()
        plain = copy.deepcopy(model)
        deepaug.attach(plain, layer, PCA())
        compiled = compile_(model)
        deepaug.attach(compiled, layer, PCA())
        for net in (plain, compiled):
            torch.manual_seed(1)
            net(x).square().sum().backward()
        for expected, got in zip(plain.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(got.grad, expected.grad)


@pytest.mark.usefixtures("compiler")
def test_attaching_to_the_model_that_was_compiled_acts_in_the_compiled_one(model, x):
    compiled = torch.compile(model, backend="aot_eager")
    compiled(x)
    with deepaug.attach(model, "1", Dropout()) as handle:
        compiled(x)
    assert handle.calls == 1


@pytest.mark.usefixtures("compiler")
def test_mask_is_computed_anew_in_every_compiled_forward(model):
    """Not frozen at compilation."""
    compiled = torch.compile(model, backend="aot_eager")
    tokens = torch.randn(4, 6, 3)
    deepaug.attach(compiled, "1", Dropout(0.9), mask=lambda x: x[..., 0] < 9)
    plain = compiled.eval()(tokens)
    compiled.train()
    for length in (6, 2, 4):
        padded = tokens.clone()
        padded[:, length:, 0] = 10
        same = (compiled(padded) == plain).all(-1).all(0)
        assert same.tolist() == [False] * length + [False] * (6 - length)


def by_deepcopy(pair):
    return copy.deepcopy(pair)


def by_saving(pair):
    file = io.BytesIO()
    torch.save(pair, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [by_deepcopy, by_saving])
@pytest.mark.parametrize("layer", ["1", "input"])
class TestCopy:
    def test_carries_its_own_handle(self, copied, layer, model, x):
        handle = deepaug.attach(model, layer, Dropout())
        twin, twins = copied((model, handle))
        assert twins is not handle and twins.model is twin
        twin(x)
        assert (handle.calls, twins.calls) == (0, 1)

    def test_of_the_model_alone_acts_too(self, copied, layer, model, x):
        deepaug.attach(model, layer, Dropout())
        twin = copied(model)
        assert not torch.equal(twin(x), twin(x))

    def test_is_paused_and_put_in_eval_by_itself(self, copied, layer, model, x):
        handle = deepaug.attach(model, layer, Dropout())
        twin, twins = copied((model, handle))
        with twins.paused():
            model(x), twin(x)
        twin.eval()
        model(x), twin(x)
        assert (handle.calls, twins.calls) == (2, 0)

    @pytest.mark.parametrize("removed", [0, 1])
    def test_removing_one_leaves_the_other(self, copied, layer, removed, model, x):
        pairs = [(model, deepaug.attach(model, layer, Dropout()))]
        pairs.append(copied(pairs[0]))
        pairs[removed][1].remove()
        for net, _ in pairs:
            net(x)
        assert [handle.calls for _, handle in pairs] == [1 - (removed == i) for i in range(2)]
        assert torch.equal(pairs[removed][0](x), pairs[removed][0](x))


def two_views(handle, model, x, how):
    first = model(x)
    with how():
        return first * model(2 * x)


def seeded(handle, model, x):
    handle.seed(5)
    return model(x) * model(2 * x)


def stopped(handle, model, x):
    handle.stop_gradient = False
    first = model(x)
    handle.stop_gradient = True
    return first * model(2 * x)


# Ways to call a model that a second forward pass has to find as they were.
USED = {
    "mask": lambda handle, model, x: model(x),
    "paused": lambda handle, model, x: two_views(handle, model, x, handle.paused),
    "repeated": lambda handle, model, x: two_views(handle, model, x, handle.repeated),
    "seed": seeded,
    "stop_gradient": stopped,
}


def test_state_dict_is_that_of_the_plain_model(model):
    names = list(model.state_dict())
    deepaug.attach(model, "1", Dropout())
    assert list(model.state_dict()) == names


@pytest.mark.parametrize("use_reentrant", [True, False])
class TestCheckpoint:
    @staticmethod
    def gradients(model, run, x):
        x = x.clone().requires_grad_()
        torch.manual_seed(1)
        run(model, x).square().sum().backward()
        grads = [x.grad, *(p.grad for p in model.parameters())]
        model.zero_grad(set_to_none=True)
        return grads

    def checkpointed(self, use_reentrant):
        return lambda model, x: checkpoint(model, x, use_reentrant=use_reentrant)

    def test_gradients_equal_those_without(self, use_reentrant, model, x, transform):
        deepaug.attach(model, "1", transform)
        expected = self.gradients(model, lambda model, x: model(x), x)
        got = self.gradients(model, self.checkpointed(use_reentrant), x)
        torch.testing.assert_close(got, expected)

    def test_gradients_of_two_views_equal_those_without(self, use_reentrant, model, x):
        """In the backward pass both views are recomputed, each from its own draw."""
        deepaug.attach(model, "1", Dropout())
        one = self.checkpointed(use_reentrant)
        expected = self.gradients(model, lambda model, x: model(x) * model(2 * x), x)
        got = self.gradients(model, lambda model, x: one(model, x) * one(model, 2 * x), x)
        torch.testing.assert_close(got, expected)

    def test_stop_gradient_on_the_layer_stays(self, use_reentrant, model, x):
        deepaug.attach(model, "1", Dropout(), stop_gradient=True)
        x.requires_grad_()
        checkpoint(model, x, use_reentrant=use_reentrant).sum().backward()
        assert model[0].weight.grad is None and model[2].weight.grad.any()

    @pytest.mark.parametrize("used", USED)
    @pytest.mark.parametrize("alone", [True, False])
    def test_what_the_layer_alone_cannot_know(self, use_reentrant, used, alone, model, x):
        """Run again by itself it is refused; the whole model is run again as it was."""
        rows = {"mask": lambda x: torch.arange(len(x)) < 3} if used == "mask" else {}
        handle = deepaug.attach(model, "1", Dropout(), **rows)
        inner = model[1]

        def whole(x):
            if not alone:
                return checkpoint(model, x, use_reentrant=use_reentrant)
            hidden = checkpoint(inner, model[0](x), use_reentrant=use_reentrant)
            return model[2](hidden)

        if alone and used == "mask":
            model.forward = lambda x: model[2](checkpoint(inner, model[0](x), use_reentrant=False))
            whole = model
        if not alone:
            expected = self.gradients(model, lambda m, x: USED[used](handle, m, x), x)
            got = self.gradients(model, lambda _, x: USED[used](handle, whole, x), x)
            torch.testing.assert_close(got, expected)
            return
        out = USED[used](handle, whole, x.clone().requires_grad_())
        with pytest.raises(RuntimeError, match="with activation checkpointing of the targeted"):
            out.sum().backward()


class Deaf(deepaug.Transform):
    def transform(self, x, mask, groups):
        return x * torch.nan


@pytest.fixture
def group(tmp_path):
    """A group of this process alone."""
    meeting = (tmp_path / "meeting").as_uri()
    dist.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch without torch.distributed")
@pytest.mark.parametrize("layer", ["module", "module.1", "input"])
def test_what_ddp_wraps_can_be_copied_as_for_a_moving_average(group, layer, model, x):
    parallel = DistributedDataParallel(model)
    handle = deepaug.attach(parallel, layer, Dropout())
    assert not torch.equal(parallel(x), parallel(x)) and handle.calls == 2
    average, part = copy.deepcopy(parallel.module), copy.deepcopy(parallel.module[1])
    twin, twins = copy.deepcopy((parallel, handle))
    assert not torch.equal(twin(x), twin(x)) and (handle.calls, twins.calls) == (2, 4)
    plain = model.eval()
    assert torch.equal(average.eval()(x), plain(x))
    assert torch.equal(part.eval()(x[:, :1].expand(-1, 8)), plain[1](x[:, :1].expand(-1, 8)))
    handle.transform = Deaf()
    model.train()
    assert not parallel(x).isfinite().any() and handle.calls == 3
