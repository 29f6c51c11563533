"""BatchNorm's statistics, taken anew once a network is trained."""

from contextlib import nullcontext

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from deepaug.training.steps import Training
from deepaug.training.trial import derive


@torch.no_grad()
def reestimate(training: Training) -> None:
    """Let the encoder's BatchNorm be evaluated by statistics of passes without the transform.

    In training every pass with the transform shifts them, and in evaluation there is none. They
    become the mean over both views of the batches of one more epoch. Nothing else that evaluation
    uses changes; of a frozen copy those below the cut stay as they were copied.
    """
    trial, task = training.trial, training.task
    found = (module for module in training.encoder.modules() if isinstance(module, _BatchNorm))
    norms = [module for module in found if module not in training.at_rest]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all that comes
    order = torch.Generator().manual_seed(derive(trial.seed, "order", trial.epochs))
    views = task.views(trial.epochs)
    training.train()
    with training.handle.paused() if training.handle else nullcontext():
        for index in task.batches(order):
            for view in views(index):
                training.network(view)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
