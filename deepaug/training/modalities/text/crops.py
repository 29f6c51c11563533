"""Text whose views are two random crops of a document (Izacard et al. 2021, arXiv 2112.09118)."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deepaug.training.contrastive import ProjectionHead
from deepaug.training.modalities import sampling
from deepaug.training.modalities.text import documents, encoders, tokens
from deepaug.training.modalities.text.base import Embed
from deepaug.training.modalities.text.sentences import EVALUATION_BATCH, SentenceTask
from deepaug.validation import UnsuitedData

WINDOWS = 2  # of a document, at most, whose mean its features are


@dataclass(frozen=True)
class Documents:
    """Token ids (int32) of documents in a row: document i is the lengths[i] from starts[i] on.

    Without [CLS] and [SEP], which each crop gets anew.
    """

    ids: Tensor
    starts: Tensor
    lengths: Tensor
    frame: tuple[int, int, int]  # ids of [CLS], [SEP] and [PAD]

    def to(self, device: torch.device) -> "Documents":
        starts, lengths = self.starts.to(device), self.lengths.to(device)
        return replace(self, ids=self.ids.to(device), starts=starts, lengths=lengths)

    def take(self, index: Tensor) -> "Documents":
        return replace(self, starts=self.starts[index], lengths=self.lengths[index])

    def halves(self) -> tuple["Documents", "Documents"]:
        """The first and the second half of each."""
        first = self.lengths // 2
        second = replace(self, starts=self.starts + first, lengths=self.lengths - first)
        return replace(self, lengths=first), second

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

    def windows(self, size: int) -> tuple[Tensor, Tensor]:
        """Document and place of each of its windows, at most `WINDOWS`, spread evenly over it."""
        counts = (-(-self.lengths // size)).clamp(1, WINDOWS)
        index = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
        number = torch.arange(len(index), device=counts.device)
        number = number - (counts.cumsum(0) - counts)[index]
        room = (self.lengths - size).clamp_min(0)
        return index, room[index] * number // (counts - 1).clamp_min(1)[index]


@functools.lru_cache(maxsize=2)
def tokenised(data: str) -> Documents:
    """All documents of a corpus, tokenised once for all trials of a process."""
    tokenizer, corpus = tokens.tokenizer(data), documents.load(data)
    # The backend alone: lists of what is not needed take several times as long.
    found = tokenizer.backend_tokenizer.encode_batch_fast(
        list(corpus.sentences), add_special_tokens=False
    )
    parts = [torch.tensor(encoding.ids, dtype=torch.int32) for encoding in found]
    lengths = torch.tensor([len(ids) for ids in parts])
    frame = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    return Documents(torch.cat(parts), lengths.cumsum(0) - lengths, lengths, frame)


class CropTask(SentenceTask):
    """Documents prepared for one trial; see `deepaug.training.task.Task`."""

    def keep(self) -> None:
        trial = self.trial
        if encoders.from_hub(trial):
            raise ValueError(
                f"views {trial.views!r} need a vocabulary learnt from the data, and encoder "
                f"{trial.encoder!r} brings its own; take views 'standard' or 'deletion'"
            )
        if trial.view_strength > 1:
            raise ValueError(
                f"view_strength of crops must be at most 1, where they are independent, not "
                f"{trial.view_strength:g}"
            )
        self.size = trial.view_size - 2  # [CLS] and [SEP] are of the view
        self.documents = tokenised(trial.data).to(self.device)
        self.train = self.documents.take(self.subset.to(self.device))
        self.length = self.train.lengths.cpu()
        short = int((self.length <= self.size).sum())
        if trial.objective != "untrained" and short > len(self) // 2:
            raise UnsuitedData(
                f"{short} of {len(self)} documents of {trial.data!r} are no longer than a crop of "
                f"{self.size} tokens, so that their two views are equal; lower view_size"
            )

    def head(self, features: int) -> ProjectionHead:
        return ProjectionHead(features)

    def batches(self, generator: torch.Generator) -> list[Tensor]:
        return sampling.full_batches(len(self), self.trial.batch_size, generator)

    def views(self, epoch: int) -> Callable[[Tensor], tuple[dict, dict]]:
        """A function from indices (n,) to two crops of those documents in this epoch.

        View strength is how far the two places are drawn apart: at 1 independently, at 0 both are
        one. "crops-deletion" also deletes a tenth of the tokens, at view strength 1.
        """
        generator = sampling.generator(self.trial.seed, "views", epoch)
        places = torch.rand(3, len(self), generator=generator)
        strength = self.trial.view_strength
        room = (self.length - self.size).clamp_min(0) + 1
        both = places[0] + strength * (places[1:] - places[0])
        both = (both * room).long().clamp(max=room - 1).to(self.device)
        deletes = self.trial.views == "crops-deletion"
        draws = torch.rand(2 * deletes, len(self), self.size + 2, generator=generator)

        def crops(index: Tensor) -> tuple[dict, dict]:
            at = index.to(self.device)
            found = [self.train.crop(at, place[at], self.size) for place in both]
            if deletes:
                rate = encoders.DROPOUT * strength
                found = [
                    tokens.delete(ids, lengths, draw[index].to(self.device), rate)
                    for (ids, lengths), draw in zip(found, draws, strict=True)
                ]
            first, second = (tokens.view(*crop) for crop in found)
            return first, second

        return crops

    def plain(self, index: Tensor) -> dict:
        """The documents' beginnings, as long as a crop."""
        index = index.to(self.device)
        return tokens.view(*self.train.crop(index, torch.zeros_like(index), self.size))

    def features(self, embed: Embed, index: Tensor) -> Tensor:
        """Features (n, f) of the corpus's documents `index`: the mean over windows of each."""
        return self._mean(embed, self.documents.take(index.to(self.device)))

    def halves(self, embed: Embed, index: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, f) of the first and of the second half, by tokens, of documents `index`."""
        first, second = self.documents.take(index.to(self.device)).halves()
        return self._mean(embed, first), self._mean(embed, second)

    def _mean(self, embed: Embed, some: Documents) -> Tensor:
        index, place = some.windows(self.size)
        batches = torch.arange(len(index), device=self.device).split(EVALUATION_BATCH)
        crops = (some.crop(index[batch], place[batch], self.size) for batch in batches)
        features = torch.cat([embed(tokens.view(*crop)) for crop in crops])
        counts = index.bincount(minlength=len(some.lengths)).unsqueeze(1)
        total = features.new_zeros(len(counts), features.shape[1]).index_add_(0, index, features)
        return (total / counts).cpu()
