"""Unsupervised SimCSE by sentence-transformers' trainer, with PCA at one block of a BERT: Spearman.

    python examples/simcse.py bert-base-uncased sentences.txt pairs.tsv --layer encoder.layer.10

A sentence a line, and lines of score, sentence, sentence, with tabs between. Needs
sentence-transformers[train]. Gao et al. 2021, arXiv 2104.08821.
"""

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from datasets import Dataset
from scipy.stats import spearmanr
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import TrainerCallback

import deepaug


def trainer(
    model: SentenceTransformer,
    pairs: Iterable[tuple[str, str]],
    temperature: float = 0.05,
    callbacks: Sequence[TrainerCallback] = (),
    **settings,
) -> SentenceTransformerTrainer:
    """The library's trainer, of pairs of sentences that are to lie close; it saves nothing."""
    first, second = map(list, zip(*pairs, strict=True))
    silent = {"output_dir": tempfile.mkdtemp(), "save_strategy": "no", "report_to": "none"}
    return SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(**silent | settings),
        train_dataset=Dataset.from_dict({"anchor": first, "positive": second}),
        loss=MultipleNegativesRankingLoss(model, scale=1 / temperature),
        callbacks=[*callbacks],
    )


def correlation(model: SentenceTransformer, scored: list[list[str]]) -> float:
    """Spearman's correlation × 100 of cosine similarities with scores."""
    scores, *sides = zip(*scored, strict=True)
    first, second = (model.encode([*side], convert_to_tensor=True) for side in sides)
    found = torch.cosine_similarity(first, second)
    return 100 * spearmanr(found.cpu(), [*map(float, scores)]).statistic


def main(given: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("bert", "sentences", "pairs"):
        parser.add_argument(name)
    parser.add_argument("--layer", default="encoder.layer.10", help="of the BERT, or none")
    parser.add_argument("--p", type=float, default=0.2)
    options = parser.parse_args(given)
    model = SentenceTransformer(options.bert)
    model.max_seq_length = 32
    if options.layer != "none":
        deepaug.attach(
            model,  # which the trainer calls; it holds the BERT
            f"0.model.{options.layer}",
            deepaug.PCA(options.p),
            mask=lambda features, **_: features["attention_mask"],
        )
    said = Path(options.sentences).read_text().splitlines()
    settings = {"per_device_train_batch_size": 64, "learning_rate": 3e-5, "num_train_epochs": 1}
    trainer(model, zip(said, said, strict=True), **settings).train()
    scored = [line.split("\t") for line in Path(options.pairs).read_text().splitlines()]
    print(f"Spearman: {(found := correlation(model, scored)):.1f}")
    return found


if __name__ == "__main__":
    main()
