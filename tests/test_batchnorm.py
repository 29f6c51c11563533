"""BatchNorm's statistics after training: those of plain passes, and nothing else changed."""

from dataclasses import replace

import pytest
import tiny
import torch
from torch import nn

from deepaug.studies import arms
from deepaug.training import batchnorm, loop, split
from deepaug.training.trial import Trial, derive

ARM = {"layer": "stage1", "transform": "dropout", "strength": 0.5}


def trained(**changes):
    run = loop.prepare(tiny.trial(epochs=1, **changes))
    run.epoch(0)
    return run


def norms(encoder):
    return [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]


def test_they_are_the_mean_over_plain_passes():
    run = trained(**ARM)
    first = norms(run.encoder)[0]
    seen = []
    first.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    batchnorm.reestimate(run)
    batches = len(run.task.batches(torch.Generator()))
    assert len(seen) == 2 * batches  # both views
    means = torch.stack([x.mean((0, 2, 3)) for x in seen]).mean(0)
    spreads = torch.stack([x.var((0, 2, 3)) for x in seen]).mean(0)
    torch.testing.assert_close(first.running_mean, means)
    torch.testing.assert_close(first.running_var, spreads)
    assert all(norm.momentum == 0.1 for norm in norms(run.encoder))


def test_the_transform_rests_and_weights_stay():
    run = trained(**ARM)
    calls = run.handle.calls
    before = {name: value.clone() for name, value in run.network.named_parameters()}
    batchnorm.reestimate(run)
    assert run.handle.calls == calls
    for name, value in run.network.named_parameters():
        assert torch.equal(before[name], value), name


def test_of_a_frozen_copy_what_rests_stays_and_is_what_the_rest_sees():
    whole = trained(**ARM, statistics="plain", cut="stage2")
    run = split.copy(whole, "frozen")
    run.epoch(0)
    resting = [(norm, norm.running_mean.clone()) for norm in run.at_rest]
    learning = [norm for norm in norms(run.encoder) if norm not in run.at_rest]
    before = [norm.running_mean.clone() for norm in learning]
    training = []
    for norm in run.at_rest:
        norm.register_forward_pre_hook(lambda module, given: training.append(module.training))
    batchnorm.reestimate(run)
    assert resting and training and not any(training)
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in resting)
    changed = [
        not torch.equal(n.running_mean, mean) for n, mean in zip(learning, before, strict=True)
    ]
    assert learning and all(changed)


def test_without_a_transform_they_hardly_change_what_is_learnt():
    """A check of the passes themselves: the same statistics, but for which batches they are of."""
    run = loop.prepare(tiny.trial(epochs=8, learning_rate=0.01))
    for epoch in range(8):
        run.epoch(epoch)
    plain = [norm.running_mean.clone() for norm in norms(run.encoder)]
    spread = [norm.running_var.sqrt() for norm in norms(run.encoder)]
    batchnorm.reestimate(run)
    for norm, before, size in zip(norms(run.encoder), plain, spread, strict=True):
        assert ((norm.running_mean - before) / size).abs().max() < 0.6


def test_they_are_those_that_evaluation_sees_twice_the_same():
    trial = tiny.trial(epochs=1, **ARM, statistics="plain")
    first, again, usual = map(loop.run, (trial, trial, replace(trial, statistics="training")))
    assert first.metrics == again.metrics
    assert first.curve == usual.curve  # training itself is the same
    mean = norms(first.encoder)[0].running_mean
    assert not torch.equal(mean, norms(usual.encoder)[0].running_mean)


def test_the_epoch_is_one_that_training_has_not_seen():
    asked = []
    run = trained(**ARM)
    views = run.task.views
    run.task.views = lambda epoch: asked.append(epoch) or views(epoch)
    batchnorm.reestimate(run)
    assert asked == [run.trial.epochs]
    assert derive(0, "order", 1) != derive(0, "order", 0)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"statistics": "plain"}, "statistics 'plain' needs a layer and a transform"),
        ({"statistics": "own", **ARM}, "unknown statistics: 'own'"),
        (
            {"modality": "nodes", "data": "Cora", "encoder": "gcn3", "statistics": "plain"}
            | {"layer": "layer1", "transform": "pca", "strength": 0.5},
            "which encoders of nodes lack",
        ),
    ],
)
def test_what_cannot_be_is_refused(fields, told):
    with pytest.raises(ValueError) as caught:
        Trial(**fields)
    assert told in str(caught.value)


def test_it_is_a_control_of_arms_where_there_is_such_a_norm():
    arm = tiny.trial(**ARM)
    assert dict(arms.controls(arm, ["plain-statistics"])) == {
        "plain-statistics": replace(arm, statistics="plain")
    }
    nodes = Trial(
        modality="nodes", data="Cora", encoder="gcn3", layer="layer1", transform="pca", strength=0.5
    )
    assert not [*arms.controls(nodes, ["plain-statistics"])]
