"""bfloat16 on processors that lack it: the arithmetic of those that have it, in float32."""

import jsonschema
import pytest
import tiny
import torch
from torch.nn import functional as F

from deepaug.pages import page
from deepaug.studies import publish, records
from deepaug.studies.records import Store
from deepaug.studies.study import Entry
from deepaug.studies.workers import compute
from deepaug.training import devices, loop, steps
from deepaug.training.bfloat16 import Emulated, EmulatedPrecision

LACKING = "processor\t: 0\nmodel name\t: A processor\nflags\t\t: fpu avx2\n"
HAVING = LACKING.replace("avx2", "avx2 avx512_bf16")


@pytest.fixture
def lacking(monkeypatch):
    monkeypatch.setattr(devices, "cpuinfo", lambda: LACKING)


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


PRODUCTS = {
    "linear": lambda x, w: F.linear(x, w[:, :, 0, 0], w[:, 0, 0, 0]),
    "matrices": lambda x, w: x @ w[:, :, 0, 0].mT,
    "batched matrices": lambda x, w: torch.bmm(x[None], w[None, :, :, 0, 0].mT),
    "convolution": lambda x, w: F.conv2d(x.view(1, 6, 5, 4), w[:, :6], w[:, 0, 0, 0], padding=1),
    "grouped convolution": lambda x, w: F.conv2d(x.view(1, 6, 5, 4), w[:, :3], groups=2),
}


def passes(product, x, weight, dtype):
    """What a product gives, and its gradients by both factors, for factors in that precision."""
    x, weight = (value.to(dtype).requires_grad_() for value in (x, weight))
    y = product(x, weight)
    cotangent = torch.linspace(-1, 1, y.numel()).view_as(y).to(torch.bfloat16)
    return y.detach(), *torch.autograd.grad(y, (x, weight), cotangent.to(y.dtype))


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_is_that_of_float32_rounded_once(name):
    x, weight = draw(10, 12).bfloat16(), draw(8, 12, 3, 3).bfloat16()
    with Emulated():
        rounded = passes(PRODUCTS[name], x, weight, torch.bfloat16)
    for got, exact in zip(rounded, passes(PRODUCTS[name], x, weight, torch.float32), strict=True):
        assert got.dtype == torch.bfloat16
        # Gradients of a factor that is used twice are summed in bfloat16, in either way.
        torch.testing.assert_close(got.float(), exact, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("name", PRODUCTS)
def test_where_nothing_is_rounded_it_is_pytorchs_own(name):
    # Small whole numbers: every sum is a number that bfloat16 has, in whatever order it is taken.
    x, weight = draw(10, 12).sign(), draw(8, 12, 3, 3).sign()
    own = PRODUCTS[name](x.bfloat16(), weight.bfloat16())
    with Emulated():
        emulated = PRODUCTS[name](x.bfloat16(), weight.bfloat16())
    assert torch.equal(own, emulated)


def test_what_is_no_product_of_bfloat16_stays_as_it_is():
    x, weight = draw(10, 12), draw(8, 12)
    with Emulated():
        assert torch.equal(F.linear(x, weight), x @ weight.mT)
        assert (
            F.relu(x.bfloat16()).dtype == F.layer_norm(x.bfloat16(), (12,)).dtype == torch.bfloat16
        )
        with pytest.raises(RuntimeError, match="dtype"):
            x @ weight.mT.bfloat16()  # as without it


@pytest.mark.parametrize(
    ("cpuinfo", "precision", "emulated"),
    [(LACKING, "bfloat16", True), (HAVING, "bfloat16", False), (LACKING, "float32", False)],
    ids=["lacking", "having", "not asked for"],
)
def test_the_processor_decides(monkeypatch, cpuinfo, precision, emulated):
    monkeypatch.setattr(devices, "cpuinfo", lambda: cpuinfo)
    fabric = steps.fabric_on("cpu", precision=precision)
    assert isinstance(fabric._precision, EmulatedPrecision) is emulated
    assert (
        fabric._precision.precision == {"bfloat16": "bf16-mixed", "float32": "32-true"}[precision]
    )


def first_step(precision):
    """Features of a plain batch before any step, and the first step's gradient."""
    training = steps.prepare(tiny.trial(precision=precision), "cpu")
    index = torch.arange(32)
    features = training.embed(training.task.plain(index))
    training.network.train()
    training.fabric.backward(training._contrastive(index, *training.task.views(0)(index)))
    gradients = [parameter.grad.flatten() for parameter in training.network.parameters()]
    return features, torch.cat(gradients)


def test_a_trial_trains_as_with_pytorchs_own(monkeypatch):
    found = {}
    for name, cpuinfo in {"own": HAVING, "emulated": LACKING, "float32": LACKING}.items():
        monkeypatch.setattr(devices, "cpuinfo", lambda text=cpuinfo: text)
        found[name] = first_step("float32" if name == "float32" else "bfloat16")
    for own, emulated, exact in zip(found["own"], found["emulated"], found["float32"], strict=True):
        rounding = (own - exact).norm()
        assert rounding > 0 and (emulated - own).norm() < rounding / 5


def entry(trial):
    return Entry("quick", "", "contrastive", "baseline", trial)


def test_its_record_says_so(lacking, tmp_path):
    trials = [tiny.trial(epochs=1, precision=precision) for precision in ("bfloat16", "float32")]
    for trial in trials:
        record = compute(trial, Store(tmp_path, "tiny"), lambda trial, **_: loop.run(trial, "cpu"))
        assert record["status"] == "ok"
    read = [records.read_record(tmp_path / "tiny" / f"{trial.key}.json") for trial in trials]
    assert [record.get("emulated") for record in read] == [True, None]
    table = publish.table(tmp_path)
    assert dict(zip(table["key"], table["emulated"], strict=True)) == {
        trial.key: trial.precision == "bfloat16" for trial in trials
    }
    for record in read:
        jsonschema.validate(record, publish.schema())
    told = page.conditions(
        [(entry(trial), record) for trial, record in zip(trials, read, strict=True)]
    )
    assert "bfloat16, float32 (1 of the runs emulated in float32)" in told


@pytest.mark.parametrize("value", [False, "bfloat16", 1, None])
def test_a_record_is_emulated_or_does_not_say_so(value):
    record = tiny.record(tiny.trial(precision="bfloat16"), emulated=value)
    with pytest.raises(ValueError, match="'emulated' is"):
        records.check(record)


def test_nothing_but_bfloat16_is_emulated():
    with pytest.raises(ValueError, match="the trial in float32"):
        records.check(tiny.record(tiny.trial(), emulated=True))


def test_both_passes_and_evaluation_are_emulated(lacking, monkeypatch):
    seen = []
    own = Emulated.__torch_dispatch__

    def spy(self, operator, types, args=(), kwargs=None):
        seen.append((operator.overloadpacket, getattr(args[0], "dtype", None) if args else None))
        return own(self, operator, types, args, kwargs)

    monkeypatch.setattr(Emulated, "__torch_dispatch__", spy)
    training = steps.prepare(tiny.trial(precision="bfloat16"), "cpu")
    training.epoch(0)
    aten = torch.ops.aten
    assert (aten.convolution, torch.bfloat16) in seen
    assert (aten.convolution_backward, torch.bfloat16) in seen
    seen.clear()
    training.embed(training.task.plain(torch.arange(4)))
    assert (aten.convolution, torch.bfloat16) in seen
    assert (aten.convolution_backward, torch.bfloat16) not in seen
