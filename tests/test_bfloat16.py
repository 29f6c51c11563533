"""bfloat16 on processors that lack it: the arithmetic of those that have it, in float32."""

import jsonschema
import pytest
import tiny
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from deepaug.pages import page
from deepaug.studies import publish, records
from deepaug.studies.records import Store
from deepaug.studies.study import Entry
from deepaug.studies.workers import compute
from deepaug.training import bfloat16, devices, loop, steps
from deepaug.training.bfloat16 import Emulated, EmulatedPrecision, NativePrecision, OneProduct

LACKING = "processor\t: 0\nmodel name\t: A processor\nflags\t\t: fpu avx2\n"
HAVING = LACKING.replace("avx2", "avx2 avx512_bf16")


@pytest.fixture
def lacking(monkeypatch):
    monkeypatch.setattr(devices, "cpuinfo", lambda: LACKING)


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


PRODUCTS = {
    "linear": lambda x, w, b: F.linear(x, w[:, :, 0, 0], b),
    "matrices": lambda x, w, b: x @ w[:, :, 0, 0].mT,
    "batched matrices": lambda x, w, b: torch.bmm(x[None], w[None, :, :, 0, 0].mT),
    "biased batched matrices": lambda x, w, b: torch.baddbmm(
        b[None, None], x[None], w[None, :, :, 0, 0].mT
    ),
    "convolution": lambda x, w, b: F.conv2d(x.view(1, 6, 5, 4), w[:, :6], b, padding=1),
    "grouped convolution": lambda x, w, b: F.conv2d(x.view(1, 6, 5, 4), w[:, :3], b, groups=2),
}


def factors(change=lambda value: value):
    """x of shape (10, 12), a weight of (8, 12, 3, 3) and a bias of (8,)."""
    return [change(draw(*shape)) for shape in ((10, 12), (8, 12, 3, 3), (8,))]


def passes(product, dtype):
    """What a product gives, and its gradients, for factors of bfloat16 held in that precision."""
    held = [value.bfloat16().to(dtype).requires_grad_() for value in factors()]
    y = product(*held)
    cotangent = torch.linspace(-1, 1, y.numel()).view_as(y).to(torch.bfloat16)
    found = torch.autograd.grad(y, held, cotangent.to(y.dtype), allow_unused=True)
    return [y.detach(), *(gradient for gradient in found if gradient is not None)]


class Seen(TorchDispatchMode):
    """Notes which products run around a block, and in what precision: those of `Emulated`, too."""

    def __init__(self):
        super().__init__()
        self.products = set()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator.overloadpacket in bfloat16.PRODUCTS:
            self.products.add((operator.overloadpacket, args[0].dtype))
        return operator(*args, **kwargs or {})

    @property
    def dtypes(self):
        return {dtype for _, dtype in self.products}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_is_that_of_float32_rounded_once(name):
    with Seen() as seen, Emulated():
        rounded = passes(PRODUCTS[name], torch.bfloat16)
    assert seen.dtypes == {torch.float32}
    for got, exact in zip(rounded, passes(PRODUCTS[name], torch.float32), strict=True):
        assert torch.equal(got, exact.bfloat16())


def test_what_is_written_into_a_tensor_at_hand_is_written_there():
    x = draw(8, 8).bfloat16()
    out = torch.empty_like(x)
    with Emulated():
        torch.mm(x, x, out=out)
    assert torch.equal(out, torch.mm(x, x))


@pytest.mark.parametrize("name", PRODUCTS)
def test_where_nothing_is_rounded_it_is_pytorchs_own(name):
    # Small whole numbers: every sum is a number that bfloat16 has, in whatever order it is taken.
    signs = factors(lambda value: value.sign().bfloat16())
    own = PRODUCTS[name](*signs)
    with Emulated():
        emulated = PRODUCTS[name](*signs)
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
    assert "bfloat16, float32; bfloat16 emulated in 1 of the runs" in told


@pytest.mark.parametrize("value", [False, "bfloat16", 1, None])
def test_a_record_is_emulated_or_does_not_say_so(value):
    record = tiny.record(tiny.trial(precision="bfloat16"), emulated=value)
    with pytest.raises(ValueError, match="'emulated' is"):
        records.check(record)


def test_nothing_but_bfloat16_is_emulated():
    with pytest.raises(ValueError, match="the trial is in float32"):
        records.check(tiny.record(tiny.trial(), emulated=True))


def test_both_passes_and_evaluation_are_emulated(lacking):
    training, aten = steps.prepare(tiny.trial(precision="bfloat16"), "cpu"), torch.ops.aten
    with Seen() as seen:
        training.epoch(0)
    assert seen.dtypes == {torch.float32}
    ran = {operator for operator, _ in seen.products}
    assert {aten.convolution, aten.convolution_backward, aten.mm} <= ran
    with Seen() as seen:
        training.embed(training.task.plain(torch.arange(4)))
    assert seen.products == {(aten.convolution, torch.float32)}


CONVOLUTIONS = {
    "of stage 4": {"stride": 1, "padding": 1},
    "that halves": {"stride": 2, "padding": 1},
    "without padding": {},
    "of uneven sides": {"stride": (1, 2), "padding": (0, 1)},
}
OTHERS = {
    "in groups": lambda x, w: F.conv2d(x, w[:, :2], padding=1, groups=2),
    "dilated": lambda x, w: F.conv2d(x, w, padding=2, dilation=2),
    "transposed": lambda x, w: F.conv_transpose2d(x, w.transpose(0, 1), padding=1),
    "of sequences": lambda x, w: F.conv1d(x[:, :, 0], w[:, :, 0], padding=1),
    "with one number for both sides": lambda x, w: torch.convolution(
        x, w, None, [2], [1], [1], False, [0], 1
    ),
    "of an empty batch": lambda x, w: F.conv2d(x[:0], w, padding=1),
    "of no channels": lambda x, w: F.conv2d(x[:, :0], w[:, :0], padding=1),
    "of many positions": lambda x, w: F.conv2d(x.repeat(1, 1, 2, 1), w, padding=1),
}


class Backward(TorchDispatchMode):
    """Notes for which convolutions a gradient of the weight is asked of PyTorch."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator.overloadpacket is torch.ops.aten.convolution_backward:
            self.asked.append(args[-1][1])
        return operator(*args, **kwargs or {})


def small_numbers(*shape):
    """Whole numbers from -2 to 2, few enough that bfloat16 holds their sums exactly."""
    return draw(*shape).round().clamp(-2, 2).bfloat16()


def gradients(convolution, held, mode):
    held = [value.detach().requires_grad_(value.requires_grad) for value in held]
    y = convolution(*held)
    cotangent = (torch.arange(y.numel()) % 3 - 1).view_as(y).to(y.dtype)
    with mode:
        y.backward(cotangent)
    return [value.grad for value in held]


@pytest.mark.parametrize("trained", [(True, True, True), (False, True, False), (True, False, True)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("settings", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_one_product_is_the_gradient(settings, layout, trained):
    held = [small_numbers(3, 4, 4, 3).to(memory_format=layout), small_numbers(6, 4, 3, 2)]
    held.append(small_numbers(6))
    for value, wanted in zip(held, trained, strict=True):
        value.requires_grad_(wanted)

    def convolution(x, w, b):
        return F.conv2d(x, w, b, **settings)

    with Backward() as backward:
        got = gradients(convolution, held, OneProduct())
    assert backward.asked == [False]
    wide = [value.detach().float().requires_grad_(value.requires_grad) for value in held]
    for found, exact in zip(got, gradients(convolution, wide, Backward()), strict=True):
        assert (found is None) == (exact is None)
        assert exact is None or torch.equal(found.float(), exact)


@pytest.mark.parametrize("name", OTHERS)
def test_other_convolutions_stay_pytorchs_own(name):
    held = [small_numbers(3, 4, 4, 4).requires_grad_(), small_numbers(6, 4, 3, 3).requires_grad_()]
    with Backward() as backward:
        got = gradients(OTHERS[name], held, OneProduct())
    assert backward.asked == [True]
    for found, own in zip(got, gradients(OTHERS[name], held, Backward()), strict=True):
        assert torch.equal(found, own)


def test_gradients_that_are_written_into_tensors_at_hand_are_written_there():
    x, w = small_numbers(3, 4, 2, 2), small_numbers(6, 4, 3, 3)
    asked = [[6], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, True]]
    given = small_numbers(3, 6, 2, 2), x, w, *asked
    own = torch.ops.aten.convolution_backward(*given)
    at_hand = [torch.empty_like(value) for value in (x, w, small_numbers(6))]
    with OneProduct():
        torch.ops.aten.convolution_backward.out(
            *given, **{f"out{number}": out for number, out in enumerate(at_hand)}
        )
    for found, exact in zip(at_hand, own, strict=True):
        assert torch.equal(found, exact)


def test_nothing_but_bfloat16_is_one_product():
    held = [
        value.float().requires_grad_() for value in (small_numbers(3, 4, 2, 2), draw(6, 4, 3, 3))
    ]
    with Backward() as backward:
        gradients(lambda x, w: F.conv2d(x, w, padding=1), held, OneProduct())
    assert backward.asked == [True]


def test_a_trial_trains_so_where_the_processor_has_it(monkeypatch):
    monkeypatch.setattr(devices, "cpuinfo", lambda: HAVING)
    training = steps.prepare(tiny.trial(precision="bfloat16"), "cpu")
    assert isinstance(training.fabric._precision, NativePrecision)
    with Backward() as backward:
        training.epoch(0)
    assert set(backward.asked) == {True, False}  # early stages and the last


def test_a_gpu_has_its_own(lacking):
    assert devices.emulates("bfloat16", "cpu") and not devices.emulates("bfloat16", "cuda")
