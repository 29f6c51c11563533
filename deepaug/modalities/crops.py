"""Text whose views are two random crops of a document (Izacard et al. 2021, arXiv 2112.09118)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deepaug.contrastive import ProjectionHead
from deepaug.modalities import text
from deepaug.trial import derive
from deepaug.validation import DataError

WINDOWS = 4  # of a document, at most, whose mean its features are
DELETED = 0.1  # share of the tokens that "crops-deletion" deletes, at view strength 1


@dataclass(frozen=True)
class Documents:
    """Token ids (int32) of documents in a row: document i is the lengths[i] from starts[i] on.

    Without [CLS] and [SEP], which each crop gets anew.
    """

    ids: Tensor
    starts: Tensor
    lengths: Tensor
    frame: tuple[int, int, int]  # ids of [CLS], [SEP] and [PAD]

    def crop(self, index: Tensor, place: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Ids (n, t) and lengths (n,) of crops of `size` tokens, framed and padded.

        index, place: (n,), the documents and where in them the crops begin.
        """
        first, last, padding = self.frame
        kept = (self.lengths[index] - place).clamp(max=size)
        offset = torch.arange(size, device=place.device)
        within = offset < kept.unsqueeze(1)
        where = (self.starts[index] + place).unsqueeze(1) + offset
        words = self.ids[where.clamp(max=len(self.ids) - 1)].masked_fill(~within, padding)
        ids = words.new_full((len(index), size + 2), padding)
        ids[:, 0], ids[:, 1:-1] = first, words
        return ids.scatter_(1, (kept + 1).unsqueeze(1), last), kept + 2


class CropTask(text.TextTask):
    """Documents prepared for one trial; see `deepaug.training.Task`."""

    def tokenise(self, texts: list[str]) -> None:
        trial = self.trial
        self.size = trial.view_size - 2  # [CLS] and [SEP] are of the view
        self.train = self._documents(texts)
        self.length = self.train.lengths.cpu()
        short = int((self.length <= self.size).sum())
        if trial.objective != "untrained" and short > len(texts) // 2:
            raise DataError(
                f"{short} of {len(texts)} documents of {trial.data!r} are no longer than a crop of "
                f"{self.size} tokens, so that their two views are equal; lower view_size"
            )
        if trial.view_strength > 1:
            raise ValueError(
                f"view_strength of crops must be at most 1, where they are independent, not "
                f"{trial.view_strength:g}"
            )

    def head(self, features: int) -> ProjectionHead:
        return ProjectionHead(features)

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        """Shuffled full batches of documents; the remainder is left for another epoch's order."""
        size = self.trial.batch_size
        order = torch.randperm(len(self), generator=generator)
        return list(order[: len(self) // size * size].split(size))

    def views(self, epoch: int) -> Callable[[Tensor], tuple[dict, dict]]:
        """A function from indices (n,) to two crops of those documents in this epoch.

        View strength is how far the two places are drawn apart: at 1 independently, at 0 both are
        one. "crops-deletion" also deletes a tenth of the tokens, at view strength 1.
        """
        generator = torch.Generator().manual_seed(derive(self.trial.seed, "views", epoch))
        places = torch.rand(3, len(self), generator=generator)
        strength = self.trial.view_strength
        room = (self.length - self.size).clamp_min(0) + 1
        both = places[0] + strength * (places[1:] - places[0])
        both = (both * room).long().clamp(max=room - 1).to(self.device)
        deletes = self.trial.views == "crops-deletion"
        draws = torch.rand(2, len(self), self.size + 2, generator=generator) if deletes else None

        def crops(index: Tensor) -> tuple[dict, dict]:
            at = index.to(self.device)
            found = [self.train.crop(at, place[at], self.size) for place in both]
            if deletes:
                rate = DELETED * strength
                found = [
                    text.delete(ids, lengths, draw[index].to(self.device), rate)
                    for (ids, lengths), draw in zip(found, draws, strict=True)
                ]
            first, second = (text.view(*crop) for crop in found)
            return first, second

        return crops

    def embedded(self, embed: Callable[[Any], Tensor], texts: list[str]) -> Tensor:
        """Features (n, f): of each document the mean over windows spread evenly over it."""
        documents = self._documents(texts)
        counts = (-(-documents.lengths // self.size)).clamp(1, WINDOWS)
        index = torch.arange(len(texts), device=self.device).repeat_interleave(counts)
        number = torch.arange(len(index), device=self.device)
        number = number - (counts.cumsum(0) - counts)[index]
        room = (documents.lengths - self.size).clamp_min(0)
        place = room[index] * number // (counts - 1).clamp_min(1)[index]
        parts = []
        for some in torch.arange(len(index), device=self.device).split(text.EVALUATION_BATCH):
            ids, lengths = documents.crop(index[some], place[some], self.size)
            parts.append(embed(text.view(ids, lengths)))
        features = torch.cat(parts)
        total = features.new_zeros(len(texts), features.shape[1]).index_add_(0, index, features)
        return (total / counts.unsqueeze(1)).cpu()

    def _documents(self, texts: list[str]) -> Documents:
        tokens = self.tokenizer(texts, add_special_tokens=False, verbose=False).input_ids
        lengths = torch.tensor([len(ids) for ids in tokens])
        ids = torch.tensor([i for document in tokens for i in document], dtype=torch.int32)
        special = self.tokenizer
        frame = special.cls_token_id, special.sep_token_id, special.pad_token_id
        starts = lengths.cumsum(0) - lengths
        return Documents(*(part.to(self.device) for part in (ids, starts, lengths)), frame)
