"""The table of modalities: names that trials may use, known without importing torch.

A modality is a folder of `modalities`, whose module `task` has `prepare(trial, device) -> Task` and
`describe(data)`; `task.Task` says what a task offers.
"""

import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from deepaug import process
from deepaug.validation import one_of

if TYPE_CHECKING:
    from deepaug.training.trial import Trial


@dataclass(frozen=True)
class Modality:
    """The names a trial of this modality may use."""

    data: tuple[str, ...]  # data sets with a name of their own; others are paths, or TU sets
    # encoder -> layers it can be targeted at, from the input on
    encoders: dict[str, tuple[str, ...]]
    views: tuple[str, ...]  # families of input augmentation
    poolings: tuple[str, ...]  # how positions become one feature vector
    primary: str  # the metric the verdicts are about; see `primary`
    packages: tuple[str, ...]  # whose versions a result may depend on


def bert_layers(blocks: int) -> tuple[str, ...]:
    """Layers that a BERT of so many blocks can be targeted at, from the input on."""
    return ("embeddings", *(f"block{number + 1}" for number in range(blocks)), "pooled")


def _gcn(count: int) -> tuple[str, ...]:
    return ("embeddings", *(f"layer{number + 1}" for number in range(count)))


POOLED = ("pooled", "readout")  # layers that train nothing
_RESNET = ("input", "stem", "stage1", "stage2", "stage3", "stage4", "pooled")
_GIN = ("input", "layer1", "layer2", "layer3", "readout")
_TABLE = {
    "vision": Modality(
        data=("mnist-5k", "cifar10-jpeg", "cifar10", "cifar100", "fashion-mnist", "stl10"),
        encoders={"resnet10": _RESNET, "resnet18": _RESNET},
        views=("standard",),
        poolings=("mean",),
        primary="knn",
        packages=("torchvision",),
    ),
    "text": Modality(
        data=("20newsgroups", "lee", "lee-documents", "wordnet-brown", "wordnet", "brown"),
        encoders={
            "bert2": bert_layers(2),
            "bert3": bert_layers(3),
            "bert4": bert_layers(4),
            "bert6": bert_layers(6),
            "bert12": bert_layers(12),
            "bag-of-words": (),
            "tf-idf": (),
            "lsa": (),
        },
        views=("standard", "deletion", "crops", "crops-deletion"),
        poolings=("mean", "cls"),
        primary="knn",
        packages=("transformers", "tokenizers", "nltk", "gensim"),
    ),
    "nodes": Modality(
        data=("Cora", "CiteSeer", "DBLP"),
        encoders={"gcn2": _gcn(2), "gcn3": _gcn(3), "raw-features": ()},
        views=("standard",),
        poolings=("mean",),  # of nothing: a node has one feature vector
        primary="probe",
        packages=("torch-geometric",),
    ),
    "graphs": Modality(
        data=("MUTAG", "PROTEINS", "NCI109"),
        encoders={"gin3": _GIN, "counts": ()},
        views=("standard", "original", "nodes", "edges", "attributes", "subgraphs"),
        poolings=("mean", "sum"),
        primary="svc",
        packages=("torch-geometric",),
    ),
}
# Blocks of models of the hub that profiles name: listing their trials takes no network.
_HUB = {"google-bert/bert-base-uncased": bert_layers(12)}
_HUB_LAYER = re.compile(r"embeddings|block[1-9][0-9]*|pooled")
NAMES = tuple(_TABLE)
PAIRS = ("none", "halves", "sts", "lee")  # what evaluates text; others are paths
_OTHERS = {  # what else data may be than one of these names
    "vision": "or a folder of images, as path/to/folder",
    "text": "or the path of a text file with a sentence a line, or of a folder of documents",
    "nodes": "",
    "graphs": "or another TU set by its own name",
}


def data(modality: str) -> tuple[str, ...]:
    """Names of the data sets of a modality."""
    return _TABLE[modality].data


def of_data(name: str) -> str:
    """The modality that a data set is of: one with a name, a folder of images, a text file, TU.

    Raises ValueError for what could be any.
    """
    for modality in NAMES:
        if name in data(modality):
            return modality
    if name and Path(name).is_dir():  # Path("") is the current folder
        from deepaug.training.modalities.text import documents

        return "text" if documents.is_folder(Path(name)) else "vision"
    if Path(name).is_file():
        return "text"
    if (data_root() / "tu" / name).is_dir():
        return "graphs"
    one_of("data set", name, _names(), "or a path, or with --modality graphs another TU set")


def check_data(modality: str, name: str) -> None:
    """Raise ValueError, before anything heavy is imported, unless data may be called so.

    Whoever means a path has it already. Only the archive of TU sets knows all of its names: one is
    refused that is that of another set, but for capitals.
    """
    if name in data(modality) or (modality in ("vision", "text") and Path(name).exists()):
        return
    if modality == "graphs" and (data_root() / "tu" / name).is_dir():
        return
    if modality != "graphs" or name.lower() in map(str.lower, _names()):
        one_of(f"data set of {modality}", name, data(modality), _OTHERS[modality])


def check_pairs(name: str) -> None:
    """Raise ValueError, likewise, unless pairs may be called so."""
    if not Path(name).is_file():
        one_of("pairs", name, PAIRS, "or the path of a TSV file")


def _names() -> list[str]:
    return [known for modality in NAMES for known in data(modality)]


def primary(trial: "Trial") -> str:
    """The metric that a verdict on this trial is about. It belongs to the task, not the modality.

    Topics are told by nearest neighbours, nodes by a linear probe, graphs by a support vector
    classifier; of text that is evaluated on pairs, halves of documents are found again
    ("retrieval"), and scored pairs are ranked ("spearman").
    """
    if trial.pairs == "none":
        return _TABLE[trial.modality].primary
    return "retrieval" if trial.pairs == "halves" else "spearman"


def views(modality: str) -> tuple[str, ...]:
    """Names of the input augmentations of a modality."""
    return _TABLE[modality].views


def poolings(modality: str) -> tuple[str, ...]:
    """Ways of a modality to pool positions into one feature vector."""
    return _TABLE[modality].poolings


def packages(modality: str) -> tuple[str, ...]:
    """Packages whose versions a result of this modality may depend on."""
    return _TABLE[modality].packages


def encoders(modality: str) -> tuple[str, ...]:
    """Names of the encoders of a modality; text also takes a model of the Hugging Face hub."""
    return tuple(_TABLE[modality].encoders)


def from_hub(modality: str, encoder: str) -> bool:
    """Whether an encoder is a model of the Hugging Face hub, named as owner/name."""
    return modality == "text" and "/" in encoder.strip("/")


def layers(modality: str, encoder: str) -> tuple[str, ...]:
    """Names of the layers an encoder can be targeted at, from the input on.

    Empty for features that no training changes, such as word counts. How many blocks a model of the
    hub has may be known to the hub alone: raises ValueError if it does not answer.
    """
    if from_hub(modality, encoder):
        if encoder in _HUB:
            return _HUB[encoder]
        from deepaug.training.modalities.text import encoders

        return bert_layers(encoders.hub_config(encoder).num_hidden_layers)
    return _TABLE[modality].encoders[encoder]


def cuts(modality: str, encoder: str) -> tuple[str, ...]:
    """Layers of an encoder with something to train on both sides: it may be cut after these."""
    trained = [name for name in layers(modality, encoder) if name not in ("input", *POOLED)]
    return tuple(trained[:-1])


def check_layer(modality: str, encoder: str, layer: str) -> None:
    """Raise ValueError unless an encoder may have a layer of this name; asks no network.

    Whether a model of the hub has so many blocks is checked when its data are prepared.
    """
    if not from_hub(modality, encoder):
        one_of("layer", layer, layers(modality, encoder), f"of {encoder}")
    elif not _HUB_LAYER.fullmatch(layer):
        raise ValueError(
            f"unknown layer of {encoder}: {layer!r}; allowed: 'embeddings', 'pooled', or one of "
            f"its blocks, from 'block1' on"
        )


def data_root() -> Path:
    """Where data are looked for: `$DEEPAUG_DATA`, by default ~/.cache/deepaug."""
    given = os.environ.get("DEEPAUG_DATA")  # an empty one would mean the working folder
    return Path(given) if given else process.home() / ".cache" / "deepaug"


def load(modality: str) -> ModuleType:
    """The module of a modality, imported with its libraries."""
    return importlib.import_module(f"deepaug.training.modalities.{modality}.task")
