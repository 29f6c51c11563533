"""What every text task shares: a corpus, the subset trained on, and the evaluation of features."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deepaug.training import evaluation
from deepaug.training.modalities import sampling
from deepaug.training.modalities.text import corpora, metrics, pairs
from deepaug.training.modalities.text.corpora import Corpus
from deepaug.training.task import Task
from deepaug.training.trial import Trial
from deepaug.validation import UnsuitedData

BANK = 5000  # labelled sentences that the probe learns from, beside scored pairs
MANY = 2000  # samples beyond which features of all take too long for mid-training

Embed = Callable[[Any], Tensor]  # a view, as the encoder takes it, to features (n, f)


class TextTask(Task):
    """A corpus prepared for one trial, and what evaluates it; see `deepaug.training.task.Task`.

    A subclass says what the encoder is, what it takes (`tokenise`, `batches`, `views`) and how
    texts become features.
    """

    scored_probe = staticmethod(metrics.linear_probe)

    def __init__(self, trial: Trial, corpus: Corpus, device: torch.device):
        self.trial, self.corpus, self.device = trial, corpus, device
        self.classes = len(corpus.classes)
        self.scored = None if trial.pairs in ("none", "halves") else pairs.load(trial.pairs)
        draws = sampling.generator(trial.seed, "subset")
        # Only where topics are what counts does each need a sample.
        topics = corpus.labels[corpus.train]
        topics = topics if trial.pairs == "none" else torch.full_like(topics, -100)
        count = trial.samples or len(topics)
        self.subset = corpus.train[sampling.subset(topics, count, draws)]
        labelled = self.subset[corpus.labels[self.subset] >= 0]
        self.bank = labelled[:BANK] if self.scored else labelled
        if self.classes and len(corpus.labels[self.bank].unique()) < 2:
            raise UnsuitedData(
                f"the {len(self)} samples of {trial.data!r} have fewer than two of its "
                f"{self.classes} labels; raise samples"
            )
        self.digest = corpus.digest
        if self.scored:
            self.digest = corpora.digest((corpus.digest, self.scored.digest))
        self.tokenise()

    def tokenise(self) -> None:
        """Make of the texts what the encoder takes."""
        raise NotImplementedError

    def text_features(self, embed: Embed, texts: list[str]):
        """Features (n, f) of any texts, float32 on the CPU; sparse where words are counted."""
        raise NotImplementedError

    def features(self, embed: Embed, index: Tensor):
        """Features (n, f) of the corpus's samples `index`, as `text_features` has them."""
        return self.text_features(embed, self.texts(index))

    def halves(self, embed: Embed, index: Tensor) -> tuple:
        """Features (n, f) of the first and of the second half, by words, of samples `index`."""
        words = [text.split() for text in self.texts(index)]
        first = [" ".join(w[: len(w) // 2]) for w in words]
        second = [" ".join(w[len(w) // 2 :]) for w in words]
        return self.text_features(embed, first), self.text_features(embed, second)

    def texts(self, index: Tensor) -> list[str]:
        """The corpus's samples `index`."""
        return [self.corpus.sentences[i] for i in index.tolist()]

    def __len__(self) -> int:
        return len(self.subset)

    def head(self, features: int) -> nn.Module:
        """SimCSE's: one layer with tanh (Gao et al. 2021, arXiv 2104.08821), for the loss alone."""
        return nn.Sequential(nn.Linear(features, features), nn.Tanh())

    def labels(self, index: Tensor) -> Tensor:
        return self.corpus.labels[self.subset[index]].to(self.device)

    def evaluate(self, embed: Embed, final: bool) -> dict[str, dict]:
        """split -> metric -> value; which metric the verdicts are about, `registry.primary` says.

        Without pairs: accuracy in per cent of kNN and a linear probe on the topics. With "halves":
        per cent of held-out samples whose first half is nearest to its own second. With scored
        pairs: 100 × Spearman's rank correlation of cosine similarity and score and, if `final` and
        the corpus has labels, a linear probe on the held-out sentences.
        """
        splits = ("validation", "test") if final else ("validation",)
        if self.trial.pairs == "none":
            return self._topics(embed, splits, final)
        if self.trial.pairs == "halves":
            held_out = {split: getattr(self.corpus, split) for split in splits}
            return {
                split: {"retrieval": metrics.retrieval(*self.halves(embed, index))}
                for split, index in held_out.items()
            }
        return self._correlations(embed, splits, final)

    def _topics(self, embed: Embed, splits: tuple[str, ...], final: bool) -> dict[str, dict]:
        if not final and len(self.bank) > MANY:
            return {split: {} for split in splits}
        bank, labels, queries = self._labelled(lambda index: self.features(embed, index), splits)
        probe = partial(metrics.linear_probe, threads=self.trial.threads) if final else None
        knn = metrics.knn_accuracy
        return evaluation.accuracies((bank, labels), queries, self.classes, probe, knn)

    def _correlations(
        self, embed: Embed, splits: tuple[str, ...], final: bool
    ) -> dict[str, dict[str, Any]]:
        scored = {split: self.scored.splits[split] for split in splits if self.scored}
        texts = {t for m in scored.values() for s in m.values() for t in (*s.first, *s.second)}
        row = {text: i for i, text in enumerate(sorted(texts))}
        features = self.text_features(embed, list(row))

        def correlation(pairs: pairs.Scored) -> float:
            first, second = (features[[row[t] for t in s]] for s in (pairs.first, pairs.second))
            return metrics.rank_correlation(first, second, pairs.scores)

        found = {split: {m: correlation(s) for m, s in scored[split].items()} for split in splits}
        if final and self.classes:
            bank, labels, queries = self._labelled(
                lambda index: self.text_features(embed, self.texts(index)), splits
            )
            probe = self.scored_probe(bank, labels, queries, self.trial.threads)
            found = {split: {**found[split], "probe": probe[split]} for split in splits}
        return found

    def _labelled(self, features: Callable[[Tensor], Any], splits: tuple[str, ...]) -> tuple:
        """The bank's features and labels, and split -> (features, labels)."""
        labels, bank = self.corpus.labels, features(self.bank)
        parts = {split: getattr(self.corpus, split) for split in splits}
        queries = {split: (features(index), labels[index]) for split, index in parts.items()}
        return bank, labels[self.bank], queries
