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

    data: tuple[str, ...]  # data sets with a name of their own
    # encoder -> layers it can be targeted at, from the input on
    encoders: dict[str, tuple[str, ...]]
    views: tuple[str, ...]  # families of input augmentation
    poolings: tuple[str, ...]  # how positions become one feature vector
    primary: str  # the metric the verdicts are about; see `primary`
    packages: tuple[str, ...]  # whose versions a result may depend on
    others: str = ""  # what else data may be, in the words of a message
    batchnorm: bool = False  # in its encoders


def bert_layers(blocks: int) -> tuple[str, ...]:
    """Layers that a BERT of so many blocks can be targeted at, from the input on."""
    return ("embeddings", *(f"block{number + 1}" for number in range(blocks)), "pooled")


def _gcn(count: int) -> tuple[str, ...]:
    return ("embeddings", *(f"layer{number + 1}" for number in range(count)))


POOLED = ("pooled", "readout")  # layers that train nothing
_RESNET = ("input", "stem", "stage1", "stage2", "stage3", "stage4", "pooled")
_GIN = ("input", "layer1", "layer2", "layer3", "readout")
MODALITIES = {
    "vision": Modality(
        data=("mnist-5k", "cifar10-jpeg", "cifar10", "cifar100", "fashion-mnist", "stl10"),
        encoders={"resnet10": _RESNET, "resnet18": _RESNET},
        views=("standard",),
        poolings=("mean",),
        primary="knn",
        packages=("torchvision",),
        others="or a folder of images, as path/to/folder",
        batchnorm=True,
    ),
    "text": Modality(
        data=("20newsgroups", "lee", "lee-documents", "wordnet-brown", "wordnet", "brown"),
        encoders={
            **{f"bert{blocks}": bert_layers(blocks) for blocks in (2, 3, 4, 6, 12)},
            "bag-of-words": (),
            "tf-idf": (),
            "lsa": (),
        },
        views=("standard", "deletion", "crops", "crops-deletion"),
        poolings=("mean", "cls"),
        primary="knn",
        packages=("transformers", "tokenizers", "nltk", "gensim"),
        others="or the path of a text file with a sentence a line, or of a folder of documents",
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
        others="or another TU set by its own name",
        batchnorm=True,
    ),
}
# Blocks of models of the hub that profiles name: listing their trials takes no network.
_HUB = {"google-bert/bert-base-uncased": bert_layers(12)}
_HUB_LAYER = re.compile(r"embeddings|block[1-9][0-9]*|pooled")
NAMES = tuple(MODALITIES)
PAIRS = ("none", "halves", "sts", "lee")  # what evaluates text; others are paths


def of_data(name: str) -> str:
    """The modality that a data set is of: one with a name, a folder of images, a text file, TU.

    Raises ValueError where the name leaves it open.
    """
    for modality, known in MODALITIES.items():
        if name in known.data:
            return modality
    if name and Path(name).is_dir():  # Path("") is the current folder
        from deepaug.training.modalities.text import documents

        return "text" if documents.is_folder(Path(name)) else "vision"
    if Path(name).is_file():
        return "text"
    if (data_root() / "tu" / name).is_dir():
        return "graphs"
    hint = "or a path, or with --modality graphs another TU set"
    return one_of("data set", name, data_sets(), hint)  # raises


def check_data(modality: str, name: str) -> None:
    """Raise ValueError, before anything heavy is imported, unless a data set may have this name.

    Whoever means a path has it already. Only the archive of TU sets knows all of its names: one is
    refused that is that of another set, but for capitals.
    """
    known = MODALITIES[modality]
    if name in known.data or (modality in ("vision", "text") and Path(name).exists()):
        return
    if modality == "graphs" and (data_root() / "tu" / name).is_dir():
        return
    if modality != "graphs" or name.lower() in map(str.lower, data_sets()):
        one_of(f"data set of {modality}", name, known.data, known.others)


def check_pairs(name: str) -> None:
    """Raise ValueError, as early, unless these pairs can be had."""
    if not Path(name).is_file():
        one_of("pairs", name, PAIRS, "or the path of a TSV file")


def data_sets() -> list[str]:
    """The names of the data sets of all modalities."""
    return [name for known in MODALITIES.values() for name in known.data]


def primary(trial: "Trial") -> str:
    """The metric that a verdict on this trial is about. It belongs to the task, not the modality.

    Topics are told by nearest neighbours, nodes by a linear probe, graphs by a support vector
    classifier; of text that is evaluated on pairs, halves of documents are found again
    ("retrieval"), and scored pairs are ranked ("spearman").
    """
    if trial.pairs == "none":
        return MODALITIES[trial.modality].primary
    return "retrieval" if trial.pairs == "halves" else "spearman"


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
    return MODALITIES[modality].encoders[encoder]


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
