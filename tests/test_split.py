"""Split and retrain: copies of a network, the job that trains them, and what it finds."""

import math
from functools import partial

import pytest
import tiny
import torch
from torch import nn
from torch.nn import functional as F

from deepaug.studies import records, workers
from deepaug.training import evaluation, loop, networks, registry, split, steps
from deepaug.training.contrastive import ProjectionHead
from deepaug.training.steps import Training
from deepaug.training.trial import Trial

ARM = {"layer": "stage1", "transform": "dropout", "strength": 0.5}
EARLY, LATE = {"cut": "stage2"}, {"cut": "stage2", **ARM, "layer": "stage4"}
NODES = {"modality": "nodes", "data": "Cora", "encoder": "gcn3", "optimizer": "adam"}
SMALL = {"width": 8, "epochs": 2, "batch_size": 200, "learning_rate": 1e-3, "temperature": 0.4}
GRAPHS = {"modality": "graphs", "data": "MUTAG", "encoder": "gin3", "views": "original"}
CROPS = {"modality": "text", "encoder": "bert2", "views": "crops", "view_size": 10}
# Of each modality a cut trial of a second.
EVERY = {
    "images": tiny.SETTINGS | {"cut": "stage2"},
    "text": CROPS | {"width": 16, "epochs": 2, "batch_size": 10, "optimizer": "adamw"},
    "nodes": NODES | SMALL | {"cut": "layer2"},
    "graphs": GRAPHS
    | {"width": 4, "epochs": 2, "batch_size": 32, "held_out": 0.2}
    | {"cut": "layer2"},
}
EVERY["text"] |= {"learning_rate": 1e-3, "temperature": 0.1, "cut": "block1"}
BELOW = {  # cut -> modules below it, of any of these
    "stage2": ["stem", "stage1", "stage2"],
    "block1": ["bert.embeddings", "bert.encoder.layer.0"],
    "layer2": ["embeddings", "layer1", "layer2"],
}


@pytest.fixture(params=EVERY)
def small(request, tmp_path, monkeypatch):
    """Settings of a trial of each modality."""
    monkeypatch.setenv("DEEPAUG_DATA", str(tmp_path / "none"))
    if request.param == "text":
        return EVERY["text"] | {"data": str(tiny.documents(tmp_path / "mine"))}
    return EVERY[request.param]


def result(outcome):
    """All that is recorded but the times."""
    named = ("status", "metrics", "curve", "similarity", "data_digest")
    return {name: getattr(outcome, name) for name in named}


def trained(settings, epochs=1):
    """A training of so many epochs, to copy from."""
    training = steps.prepare(Trial(**settings), "cpu")
    for epoch in range(epochs):
        training.epoch(epoch)
    return training


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one, other, names):
    """Which of the tensors of two states are equal."""
    return {name for name in names if torch.equal(one[name], other[name])}


# What it finds


SIZE, CLASSES = 16, 4  # features of every layer; as many as there are classes are informative
LAYERS = ("embeddings", "layer1", "layer2", "layer3")


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = SIZE
        for name in LAYERS:
            self.add_module(name, nn.Linear(SIZE, SIZE, bias=False))

    def forward(self, x):
        for name in LAYERS:
            x = getattr(self, name)(x)
        return x


class Planted:
    """Classes that a few directions tell, and noise in all others; a task of the chain's."""

    digest, classes = "0" * 16, CLASSES
    dim = mask = groups = None

    def __init__(self, samples=256):
        draws = torch.Generator().manual_seed(0)
        self.known = torch.arange(2 * samples) % CLASSES
        self.x = torch.randn(2 * samples, SIZE, generator=draws)
        self.x[:, :CLASSES] = 2 * F.one_hot(self.known) + self.x[:, :CLASSES] / 4
        self.samples = samples

    def __len__(self):
        return self.samples

    def module(self, layer):
        return layer

    def encoder(self):
        return Chain()

    def head(self, features):
        return ProjectionHead(features)

    def batches(self, generator):
        return list(torch.randperm(len(self), generator=generator).split(64))

    def views(self, epoch):
        return lambda index: (self.x[index], self.x[index])

    def plain(self, index):
        return self.x[index]

    def activations(self, outputs, plain):
        return outputs.flatten(1)

    def labels(self, index):
        return self.known[index]

    def evaluate(self, embed, final):
        features, half = F.normalize(embed(self.x)), self.samples
        bank, query = (features[:half], self.known[:half]), (features[half:], self.known[half:])
        return evaluation.accuracies(bank, {"validation": query}, CLASSES)


def drop(planted, cut):
    """(free − frozen) / (whole − untrained) of a chain whose layers are set by hand.

    Every layer passes on what tells the classes, and the last loses the noise. At the cut that is
    `planted`, what lies below makes it tiny, and the layer above large again: no layer but this one
    can use it.
    """
    task = Planted()
    settings = {"objective": "supervised", "epochs": 20, "learning_rate": 1e-2, "cut": cut}
    trial = Trial(**NODES, **settings)
    whole = Training(trial, task, steps.fabric_on("cpu"), networks.build(trial, task))
    scores = {"untrained": task.evaluate(whole.embed, final=True)}
    telling = torch.arange(SIZE) < CLASSES
    with torch.no_grad():
        for name in LAYERS:
            scale = torch.ones(SIZE)
            if name == planted:
                scale[telling] = 1e-3
            elif name == LAYERS[-1]:
                scale[~telling] = 1e-3
            if planted != "none" and name == LAYERS[LAYERS.index(planted) + 1]:
                scale[telling] *= 1e3
            getattr(whole.encoder, name).weight.copy_(scale.diag())
    scores["whole"] = task.evaluate(whole.embed, final=True)
    for kind in split.COPIES:
        copy = split.copy(whole, kind)
        for epoch in range(trial.epochs):
            copy.epoch(epoch)
        scores[kind] = task.evaluate(copy.embed, final=True)
    knn = {name: found["validation"]["knn"] for name, found in scores.items()}
    assert knn["whole"] > knn["untrained"] + 20, knn
    return (knn["free"] - knn["frozen"]) / (knn["whole"] - knn["untrained"])


@pytest.mark.parametrize("planted", ["none", *LAYERS[:-1]])
def test_the_cut_that_is_co_adapted_is_found_and_no_other(planted):
    found = {cut: drop(planted, cut) for cut in registry.cuts("nodes", "gcn3")}
    assert [cut for cut, share in found.items() if share > 0.5] == [planted] * (planted != "none")
    assert all(abs(share) < 0.15 for cut, share in found.items() if cut != planted), found


# Copies


def test_a_copy_begins_at_the_networks_weights_below_the_cut_and_anew_above(small):
    whole = trained(small)
    before, initial = state(whole.network), state(trained(small, 0).network)
    free, frozen = (split.copy(whole, kind) for kind in split.COPIES)
    # What is not drawn (BatchNorm's scale, a bias) begins the same in any network.
    other = state(networks.build(Trial(**small | {"seed": 1}), whole.task))
    drawn = set(before) - same(initial, other, before)
    below = {n for n in before if n.startswith(tuple(f"encoder.{m}." for m in BELOW[small["cut"]]))}
    new = state(frozen.network)
    assert same(before, new, before) - (set(before) - drawn) == below & drawn != set()
    assert below <= same(before, new, before) and not same(initial, new, drawn)
    assert same(state(free.network), new, before) == set(before)
    assert same(state(whole.network), before, before) == set(before)  # copying leaves it alone


@pytest.mark.parametrize("settings", [EARLY, {**EARLY, **ARM}, {**EARLY, "optimizer": "adamw"}])
def test_what_is_frozen_stays_bit_for_bit_and_all_else_learns(settings):
    settings = tiny.SETTINGS | settings | {"weight_decay": 0.1}
    whole = trained(settings)
    for kind in split.COPIES:
        copy = split.copy(whole, kind)
        before = state(copy.network)
        for epoch in range(2):
            copy.epoch(epoch)
        still = same(before, state(copy.network), before)
        below = {name for name in before if name.split(".")[1] in ("stem", "stage1", "stage2")}
        assert still == (below if kind == "frozen" else set())  # running statistics among them
        moved = {id(p) for p in copy.optimizer.state}
        assert len(moved) == sum(p.requires_grad for p in copy.network.parameters())
    assert same(state(whole.network), before, below) == below  # the free copy's weights are its own


def test_frozen_layers_have_no_gradient_to_tell_of():
    whole = trained(tiny.SETTINGS | EARLY | ARM)
    norms = {}
    for kind in split.COPIES:
        copy = split.copy(whole, kind)
        norms[kind] = copy.point(copy.epoch(0), evaluated=False)["gradient_below"]
    assert norms["frozen"] == 0 < norms["free"]


@pytest.mark.parametrize("way", [{}, {"transformed": "one"}, {"stop_gradient": "both"}])
def test_the_transform_acts_on_copies_in_its_way_also_in_the_frozen_part(way):
    settings = tiny.SETTINGS | EARLY | ARM | way
    whole = trained(settings)
    steps_ = len(whole.task.batches(torch.Generator()))
    for kind in split.COPIES:
        copy = split.copy(whole, kind)
        assert copy.handle.model is copy.encoder
        plain = split.copy(trained(tiny.SETTINGS | EARLY), kind)
        plain.network.load_state_dict(copy.network.state_dict())
        assert copy.epoch(0) != plain.epoch(0)
        assert copy.handle.calls == steps_ * (1 if way.get("transformed") == "one" else 2)


def test_copies_see_the_views_order_and_masks_of_the_whole_network(monkeypatch):
    seen = []

    def watched(self, index, first, second):
        seen.append((index, first, second, torch.get_rng_state(), self.handle._state.stream))
        return contrastive(self, index, first, second)

    contrastive = Training._contrastive
    monkeypatch.setattr(Training, "_contrastive", watched)
    whole = trained(tiny.SETTINGS | EARLY | ARM, 2)
    of_whole = seen.copy()
    for kind in split.COPIES:
        seen.clear()
        copy = split.copy(whole, kind)
        for epoch in range(2):
            copy.epoch(epoch)
        assert len(seen) == len(of_whole)
        for ours, theirs in zip(seen, of_whole, strict=True):
            pairs = zip(ours, theirs, strict=True)
            assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs)


# The job


def in_pieces(clock, checkpoint, trial, seconds, evaluation=3.0):
    """An outcome of calls that have so many seconds each, and the ticks of every call."""
    calls = []
    while len(calls) < 30:
        calls.append([])
        limits = clock.now + seconds, evaluation
        try:
            return loop.run(trial, "cpu", None, checkpoint, calls[-1].append, *limits), calls
        except loop.OutOfTime:
            pass
    raise AssertionError(f"no end: {calls}")


def test_each_modality_trains_a_network_and_its_copies_in_one_job(small):
    ticks, trial = [], Trial(**small)
    outcome = loop.run(trial, "cpu", tick=ticks.append)
    uncut = loop.run(Trial(**small | {"cut": "none"}), "cpu")
    assert outcome.status == "ok"
    for part, values in uncut.metrics.items():
        copies = {f"{name}_{kind}" for name in values for kind in split.COPIES}
        assert outcome.metrics[part].keys() == {*values, *copies}
        assert {name: outcome.metrics[part][name] for name in values} == values
    for point, plain in zip(outcome.curve, uncut.curve, strict=True):
        losses = [point.pop(f"loss_{name}") for name in split.COPIES]
        assert point == plain and point["loss"] not in losses
    assert losses[0] != losses[1]
    assert same(state(outcome.encoder), state(uncut.encoder), state(uncut.encoder)) == set(
        state(uncut.encoder)
    )
    assert uncut.similarity is None
    layers = registry.layers(trial.modality, trial.encoder)[1:]
    assert outcome.similarity["layers"] == list(layers)
    cka = torch.tensor(outcome.similarity["cka"], dtype=torch.float64)
    assert torch.equal(cka, cka.mT) and cka.diagonal().tolist() == [1.0] * len(layers)
    assert ticks == sorted(ticks) and ticks[-1] == 1 and len(ticks) == 3 * trial.epochs
    assert ticks[0] == pytest.approx(1 / len(ticks))


@pytest.mark.parametrize("settings", [EARLY, LATE], ids=["plain", "arm"])
def test_in_pieces_it_is_an_undisturbed_job_bit_for_bit(clock, tmp_path, settings):
    trial = tiny.trial(**settings)
    whole = loop.run(trial, "cpu")
    outcome, calls = in_pieces(clock, tmp_path / "a.ckpt", trial, seconds=12.0)
    assert result(outcome) == result(whole)
    # It was interrupted after every epoch but the last, in each of the three trainings.
    assert [tick for call in calls for tick in call] == pytest.approx([n / 6 for n in range(1, 7)])
    assert max(map(len, calls)) == 1 and len(calls) >= 6
    assert outcome.training_seconds == 60 and outcome.resumed_seconds >= 50


class Stop(Exception):
    pass


@pytest.mark.parametrize("at", [2, 3, 4, 6], ids=["whole", "free", "free done", "frozen"])
def test_a_killed_job_goes_on_where_its_checkpoint_is(tmp_path, monkeypatch, at):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1)
    trial, ticks = tiny.trial(**LATE), []

    def kill(share):
        if round(6 * share) == at:
            raise Stop

    with pytest.raises(Stop):
        loop.run(trial, "cpu", None, tmp_path / "a.ckpt", kill)
    outcome = loop.run(trial, "cpu", None, tmp_path / "a.ckpt", ticks.append)
    assert result(outcome) == result(loop.run(trial, "cpu"))
    # A checkpoint is of an epoch's end, or of a copy's beginning.
    assert ticks == pytest.approx([n / 6 for n in range(at, 7)])


def test_an_epoch_of_a_copy_that_would_not_fit_is_not_begun(clock, tmp_path):
    """What the network's own epochs took is known by then: 13 seconds, and 29 in all."""
    ticks, limits = [], (clock.now + 40.0, 3.0)
    with pytest.raises(loop.OutOfTime):
        loop.run(tiny.trial(**EARLY), "cpu", None, tmp_path / "a.ckpt", ticks.append, *limits)
    assert ticks == pytest.approx([1 / 6, 2 / 6])


@pytest.mark.parametrize("bad", [["free"], ["frozen"], ["free", "frozen"]], ids=str)
def test_a_copy_that_diverges_lacks_its_metrics_and_the_record_is_whole(tmp_path, monkeypatch, bad):
    copy, trial = split.copy, tiny.trial(**EARLY)

    def diverging(whole, kind):
        training = copy(whole, kind)
        if kind in bad:
            training.epoch = lambda epoch: math.nan if epoch else 1.0
        return training

    undisturbed = loop.run(trial, "cpu")
    monkeypatch.setattr(split, "copy", diverging)
    store = records.Store(tmp_path, "tiny")
    record = workers.compute(trial, store, partial(loop.run, accelerator="cpu"))
    assert record["status"] == "ok" and store.read(trial) == record
    kept = [kind for kind in split.COPIES if kind not in bad]
    for part, values in undisturbed.metrics.items():
        lacking = {name for name in values if name.rpartition("_")[2] in bad}
        left = {name: values[name] for name in values.keys() - lacking}
        assert lacking and record["metrics"][part] == left
    assert [[f"loss_{kind}" in point for kind in kept] for point in record["curve"]] == [
        [True] * len(kept)
    ] * 2
    assert all(f"loss_{kind}" not in record["curve"][1] for kind in bad)
    assert list(tiny.tree(store.folder)) == [f"{trial.key}.json"]  # no checkpoint


def test_a_network_that_diverges_has_no_copies(monkeypatch):
    monkeypatch.setattr(split, "copy", None)
    outcome = loop.run(tiny.trial(**EARLY, learning_rate=1e30), "cpu")
    assert (outcome.status, outcome.metrics, outcome.similarity) == ("diverged", {}, None)
    assert not any("loss_free" in point for point in outcome.curve)


def test_layers_that_died_are_like_none():
    """Dead layers still make a record."""
    training = trained(tiny.SETTINGS | EARLY, 0)
    with torch.no_grad():
        for parameter in training.encoder.stem.parameters():
            parameter.zero_()
    found = split.similarity(training)
    assert not torch.tensor(found["cka"]).any()
    records.check(tiny.record(training.trial, similarity=found))


def test_similarity_is_of_a_thousand_plain_training_samples_that_the_seed_draws(monkeypatch):
    asked = []
    training = trained(tiny.SETTINGS | EARLY | ARM, 0)
    plain = training.task.plain
    monkeypatch.setattr(training.task, "plain", lambda index: asked.append(index) or plain(index))
    before = state(training.network), torch.get_rng_state(), training.handle.calls
    found = split.similarity(training)
    assert found == split.similarity(training) and torch.equal(*asked)
    assert sorted(asked[0].tolist()) == list(range(200)) != asked[0].tolist()
    assert same(before[0], state(training.network), before[0]) == set(before[0])
    assert torch.equal(torch.get_rng_state(), before[1]) and training.handle.calls == before[2]
    monkeypatch.setattr(split, "SAMPLES", 50)
    split.similarity(training)
    assert asked[-1].equal(asked[0][:50])


# Losses of every second epoch of the network and its copies, and what the copies come to. So few
# epochs at so low a rate, since rounding grows: with weights moved by 1e-7 these stay within 1e-4,
# and at ten times the rate they moved by 0.03. Tolerances leave room for another processor or
# torch, not for another training.
GOLDEN = {
    "loss": [6.90604, 6.91587, 6.91825, 6.91592],
    "loss_free": [6.8723, 6.77406, 6.77877, 6.70792],
    "loss_frozen": [6.87462, 6.82553, 6.80614, 6.83844],
    "probe": 53.14,
    "probe_free": 64.58,
    "probe_frozen": 57.93,
}


def test_golden_cut_trial():
    settings = {"width": 32, "epochs": 8, "batch_size": 512, "learning_rate": 1e-3}
    arm = {"layer": "layer2", "transform": "dropout", "strength": 0.5, "cut": "layer2"}
    trial = Trial(**NODES | SMALL | settings | arm, schedule="constant")
    outcome = loop.run(trial, "cpu")
    advice = "training or evaluation changed what a trial measures: raise PROTOCOL"
    for name in ("loss", "loss_free", "loss_frozen"):
        found = [point[name] for point in outcome.curve][1::2]
        assert found == pytest.approx(GOLDEN[name], abs=1e-3), advice
    metrics = outcome.metrics["validation"]
    for name in ("probe", "probe_free", "probe_frozen"):
        assert metrics[name] == pytest.approx(GOLDEN[name], abs=1.5), advice
