"""Whether the method works in a pipeline: the transform acts as often as it should in training,
evaluation is untouched, and what is trained stays finite and learns, below the target and above it.
"""

import contextlib
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

import deepaug
from cells.network import TRANSFORMS, require

BATCH, STEPS = 8, 4  # of an epoch


@dataclass
class Pipeline:
    model: nn.Module  # what is attached to
    target: str
    train: Callable[[], list[float]]  # returns the losses
    evaluate: Callable[[], Tensor]  # by the library's own means, where it has some
    calls: int  # of the transform in `train`
    first: Tensor  # weights below the target
    last: Tensor  # and above it
    options: dict = field(default_factory=dict)


def check(build: Callable[[], Pipeline]) -> None:
    """Raise AssertionError, with the reason, unless a pipeline passes with every transform."""
    for transform in TRANSFORMS:
        try:
            # Some libraries write to the folder at hand.
            with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
                _check(build, transform)
        except Exception as error:
            raise AssertionError(f"{transform!r}: {error}") from error


def _check(build: Callable[[], Pipeline], transform: deepaug.Transform) -> None:
    plain = _seeded(build)
    evaluated, trained = plain.evaluate(), _seeded(plain.train)

    pipeline = _seeded(build)
    attached = partial(deepaug.attach, pipeline.model, pipeline.target, transform)
    handle = attached(**pipeline.options)
    handle.seed(0)  # an own stream: all other randomness is as without it
    before = [w.detach().clone() for w in (pipeline.first, pipeline.last)]
    require(torch.equal(pipeline.evaluate(), evaluated), "evaluation is another")
    require(handle.calls == 0, "it acts in evaluation")
    losses = _seeded(pipeline.train)
    told = f"it acted {handle.calls} times, not {pipeline.calls}"
    require(handle.calls == pipeline.calls, told)
    require(losses and np.isfinite(losses).all(), f"losses are not finite: {losses}")
    require(losses != trained, "training is that of the plain network")
    for where, old, new in zip(
        ("below", "above"), before, (pipeline.first, pipeline.last), strict=True
    ):
        require(new.isfinite().all(), f"weights {where} the target are not finite")
        require(not torch.equal(old, new), f"weights {where} the target have not changed")
    after = pipeline.evaluate()
    require(handle.calls == pipeline.calls, "it acts in evaluation after training")
    handle.remove()
    require(torch.equal(pipeline.evaluate(), after), "evaluation differs once it is removed")

    removed = _seeded(build)
    deepaug.attach(removed.model, removed.target, transform, **removed.options).remove()
    require(_seeded(removed.train) == trained, "training differs once it is removed")
    removed.model.load_state_dict(pipeline.model.state_dict())
    require(torch.equal(removed.evaluate(), after), "evaluation after training is another")


def _seeded(do: Callable):
    """What `do` returns, all randomness of python, numpy and torch drawn anew."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    return do()
