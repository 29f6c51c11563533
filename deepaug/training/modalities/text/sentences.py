"""Sentences, whose views are SimCSE's (Gao et al. 2021, arXiv 2104.08821) or lose tokens."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from deepaug.training.modalities import sampling
from deepaug.training.modalities.text import encoders, tokens
from deepaug.training.modalities.text.base import Embed, TextTask
from deepaug.training.modalities.text.encoders import DROPOUT

EVALUATION_BATCH = 256


class SentenceTask(TextTask):
    """Sentences prepared for one trial; see `deepaug.training.task.Task`."""

    train: Any  # what is trained on, in tokens

    def tokenise(self) -> None:
        trial = self.trial
        self.tokenizer = encoders.tokenizer(trial)
        self.config = encoders.config(trial, self.tokenizer)
        self.module(trial.layer)  # a model of the hub may have no such block
        self.mask = None if trial.layer == "pooled" else lambda attention_mask, **_: attention_mask
        self.keep()

    def module(self, layer: str) -> str:
        return encoders.module(self.trial, self.config, layer)

    def keep(self) -> None:
        """Keep the tokens of what is trained on, and their numbers."""
        self.train = self.tokens(self.texts(self.subset))
        self.length = self.train.lengths.cpu()

    def tokens(self, sentences: list[str]) -> tokens.Tokens:
        """Tokens of sentences, on the device; what is too long for the views is cut off."""
        return tokens.tokenise(self.tokenizer, sentences, self.trial.view_size, self.device)

    def encoder(self) -> encoders.SentenceEncoder:
        return encoders.build(self.trial, self.config)

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        return tokens.batches(self.length, self.trial.batch_size, generator)

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
        generator = sampling.generator(self.trial.seed, "views", epoch)
        draws = torch.rand(2, *self.train.ids.shape, generator=generator).to(self.device)
        p = DROPOUT * self.trial.view_strength

        def both(index: Tensor) -> tuple[dict, dict]:
            index = index.to(self.device)
            ids, lengths = self.train.ids[index], self.train.lengths[index]
            first, second = (
                tokens.view(*tokens.delete(ids, lengths, draw[index], p)) for draw in draws
            )
            return first, second

        return both

    def plain(self, index: Tensor) -> dict:
        return self.train.batch(index.to(self.device))

    def activations(self, outputs: Tensor, plain: dict) -> Tensor:
        if outputs.ndim == 3:  # by token: (n, t, f)
            outputs = outputs.masked_fill(~plain["attention_mask"].bool().unsqueeze(2), 0)
        return outputs.flatten(1)

    def text_features(self, embed: Embed, texts: list[str]) -> Tensor:
        found = self.tokens(texts)
        order = found.lengths.argsort(stable=True)
        parts = [embed(found.batch(i)).cpu() for i in order.split(EVALUATION_BATCH)]
        features = torch.cat(parts)
        return torch.empty_like(features).index_copy_(0, order.cpu(), features)
