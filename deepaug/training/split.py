"""Split and retrain: do the layers below a cut serve others than those they were trained with?

Yosinski et al. 2014 (arXiv 1411.1792): a trained network is cut; a copy keeps the layers below the
cut and begins anew above it. Where layers are co-adapted, a copy whose lower layers stay frozen
falls behind the network it is of. Beside it a copy whose lower layers go on learning: both train as
long, so that the longer training of the lower layers cancels out.
"""

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from deepaug.method.layers import finished_by
from deepaug.method.selection import compare
from deepaug.training import networks, registry
from deepaug.training.steps import Training
from deepaug.training.trial import derive

COPIES = ("free", "frozen")
SAMPLES = 1000  # on which layers are compared


def copy(whole: Training, kind: str) -> Training:
    """A training, at its beginning, of a copy of a trained network, cut after `whole.trial.cut`.

    What the cut layer needs is copied; the rest, head included, begins at weights of a stream of
    its own, the same in both copies. Views, order and transform are drawn as they were for the
    whole network.

    Args:
        kind: "free", all of it learns; or "frozen", what is copied stays as it is, BatchNorm's
            statistics too.
    """
    trial, task = whole.trial, whole.task
    built = networks.build(trial, task, purpose="retraining")
    example = task.plain(torch.arange(2))
    names = {module: name for name, module in whole.encoder.named_modules()}
    below = [names[m] for m in finished_by(whole.encoder, task.module(trial.cut), example)]
    ours, theirs = (dict(encoder.named_modules()) for encoder in (built.encoder, whole.encoder))
    with torch.no_grad():
        for name in below:
            for own in ("_parameters", "_buffers"):  # of the module itself, not of those in it
                for what, value in getattr(theirs[name], own).items():
                    if value is not None:
                        getattr(ours[name], own)[what].copy_(value)
    if kind == "frozen":
        for name in below:
            for parameter in ours[name].parameters(recurse=False):
                parameter.requires_grad_(False)
    training = Training(trial, task, whole.fabric, built)
    if kind == "frozen":
        training.at_rest = [m for name in below if isinstance(m := ours[name], _BatchNorm)]
    return training


def similarity(training: Training) -> dict[str, list]:
    """Unbiased linear CKA between all layers after the input, on plain training samples.

    Returns:
        "layers", their names in order of depth, and "cka", a row of each with each; zeros of a
        layer that tells no samples apart.
    """
    trial, task = training.trial, training.task
    layers = registry.layers(trial.modality, trial.encoder)[1:]
    draws = torch.Generator().manual_seed(derive(trial.seed, "similarity"))
    index = torch.randperm(len(task), generator=draws)[:SAMPLES]
    modules = [task.module(layer) for layer in layers]
    with training.fabric.autocast():
        cka = compare(training.encoder, [task.plain(index)], modules, features=task.activations)
    return {"layers": list(layers), "cka": cka.round(decimals=5).tolist()}
