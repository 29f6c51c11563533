"""Sentences as tokens: the vocabulary, padded batches, deletion."""

import functools
import os
from dataclasses import dataclass

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a sweep has one worker a core

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from deepaug.training.modalities.text import documents

VOCABULARY = 8000
WINDOW = 50  # batches among which sentences are sorted by length


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


def tokenise(
    tokenizer: transformers.PreTrainedTokenizerBase,
    sentences: list[str],
    longest: int,
    device: torch.device,
) -> Tokens:
    """Tokens of sentences, on the device; what goes beyond `longest` tokens is cut off."""
    ids = tokenizer(sentences, truncation=True, max_length=longest).input_ids
    rows = [torch.tensor(row, dtype=torch.int32) for row in ids]
    padding = tokenizer.pad_token_id or 0
    padded = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)
    lengths = torch.tensor([len(row) for row in rows])
    return Tokens(padded.to(device), lengths.to(device))


def batches(lengths: Tensor, size: int, generator: torch.Generator) -> list[Tensor]:
    """Indices of sentences of like length in full batches, shuffled; the remainder is left out.

    Sorted by length within windows of 50 batches, so that little is padding.
    """
    order = torch.randperm(len(lengths), generator=generator)[: len(lengths) // size * size]
    windows = [w[lengths[w].argsort(stable=True)] for w in order.split(WINDOW * size)]
    found = torch.cat(windows).split(size)
    return [found[i] for i in torch.randperm(len(found), generator=generator).tolist()]


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
    tokenizer.decoder = decoders.Metaspace()  # without, the parts of a word are decoded as words
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
