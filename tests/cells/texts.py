"""Pipelines that train a small BERT on toy sentences, padded to different lengths."""

import tempfile

import numpy as np
import torch

from cells.pipeline import BATCH, STEPS, Pipeline

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrst"]


def bert():
    from transformers import BertConfig

    sizes = {"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 32}
    return BertConfig(**sizes, num_hidden_layers=3, num_attention_heads=2, num_labels=2)


def tokenizer():
    """Of one letter a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, "[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
    return PreTrainedTokenizerFast(tokenizer_object=words, sep_token="[SEP]", **special)


def sentences() -> list[str]:
    draw = np.random.default_rng(0)
    lengths = draw.integers(3, 9, STEPS * BATCH)
    return [" ".join(draw.choice(WORDS[4:], length)) for length in lengths]


# Hugging Face's, of a short and silent training on the CPU.
SETTINGS = {
    "output_dir": "training",
    "per_device_train_batch_size": BATCH,
    "per_device_eval_batch_size": BATCH,
    "learning_rate": 1e-2,
    "logging_steps": 1,
    "use_cpu": True,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}


def logged(trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def sentence_pairs() -> Pipeline:
    """Unsupervised SimCSE by sentence-transformers: each sentence paired with itself."""
    import simcse
    from sentence_transformers import SentenceTransformer
    from transformers import BertModel

    with tempfile.TemporaryDirectory() as folder:
        BertModel(bert()).save_pretrained(folder)
        tokenizer().save_pretrained(folder)
        model = SentenceTransformer(folder, device="cpu")
    model.max_seq_length = 16
    said = sentences()
    trainer = simcse.trainer(model, zip(said, said, strict=True), num_train_epochs=1, **SETTINGS)

    def train() -> list[float]:
        trainer.train()
        return logged(trainer)

    # Of what is called: the module of words calls the forward() of BERT, past BERT's own hooks.
    layers = model[0].model.encoder.layer
    return Pipeline(
        model,
        "0.model.encoder.layer.1",
        train,
        lambda: model.encode(said, convert_to_tensor=True, show_progress_bar=False),
        2 * STEPS,
        layers[0].output.dense.weight,
        layers[2].output.dense.weight,
        {"mask": lambda features, **_: features["attention_mask"]},
    )


def classifier() -> Pipeline:
    """By Hugging Face's Trainer, for two epochs with an evaluation after each."""
    from transformers import (
        BertForSequenceClassification,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    model, words = BertForSequenceClassification(bert()), tokenizer()
    items = [{**words(said), "labels": len(said) % 4 // 2} for said in sentences()]
    trainer = Trainer(
        model=model,
        args=TrainingArguments(num_train_epochs=2, eval_strategy="epoch", **SETTINGS),
        train_dataset=items,
        eval_dataset=items,
        data_collator=DataCollatorWithPadding(words),
    )

    def train() -> list[float]:
        trainer.train()
        return logged(trainer)

    return Pipeline(
        model,
        "bert.encoder.layer.1",
        train,
        lambda: torch.from_numpy(trainer.predict(items).predictions),
        2 * STEPS,
        model.bert.encoder.layer[0].output.dense.weight,
        model.classifier.weight,
        {"mask": lambda attention_mask, **_: attention_mask},
    )
