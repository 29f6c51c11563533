"""A trial: the frozen, validated description of one training run, and the randomness it fixes."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deepaug.training import registry
from deepaug.validation import one_of, share, typed

# Raise by hand whenever training or evaluation changes what a trial measures; records of another
# protocol are then computed anew. tests/test_training.py holds a golden trial against it.
PROTOCOL = 2
# A transform that changed alone has a number of its own, so that all other records stay. 3: the
# gradient of PCA flows through the batch's mean, and what no component spans passes unchanged.
PROTOCOLS = {"pca": 3, "pca-truncate": 3}


@dataclass(frozen=True)
class NamedTransform:
    """What a trial's transform is in code, and what the studies hold it against."""

    of: str  # a class in `deepaug.method.transforms`, called with p and these settings
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    family: str = ""  # of which a screen chooses the best; of equal ones the first named
    noise: str = ""  # that changes an activation by the norm that this one does; "": not known


TRANSFORMS = {
    "dropout": NamedTransform("Dropout", {}, "dropout", "noise"),
    "dropout-feature": NamedTransform("Dropout", {"granularity": "feature"}, "dropout", "noise"),
    "pca": NamedTransform("PCA", {}, "pca", "noise-centred"),
    "pca-truncate": NamedTransform("PCA", {"mode": "truncate"}, "pca"),
    "noise": NamedTransform("GaussianNoise"),
    "noise-centred": NamedTransform("GaussianNoise", {"centred": True}),
}
CHOICES = {
    "modality": registry.NAMES,
    "objective": ("contrastive", "supervised", "untrained"),
    "optimizer": ("sgd", "adam", "adamw"),
    "schedule": ("cosine", "warmup-cosine", "linear", "constant"),
    "transform": ("none", *TRANSFORMS),
    "stop_gradient": ("none", "one", "both"),
    "transformed": ("both", "one", "same"),
    "statistics": ("training", "plain"),
    "precision": ("float32", "bfloat16"),
}
# The ways of applying a transform: how a trial's two fields stand in each.
WAYS: dict[str, dict[str, Any]] = {
    "both": {"transformed": "both", "stop_gradient": "none"},
    "detached-one": {"transformed": "both", "stop_gradient": "one"},
    "detached": {"transformed": "both", "stop_gradient": "both"},
    "one-view": {"transformed": "one", "stop_gradient": "none"},
    "one-view-detached": {"transformed": "one", "stop_gradient": "one"},
}
POSITIVE = ("width", "view_size", "batch_size", "learning_rate", "temperature", "threads")
SIZES = ("width", "view_size", "batch_size", "threads")
NOT_NEGATIVE = ("samples", "view_strength", "epochs", "weight_decay", "seed")
SHARES = ("held_out", "strength")
# Fields of valid trials, as given -> as kept: studies list the same trials over and over.
_VALID: dict[str, dict[str, Any]] = {}


def _field(default: Any, description: str) -> Any:
    return dataclasses.field(default=default, metadata={"description": description})


@dataclass(frozen=True)
class Trial:
    """One training run. Raises ValueError, in one line, for a field of wrong type or value."""

    modality: str = "vision"
    data: str = _field("mnist-5k", "A data set by name, or a path.")
    # Halves of held-out documents are to find each other; the rest are scored sentence pairs.
    pairs: str = _field("none", "What evaluates text: none (topics), halves, sts, lee or a file.")
    samples: int = _field(0, "Size of the training subset drawn by the seed; 0: all.")
    held_out: float = _field(0.0, "Share of the graphs that the seed keeps to evaluate on.")
    objective: str = "contrastive"
    encoder: str = "resnet18"
    width: int = _field(64, "Features of the first stage (vision), each layer, or last (nodes).")
    pooling: str = _field("mean", "Of positions into one feature vector.")
    views: str = _field("standard", "The family of input augmentation.")
    view_size: int = _field(32, "Pixels along a side, or tokens in a sentence.")
    view_strength: float = _field(1.0, "Of the input augmentation: 1 is its recipe's, 0 none.")
    epochs: int = 200
    batch_size: int = _field(128, "For nodes, of those in the loss of a step.")
    optimizer: str = "sgd"
    learning_rate: float = 0.06
    schedule: str = "cosine"
    weight_decay: float = 5e-4
    temperature: float = 0.5
    layer: str = "none"
    transform: str = "none"
    strength: float = _field(0.0, "The transform's p.")
    stop_gradient: str = _field("none", "Detach the target in no view, the first, or both.")
    transformed: str = _field("both", "Transform both views, the first, or both by the same mask.")
    statistics: str = _field(
        "training", "BatchNorm's in evaluation: as training left them, or of untransformed passes."
    )
    cut: str = _field("none", "Split the trained network above this layer, and retrain copies.")
    seed: int = 0
    precision: str = _field("float32", "Of the encoder; loss, normalisation and PCA are float32.")
    threads: int = _field(1, "On the CPU, where they can change the last bits of a result.")
    protocol: int = _field(0, "Of what training and evaluation measure. 0: the current one.")

    def __post_init__(self):
        fields = vars(self)
        given = repr(fields)  # which tells True from 1
        if given not in _VALID:
            for field in dataclasses.fields(self):
                fields[field.name] = typed(field.name, fields[field.name], field.type)
            _check(self)
            _VALID[given] = dict(fields)
        fields |= _VALID[given]
        if self.protocol == current_protocol(self.transform):
            # Not kept as a number: a trial that is changed into another transform's gets its own.
            fields["protocol"] = 0

    @property
    def trainings(self) -> int:
        """How many there are: one or, where the network is cut, those of its two copies too."""
        return 1 if self.cut == "none" else 3

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
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fields | {"protocol": number}

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

    Purposes are "initialisation", "subset", "order", "views", "transform", "dropout" (the
    network's own), "retraining" (weights of copies) and "similarity" (the samples it is told on).

    Two trials that share `seed` share every stream but those their own settings change, which is
    what makes their difference a paired one.
    """
    digest = hashlib.sha256(f"{purpose}/{seed}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _check(trial: Trial) -> None:
    _check_ranges(trial)
    _check_data(trial)
    _check_encoder(trial)
    _check_target(trial)
    if trial.cut != "none":
        _check_cut(trial)


def _check_ranges(trial: Trial) -> None:
    for name, allowed in CHOICES.items():
        one_of(name, getattr(trial, name), allowed)
    for name in (*POSITIVE, *NOT_NEGATIVE):
        value = getattr(trial, name)
        if value < 0 or (name in POSITIVE and value == 0):
            bound = "> 0" if name in POSITIVE else ">= 0"
            raise ValueError(f"{name} must be {bound}, not {value!r}")
    for name in SHARES:
        share(name, getattr(trial, name))
    # Seeds are hashed, never used as they are: their bound only keeps them readable. Sizes beyond
    # theirs no memory holds.
    for name, most in (("seed", 2**31), *((size, 2**20) for size in SIZES)):
        if getattr(trial, name) >= most:
            raise ValueError(f"{name} must be below {most}, not {getattr(trial, name)}")


def _check_data(trial: Trial) -> None:
    modality = trial.modality
    known = registry.MODALITIES[modality]
    one_of("views", trial.views, known.views, f"of {modality}")
    one_of("pooling", trial.pooling, known.poolings, f"of {modality}")
    if trial.pairs != "none" and modality != "text":
        raise ValueError(f"pairs {trial.pairs!r} are for text alone; leave them out for {modality}")
    if trial.held_out and modality != "graphs":
        raise ValueError(f"held_out is for graphs; {modality} has splits of its own")
    if trial.samples and trial.batch_size > trial.samples:
        raise ValueError(
            f"batch_size {trial.batch_size} is larger than the data ({trial.samples} samples); "
            f"lower batch_size or raise samples"
        )


def _check_encoder(trial: Trial) -> None:
    trained = trial.objective != "untrained"
    if not registry.from_hub(trial.modality, trial.encoder):
        one_of("encoder", trial.encoder, registry.MODALITIES[trial.modality].encoders)
        if trained and not registry.layers(trial.modality, trial.encoder):
            raise ValueError(
                f"encoder {trial.encoder!r} has nothing to train; set objective to 'untrained'"
            )
    if trial.epochs and not trained:
        raise ValueError(f"an untrained encoder has epochs 0, not {trial.epochs}")
    if trained and not trial.epochs:
        raise ValueError(
            "epochs must be > 0; for random initialisation, set objective to 'untrained'"
        )


def _check_target(trial: Trial) -> None:
    if trial.layer != "none":
        registry.check_layer(trial.modality, trial.encoder, trial.layer)
    if (trial.layer == "none") != (trial.transform == "none"):
        raise ValueError(
            f"layer {trial.layer!r} and transform {trial.transform!r} need each other: "
            f"give both or neither"
        )
    if trial.transformed == "one" and trial.stop_gradient == "both":
        raise ValueError(
            "stop_gradient 'both' needs both views transformed; "
            "where transformed is 'one', give 'one'"
        )
    if trial.statistics == "plain" and not registry.MODALITIES[trial.modality].batchnorm:
        raise ValueError(
            f"statistics 'plain' are those of BatchNorm, which encoders of {trial.modality} lack; "
            f"leave it out"
        )
    for name in ("strength", "stop_gradient", "transformed", "statistics"):
        value = getattr(trial, name)
        if trial.layer == "none" and value != Trial.__dataclass_fields__[name].default:
            raise ValueError(f"{name} {value!r} needs a layer and a transform")


def _check_cut(trial: Trial) -> None:
    if trial.objective == "untrained":
        raise ValueError(f"cut {trial.cut!r} needs a trained network; set another objective")
    if registry.from_hub(trial.modality, trial.encoder):
        raise ValueError(
            f"cut {trial.cut!r} needs an encoder that begins at random weights, from which copies "
            f"begin anew; {trial.encoder!r} comes trained"
        )
    allowed = registry.cuts(trial.modality, trial.encoder)
    one_of("cut", trial.cut, allowed, f"of {trial.encoder}, with layers to train on both sides")
