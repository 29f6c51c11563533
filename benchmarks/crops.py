"""Two crops of a document, samples per second end to end, beside sentence-transformers.

    python benchmarks/crops.py              # 5 rounds; needs benchmarks/requirements.txt
    python benchmarks/crops.py --agree 5    # do both sides learn the same? 5 seeds

sentence-transformers is run as its documentation has it for pairs: MultipleNegativesRankingLoss,
its trainer. Its pairs are our crops of the first epoch as text, cut beforehand, which costs it
nothing; ours are cut anew each epoch. Of these texts 86 % are read back as the very tokens that we
train on; the others begin within a word, or hold a character that the vocabulary lacks. Both sides
start from the same BERT and tokenizer, mean pooling without a projection head, batch 64, 24 tokens,
AdamW. Counted: data, forward, backward, step.
"""

import itertools
from functools import partial

import measure
import text as sentences
import torch
from torch.nn import functional as F

from deepaug.training import contrastive, loop
from deepaug.training.modalities.text.encoders import SentenceEncoder
from deepaug.training.trial import Trial

STEPS = 10  # in a block
SETTINGS = {
    "modality": "text",
    "data": "20newsgroups",
    "encoder": "bert2",
    "width": 128,
    "views": "crops",
    "view_size": 24,
    "batch_size": 64,
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "schedule": "warmup-cosine",
    "weight_decay": 0.01,
    "temperature": 0.1,
}


def trial(precision: str, **changes) -> Trial:
    settings = {"samples": STEPS * 64, "epochs": 1, "threads": measure.CORES, **changes}
    return Trial(precision=precision, **SETTINGS, **settings)


def pairs(run: loop.Training) -> list[tuple[str, str]]:
    """Our crops of the first epoch, as text."""
    views = run.task.views(0)(torch.arange(len(run.task)))
    tokenizer = run.task.tokenizer
    told = [tokenizer.batch_decode(view["input_ids"], skip_special_tokens=True) for view in views]
    return list(zip(*told, strict=True))


def time_ours(precision: str, warm_up: int, blocks: int):
    run = sentences.prepare(trial(precision))
    epochs = iter(range(10**6))
    return measure.timed(lambda: run.epoch(next(epochs)), warm_up, blocks), run.samples


def time_theirs(precision: str, warm_up: int, blocks: int):
    epochs = warm_up + blocks
    torch.set_num_threads(measure.CORES)
    times: list[float] = []
    run = sentences.prepare(trial(precision, epochs=epochs))
    trainer, _ = sentences.sentence_transformers(run, times, pairs(run))
    trainer.train()
    ends = times[STEPS - 1 :: STEPS]  # of the blocks
    seconds = [end - start for start, end in itertools.pairwise(ends)]
    return seconds[warm_up - 1 :], STEPS * 64


def time_ceiling(precision: str, warm_up: int, blocks: int):
    """The encoder alone, forward and backward, on views that lie ready."""
    run = sentences.prepare(trial(precision))
    views = run.task.views(0)
    ready = [views(index) for index in run.task.batches(torch.Generator())]
    return measure.ceiling(run, ready, warm_up, blocks), run.samples


SIDES = {
    "deepaug": time_ours,
    "sentence-transformers": time_theirs,
    "ceiling": time_ceiling,
}
ARMS = {f"{side} float32": partial(timer, "float32") for side, timer in SIDES.items()}


def agree(seeds: int) -> dict:
    """kNN of topics and NT-Xent after the same training by either side, on the same pairs."""

    def outcomes(seed: int):
        run = sentences.prepare(trial("float32", samples=2000, epochs=3, seed=seed))
        trainer, bert = sentences.sentence_transformers(run, None, pairs(run))
        trainer.train()
        fixed = run.task.views(0)
        run.task.views = lambda epoch: fixed  # theirs are cut once
        for epoch in range(run.trial.epochs):
            run.epoch(epoch)
        theirs = SentenceEncoder(bert.to(run.fabric.device), "mean")
        sides = {"deepaug": run.encoder, "sentence-transformers": theirs}
        return run.trial, {side: _outcome(run, encoder) for side, encoder in sides.items()}

    return measure.agreement(seeds, "knn", outcomes)


@torch.no_grad()
def _outcome(run: loop.Training, encoder: torch.nn.Module) -> dict[str, float]:
    """Both sides by one measure: our evaluator, and NT-Xent of two crops."""
    encoder.eval()
    metrics = run.task.evaluate(lambda view: encoder(**view).float(), final=False)["validation"]
    views = run.task.views(0)(torch.arange(512))
    first, second = (F.normalize(encoder(**view).float(), dim=1) for view in views)
    loss = contrastive.nt_xent(first, second, run.trial.temperature).item()
    return {"knn": metrics["knn"], "nt_xent": loss}


if __name__ == "__main__":
    measure.main(
        __file__,
        ["transformers", "tokenizers", "sentence-transformers"],
        ARMS,
        {"": (1, 2)},
        agree,
        trial("float32").to_dict(),
    )
