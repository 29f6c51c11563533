"""Two random crops of a document are alike: a BERT from nothing, with dropout at one of its layers.

    python examples/crops.py documents.txt --layer encoder.layer.0 --p 0.2

A document a line; the metric: how often a held-out one's first half is nearest to its own second.
Needs transformers and tokenizers. Izacard et al. 2021, arXiv 2112.09118.
"""

import argparse
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from torch import nn
from transformers import BertConfig, BertModel

import deepaug

SIZE = 32  # tokens of a crop


def padded(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    """The first tokens of each row as the model takes them; 0 is padding."""
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row[:SIZE]) for row in rows], batch_first=True)
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def pooled(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean of the features of all tokens that are not padding, (n, f)."""
    mask = batch["attention_mask"].unsqueeze(-1)
    return (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)


def crop(ids: list[int]) -> list[int]:
    return ids[torch.randint(max(1, len(ids) - SIZE + 1), ()).item() :]


@torch.no_grad()
def found_again(model: nn.Module, documents: list[list[int]]) -> float:
    """Per cent of the documents whose first half is nearest to its own second half."""
    model.eval()
    halves = [[d[: len(d) // 2] for d in documents], [d[len(d) // 2 :] for d in documents]]
    z1, z2 = (nn.functional.normalize(pooled(model, padded(half))) for half in halves)
    return 100 * ((z1 @ z2.mT).argmax(1) == torch.arange(len(z1))).float().mean().item()


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("documents", type=Path)
    parser.add_argument("--layer", default="encoder.layer.0", help="target, or none")
    parser.add_argument("--p", type=float, default=0.2)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    texts = list(filter(str.strip, options.documents.read_text().splitlines()))
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, 4000, special_tokens=["<pad>"], show_progress=False)
    documents = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    held_out, train = documents[: len(documents) // 6], documents[len(documents) // 6 :]
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = BertModel(BertConfig(vocab_size=4000, **sizes), add_pooling_layer=False)
    head = deepaug.ProjectionHead(64)
    if options.layer != "none":
        deepaug.attach(model, options.layer, deepaug.Dropout(options.p))
    print(f"untrained: {found_again(model, held_out):.1f} % found again")
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(options.epochs):
        model.train()
        for index in torch.randperm(len(train)).split(32)[:-1]:
            views = (padded([crop(train[i]) for i in index.tolist()]) for _ in range(2))
            z1, z2 = (head(pooled(model, view)) for view in views)
            optimizer.zero_grad()
            deepaug.nt_xent(z1, z2, temperature=0.1).backward()
            optimizer.step()
    print(f"trained: {(share := found_again(model, held_out)):.1f} % found again")
    return share


if __name__ == "__main__":
    main()
