"""Whether the method works on a network: it acts, evaluation is untouched, gradients are finite."""

import copy
import functools
import importlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from networks import Network, values
from torch import Tensor, nn

import deepaug
from cells.cell import Cell
from deepaug.method.layers import call, first_tensor

TRANSFORMS = (deepaug.Dropout(0.5), deepaug.PCA(0.5))
DRAWS = 8  # one may happen to change nothing, where a layer is small


def cell(library: str, kind: str, build: Callable[..., Network], *args, **settings) -> Cell:
    """The cell of what `build` makes of these settings."""
    return Cell(library, kind, functools.partial(build, *args, **settings), check)


def imported(path: str) -> Any:
    """What "package.module.Name" names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def require(true: Any, reason: str) -> None:
    if not true:
        raise AssertionError(reason)


def check(build: Callable[[], Network]) -> None:
    """Raise AssertionError, with the reason, unless a network passes at every layer worth it.

    At its target it has the options that its entry names; elsewhere those that `attach` needs.
    """
    torch.manual_seed(0)
    net = build()
    start = copy.deepcopy(net.model.state_dict())  # with the averages of batch normalisation
    axes, plain = _axes(net), (_evaluate(net), _train(net))
    first = _learning(net.model)[0]
    listed = deepaug.layers(net.model, net.batch)
    require(listed, "deepaug.layers lists nothing")
    for layer, transform in itertools.product(dict.fromkeys([net.target, *listed]), TRANSFORMS):
        options = {"dim": 1} if axes.get(layer, 0) > 4 else {}
        net.model.load_state_dict(start)
        try:
            handle = deepaug.attach(
                net.model, layer, transform, **(net.options if layer == net.target else options)
            )
            _check(net, handle, *plain, first)
            net.model.load_state_dict(start)
            require(_same(_evaluate(net), plain[0]), "evaluation after training is another")
            require(_same(_train(net), plain[1]), "training differs once it is removed")
        except Exception as error:
            raise AssertionError(f"{layer}, {transform!r}: {error}") from error


def _check(
    net: Network, handle: deepaug.Handle, evaluated: list[Tensor], trained: list[Tensor], first: str
) -> None:
    require(_same(_evaluate(net), evaluated), "evaluation is another")
    require(handle.calls == 0, "it acts in evaluation")
    for draw in range(DRAWS):
        handle.seed(draw)  # an own stream: all other randomness is as in the plain network
        got = _train(net)
        require(handle.calls, "it does not act in training")
        if not _same(got, trained):
            break
    else:
        raise AssertionError("training is that of the plain network")
    gradients = [p.grad for p in net.model.parameters() if p.grad is not None]
    require(all(g.isfinite().all() for g in gradients), "gradients are not finite")
    require(first in _learning(net.model), f"{first} gets no gradient")
    calls, during = handle.calls, _evaluate(net)
    require(handle.calls == calls, "it acts in evaluation after training")
    handle.remove()
    require(_same(_evaluate(net), during), "evaluation differs once it is removed")


def _train(net: Network) -> list[Tensor]:
    """What a forward pass in training returns, after a backward pass of some weighted sum of it.

    Not of its squares: these are constant after a normalisation.
    """
    net.model.train()
    net.model.zero_grad()
    torch.manual_seed(1)
    found = list(tensors(call(net.model, net.batch)))
    torch.manual_seed(2)
    sum((t * torch.randn_like(t)).sum() for t in found if t.requires_grad).backward()
    return [tensor.detach() for tensor in found]


def _evaluate(net: Network) -> list[Tensor]:
    """Both with gradient and without: some networks of torch go another way without."""
    net.model.eval()
    found = []
    for gradient in (True, False):
        torch.manual_seed(3)
        with torch.set_grad_enabled(gradient):
            found += [tensor.detach() for tensor in tensors(call(net.model, net.batch))]
    return found


def _learning(model: nn.Module) -> list[str]:
    return [n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()]


def _same(some: list[Tensor], others: list[Tensor]) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))


def tensors(output: Any) -> Iterator[Tensor]:
    """All tensors of an output, however deep within sequences, mappings and dataclasses."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping | tuple | list) or hasattr(output, "__dataclass_fields__"):
        for value in values(output):
            yield from tensors(value)


def _axes(net: Network) -> dict[str, int]:
    """How many axes a layer's output has, by the layer's name; "input" too."""
    found, hooks = {}, []
    for name, module in net.model.named_modules():

        def note(module, args, output, name=name):
            found[name] = getattr(first_tensor(output), "ndim", 0)

        hooks.append(module.register_forward_hook(note))
    model = net.model.eval()
    with torch.no_grad():
        call(model, net.batch)
    for hook in hooks:
        hook.remove()
    inputs = net.batch if isinstance(net.batch, Mapping | tuple) else [net.batch]
    given = inputs.values() if isinstance(inputs, Mapping) else inputs
    floats = (t.ndim for t in given if isinstance(t, Tensor) and t.is_floating_point())
    return found | {"input": next(floats, 0)}
