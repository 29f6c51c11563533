"""Which layers of a network are worth targeting."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deepaug.method.outputs import first_tensor, tensors

Forward = Callable[[nn.Module, Any], Any]  # how a batch is passed


def call(model: nn.Module, batch: Any, forward: Forward | None = None) -> Any:
    """Run `model` on a batch: `model(b)`, `model(*b)` or `model(**b)`, or `forward(model, b)`."""
    if forward is not None:
        return forward(model, batch)
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple) else model(batch)


def layers(model: nn.Module, example: Any, forward: Forward | None = None) -> list[str]:
    """Names of the layers worth targeting with `deepaug.attach`, in execution order.

    A layer is listed if it ran exactly once and returned floating-point features of the samples. A
    module that merely holds a chain of repeated blocks is opened up and its blocks are listed
    instead, but for chains that follow each other, as the stages of a ResNet; of modules that
    return the very same tensor only the outermost is. Normalisations are left out, as the layers
    around them stand for them, and so is a last linear layer behind blocks, which is a head.
    "input" comes first where the model takes a floating-point tensor.

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
    inputs: dict[str, list[Tensor]] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: object, kwargs: object, output: object) -> None:
            ran[name] += 1
            finished[name] = len(finished)
            outputs[name] = first_tensor(output)
            inputs[name] = [*tensors([args, kwargs])]

        return hook

    modules = dict(model.named_modules())
    hooks = [m.register_forward_hook(watch(n), with_kwargs=True) for n, m in modules.items()]
    run_once(model, example, forward, hooks)

    given = inputs.get("", [])  # `forward` may run parts of the model alone
    samples = len(given[0]) if given and given[0].ndim else None

    def worth(name: str) -> bool:
        out = outputs.get(name)
        if ran[name] != 1 or out is None or not out.is_floating_point() or out.ndim < 2:
            return False
        # Of positions alone: one row for all samples, or an embedding of numbers of positions.
        taken = any(tensor.is_floating_point() for tensor in inputs[name])
        return samples in (None, len(out)) or (taken and len(out) > 1)

    def follows(name: str) -> bool:
        first = next(iter(inputs[name]), None)
        floats = first is not None and first.is_floating_point()
        return floats and all(first is not argument for argument in given)

    def composite(name: str) -> bool:
        children = (ran[f"{name}.{child}"] for child, _ in modules[name].named_children())
        return any(children) and outputs[name] is not outputs.get("")

    seen, listed = set(), []
    for name in _walk(model, "", ran, follows):
        if worth(name) and id(outputs[name]) not in seen:
            seen.add(id(outputs[name]))
            if not _normalises(modules[name]):
                listed.append(name)
    if any(map(composite, listed)):
        listed = [n for n in listed if not (outputs[n] is outputs.get("") and _is_head(modules[n]))]
    listed.sort(key=finished.__getitem__)
    takes_floats = any(tensor.is_floating_point() for tensor in given)
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

    def note(module: nn.Module, *_: object) -> None:
        if not reached:
            found[module] = None

    def reach(*_: object) -> None:
        nonlocal reached
        reached = True

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    hooks.append(model.get_submodule(layer).register_forward_hook(reach))
    run_once(model, example, None, hooks)
    return list(found)


def run_once(
    model: nn.Module, example: Any, forward: Forward | None, hooks: list[RemovableHandle]
) -> None:
    """Run `model` in `eval()` mode without gradient.

    Then the hooks are undone, its flags put back, and the random state, should it have drawn.
    """
    devices = {p.device for p in model.parameters() if p.is_cuda}
    try:
        with evaluating(model), torch.random.fork_rng(devices):
            call(model, example, forward)
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within this context `model` is in `eval()` mode without gradient; then its flags are back."""
    flags = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, training in flags.items():
            module.training = training


def _is_head(module: nn.Module) -> bool:
    """Whether all that a module has learnt, normalisation apart, is one linear layer."""
    weighty = [m for m in module.modules() if any(p.ndim > 1 for p in m.parameters(recurse=False))]
    return len(weighty) == 1 and isinstance(weighty[0], nn.Linear)


def _normalises(module: nn.Module) -> bool:
    named = "norm" in type(module).__name__.lower()
    return named and all(parameter.ndim < 2 for parameter in module.parameters())


def _walk(
    module: nn.Module, prefix: str, ran: Counter[str], follows: Callable[[str], bool]
) -> Iterator[str]:
    """Names below `module`, outermost first, opening containers and chains of repeated blocks."""
    children = [(f"{prefix}{name}", child) for name, child in module.named_children()]
    chains = {name: type(c) for name, c in children if _holds_a_chain(c, f"{name}.", ran)}
    following = {kind for name, kind in chains.items() if ran[name] and follows(name)}
    kinds = Counter(kind for kind in chains.values() if kind in following)
    for name, child in children:
        # The four stages of a ResNet are chains side by side, and targets themselves.
        if not ran[name] or (name in chains and kinds[chains[name]] < 2):
            yield from _walk(child, f"{name}.", ran, follows)
        if ran[name]:
            yield name


def _holds_a_chain(module: nn.Module, prefix: str, ran: Counter[str]) -> bool:
    """Whether repeated composite blocks of one class lie below `module`, as in a ViT's encoder."""
    children = [(f"{prefix}{name}", child) for name, child in module.named_children()]
    blocks = Counter(type(c) for n, c in children if ran[n] and any(c.children()))
    return any(count > 1 for count in blocks.values()) or any(
        _holds_a_chain(child, f"{name}.", ran) for name, child in children
    )
