"""Text: contrastive training of a small BERT on sentences; topics or pairs told by its features.

Sentences go SimCSE's way (Gao et al. 2021, arXiv 2104.08821); documents, of which two crops are
the views, are in `crops`.
"""

import contextlib
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a sweep has one worker a core

import huggingface_hub
import numpy as np
import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn import functional as F

from deepaug.training import evaluation, registry
from deepaug.training.modalities.text import corpora, documents
from deepaug.training.modalities.text.corpora import Corpus, Scored
from deepaug.training.trial import Trial, derive
from deepaug.validation import DataError, enough

VOCABULARY = 8000
DROPOUT = 0.1  # of the network itself, and share of tokens deleted, at view strength 1
BANK = 5000  # labelled sentences that the probe learns from
WINDOW = 50  # batches among which sentences are sorted by length
EVALUATION_BATCH = 256
COUNTED = ("bag-of-words", "tf-idf", "lsa")
DIRECTIONS = 128  # of latent semantic analysis
MANY = 2000  # samples beyond which features of all take too long for mid-training


class Pooling(nn.Module):
    """Token features (n, t, f) and mask (n, t) to sentence features (n, f): mean, or [CLS]'s."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        if self.kind == "cls":
            return hidden[:, 0]
        mask = attention_mask.bool().unsqueeze(-1)
        return hidden.masked_fill(~mask, 0).sum(1) / mask.sum(1)


class SentenceEncoder(nn.Module):
    """A Hugging Face model and pooling: token ids and mask, (n, t) each, to features (n, f)."""

    def __init__(self, bert: nn.Module, pooling: str):
        super().__init__()
        self.features = bert.config.hidden_size
        self.bert, self.pooled = bert, Pooling(pooling)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.pooled(hidden, attention_mask)


class Counted(nn.Module):
    """In an encoder's place where words are counted and nothing is trained; never called."""

    features = 1


@dataclass(frozen=True)
class Tokens:
    """Sentences as token ids (n, t), int32, padded behind `lengths` (n,), [CLS] and [SEP] among."""

    ids: Tensor
    lengths: Tensor

    def batch(self, index: Tensor) -> dict[str, Tensor]:
        """What the encoder takes, padded to the longest of these sentences."""
        return view(self.ids[index], self.lengths[index])


def view(ids: Tensor, lengths: Tensor) -> dict[str, Tensor]:
    """What the encoder takes, of padded ids (n, t), cut to the longest of the lengths (n,)."""
    longest = int(lengths.max())
    mask = torch.arange(longest, device=ids.device) < lengths.unsqueeze(1)
    return {"input_ids": ids[:, :longest].long(), "attention_mask": mask.long()}


class TextTask:
    """A corpus prepared for one trial, and what evaluates it; see `deepaug.training.loop.Task`."""

    dim = groups = None  # features are the last axis, samples the first

    def __init__(self, trial: Trial, device: torch.device):
        self.corpus = documents.load(trial.data)
        _check(trial, self.corpus)
        scored = trial.pairs not in ("none", "halves")
        self.pairs = corpora.pairs(trial.pairs) if scored else None
        available = self.corpus.train
        order = torch.Generator().manual_seed(derive(trial.seed, "subset"))
        subset = available[torch.randperm(len(available), generator=order)]
        self.subset = subset[: trial.samples or len(available)]
        self.trial, self.device = trial, device
        self.classes = len(self.corpus.classes)
        labels = self.corpus.labels[self.subset]
        self.bank = self.subset[labels >= 0][: BANK if scored else None]
        if self.classes and len(self.corpus.labels[self.bank].unique()) < 2:
            raise DataError(
                f"the {len(self)} samples of {trial.data!r} do not have two of its "
                f"{self.classes} labels; raise samples"
            )
        self.digest = self.corpus.digest
        if scored:
            self.digest = corpora.digest((self.corpus.digest, self.pairs.digest))
        self.from_hub = registry.from_hub("text", trial.encoder)
        if trial.encoder in COUNTED:
            self.vectorizer = _vectorizer(trial.encoder, trial.data)
            self.length = torch.zeros(len(self.subset), dtype=torch.int64)
        else:
            load = _hub_tokenizer if self.from_hub else tokenizer
            self.tokenizer = load(trial.encoder if self.from_hub else trial.data)
            self.config = _hub_config(trial.encoder) if self.from_hub else self._config()
            if trial.view_size > self.tokenizer.model_max_length:
                raise ValueError(
                    f"view_size {trial.view_size} is more tokens than {trial.encoder!r} takes "
                    f"({self.tokenizer.model_max_length})"
                )
            self.tokenise()
        self.mask = None if trial.layer == "pooled" else lambda attention_mask, **_: attention_mask
        self.target = _module_name(trial.layer, self.config) if trial.layer != "none" else "none"

    def tokenise(self) -> None:
        """Keep the tokens of what is trained on."""
        self.train = self._tokens(self._texts(self.subset))
        self.length = self.train.lengths.cpu()

    def __len__(self) -> int:
        return len(self.subset)

    def _config(self) -> transformers.BertConfig:
        width = self.trial.width
        return transformers.BertConfig(
            hidden_size=width,
            num_hidden_layers=int(self.trial.encoder.removeprefix("bert")),
            num_attention_heads=max(1, width // 64),
            intermediate_size=4 * width,
            max_position_embeddings=self.trial.view_size,
            vocab_size=len(self.tokenizer),
            pad_token_id=self.tokenizer.pad_token_id,
        )

    def encoder(self) -> SentenceEncoder | Counted:
        if self.trial.encoder in COUNTED:
            return Counted()
        if self.from_hub:
            bert = _of_hub(transformers.AutoModel, self.trial.encoder, use_safetensors=True)
        else:
            bert = transformers.BertModel(self.config, add_pooling_layer=False)
        for module in bert.modules():
            if isinstance(module, nn.Dropout):
                # Dropout is SimCSE's augmentation; with another it would add to that one.
                standard = self.trial.views == "standard"
                module.p = DROPOUT * self.trial.view_strength if standard else 0.0
        return SentenceEncoder(bert, self.trial.pooling)

    def head(self, features: int) -> nn.Module:
        """SimCSE's: one layer with tanh (Gao et al. 2021, arXiv 2104.08821), for the loss alone."""
        return nn.Sequential(nn.Linear(features, features), nn.Tanh())

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        """Shuffled full batches of sentences of like length; the remainder is left out.

        Sorted by length within windows of 50 batches, so that little is padding.
        """
        size = self.trial.batch_size
        order = torch.randperm(len(self), generator=generator)[: len(self) // size * size]
        windows = [w[self.length[w].argsort(stable=True)] for w in order.split(WINDOW * size)]
        batches = torch.cat(windows).split(size)
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    def views(self, epoch: int) -> Callable[[Tensor], tuple[dict, dict]]:
        """A function from indices (n,) to two views of those sentences.

        "standard": the same tokens twice, for the network's own dropout to tell apart. "deletion":
        each view without a tenth (at view strength 1) of its tokens, drawn for each.
        """
        if self.trial.views == "standard":

            def same(index: Tensor) -> tuple[dict, dict]:
                view = self.train.batch(index.to(self.device))
                return view, view

            return same
        generator = torch.Generator().manual_seed(derive(self.trial.seed, "views", epoch))
        draws = torch.rand(2, *self.train.ids.shape, generator=generator).to(self.device)

        def both(index: Tensor) -> tuple[dict, dict]:
            index = index.to(self.device)
            ids, lengths = self.train.ids[index], self.train.lengths[index]
            p = DROPOUT * self.trial.view_strength
            first, second = (view(*delete(ids, lengths, draw[index], p)) for draw in draws)
            return first, second

        return both

    def labels(self, index: Tensor) -> Tensor:
        return self.corpus.labels[self.subset[index]].to(self.device)

    def evaluate(self, embed: Callable[[Any], Tensor], final: bool) -> dict[str, dict]:
        """split -> metric -> value; see `registry.primary` for what is told by which.

        Without pairs: accuracy in per cent of kNN and a linear probe on the topics. With "halves":
        per cent of held-out samples whose first half is nearest to its own second. With scored
        pairs: 100 × Spearman's rank correlation of cosine similarity and score and, if `final` and
        the corpus has labels, a linear probe on the held-out sentences.
        """
        splits = ("validation", "test") if final else ("validation",)
        if self.trial.pairs == "none":
            return self._topics(embed, splits)
        if self.trial.pairs == "halves":
            return {split: {"retrieval": self._retrieval(embed, split)} for split in splits}
        scored = {split: self.pairs.splits[split] for split in splits}
        texts = {t for m in scored.values() for s in m.values() for t in (*s.first, *s.second)}
        texts = sorted(texts)
        features = self._features(embed, texts)
        row = {text: i for i, text in enumerate(texts)}
        metrics = {
            split: {metric: _spearman(features, row, s) for metric, s in parts.items()}
            for split, parts in scored.items()
        }
        if final and self.classes:
            for split, accuracy in self._probe(embed).items():
                metrics[split]["probe"] = accuracy
        return metrics

    def _topics(self, embed: Callable[[Any], Tensor], splits: tuple[str, ...]) -> dict[str, dict]:
        if "test" not in splits and len(self.bank) > MANY:
            return {split: {} for split in splits}
        labels = self.corpus.labels
        bank = self.features(embed, self.bank)
        parts = {split: getattr(self.corpus, split) for split in splits}
        queries = {split: (self.features(embed, i), labels[i]) for split, i in parts.items()}
        truth, counted = labels[self.bank], not isinstance(bank, Tensor)
        neighbours = max(1, min(200, len(truth) // 50))
        knn = _sparse_knn if counted else evaluation.knn_accuracy
        metrics = {
            split: {"knn": knn(bank, truth, features, wanted, self.classes, neighbours)}
            for split, (features, wanted) in queries.items()
        }
        if "test" in splits:
            probe = _sparse_probe if counted else evaluation.linear_probe
            for split, accuracy in probe(bank, truth, queries, self.trial.threads).items():
                metrics[split]["probe"] = accuracy
        return metrics

    def features(self, embed: Callable[[Any], Tensor], index: Tensor):
        """Features (n, f) of the corpus's samples `index`, as `_features` has them."""
        return self._features(embed, self._texts(index))

    def _retrieval(self, embed: Callable[[Any], Tensor], split: str) -> float:
        """Per cent of the samples whose first half, by words, is nearest to its own second half."""
        words = [text.split() for text in self._texts(getattr(self.corpus, split))]
        first, second = (
            self._features(embed, [" ".join(part) for part in halves])
            for halves in ([w[: len(w) // 2] for w in words], [w[len(w) // 2 :] for w in words])
        )
        number = torch.arange(len(words))
        knn = evaluation.knn_accuracy if isinstance(first, Tensor) else _sparse_knn
        return knn(second, number, first, number, len(words), 1)

    def _texts(self, index: Tensor) -> list[str]:
        return [self.corpus.sentences[i] for i in index.tolist()]

    def _probe(self, embed: Callable[[Any], Tensor]) -> dict[str, float]:
        corpus = self.corpus
        parts = {"bank": self.bank, "validation": corpus.validation, "test": corpus.test}
        queries = {
            name: (
                self._features(embed, [corpus.sentences[i] for i in index.tolist()]),
                corpus.labels[index],
            )
            for name, index in parts.items()
        }
        bank, labels = queries.pop("bank")
        if self.trial.encoder in COUNTED:
            return _sparse_probe(bank, labels, queries, self.trial.threads)
        return evaluation.linear_probe(bank, labels, queries, self.trial.threads)

    def _features(self, embed: Callable[[Any], Tensor], sentences: list[str]):
        """Features (n, f): float32 on the CPU, or a sparse matrix where words are counted."""
        if self.trial.encoder in COUNTED:
            counted = self.vectorizer.transform(sentences)
            return torch.from_numpy(counted).float() if self.trial.encoder == "lsa" else counted
        tokens = self._tokens(sentences)
        order = tokens.lengths.argsort(stable=True)
        parts = [embed(tokens.batch(i)).cpu() for i in order.split(EVALUATION_BATCH)]
        features = torch.cat(parts)
        return torch.empty_like(features).index_copy_(0, order.cpu(), features)

    def _tokens(self, sentences: list[str]) -> Tokens:
        """Tokens of sentences, on the device; what is too long for the views is cut off."""
        ids = self.tokenizer(sentences, truncation=True, max_length=self.trial.view_size).input_ids
        rows = [torch.tensor(row, dtype=torch.int32) for row in ids]
        padding = self.tokenizer.pad_token_id or 0
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)
        lengths = torch.tensor([len(row) for row in rows])
        return Tokens(padded.to(self.device), lengths.to(self.device))


def prepare(trial: Trial, device: torch.device) -> TextTask:
    if trial.views.startswith("crops") and trial.encoder not in COUNTED:
        from deepaug.training.modalities.text import crops  # which builds on this module

        return crops.CropTask(trial, device)
    return TextTask(trial, device)


def describe(data: str) -> str:
    """One line on a corpus, fetched if need be."""
    found = documents.load(data)
    parts = ", ".join(f"{len(getattr(found, s))} {s}" for s in ("train", "validation", "test"))
    kind = "documents" if len(found.learnt_from) else "sentences"
    return f"{found.name}: {parts} {kind}; {len(found.classes)} classes; digest {found.digest}"


def _check(trial: Trial, corpus: Corpus) -> None:
    least = 2 if trial.objective == "contrastive" else 1  # contrast needs another sentence
    enough(trial.data, len(corpus.train), trial.samples, trial.batch_size, least)
    if trial.objective == "supervised" and not corpus.classes:
        raise DataError(
            f"data {trial.data!r} has no labels; the supervised objective needs some, such as "
            f"wordnet"
        )
    if trial.pairs == "none" and not corpus.classes:
        raise DataError(
            f"data {trial.data!r} has no labels to tell topics by; give pairs: 'halves', 'sts', "
            f"'lee' or a TSV file"
        )
    if trial.pairs in ("none", "halves"):
        _check_held_out(trial, corpus)
    if trial.view_size < 3:
        raise ValueError(
            f"view_size must be at least 3 tokens, [CLS] and [SEP] among them, not "
            f"{trial.view_size}"
        )
    if trial.view_strength * DROPOUT >= 1:
        raise ValueError(
            f"view_strength must be below {1 / DROPOUT:g} for text (it times {DROPOUT} is a "
            f"probability), not {trial.view_strength}"
        )
    if trial.encoder.startswith("bert") and trial.width > 127 and trial.width % 64:
        raise ValueError(
            f"width of {trial.encoder} must be a multiple of 64 or less than 128, not {trial.width}"
        )


def _check_held_out(trial: Trial, corpus: Corpus) -> None:
    """Raise DataError, in one line, unless what is held out can be told by what is trained on."""
    parts = {split: getattr(corpus, split) for split in ("validation", "test")}
    for split, index in parts.items():
        if len(index) < 2:
            raise DataError(
                f"data {trial.data!r} holds out {len(index)} for {split}, where pairs "
                f"{trial.pairs!r} need two or more; of a file a tenth of the labelled lines is "
                f"held out: give more of them, a folder of documents, or scored pairs"
            )
    known = set(corpus.labels[corpus.train].tolist())
    for split, index in parts.items():
        if trial.pairs == "none" and (strange := set(corpus.labels[index].tolist()) - known):
            raise DataError(
                f"data {trial.data!r}: label {corpus.classes[min(strange)]!r} is held out for "
                f"{split} and never trained on; give more of it, or remove it"
            )


def delete(ids: Tensor, lengths: Tensor, draw: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """Token ids (n, t) without each token for which `draw` (n, t) is below `p`, and new lengths.

    The first and the last token ([CLS], [SEP]) stay, and of the others at least one.
    """
    position = torch.arange(ids.shape[1], device=ids.device)
    words = (position > 0) & (position < lengths.unsqueeze(1) - 1)
    last_to_go = draw.masked_fill(~words, -1).argmax(1, keepdim=True)
    kept = (position < lengths.unsqueeze(1)) & ((draw >= p) | ~words | (position == last_to_go))
    order = (~kept).byte().argsort(dim=1, stable=True)
    return ids.gather(1, order), kept.sum(1)


def _spearman(features, row: dict[str, int], scored: Scored) -> float:
    from scipy.stats import spearmanr

    first, second = (features[[row[t] for t in side]] for side in (scored.first, scored.second))
    similarity = _cosine(first, second)
    if not np.ptp(similarity) > 0:  # no pair told from another, or not a number
        return 0.0
    return 100 * float(spearmanr(similarity, scored.scores).statistic)


def _cosine(first, second) -> np.ndarray:
    """Cosine similarities (n,) of the rows of two matrices, both dense or both sparse."""
    if isinstance(first, Tensor):
        return F.cosine_similarity(first.double(), second.double()).numpy()
    from sklearn.preprocessing import normalize

    return np.asarray(normalize(first).multiply(normalize(second)).sum(1)).ravel()


def _sparse_knn(bank, bank_labels: Tensor, queries, labels: Tensor, classes: int, k: int) -> float:
    """As `evaluation.knn_accuracy`, on sparse rows."""
    from sklearn.preprocessing import normalize

    right = 0
    bank = normalize(bank).T.tocsc()
    for start in range(0, len(labels), 1024):
        part = normalize(queries[start : start + 1024]) @ bank
        similar = torch.from_numpy(part.toarray())
        right += evaluation.votes_right(
            similar, bank_labels, labels[start : start + 1024], classes, k
        )
    return 100 * right / len(labels)


def _sparse_probe(bank, labels: Tensor, queries: dict, threads: int) -> dict[str, float]:
    """As `evaluation.linear_probe`, on rows of length 1 instead of standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    best = None
    with threadpool_limits(threads):
        for c in (1, 10, 100):
            probe = LogisticRegression(C=c, max_iter=200).fit(normalize(bank), labels.numpy())
            accuracies = {
                split: 100 * probe.score(normalize(x), y.numpy())
                for split, (x, y) in queries.items()
            }
            if best is None or accuracies["validation"] > best["validation"]:
                best = accuracies
    return best


@functools.lru_cache(maxsize=2)
def _vectorizer(encoder: str, data: str):
    """Word counts, TF-IDF or its leading directions (LSA), by scikit-learn."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    words = (CountVectorizer if encoder == "bag-of-words" else TfidfVectorizer)(dtype=np.float32)
    texts = documents.load(data).vocabulary
    try:
        counts = words.fit_transform(texts)
    except ValueError:
        raise DataError(
            f"data {data!r} has no words to count, of two letters or more; use another encoder "
            f"than {encoder!r}"
        ) from None
    if encoder != "lsa":
        return words
    most = min(len(texts) - 1, counts.shape[1])
    svd = TruncatedSVD(min(DIRECTIONS, most), random_state=0)
    return make_pipeline(words, svd.fit(counts))


@functools.lru_cache(maxsize=2)
def tokenizer(data: str) -> transformers.PreTrainedTokenizerFast:
    """Byte-pair encoding learnt from the whole corpus, in lower case; no labels enter.

    WordPiece would be BERT's own, but the `tokenizers` library trains another vocabulary each time.
    """
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(split=False)]
    )
    tokenizer.train_from_iterator(
        documents.load(data).vocabulary,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            min_frequency=2,
            limit_alphabet=500,
            special_tokens=list(special),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    names = {f"{name.strip('[]').lower()}_token": name for name in special}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def hub_blocks(name: str) -> int:
    """How many blocks a model of the Hugging Face hub has."""
    return _hub_config(name).num_hidden_layers


@functools.lru_cache(maxsize=2)
def _hub_config(name: str) -> transformers.PretrainedConfig:
    return _of_hub(transformers.AutoConfig, name)


@functools.lru_cache(maxsize=2)
def _hub_tokenizer(name: str) -> transformers.PreTrainedTokenizerBase:
    return _of_hub(transformers.AutoTokenizer, name)


def _of_hub(kind: Any, name: str, **options: Any) -> Any:
    try:
        with contextlib.suppress(OSError):
            return kind.from_pretrained(name, local_files_only=True, **options)
        # Asked first what answers at once: a download without a network is tried for half a minute.
        huggingface_hub.HfApi().model_info(name, timeout=10)
        return kind.from_pretrained(name, **options)
    except Exception as error:  # of the hub, its HTTP client, the file format: of many kinds
        raise DataError(
            f"encoder {name!r} is not to be had from the Hugging Face hub "
            f"({str(error).strip().splitlines()[0]}); check its name and the network, or use one "
            f"of {registry.encoders('text')}"
        ) from None


def _module_name(layer: str, config: transformers.PretrainedConfig) -> str:
    """What a layer as trials name it is called within a `SentenceEncoder` of this architecture."""
    if layer == "pooled":
        return layer
    if layer == "embeddings":
        return "bert.embeddings"
    with torch.device("meta"):
        bert = transformers.AutoModel.from_config(config)
    blocks = [
        name
        for name, module in bert.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == config.num_hidden_layers
    ]
    if len(blocks) != 1:
        raise ValueError(f"layers of a {config.model_type} are not laid out as BERT's")
    return f"bert.{blocks[0]}.{int(layer.removeprefix('block')) - 1}"
