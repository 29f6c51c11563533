"""What goes into a model and what its layers return: finding the tensor that is meant."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn


def change_input(
    model: nn.Module, args: tuple, kwargs: dict, change: Callable[[Tensor], Tensor]
) -> tuple[tuple, dict]:
    """A call's arguments with the first floating-point tensor among them changed."""
    for position, value in [*enumerate(args), *kwargs.items()]:
        if isinstance(value, Tensor) and value.is_floating_point():
            if isinstance(position, str):
                return args, {**kwargs, position: change(value)}
            return (*args[:position], change(value), *args[position + 1 :]), kwargs
    embeddings = [n for n, m in model.named_modules() if isinstance(m, nn.Embedding)]
    advice = "target a layer by its name from model.named_modules()"
    if embeddings:
        advice = f"target an embedding layer: {', '.join(map(repr, embeddings))}"
    raise ValueError(
        f"layer 'input' needs a floating-point tensor argument and the model was given none; "
        f"{advice}"
    )


def change_first(output: Any, change: Callable[[Tensor], Tensor], where: str) -> Any:
    """`output` with its (first) tensor changed."""
    if isinstance(output, Tensor):
        return change(output)
    if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
        changed = [change(output[0]), *output[1:]]
        return output._make(changed) if hasattr(output, "_make") else type(output)(changed)
    if dataclasses.is_dataclass(output):  # Hugging Face's outputs are dataclasses and mappings
        for field in dataclasses.fields(output):
            if isinstance(value := getattr(output, field.name), Tensor):
                return dataclasses.replace(output, **{field.name: change(value)})
    elif isinstance(output, Mapping):
        for name, value in output.items():
            if isinstance(value, Tensor):
                return type(output)({**output, name: change(value)})
    raise ValueError(
        f"the targeted {where} returned {type(output).__name__}; needed: a tensor, a tuple whose "
        f"first element is one, a mapping or a dataclass with one"
    )


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


def _parts(output: Any) -> list:
    if isinstance(output, Mapping):
        return list(output.values())
    if isinstance(output, tuple | list):
        return list(output)
    return list(vars(output).values()) if dataclasses.is_dataclass(output) else [output]
