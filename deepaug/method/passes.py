"""Forward passes of a model, and the random numbers that a transform draws in them.

A backward pass may run a forward pass again, whole: gradient caching does (Gao et al. 2021, arXiv
2101.06983), and so does a checkpoint around the whole model. Then a transform has to act as it did
the first time. Torch's global generator is wound back by whoever runs the pass again; what a handle
knows beyond that is kept here.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

from deepaug.method.outputs import Arguments, Options

# Passes that are kept: more than the chunks of a step, and of those with the very same arguments.
MOST, MOST_ALIKE = 10_000, 64


@dataclass
class State:
    """How a transform acts; what a pass that is run again has to find as it was.

    Attributes:
        stream: seed of an own stream of random numbers, then its state; None for torch's own.
        last: the generator's state before the last draw.
        switched: whether anything of this has changed since training began.
    """

    stop_gradient: bool = False
    paused: bool = False
    repeating: bool = False
    stream: int | Tensor | None = None
    last: Tensor | None = None
    switched: bool = False

    def equals(self, other: "State") -> bool:
        return all(a is b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))

    @contextlib.contextmanager
    def drawing(self, device: torch.device) -> Iterator[None]:
        """Let the global generator of `device` stand where the transform is to draw from.

        An own stream goes on afterwards, but where the last draw is repeated; the global generator
        stays as it was if anything else was drawn from.
        """
        if device.type == "meta":  # nothing is drawn
            yield
            return
        if isinstance(self.stream, int):
            self.stream = torch.Generator(device).manual_seed(self.stream).get_state()
        now = _random_state(device)
        start = self.last if self.repeating else self.stream
        if start is not None:
            _set_random_state(device, start)
        self.last = now if start is None else start
        try:
            yield
        finally:
            if self.stream is not None and not self.repeating:
                self.stream = _random_state(device)
            if start is not None:
                _set_random_state(device, now)


Running = tuple[Arguments, Options, State]  # a pass


class Passes:
    """The model's own forward passes: the one that runs, and those that may be run again.

    A pass is known by where its arguments lie in memory.
    """

    def __init__(self) -> None:
        self._running: dict[int, Running] = {}  # by thread, as in DataParallel
        self._kept: dict[Any, list[State]] = {}  # since the last step, by arguments
        self._step: int | None = None  # counts the changes of parameters
        self._trained: list[tuple[nn.Module, str]] | None = None  # where these parameters lie

    def begin(self, model: nn.Module, args: Arguments, kwargs: Options, state: State) -> None:
        """Note a pass that begins. RuntimeError for one run again that cannot be told."""
        memory = _memory([args, kwargs])
        if recomputing():
            self._step = None  # what is kept has served when the next pass begins
            state = self._first_time(memory, state)
        else:
            step = self._changes(model)
            if step != self._step:
                self._kept.clear()
                self._step = step
            last = state.last if state.repeating else None
            now = replace(state, last=last, switched=True)
            kept = self._kept.setdefault((_to_be_run_again(), memory), [])
            if not any(now.equals(earlier) for earlier in kept):
                kept.append(now)
                self._forget_oldest(kept)
        self._running[get_ident()] = args, kwargs, state

    def _changes(self, model: nn.Module) -> int:
        """How often some of the parameters that are trained have changed; one may never be."""
        if self._trained is None:
            found = ((m, n, p) for m in model.modules() for n, p in m._parameters.items())
            places = [(m, n) for m, n, p in found if p is not None and p.requires_grad]
            # Asking all of a large network takes as long as some of its layers.
            self._trained = [*places[:: len(places) // 8 + 1], *places[-1:]]
        trained = (m._parameters[name] for m, name in self._trained if name in m._parameters)
        return sum(p._version for p in trained if p is not None and not p.is_inference())

    def _forget_oldest(self, kept: list[State]) -> None:
        """Bound what is kept where no step is seen, as of an optimiser that writes to `.data`."""
        del kept[:-MOST_ALIKE]
        while len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]

    def _first_time(self, memory: Any, state: State) -> State:
        """The state of the pass that is run again."""
        if not state.switched and state.stream is None:
            return state
        found = self._kept.get((True, memory), [])
        if not found:  # run again by hand, whose contexts count
            found = [s for s in self._kept.get((False, memory), []) if s.paused == state.paused]
        if len(found) != 1:
            raise RuntimeError(
                "a backward pass runs a forward pass again, and which one cannot be told, as "
                f"{len(found) or 'no'} earlier ones had these very tensors; after seed(), "
                "paused(), repeated() or a change of stop_gradient exactly one must have had them"
            )
        return replace(found[0])

    def end(self) -> None:
        self._running.pop(get_ident(), None)

    @property
    def running(self) -> Running | None:
        """Arguments and state of the pass that runs in this thread, if one does."""
        return self._running.get(get_ident())


def recomputing() -> bool:
    """Whether a backward pass is running, so that a forward pass within it is a second one."""
    return torch._C._current_graph_task_id() != -1


def _to_be_run_again() -> bool:
    """Whether a pass leaves its gradient to a second one, as in caching and checkpoints."""
    hooks: object = torch._C._autograd._top_saved_tensors_default_hooks(True)
    return hooks is not None or not torch.is_grad_enabled()


def _memory(value: Any) -> Any:
    """Where arguments lie in memory, as a key; None where that cannot be told."""
    try:
        if isinstance(value, Tensor):
            return value.data_ptr(), value.shape, value.stride(), value._version
        if isinstance(value, Mapping):
            return tuple((name, _memory(part)) for name, part in value.items())
        if isinstance(value, tuple | list):
            return tuple(map(_memory, value))
    except RuntimeError:  # of vmap, sparse and inference-mode tensors
        return None
    return id(value)


def _random_state(device: torch.device) -> Tensor:
    """The state of the global generator that a transform on `device` draws from."""
    state: Tensor = _random_module(device).get_rng_state(*_index(device))
    return state


def _set_random_state(device: torch.device, state: Tensor) -> None:
    _random_module(device).set_rng_state(state, *_index(device))


def _random_module(device: torch.device) -> Any:
    return torch.random if device.type == "cpu" else getattr(torch, device.type)


def _index(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type in ("cpu", "mps") else (device,)
