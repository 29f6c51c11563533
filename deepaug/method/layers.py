"""Which layers of a network are worth targeting."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


def call(model: nn.Module, batch: Any, forward: Callable | None = None) -> Any:
    """Run `model` on a batch: `model(b)`, `model(*b)` or `model(**b)`, or `forward(model, b)`."""
    if forward is not None:
        return forward(model, batch)
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple) else model(batch)


def layers(model: nn.Module, example: Any, forward: Callable | None = None) -> list[str]:
    """Names of the layers worth targeting with `deepaug.attach`, in execution order.

    A layer is listed if it ran exactly once and returned floating-point features. A module that
    merely holds a chain of repeated blocks is opened up and its blocks are listed instead; of
    modules that return the very same tensor only the outermost is. "input" comes first where the
    model takes a floating-point tensor.

    Args:
        model: run once in `eval()` mode without gradient; its training flags are put back.
        example: one batch: a tensor, a tuple of positional or a mapping of keyword arguments.
        forward: `forward(model, example)`, for batches passed in another way.

    >>> layers(nn.Sequential(nn.Linear(8, 16), nn.ReLU()), torch.randn(4, 8))
    ['input', '0', '1']
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
    ran: Counter[str] = Counter()
    finished: dict[str, int] = {}
    outputs: dict[str, Any] = {}  # kept alive, so that identities stay distinct

    def watch(name: str) -> Callable:
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            ran[name] += 1
            finished[name] = len(finished)
            outputs[name] = first_tensor(output)

        return hook

    arguments: list = []
    hooks = [m.register_forward_hook(watch(n)) for n, m in model.named_modules() if n]
    hooks.append(
        model.register_forward_pre_hook(
            lambda _, args, kwargs: arguments.extend([*args, *kwargs.values()]), with_kwargs=True
        )
    )
    run_once(model, example, forward, hooks)

    def worth(name: str) -> bool:
        out = outputs.get(name)
        return ran[name] == 1 and out is not None and out.is_floating_point() and out.ndim > 1

    seen, listed = set(), []
    for name in _walk(model, "", ran):
        if worth(name) and id(outputs[name]) not in seen:
            seen.add(id(outputs[name]))
            listed.append(name)
    listed.sort(key=finished.__getitem__)
    takes_floats = any(isinstance(a, Tensor) and a.is_floating_point() for a in arguments)
    return (["input"] if takes_floats else []) + listed


def below(model: nn.Module, layer: str, example: Any) -> list[nn.Parameter]:
    """Parameters of modules that have finished when `layer` has, those of the layer included.

    They get gradient through the target alone, in a network without a path around it. Empty for
    "input". The model runs once, in `eval()` mode and without gradient.
    """
    finished = finished_by(model, layer, example)
    return list(dict.fromkeys(p for module in finished for p in module.parameters(recurse=False)))


def finished_by(model: nn.Module, layer: str, example: Any) -> list[nn.Module]:
    """Modules that have finished when `layer` has, itself included, in the order they did.

    Empty for "input". The model runs once, in `eval()` mode and without gradient.
    """
    if layer == "input":
        return []
    found: dict[nn.Module, None] = {}
    reached = False

    def note(module: nn.Module, *_) -> None:
        if not reached:
            found[module] = None

    def reach(*_) -> None:
        nonlocal reached
        reached = True

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    hooks.append(dict(model.named_modules())[layer].register_forward_hook(reach))
    run_once(model, example, None, hooks)
    return list(found)


def run_once(
    model: nn.Module, example: Any, forward: Callable | None, hooks: list[RemovableHandle]
) -> None:
    """Run `model` in `eval()` mode without gradient.

    Then the hooks are undone, its flags restored, and the random state, should it have drawn.
    """
    flags = {module: module.training for module in model.modules()}
    devices = {p.device for p in model.parameters() if p.is_cuda}
    try:
        model.eval()
        with torch.no_grad(), torch.random.fork_rng(devices):
            call(model, example, forward)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in flags.items():
            module.training = training


def _walk(module: nn.Module, prefix: str, ran: Counter) -> Iterator[str]:
    """Names below `module`, outermost first, opening containers and chains of repeated blocks."""
    children = [(f"{prefix}{name}", child) for name, child in module.named_children()]
    chains = {name: type(c) for name, c in children if _holds_a_chain(c, f"{name}.", ran)}
    kinds = Counter(chains.values())
    for name, child in children:
        # The four stages of a ResNet are chains side by side, and targets themselves.
        if not ran[name] or (name in chains and kinds[chains[name]] == 1):
            yield from _walk(child, f"{name}.", ran)
        if ran[name]:
            yield name


def _holds_a_chain(module: nn.Module, prefix: str, ran: Counter) -> bool:
    """Whether repeated composite blocks of one class lie below `module`, as in a ViT's encoder."""
    children = [(f"{prefix}{name}", child) for name, child in module.named_children()]
    blocks = Counter(type(c) for n, c in children if ran[n] and any(c.children()))
    return any(count > 1 for count in blocks.values()) or any(
        _holds_a_chain(child, f"{name}.", ran) for name, child in children
    )


def first_tensor(output: Any) -> Tensor | None:
    """The tensor that `attach` would change."""
    if isinstance(output, Mapping):
        values = list(output.values())
    elif dataclasses.is_dataclass(output):
        values = list(vars(output).values())
    else:
        values = output[:1] if isinstance(output, tuple | list) else [output]
    return next((value for value in values if isinstance(value, Tensor)), None)
