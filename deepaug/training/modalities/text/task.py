"""Text: contrastive training of a small BERT, whose features are evaluated on topics or pairs.

The two views are one sentence twice (`sentences`) or two crops of a document (`crops`); word counts
(`counted`) are references that train nothing.
"""

import torch

from deepaug.training.modalities.text import counted, crops, documents, sentences
from deepaug.training.modalities.text.base import TextTask
from deepaug.training.modalities.text.corpora import Corpus
from deepaug.training.modalities.text.encoders import DROPOUT
from deepaug.training.trial import Trial
from deepaug.validation import UnsuitedData, training_size


def prepare(trial: Trial, device: torch.device) -> TextTask:
    """A trial's corpus, encoder, views and evaluation.

    Raises ValueError, in one line, for what cannot be trained or evaluated: UnsuitedData where the
    data are to blame.
    """
    corpus = documents.load(trial.data)
    _check_data(trial, corpus)
    _check_settings(trial)
    if trial.encoder in counted.ENCODERS:
        return counted.CountTask(trial, corpus, device)
    kind = crops.CropTask if trial.views.startswith("crops") else sentences.SentenceTask
    return kind(trial, corpus, device)


def describe(data: str) -> str:
    """One line on a corpus, fetched if need be; of a file or folder a second on what was taken."""
    found = documents.load(data)
    parts = ", ".join(f"{len(getattr(found, s))} {s}" for s in ("train", "validation", "test"))
    kind = "documents" if documents.is_documents(data) else "sentences"
    line = f"{found.name}: {parts} {kind}; {len(found.classes)} classes; digest {found.digest}"
    return "\n".join([line, found.told] if found.told else [line])


def _check_data(trial: Trial, corpus: Corpus) -> None:
    least = 2 if trial.objective == "contrastive" else 1  # contrast needs another sentence
    training_size(trial.data, len(corpus.train), trial.samples, trial.batch_size, least)
    if trial.objective == "supervised" and not corpus.classes:
        raise UnsuitedData(
            f"data {trial.data!r} has no labels, which the supervised objective needs; take data "
            f"with labels, such as wordnet"
        )
    if trial.pairs == "none" and not corpus.classes:
        raise UnsuitedData(
            f"data {trial.data!r} has no labels, and so no topics to evaluate on; set pairs to "
            f"'halves', 'sts', 'lee' or a TSV file"
        )
    if trial.pairs in ("none", "halves"):
        _check_held_out(trial, corpus)


def _check_held_out(trial: Trial, corpus: Corpus) -> None:
    """Raise UnsuitedData unless enough is held out, of labels that are trained on."""
    known = set(corpus.labels[corpus.train].tolist())
    for split in ("validation", "test"):
        index = getattr(corpus, split)
        if len(index) < 2:
            raise UnsuitedData(
                f"data {trial.data!r} holds out {len(index)} for {split}, but pairs "
                f"{trial.pairs!r} need two or more; a tenth of a file's labelled lines are held "
                f"out: add some, or take a folder of documents, or scored pairs"
            )
        if trial.pairs == "none" and (strange := set(corpus.labels[index].tolist()) - known):
            raise UnsuitedData(
                f"data {trial.data!r}: label {corpus.classes[min(strange)]!r} is held out for "
                f"{split} and never trained on; add samples of it, or remove it"
            )


def _check_settings(trial: Trial) -> None:
    if trial.view_size < 3:
        raise ValueError(
            f"view_size must be at least 3 tokens, [CLS] and [SEP] included, not {trial.view_size}"
        )
    if trial.view_strength * DROPOUT >= 1:
        raise ValueError(
            f"view_strength must be below {1 / DROPOUT:g} for text ({DROPOUT} times it is a "
            f"probability), not {trial.view_strength}"
        )
    if trial.encoder.startswith("bert") and trial.width > 127 and trial.width % 64:
        raise ValueError(
            f"width of {trial.encoder} must be a multiple of 64 or less than 128, not {trial.width}"
        )
