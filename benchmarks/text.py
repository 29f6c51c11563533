"""Unsupervised SimCSE, samples per second end to end, beside sentence-transformers.

    python benchmarks/text.py              # 5 rounds; needs benchmarks/requirements.txt
    python benchmarks/text.py --agree 5    # do both sides learn the same? 5 seeds

sentence-transformers is run as its documentation has it: each sentence paired with itself,
MultipleNegativesRankingLoss, its trainer. Both sides start from the same BERT and tokenizer, mean
pooling without a projection head, batch 64, at most 32 tokens, AdamW. Counted: data, forward,
backward, step.
"""

import itertools
import tempfile
import time
from functools import partial

import measure
import torch
from torch.nn import functional as F

from deepaug.training import contrastive, loop, optimisation
from deepaug.training.modalities.text.encoders import SentenceEncoder
from deepaug.training.trial import Trial

STEPS = 10  # in a block
SETTINGS = {
    "modality": "text",
    "data": "wordnet-brown",
    "pairs": "sts",
    "encoder": "bert4",
    "width": 256,
    "view_size": 32,
    "batch_size": 64,
    "optimizer": "adamw",
    "learning_rate": 3e-4,
    "schedule": "linear",
    "weight_decay": 0.0,
    "temperature": 0.05,
}


def trial(precision: str, **changes) -> Trial:
    settings = {"samples": STEPS * 64, "epochs": 1, "threads": measure.CORES, **changes}
    return Trial(precision=precision, **SETTINGS, **settings)


def prepare(trial: Trial) -> loop.Training:
    """Our training of a trial, without the projection head: sentence-transformers has none."""
    run = loop.prepare(trial)
    run.network.head = torch.nn.Identity()
    return run


def sentence_transformers(
    run: loop.Training,
    times: list[float] | None = None,
    pairs: list[tuple[str, str]] | None = None,
):
    """sentence-transformers' trainer on what `run` would train, and the BERT within it.

    It starts from the weights of `run`. The trainer notes when each step ended in `times`. Pairs
    are views as text; by default each sentence with itself.
    """
    import simcse
    from sentence_transformers import SentenceTransformer
    from transformers import TrainerCallback

    trial, task = run.trial, run.task
    with tempfile.TemporaryDirectory() as folder:
        run.encoder.bert.save_pretrained(folder)
        task.tokenizer.save_pretrained(folder)
        model = SentenceTransformer(folder)
    model.max_seq_length = trial.view_size
    # A saved BERT has the dropout of its configuration, not what the views ask for.
    theirs = dict(model[0].auto_model.named_modules())
    for name, module in run.encoder.bert.named_modules():
        if isinstance(module, torch.nn.Dropout):
            theirs[name].p = module.p
    if pairs is None:
        sentences = [task.corpus.sentences[i] for i in task.subset.tolist()]
        pairs = list(zip(sentences, sentences, strict=True))

    class Clock(TrainerCallback):
        def on_step_end(self, *_, **__):
            if times is not None:
                measure.synchronise()
                times.append(time.perf_counter())

    trainer = simcse.trainer(
        model,
        pairs,
        trial.temperature,
        callbacks=[Clock()],
        num_train_epochs=trial.epochs,
        per_device_train_batch_size=trial.batch_size,
        learning_rate=trial.learning_rate,
        lr_scheduler_type=trial.schedule.removeprefix("warmup-"),
        warmup_ratio=optimisation.WARMUP if trial.schedule.startswith("warmup") else 0.0,
        weight_decay=trial.weight_decay,
        bf16=trial.precision == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        seed=trial.seed,
        logging_strategy="no",
        disable_tqdm=True,
        dataloader_drop_last=True,
    )
    return trainer, model[0].auto_model


def time_ours(precision: str, warm_up: int, blocks: int):
    run = prepare(trial(precision))
    epochs = iter(range(10**6))
    return measure.timed(lambda: run.epoch(next(epochs)), warm_up, blocks), run.samples


def time_theirs(precision: str, warm_up: int, blocks: int):
    epochs = warm_up + blocks
    torch.set_num_threads(measure.CORES)
    times: list[float] = []
    trainer, _ = sentence_transformers(prepare(trial(precision, epochs=epochs)), times)
    trainer.train()
    ends = times[STEPS - 1 :: STEPS]  # of the blocks
    seconds = [end - start for start, end in itertools.pairwise(ends)]
    return seconds[warm_up - 1 :], STEPS * 64


def time_ceiling(precision: str, warm_up: int, blocks: int):
    """The encoder alone, forward and backward, on views that lie ready."""
    run = prepare(trial(precision))
    views = run.task.views(0)
    ready = [views(index) for index in run.task.batches(torch.Generator())]
    return measure.ceiling(run, ready, warm_up, blocks), run.samples


SIDES = {
    "deepaug": time_ours,
    "sentence-transformers": time_theirs,
    "ceiling": time_ceiling,
}
ARMS = {
    f"{side} {precision}": partial(timer, precision)
    for side, timer in SIDES.items()
    for precision in ("float32", "bfloat16")
}


def agree(seeds: int) -> dict:
    """Spearman on STS-B dev and NT-Xent after the same training by either side."""

    def outcomes(seed: int):
        run = prepare(trial("float32", samples=3000, epochs=2, seed=seed))
        trainer, bert = sentence_transformers(run)
        trainer.train()
        for epoch in range(run.trial.epochs):
            run.epoch(epoch)
        theirs = SentenceEncoder(bert.to(run.fabric.device), "mean")
        sides = {"deepaug": run.encoder, "sentence-transformers": theirs}
        return run.trial, {side: _outcome(run, encoder) for side, encoder in sides.items()}

    return measure.agreement(seeds, "spearman", outcomes)


@torch.no_grad()
def _outcome(run: loop.Training, encoder: torch.nn.Module) -> dict[str, float]:
    """Both sides by one measure: our evaluator, and NT-Xent of two passes with dropout."""
    encoder.eval()
    metrics = run.task.evaluate(lambda view: encoder(**view).float(), final=False)["validation"]
    encoder.train()
    torch.manual_seed(0)
    view, _ = run.task.views(0)(torch.arange(512))
    first, second = (F.normalize(encoder(**view).float(), dim=1) for _ in range(2))
    loss = contrastive.nt_xent(first, second, run.trial.temperature).item()
    return {"spearman": metrics["spearman"], "nt_xent": loss}


if __name__ == "__main__":
    measure.main(
        __file__,
        ["transformers", "tokenizers", "sentence-transformers"],
        ARMS,
        {"": (1, 2)},
        agree,
        trial("float32").to_dict(),
    )
