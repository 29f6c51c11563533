"""What goes into a model and what its layers return: finding the tensor that is meant."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

# Makes another tensor of one and, where rows are not samples, the sample that each belongs to.
Change = Callable[[Tensor, Tensor | None], Tensor]
# What a module is called with.
Arguments = tuple[Any, ...]
Options = dict[str, Any]


def change_input(
    model: nn.Module, args: Arguments, kwargs: Options, change: Change
) -> tuple[Arguments, Options]:
    """A call's arguments with the first floating-point tensor among them changed."""
    for position, value in enumerate(args):
        if isinstance(value, Tensor) and value.is_floating_point():
            return (*args[:position], change(value, None), *args[position + 1 :]), kwargs
    for name, value in kwargs.items():
        if isinstance(value, Tensor) and value.is_floating_point():
            return args, {**kwargs, name: change(value, None)}
    embeddings = [n for n, m in model.named_modules() if isinstance(m, nn.Embedding)]
    advice = "target a layer by its name from model.named_modules()"
    if embeddings:
        advice = f"target an embedding layer: {', '.join(map(repr, embeddings))}"
    raise ValueError(
        f"layer 'input' needs a floating-point tensor argument and the model was given none; "
        f"{advice}"
    )


def change_first(output: Any, change: Change, where: str) -> Any:
    """`output` with its (first) tensor changed."""
    if isinstance(output, Tensor):
        return change(output, None)
    if isinstance(output, PackedSequence):
        return output._replace(data=change(output.data, _samples(output)))
    first = output[0] if isinstance(output, tuple | list) and output else None
    if isinstance(first, Tensor | PackedSequence):
        changed = [change_first(first, change, where), *output[1:]]
        return output._make(changed) if hasattr(output, "_make") else type(output)(changed)
    if dataclasses.is_dataclass(output):  # Hugging Face's outputs are dataclasses and mappings
        for field in dataclasses.fields(output):
            if isinstance(value := getattr(output, field.name), Tensor):
                return _with(output, field.name, change(value, None))
    elif isinstance(output, Mapping):
        for name, value in output.items():
            if isinstance(value, Tensor):
                return _with_item(output, name, change(value, None))
    raise ValueError(
        f"the targeted {where} returned {type(output).__name__}; needed: a tensor, a tuple whose "
        f"first element is one, a mapping or a dataclass with one"
    )


def _samples(packed: PackedSequence) -> Tensor:
    """The sample of each row: a step of time has one of each sequence that is as long."""
    counts = packed.batch_sizes.tolist()
    return torch.cat([torch.arange(count) for count in counts]).to(packed.data.device)


def _with(output: Any, name: str, value: Tensor) -> Any:
    """A dataclass's object with another value of a field; what makes such objects is not run."""
    changed = copy.copy(output)
    frozen = type(output).__dataclass_params__.frozen
    (object.__setattr__ if frozen else setattr)(changed, name, value)
    return changed


def _with_item(output: Mapping[Any, Any], name: Any, value: Tensor) -> Mapping[Any, Any]:
    """A mapping with another value; of one that can be changed a copy is, whatever makes it."""
    if not isinstance(output, MutableMapping):
        make: Callable[..., Mapping[Any, Any]] = type(output)
        return make({**output, name: value})
    changed = copy.copy(output)
    changed[name] = value
    return changed


def first_tensor(output: Any) -> Tensor | None:
    """The tensor that `change_first` would change; None where it would raise."""
    if isinstance(output, tuple | list):
        return next((value for value in output[:1] if isinstance(value, Tensor)), None)
    return next((value for value in _parts(output) if isinstance(value, Tensor)), None)


def tensors(output: Any) -> Iterator[Tensor]:
    """All tensors in an output, however nested."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple | list | Mapping) or dataclasses.is_dataclass(output):
        for part in _parts(output):
            yield from tensors(part)


def _parts(output: Any) -> list[Any]:
    if isinstance(output, Mapping):
        return list(output.values())
    if isinstance(output, tuple | list):
        return list(output)
    return list(vars(output).values()) if dataclasses.is_dataclass(output) else [output]
