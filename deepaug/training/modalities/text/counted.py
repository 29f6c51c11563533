"""References that count words and train nothing: bag of words, TF-IDF, latent semantics (LSA)."""

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepaug.training.modalities.text import documents, metrics
from deepaug.training.modalities.text.base import Embed, TextTask
from deepaug.validation import UnsuitedData

ENCODERS = ("bag-of-words", "tf-idf", "lsa")
DIRECTIONS = 128  # of latent semantic analysis


class Counted(nn.Module):
    """In an encoder's place where words are counted and nothing is trained; never called."""

    features = 1


class CountTask(TextTask):
    """Word counts prepared for one trial, training nothing; see `deepaug.training.task.Task`."""

    scored_probe = staticmethod(metrics.normalised_probe)  # of LSA too, unlike its topics

    def tokenise(self) -> None:
        self.vectorizer = vectorizer(self.trial.encoder, self.trial.data)

    def encoder(self) -> Counted:
        return Counted()

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        return []

    def views(self, epoch: int) -> Any:
        raise NotImplementedError("word counts are not trained: they have no views")

    def plain(self, index: Tensor) -> Any:
        raise NotImplementedError("word counts are not trained: nothing looks at their layers")

    def text_features(self, embed: Embed, texts: list[str]):
        """Features (n, f): a sparse matrix; of LSA a tensor, float32 on the CPU."""
        counts = self.vectorizer.transform(texts)
        return torch.from_numpy(counts).float() if self.trial.encoder == "lsa" else counts


@functools.lru_cache(maxsize=2)
def vectorizer(encoder: str, data: str):
    """Word counts, TF-IDF or its leading directions (LSA), by scikit-learn."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    words = (CountVectorizer if encoder == "bag-of-words" else TfidfVectorizer)(dtype=np.float32)
    texts = documents.load(data).vocabulary
    try:
        counts = words.fit_transform(texts)
    except ValueError:
        raise UnsuitedData(
            f"data {data!r} has no words to count, of two letters or more; use another encoder "
            f"than {encoder!r}"
        ) from None
    if encoder != "lsa":
        return words
    most = min(len(texts) - 1, counts.shape[1])
    svd = TruncatedSVD(min(DIRECTIONS, most), random_state=0)
    return make_pipeline(words, svd.fit(counts))
