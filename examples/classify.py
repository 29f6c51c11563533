"""Texts classified by a BERT that Hugging Face's Trainer trains, with PCA at one block: accuracy.

    python examples/classify.py bert-base-uncased train.tsv test.tsv --layer bert.encoder.layer.10

A text a line, behind its class and a tab. Needs transformers and accelerate. Supervised training,
where the paper expects the opposite effect.
"""

import argparse
import tempfile
from pathlib import Path

from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

import deepaug


def main(given: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("bert", "train", "test"):
        parser.add_argument(name)
    parser.add_argument("--layer", default="bert.encoder.layer.10", help="target, or none")
    parser.add_argument("--p", type=float, default=0.2)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args(given)
    set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(options.bert)
    lines = [Path(path).read_text().splitlines() for path in (options.train, options.test)]
    train, test = ([line.split("\t", 1) for line in part] for part in lines)
    classes = sorted({label for label, _ in train})

    def items(rows: list[list[str]]) -> list[dict]:
        return [{**tokenizer(x, truncation=True), "labels": classes.index(y)} for y, x in rows]

    model = AutoModelForSequenceClassification.from_pretrained(
        options.bert, num_labels=len(classes)
    )
    if options.layer != "none":
        deepaug.attach(
            model,
            options.layer,
            deepaug.PCA(options.p),
            mask=lambda attention_mask, **_: attention_mask,  # padding enters no statistic
        )
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            num_train_epochs=options.epochs,
            per_device_train_batch_size=32,
            learning_rate=2e-5,
            save_strategy="no",
            report_to="none",
        )
        trainer = Trainer(
            model=model,
            args=settings,
            train_dataset=items(train),
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        trainer.train()
        found = trainer.predict(items(test))
    accuracy = 100 * (found.predictions.argmax(1) == found.label_ids).mean().item()
    print(f"accuracy: {accuracy:.1f} %")
    return accuracy


if __name__ == "__main__":
    main()
