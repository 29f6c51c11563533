"""What a first run on a GPU would want to know; DEEPAUG_TEST_DEVICE=cpu rehearses it without one.

Every data set is made here or lies in the package, so that a bare node can run it:
`pytest -m gpu tests/test_gpu.py -rs -s`.
"""

import contextlib
import importlib.util
import math
import os
import shutil
import warnings

import pytest
import tiny
import torch
from torch import nn

import deepaug
from deepaug import PCA, Dropout, GaussianNoise
from deepaug.cli import main
from deepaug.method import transforms
from deepaug.studies import arms, catalogue, records, sweep
from deepaug.training import devices, evaluation, loop, networks, registry
from deepaug.training import steps as training_steps
from deepaug.training.contrastive import nt_xent
from deepaug.training.trial import Trial

DEVICE = torch.device(os.environ.get("DEEPAUG_TEST_DEVICE", "cuda"))
CPU = torch.device("cpu")
CUDA = DEVICE.type == "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        CUDA and not torch.cuda.is_available(),
        reason="no CUDA device; to rehearse on the CPU: DEEPAUG_TEST_DEVICE=cpu",
    ),
]

MAKERS = {
    "element dropout": lambda: Dropout(0.5),
    "feature dropout": lambda: Dropout(0.5, "feature"),
    "PCA drop": lambda: PCA(0.5),
    "PCA truncate": lambda: PCA(0.5, "truncate"),
    "noise": lambda: GaussianNoise(0.5),
    "centred noise": lambda: GaussianNoise(0.5, centred=True),
}
each_transform = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
# All but elements of dropout, which CUDA draws itself.
DRAWN_BY_TORCH = {name: make for name, make in MAKERS.items() if name != "element dropout"}


def activations(kind: str, dtype=torch.float32) -> tuple[torch.Tensor, dict]:
    """An activation on the CPU, of features that vary by their own scale, and what goes with it.

    Directions of clearly different variance: where two are equal, two devices take others.
    """
    generator = torch.Generator().manual_seed(1)
    f = 16
    scale = 1.4 ** torch.arange(f)
    shapes = {"rows": (40, f), "few rows": (6, f), "images": (6, 5, 5, f), "tokens": (6, 7, f)}
    shape = shapes.get(kind.split(",")[0], (40, f))
    x = torch.randn(*shape, generator=generator, dtype=torch.float64) * scale + 1
    rows = {}
    if kind == "tokens, masked":
        rows["mask"] = torch.arange(7) < torch.tensor([[7], [3], [1], [4], [6], [2]])
    if kind == "nodes, grouped":
        rows["groups"] = torch.arange(5).repeat_interleave(torch.tensor([2, 9, 13, 1, 15]))
    if kind.startswith("images"):
        x = x.movedim(-1, 1).contiguous()
    if kind.endswith("channels-last"):
        x = x.to(memory_format=torch.channels_last)
    return x.to(dtype), rows


KINDS = [
    "rows",
    "few rows",
    "images",
    "images, channels-last",
    "tokens",
    "tokens, masked",
    "nodes, grouped",
]


@pytest.fixture
def frozen(monkeypatch):
    """Every device is given the same random numbers, drawn on the CPU."""
    rand, randn = torch.rand, torch.randn

    def seeded():
        return torch.Generator().manual_seed(3)

    def uniform(*size, device=None, **options):
        return rand(*size, generator=seeded(), **options).to(device or CPU)

    def normal(like, dtype=None):
        return randn(like.shape, generator=seeded(), dtype=dtype or like.dtype).to(like.device)

    monkeypatch.setattr(transforms.torch, "rand", uniform)
    monkeypatch.setattr(transforms.torch, "randn_like", normal)


def transformed(transform, x, rows, device):
    """Output and gradient, on the CPU, of a transform of `x` on a device."""
    x = x.detach().to(device).requires_grad_()
    out = transform(x, **{name: tensor.to(device) for name, tensor in rows.items()})
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape).to(device)
    (out * weights).sum().backward()
    assert out.device == x.device and out.dtype == x.dtype and out.stride() == x.stride()
    return out.detach().cpu(), x.grad.cpu()


# Transforms


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("make", DRAWN_BY_TORCH.values(), ids=DRAWN_BY_TORCH)
def test_values_and_gradients_are_the_cpus_at_equal_draws(make, kind, dtype, frozen):
    x, rows = activations(kind, dtype)
    expected = transformed(make(), x, rows, CPU)
    found = transformed(make(), x, rows, DEVICE)
    size = x.abs().max().item()
    for here, there in zip(found, expected, strict=True):
        if dtype == torch.float64:
            # GaussianNoise takes its norm in float32.
            torch.testing.assert_close(here, there, rtol=1e-5, atol=1e-6 * size)
        else:
            torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-4 * size)


@pytest.mark.parametrize("kind", KINDS)
def test_elements_that_survive_dropout_are_scaled_and_so_is_their_gradient(kind):
    x, rows = activations(kind)
    out, gradient = transformed(Dropout(0.75), x, rows, DEVICE)
    counts = torch.ones_like(x, dtype=torch.bool)
    if "mask" in rows:
        counts &= rows["mask"].unsqueeze(-1)
    kept = (out != 0) & counts
    weights = torch.linspace(-1, 1, out.numel()).view(out.shape)
    torch.testing.assert_close(out[kept], 4 * x[kept], rtol=1e-4, atol=0)
    torch.testing.assert_close(gradient, weights * torch.where(counts, 4.0 * kept, 1.0))
    assert torch.equal(out[~counts], x[~counts])
    assert kept.any() and (counts & ~kept).any()


@each_transform
def test_expectation_and_share_are_what_p_says(make):
    x, _ = activations("rows")
    x = x.to(DEVICE)
    transform = make()
    total = sum(transform(x) for _ in range(400)) / 400
    if "truncate" in repr(transform):
        assert torch.equal(transform(x), transform(x))
        return
    # At p = 0.5 a draw moves x by about its own norm; the mean of 400 by a twentieth.
    error = (total - x).norm() / x.norm()
    assert 0.01 < error.item() < 0.12
    if isinstance(transform, Dropout):
        lost = (transform(torch.ones(400, 400, device=DEVICE)) == 0).float().mean().item()
        assert lost == pytest.approx(0.5, abs=0.01)


@each_transform
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_finite_and_as_it_came(make, dtype):
    x, _ = activations("images, channels-last")
    x = (x / x.abs().max()).to(DEVICE, dtype)
    out = make()(x)
    assert out.dtype == dtype and out.stride() == x.stride() and out.isfinite().all()
    assert not torch.equal(out, x)


@pytest.mark.parametrize("mode", ["drop", "truncate"])
@pytest.mark.parametrize("kind", ["rows", "few rows"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_neither_raises_nor_spreads(mode, kind, value):
    """Solvers of a GPU may return such numbers where the CPU's raise."""
    x, _ = activations(kind)
    x.view(-1)[3] = value
    x = x.to(DEVICE)
    assert torch.equal(PCA(0.5, mode)(x).nan_to_num(7.0), x.nan_to_num(7.0))


@pytest.mark.parametrize("mode", ["drop", "truncate"])
def test_gradient_is_finite_where_eigenvalues_repeat(mode):
    x = torch.cat([torch.eye(4), -torch.eye(4)]).to(DEVICE).requires_grad_()
    PCA(0.5, mode)(x).square().sum().backward()
    assert x.grad.isfinite().all()


# Handles: streams and repeated masks


def global_state() -> torch.Tensor:
    """Of the generator that transforms on the device draw from."""
    return torch.cuda.get_rng_state(DEVICE) if CUDA else torch.get_rng_state()


def batch() -> torch.Tensor:
    return torch.arange(512.0).sin().view(32, 16).to(DEVICE)


RANDOM = {name: make for name, make in MAKERS.items() if name != "PCA truncate"}
each_random = pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)


def attached(make, seed=None):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 24)).to(DEVICE)
    handle = deepaug.attach(model, "0", make())
    if seed is not None:
        handle.seed(seed)
    return model, handle


def steps(model, count=3):
    return torch.stack([model(batch()).detach() for _ in range(count)])


@each_random
def test_an_own_stream_is_independent_of_the_global_one_and_leaves_it_alone(make):
    model, handle = attached(make, seed=5)
    state = global_state()
    first = steps(model)
    assert torch.equal(global_state(), state)
    torch.manual_seed(99)
    handle.seed(5)
    assert torch.equal(steps(model), first)
    assert torch.equal(steps(attached(make, seed=5)[0]), first)
    assert not torch.equal(steps(attached(make, seed=6)[0]), first)
    assert len(first.flatten(1).unique(dim=0)) == 3  # and goes on from call to call


@each_random
def test_two_streams_do_not_disturb_each_other(make):
    alone = steps(attached(make, seed=5)[0])
    one, _ = attached(make, seed=5)
    other, _ = attached(make, seed=6)
    mixed = []
    for _ in range(3):
        other(batch())
        mixed.append(one(batch()).detach())
    assert torch.equal(torch.stack(mixed), alone)


@each_random
def test_the_networks_own_dropout_is_the_same_with_the_transform_and_without(make):
    def own(attach):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(16, 24), nn.Dropout(0.5)).to(DEVICE)
        if attach:
            deepaug.attach(model, "0", make()).seed(5)
        torch.manual_seed(1)
        return torch.stack([model(batch()) == 0 for _ in range(3)])

    with_transform, without = own(True), own(False)
    if not isinstance(make(), Dropout):  # whose zeros cannot be told from the network's own
        assert torch.equal(with_transform, without)
    assert (with_transform | ~without).all()


@each_random
def test_a_repeated_draw_is_the_last_one_and_leaves_no_trace(make):
    for seed in (None, 5):
        model, handle = attached(make, seed)
        torch.manual_seed(1)
        first = model(batch())
        state = global_state()
        with handle.repeated():
            assert torch.equal(model(batch()), first) and torch.equal(model(batch()), first)
        assert torch.equal(global_state(), state)
        after = model(batch())
        handle.remove()
        model, handle = attached(make, seed)
        torch.manual_seed(1)
        model(batch())
        assert torch.equal(model(batch()), after) and not torch.equal(after, first)


@each_random
def test_fork_rng_and_manual_seed_rule_a_transform_without_an_own_stream(make):
    model, _ = attached(make)
    torch.manual_seed(1)
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if CUDA else []):
        forked = model(batch())
    assert torch.equal(model(batch()), forked)
    torch.manual_seed(1)
    assert torch.equal(model(batch()), forked)


def test_pausing_and_evaluation_leave_the_model_plain():
    model, handle = attached(MAKERS["PCA drop"])
    plain = nn.Sequential(nn.Linear(16, 24)).to(DEVICE)
    plain.load_state_dict(model.state_dict())
    with handle.paused():
        assert torch.equal(model(batch()), plain(batch()))
    assert torch.equal(model.eval()(batch()), plain(batch()))


# Autocast and compilation


class Small(nn.Module):
    """Images (n, 3, 8, 8) to (n, 5)."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.out = nn.Linear(16, 5)

    def forward(self, x):
        return self.out(self.norm(self.conv(x)).relu().mean((2, 3)))


def small():
    torch.manual_seed(0)
    images = torch.randn(12, 3, 8, 8).to(DEVICE, memory_format=torch.channels_last)
    return Small().to(DEVICE, memory_format=torch.channels_last), images


@each_transform
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("target", ["conv", "norm"])
def test_under_autocast_the_target_keeps_its_type_and_gradients_are_finite(make, dtype, target):
    model, images = small()
    plain, seen = [], []
    watch = model.get_submodule(target).register_forward_hook(lambda *a: plain.append(a[-1].dtype))
    with deepaug.attach(model, target, make()) as handle, torch.autocast(DEVICE.type, dtype):
        late = model.get_submodule(target).register_forward_hook(lambda *a: seen.append(a[-1]))
        model(images).float().square().mean().backward()
        assert handle.calls == 1
        late.remove()
    watch.remove()
    assert seen[0].dtype == plain[0] == dtype
    assert all(p.grad.isfinite().all() for p in model.parameters())


def has_compiler() -> bool:
    if CUDA and importlib.util.find_spec("triton") is None:
        return False
    return any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang")))


@pytest.mark.skipif(not has_compiler(), reason="no compiler for torch.compile")
def test_a_compiled_model_is_transformed_as_an_eager_one():
    model, images = small()
    with deepaug.attach(model, "conv", PCA(0.5)) as handle:
        handle.seed(5)
        expected = model(images)
        expected.square().sum().backward()
        gradients = [p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        compiled = torch.compile(model)
        handle.seed(5)
        out = compiled(images)
        out.square().sum().backward()
        assert handle.calls == 2
        torch.testing.assert_close(out, expected, rtol=1e-2, atol=1e-2)
        # cuDNN may take other algorithms, of lower precision, from call to call.
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            near = 0.02 * gradient.abs().max().item() + 1e-3
            torch.testing.assert_close(parameter.grad, gradient, rtol=0.02, atol=near)
        assert not torch.allclose(compiled(images), out)
    torch._dynamo.reset()


# Losses and evaluators


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 2e4])
def test_the_loss_is_taken_in_float32_whatever_the_projections_are(dtype, scale):
    """In float16 the squared norm of such projections is 0 or infinite."""
    generator = torch.Generator().manual_seed(0)
    pair = [(scale * torch.rand(16, 128, generator=generator)).to(dtype) for _ in range(2)]
    expected = nt_xent(*(z.double() for z in pair), 0.1)
    z1, z2 = (z.to(DEVICE).requires_grad_() for z in pair)
    with torch.autocast(DEVICE.type, torch.float16 if dtype == torch.float16 else torch.bfloat16):
        loss = nt_xent(z1, z2, 0.1)
    loss.backward()
    assert loss.dtype == torch.float32 and loss.device.type == DEVICE.type
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    for z in (z1, z2):
        assert z.grad.isfinite().all()


def test_equal_projections_and_zeros_have_a_finite_loss():
    z = torch.zeros(8, 4, device=DEVICE, dtype=torch.float16, requires_grad=True)
    loss = nt_xent(z, z, 0.05)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(15), rel=1e-5) and z.grad.isfinite().all()


def clusters(n: int, seed: int):
    """Features of three classes that overlap."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    return torch.eye(3, 8)[labels] + 0.5 * torch.randn(n, 8, generator=generator), labels


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_neighbours_and_probe_find_on_the_device_what_they_find_on_the_cpu(dtype):
    parts = [tuple(clusters(n, n)) for n in (300, 90, 120)]

    def evaluated(device):
        bank, validation, test = ((x.to(device, dtype), y.to(device)) for x, y in parts)
        return [
            evaluation.knn_accuracy(*bank, *test, classes=3, k=6),
            *evaluation.linear_probe(*bank, {"validation": validation, "test": test}).values(),
        ]

    found = evaluated(DEVICE)
    assert found == pytest.approx(evaluated(CPU), abs=2) and min(found) > 60


def test_cka_is_the_cpus():
    x, y = clusters(60, 1)[0], clusters(60, 2)[0]
    found = deepaug.cka(x.to(DEVICE), y.to(DEVICE))
    assert found == pytest.approx(deepaug.cka(x, y), abs=1e-6)
    assert deepaug.cka(x.to(DEVICE), x.to(DEVICE)) == pytest.approx(1)


# Trials

WORDS = {"sea": "boat wave shore sail tide deck", "sky": "cloud wind star bird moon sun"}


def documents(folder, each=30, words=40):
    """Text files by class, whose words are the class's own but for a number of their own."""
    for name, vocabulary in WORDS.items():
        own = vocabulary.split()
        (folder / name).mkdir(parents=True)
        for n in range(each):
            chosen = [own[(n * 7 + i * (1 + n % 3)) % len(own)] for i in range(words)]
            (folder / name / f"{n}.txt").write_text(f"{name}{n} " + " ".join(chosen))
    return folder


def sentences(path, each=60):
    """A sentence and its label a line."""
    lines = []
    for name, vocabulary in WORDS.items():
        own = vocabulary.split()
        for n in range(each):
            chosen = [own[(n * 5 + i * (1 + n % 4)) % len(own)] for i in range(4 + n % 5)]
            lines.append(f"{name}{n} {' '.join(chosen)}\t{name}")
    path.write_text("\n".join(lines) + "\n")
    return path


# What trains in a second on one core; "data" is made below where it is not in the package.
SETTINGS = {
    "vision": {
        "encoder": "resnet10",
        "width": 8,
        "view_size": 8,
        "batch_size": 32,
        "learning_rate": 0.05,
    },
    "text": {
        "encoder": "bert3",
        "width": 32,
        "views": "deletion",
        "view_size": 12,
        "batch_size": 32,
        "optimizer": "adamw",
        "learning_rate": 1e-3,
    },
    "text in crops": {
        "encoder": "bert3",
        "width": 32,
        "views": "crops-deletion",
        "view_size": 12,
        "batch_size": 16,
        "optimizer": "adamw",
        "schedule": "warmup-cosine",
        "learning_rate": 1e-3,
    },
    "nodes": {
        "data": "Cora",
        "encoder": "gcn3",
        "width": 16,
        "batch_size": 256,
        "optimizer": "adam",
        "learning_rate": 1e-3,
    },
    "graphs": {
        "data": "MUTAG",
        "held_out": 0.2,
        "encoder": "gin3",
        "width": 8,
        "pooling": "sum",
        "batch_size": 64,
        "optimizer": "adam",
        "learning_rate": 1e-3,
    },
}
each_case = pytest.mark.parametrize("case", SETTINGS)
ARM = {"transform": "dropout", "strength": 0.5}
OBJECTIVES = {
    "contrastive, PCA in one view": {**ARM, "transform": "pca", "transformed": "one"},
    "contrastive, detached, bfloat16": {**ARM, "stop_gradient": "both", "precision": "bfloat16"},
    "supervised, features dropped": {
        **ARM,
        "transform": "dropout-feature",
        "objective": "supervised",
    },
    "untrained": {"objective": "untrained", "epochs": 0},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Data sets by case, and a `$DEEPAUG_DATA` without any."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPAUG_DATA", str(folder / "root"))
        yield {
            "vision": str(tiny.images(folder / "images", each=100, size=(16, 16))),
            "text": str(sentences(folder / "sentences.tsv")),
            "text in crops": str(documents(folder / "documents")),
        }


def trial_of(case: str, data: dict[str, str], **changes) -> Trial:
    settings = {
        "modality": case.split()[0],
        "data": data.get(case),
        "epochs": 2,
        "temperature": 0.2,
    }
    trial = Trial(**{**settings, **SETTINGS[case]})
    if "transform" in changes:
        changes.setdefault("layer", arms.middle(trial))
    return Trial(**{**trial.to_dict(), "protocol": 0, **changes})


def run(trial: Trial, device=DEVICE, **options) -> loop.Outcome:
    return loop.run(trial, device.type, **options)


def losses(outcome) -> list[float]:
    return [point["loss"] for point in outcome.curve]


def test_every_modality_has_a_case_here():
    assert {case.split()[0] for case in SETTINGS} == {*registry.NAMES}


@each_case
@pytest.mark.parametrize("changes", OBJECTIVES.values(), ids=OBJECTIVES)
def test_a_trial_of_each_modality_and_objective(case, changes, data):
    trial = trial_of(case, data, **changes)
    outcome = run(trial)
    assert outcome.status == "ok" and outcome.device == devices.name(DEVICE)
    assert len(outcome.curve) == trial.epochs and all(map(math.isfinite, losses(outcome)))
    assert all(p.device.type == DEVICE.type for p in outcome.encoder.parameters())
    assert {*outcome.metrics} == {"validation", "test"}
    for split in outcome.metrics.values():
        assert registry.primary(trial) in split
        assert all(0 <= value <= 100 for value in split.values())


@each_case
def test_every_target_takes_a_transform(case, data):
    plain = trial_of(case, data, epochs=1)
    for layer in arms.targets(plain):
        arm = trial_of(case, data, epochs=1, **ARM, layer=layer)
        training_ = loop.prepare(arm, DEVICE.type)
        assert math.isfinite(training_.epoch(0)), layer
        assert training_.handle.calls == 2 * len(training_.task.batches(torch.Generator())), layer


@each_case
def test_two_runs_are_alike(case, data):
    """On a GPU not bit for bit: sums in no fixed order, convolutions by other algorithms."""
    trial = trial_of(case, data, transform="dropout", strength=0.5)
    one, other = run(trial), run(trial)
    assert losses(one) == pytest.approx(losses(other), rel=0.01)
    assert one.data_digest == other.data_digest
    if not CUDA:
        assert one.curve == other.curve and one.metrics == other.metrics


@each_case
def test_the_device_sees_what_the_cpu_sees(case, data):
    """The same initialisation, subset, order and views: the loss of trainings that hardly move."""
    trial = trial_of(case, data, learning_rate=1e-9, weight_decay=0.0)
    here, there = run(trial), run(trial, CPU)
    assert losses(here) == pytest.approx(losses(there), rel=5e-3)
    assert here.data_digest == there.data_digest
    primary = registry.primary(trial)
    found, expected = (o.metrics["test"][primary] for o in (here, there))
    assert found == pytest.approx(expected, abs=10)  # of few samples, some at a tie


@each_case
def test_a_checkpoint_resumes_on_the_device(case, data, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
    trial = trial_of(case, data, **ARM, epochs=4)
    checkpoint, ticks = tmp_path / "trial.ckpt", []

    def interrupt(share):
        if share == 0.75:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(trial, checkpoint=checkpoint, tick=interrupt)
    assert checkpoint.is_file()
    resumed = run(trial, checkpoint=checkpoint, tick=ticks.append)
    assert ticks == [0.75, 1.0]  # two epochs were in the checkpoint
    assert losses(resumed) == pytest.approx(losses(run(trial)), rel=0.02)


def test_a_checkpoint_of_the_device_resumes_on_the_cpu(data, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
    trial = trial_of("text", data, epochs=3)  # with fused AdamW, whose state is on the device
    checkpoint, ticks = tmp_path / "trial.ckpt", []

    def interrupt(share):
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(trial, checkpoint=checkpoint, tick=interrupt)
    outcome = run(trial, CPU, checkpoint=checkpoint, tick=ticks.append)
    assert outcome.status == "ok" and len(ticks) == 2


def test_the_same_mask_is_the_first_views(data, monkeypatch):
    drawn = []

    class Watched(Dropout):
        def transform(self, x, mask, groups):
            drawn.append(torch.rand(3, device=x.device))
            return super().transform(x, mask, groups)

    monkeypatch.setitem(networks.TRANSFORMS, "dropout", Watched)
    run(trial_of("vision", data, **ARM, transformed="same", epochs=1))
    masks = torch.stack(drawn).view(-1, 2, 3)
    assert torch.equal(masks[:, 0], masks[:, 1])
    assert len(masks[:, 0].unique(dim=0)) == len(masks)


def test_two_workers_share_one_device(data, tmp_path):
    own = {"modality": "vision", "data": data["vision"], "epochs": 2, **SETTINGS["vision"]}
    profile = tiny.profile(tmp_path, trial={**own, "samples": 64}, quick={"seeds": [0, 1, 2, 3]})
    study = catalogue.load("vision", str(profile), tmp_path / "results")
    found = sweep.run(study.entries(), study.store, workers=2, accelerator=DEVICE.type)
    assert len(found) == 4 and not study.missing()
    for entry, record in study.recorded():
        assert record["status"] == "ok" and record["device"] == devices.name(DEVICE)
        assert records.read_record(study.store.path(entry.trial.key)) == record
    # A worker trains as one alone would.
    entry, record = study.recorded()[0]
    alone = losses(run(entry.trial))
    assert [point["loss"] for point in record["curve"]] == pytest.approx(alone, rel=0.01)


def test_auto_is_the_device_and_what_is_not_there_is_refused(data, tmp_path, capsys):
    if CUDA:
        assert devices.resolve("auto").type == "cuda"
        assert training_steps.fabric_on("auto").device.type == "cuda"
        assert devices.name(DEVICE) == torch.cuda.get_device_name()
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    lacking = next(kind for kind, here in present.items() if not here)
    profile = tiny.profile(tmp_path, trial={"data": data["vision"], "samples": 64})
    arguments = ["run", "vision", "--profile", str(profile), "--results", str(tmp_path / "new")]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--accelerator", lacking])
    told = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and len(told) == 1 and lacking in told[0]
    assert not (tmp_path / "new").exists()


@contextlib.contextmanager
def synchronisations():
    """Counts how often the host waits for the device."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield caught
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not CUDA, reason="only CUDA tells when the host waits")
@each_case
@pytest.mark.parametrize("transform", ["none", "dropout", "pca"])
def test_how_often_the_host_waits_in_a_step(case, transform, data, capsys):
    """Told, not judged: `pytest -m gpu -k waits -s`."""
    arm = {} if transform == "none" else {**ARM, "transform": transform}
    prepared = loop.prepare(trial_of(case, data, **arm), DEVICE.type)
    prepared.epoch(0)  # what is done once only
    with synchronisations() as caught:
        prepared.epoch(1)
    batches = len(prepared.task.batches(torch.Generator()))
    waits = [w for w in caught if "synchroniz" in str(w.message)]
    places = sorted({f"{os.path.basename(w.filename)}:{w.lineno}" for w in waits})
    with capsys.disabled():
        print(f"\n{case}, {transform}: {len(waits) / batches:.1f} a step: {', '.join(places)}")
