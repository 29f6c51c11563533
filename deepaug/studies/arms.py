"""Arms: a baseline with a transform at one layer, and what each is held against."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from deepaug.studies import choice
from deepaug.training import registry
from deepaug.training.trial import TRANSFORMS, WAYS, Trial

_UNTRAINED = {"objective": "untrained", "epochs": 0}
# What a reader would use instead of an encoder: features that nothing trains.
REFERENCES = [
    encoder
    for known in registry.MODALITIES.values()
    for encoder, layers in known.encoders.items()
    if not layers
]
# Without a transform.
CONTROLS: dict[str, dict[str, Any]] = {
    "untrained": _UNTRAINED,
    "no-augmentation": {"view_strength": 0.0},
    **{encoder: {**_UNTRAINED, "encoder": encoder} for encoder in REFERENCES},
}
DOUBLED = "doubled"  # the variant of a scale stage by which the rules take the gain of its epochs


def targets(trial: Trial) -> tuple[str, ...]:
    """The layers of a trial's encoder, from the input on."""
    return registry.layers(trial.modality, trial.encoder)


def middle(trial: Trial) -> str:
    """Of the k layers between input and pooling the one numbered ⌈k/2⌉."""
    return choice.middle([layer for layer in targets(trial)[1:] if layer not in registry.POOLED])


def cuts(trial: Trial) -> tuple[str, ...]:
    """The layers after which a trial's encoder may be cut."""
    return registry.cuts(trial.modality, trial.encoder)


def name(trial: Trial) -> str:
    """What an arm is called: "stage3 dropout 0.5", and its way where that is not both views."""
    way = "" if trial.way == "both" else f" {trial.way}"
    return f"{trial.layer} {trial.transform} {trial.strength:g}{way}"


def short(value: Any) -> str:
    """A setting's value as names of arms have it."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def grid(
    plain: Trial,
    layers: Iterable[str],
    transforms: Iterable[str],
    strengths: Iterable[float],
    ways: Iterable[str] = (),
) -> list[Trial]:
    """An arm on `plain` for each combination; both views where no way is given."""
    points = itertools.product(layers, transforms, strengths, tuple(ways) or ("both",))
    return [
        replace(plain, layer=layer, transform=transform, strength=p, **WAYS[way])
        for layer, transform, p, way in points
    ]


def _noise(arm: Trial) -> Trial | None:
    """Noise of the norm by which the transform changes an activation, where that is known."""
    noise = TRANSFORMS[arm.transform].noise
    return replace(arm, transform=noise) if noise else None


def _no_transform(arm: Trial) -> Trial | None:
    """A detached target changes training by itself: the same at p = 0, whatever the transform."""
    if arm.stop_gradient == "none":
        return None
    return replace(arm, transform="dropout", strength=0.0)


def _plain_statistics(arm: Trial) -> Trial | None:
    """A transform shifts BatchNorm's statistics in training, and is absent in evaluation."""
    if not registry.MODALITIES[arm.modality].batchnorm:
        return None
    return replace(arm, statistics="plain")


# What an arm is held against: each isolates one ingredient of it. None where there is nothing to.
ARM_CONTROLS: dict[str, Callable[[Trial], Trial | None]] = {
    # Of the way "both": a mask that is met again in a detached or a plain view is another matter.
    "same-mask": lambda arm: replace(arm, transformed="same", stop_gradient="none"),
    "noise": _noise,
    "no-transform": _no_transform,
    "plain-statistics": _plain_statistics,
    "alone": lambda arm: replace(arm, view_strength=0.0),
    "at-input": lambda arm: replace(arm, layer=targets(arm)[0]),
} | {way: (lambda arm, fields=fields: replace(arm, **fields)) for way, fields in WAYS.items()}


def controls(arm: Trial, names: Iterable[str]) -> Iterator[tuple[str, Trial]]:
    """Kind and trial of each control of an arm, but for those that equal it or do not apply."""
    for control in names:
        changed = ARM_CONTROLS[control](arm)
        if changed is not None and changed != arm:
            yield control, changed


def control_name(arm: Trial, control: str, changed: Trial) -> str:
    """What a control of an arm is called: the arm, at the control's target, and the kind.

    The arm's own way is left out where the control has another.
    """
    way = arm.way if changed.way == arm.way else "both"
    return f"{name(replace(arm, layer=changed.layer, **WAYS[way]))} {control}"
