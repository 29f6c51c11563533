"""A trial: the frozen, validated description of one training run, and the randomness it fixes."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deepaug.training import registry
from deepaug.validation import one_of, share

# Raise by hand whenever training or evaluation changes what a trial measures; records of another
# protocol are then computed anew. tests/test_training.py holds a golden trial against it.
PROTOCOL = 2
# A transform that changed alone has a number of its own, so that all other records stay. 3: the
# gradient of PCA flows through the batch's mean, and what no component spans passes unchanged.
PROTOCOLS = {"pca": 3, "pca-truncate": 3}

TRANSFORMS = ("dropout", "dropout-feature", "pca", "pca-truncate", "noise", "noise-centred")
CHOICES = {
    "modality": registry.NAMES,
    "objective": ("contrastive", "supervised", "untrained"),
    "optimizer": ("sgd", "adam", "adamw"),
    "schedule": ("cosine", "warmup-cosine", "linear", "constant"),
    "transform": ("none", *TRANSFORMS),
    "stop_gradient": ("none", "one", "both"),
    "transformed": ("both", "one", "same"),
    "precision": ("float32", "bfloat16"),
}
# The ways of applying a transform: how a trial's two fields stand in each.
WAYS: dict[str, dict[str, str]] = {
    "both": {"transformed": "both", "stop_gradient": "none"},
    "detached-one": {"transformed": "both", "stop_gradient": "one"},
    "detached": {"transformed": "both", "stop_gradient": "both"},
    "one-view": {"transformed": "one", "stop_gradient": "none"},
    "one-view-detached": {"transformed": "one", "stop_gradient": "one"},
}
POSITIVE = ("width", "view_size", "batch_size", "learning_rate", "temperature", "threads")
NOT_NEGATIVE = ("samples", "view_strength", "epochs", "weight_decay", "seed")


@dataclass(frozen=True)
class Trial:
    """One training run. Raises ValueError, in one line, for a field of wrong type or value."""

    modality: str = "vision"
    data: str = "mnist-5k"  # a data set by name, or a path
    # What evaluates text: "none" its topics, "halves" of held-out documents, or scored sentence
    # pairs, "sts", "lee" or a TSV file.
    pairs: str = "none"
    samples: int = 0  # size of the training subset drawn by the seed; 0: all
    held_out: float = 0.0  # share of the graphs that the seed keeps from training, to evaluate on
    objective: str = "contrastive"
    encoder: str = "resnet18"
    width: int = 64  # features of the first stage (vision), each layer (text, graphs), last (nodes)
    pooling: str = "mean"  # of positions into one feature vector
    views: str = "standard"  # the family of input augmentation
    view_size: int = 32  # pixels along a side, tokens in a sentence
    view_strength: float = 1.0  # of the input augmentation: 1 is the recipe's, 0 none
    epochs: int = 200
    batch_size: int = 128  # for nodes, of those in the loss of a step
    optimizer: str = "sgd"
    learning_rate: float = 0.06
    schedule: str = "cosine"
    weight_decay: float = 5e-4
    temperature: float = 0.5
    layer: str = "none"
    transform: str = "none"
    strength: float = 0.0  # the transform's p
    stop_gradient: str = "none"  # detach the target in no view, the first, or both
    transformed: str = "both"  # transform both views, the first, or both by the same mask
    seed: int = 0
    precision: str = "float32"  # of the encoder; loss, normalisation and PCA are always float32
    threads: int = 1  # CPU threads; on the CPU they can change the last bits of a result
    protocol: int = 0  # 0: the current one, `current_protocol`; older records have their own

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = _typed(field.name, getattr(self, field.name), field.type)
            object.__setattr__(self, field.name, value)
        for name, allowed in CHOICES.items():
            one_of(name, getattr(self, name), allowed)
        for name in (*POSITIVE, *NOT_NEGATIVE):
            value, least = getattr(self, name), 0
            if value < least or (name in POSITIVE and value == 0):
                bound = "> 0" if name in POSITIVE else ">= 0"
                raise ValueError(f"{name} must be {bound}, not {value!r}")
        share("strength", self.strength)
        share("held_out", self.held_out)
        # Seeds are hashed, never used as they are; this bound only keeps them readable.
        if self.seed >= 2**31:
            raise ValueError(f"seed must be below 2147483648, not {self.seed}")
        if self.protocol == current_protocol(self.transform):
            # Not kept as a number: a trial that is changed into another transform's gets its own.
            object.__setattr__(self, "protocol", 0)
        one_of("views", self.views, registry.views(self.modality), f"of {self.modality}")
        one_of("pooling", self.pooling, registry.poolings(self.modality), f"of {self.modality}")
        self._check_data()
        self._check_target()
        if self.samples and self.batch_size > self.samples:
            raise ValueError(
                f"batch_size {self.batch_size} is larger than the data ({self.samples} samples); "
                f"lower batch_size or raise samples"
            )
        if self.objective == "untrained" and self.epochs:
            raise ValueError(f"an untrained encoder has epochs 0, not {self.epochs}")
        if self.objective != "untrained" and not self.epochs:
            raise ValueError(
                "epochs must be > 0; for random initialisation, set objective to 'untrained'"
            )

    def _check_data(self) -> None:
        if self.pairs != "none" and self.modality != "text":
            raise ValueError(
                f"pairs {self.pairs!r} are for text alone; leave them out for {self.modality}"
            )
        if self.held_out and self.modality != "graphs":
            raise ValueError(f"held_out is for graphs; {self.modality} has splits of its own")

    def _check_target(self) -> None:
        if not registry.from_hub(self.modality, self.encoder):
            one_of("encoder", self.encoder, registry.encoders(self.modality))
            if not registry.layers(self.modality, self.encoder) and self.objective != "untrained":
                raise ValueError(
                    f"encoder {self.encoder!r} has nothing to train; set objective to 'untrained'"
                )
        if self.layer != "none":
            registry.check_layer(self.modality, self.encoder, self.layer)
        if (self.layer == "none") != (self.transform == "none"):
            raise ValueError(
                f"layer {self.layer!r} needs a transform and transform {self.transform!r} a "
                f"layer: give both, or 'none' for both"
            )
        if self.transformed == "one" and self.stop_gradient == "both":
            raise ValueError(
                "stop_gradient 'both' needs both views transformed; "
                "where transformed is 'one', give 'one'"
            )
        if self.layer == "none":
            neutral = Trial.__dataclass_fields__
            for name in ("strength", "stop_gradient", "transformed"):
                if (value := getattr(self, name)) != neutral[name].default:
                    raise ValueError(f"{name} {value!r} needs a layer and a transform")

    @property
    def way(self) -> str:
        """How the transform is applied, by its name in `WAYS`; else "same-mask"."""
        own = {"transformed": self.transformed, "stop_gradient": self.stop_gradient}
        return next((name for name, way in WAYS.items() if way == own), "same-mask")

    @cached_property
    def canonical(self) -> str:
        """Sorted JSON of the fields that differ from their defaults: a new field keeps old keys."""
        changed = {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        }
        changed["protocol"] = self.protocol or current_protocol(self.transform)
        return json.dumps(changed, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits: a hash of the canonical form."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """All fields, the protocol as a number."""
        number = self.protocol or current_protocol(self.transform)
        return {**dataclasses.asdict(self), "protocol": number}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Trial":
        for name in fields:
            one_of("trial field", name, cls.__dataclass_fields__)
        return cls(**fields)


def current_protocol(transform: str) -> int:
    """The protocol of a trial with this transform by the code at hand."""
    return PROTOCOLS.get(transform, PROTOCOL)


def derive(seed: int, purpose: str, step: int = 0) -> int:
    """A 63-bit seed for one purpose.

    Purposes are "initialisation", "subset", "order", "views", "transform" and "dropout" (the
    network's own).

    Two trials that share `seed` share every stream but those their own settings change, which is
    what makes their difference a paired one.
    """
    digest = hashlib.sha256(f"{purpose}/{seed}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _typed(name: str, value: Any, kind: type) -> Any:
    """`value` as `kind`; an int passes for a float, nothing else is converted."""
    if kind is float and type(value) is int and abs(value) < 2**53:
        value = float(value)
    if type(value) is not kind:
        hint = ""
        if kind is float and isinstance(value, str):
            hint = " (in YAML without quotation marks, and 1.0e-3 rather than 1e-3)"
        raise ValueError(f"{name} must be {kind.__name__}, not {value!r}{hint}")
    if kind is float and not math.isfinite(value):
        raise ValueError(f"{name} must be finite, not {value!r}")
    return value
