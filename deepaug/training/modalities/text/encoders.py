"""Sentence encoders: a small BERT from nothing or a model of the hub, and how it is pooled."""

import torch
import transformers
from torch import Tensor, nn

from deepaug.training import registry
from deepaug.training.modalities.text import hub, tokens
from deepaug.training.trial import Trial

DROPOUT = 0.1  # of the network itself, and share of tokens deleted, at view strength 1


class Pooling(nn.Module):
    """Token features (n, t, f) and mask (n, t) to sentence features (n, f): mean, or [CLS]'s."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        if self.kind == "cls":
            return hidden[:, 0]
        mask = attention_mask.bool().unsqueeze(-1)
        return hidden.masked_fill(~mask, 0).sum(1) / mask.sum(1)


class SentenceEncoder(nn.Module):
    """A Hugging Face model and pooling: token ids and mask, (n, t) each, to features (n, f)."""

    def __init__(self, bert: nn.Module, pooling: str):
        super().__init__()
        self.features = bert.config.hidden_size
        self.bert, self.pooled = bert, Pooling(pooling)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.pooled(hidden, attention_mask)


def from_hub(trial: Trial) -> bool:
    return registry.from_hub(trial.modality, trial.encoder)


def tokenizer(trial: Trial) -> transformers.PreTrainedTokenizerBase:
    """The tokenizer of the trial's encoder. Raises ValueError if it takes no views so long."""
    found = hub.tokenizer(trial.encoder) if from_hub(trial) else tokens.tokenizer(trial.data)
    if trial.view_size > found.model_max_length:
        raise ValueError(
            f"view_size {trial.view_size} is more tokens than encoder {trial.encoder!r} takes "
            f"({found.model_max_length})"
        )
    return found


def config(
    trial: Trial, tokenizer: transformers.PreTrainedTokenizerBase
) -> transformers.PretrainedConfig:
    """The architecture of the trial's encoder."""
    if from_hub(trial):
        return hub.config(trial.encoder)
    width = trial.width
    return transformers.BertConfig(
        hidden_size=width,
        num_hidden_layers=int(trial.encoder.removeprefix("bert")),
        num_attention_heads=max(1, width // 64),
        intermediate_size=4 * width,
        max_position_embeddings=trial.view_size,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
    )


def build(trial: Trial, config: transformers.PretrainedConfig) -> SentenceEncoder:
    """The encoder: of the hub's weights, or initialised at random."""
    if from_hub(trial):
        bert = hub.model(trial.encoder)
    else:
        bert = transformers.BertModel(config, add_pooling_layer=False)
    for module in bert.modules():
        if isinstance(module, nn.Dropout):
            # Dropout is SimCSE's augmentation; with another it would add to that one.
            module.p = DROPOUT * trial.view_strength if trial.views == "standard" else 0.0
    return SentenceEncoder(bert, trial.pooling)


def target(trial: Trial, config: transformers.PretrainedConfig) -> str:
    """What the trial's layer is called among the modules of its `SentenceEncoder`.

    Raises ValueError for a block that the model does not have.
    """
    if trial.layer in ("none", "pooled"):
        return trial.layer
    if trial.layer == "embeddings":
        return "bert.embeddings"
    allowed = registry.bert_layers(config.num_hidden_layers)
    if trial.layer not in allowed:
        raise ValueError(
            f"layer {trial.layer!r} is none of encoder {trial.encoder!r}, which has "
            f"{config.num_hidden_layers} blocks; allowed: {', '.join(allowed)}"
        )
    with torch.device("meta"):
        bert = transformers.AutoModel.from_config(config)
    blocks = [
        name
        for name, module in bert.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == config.num_hidden_layers
    ]
    if len(blocks) != 1:
        raise ValueError(
            f"encoder {trial.encoder!r} ({config.model_type}) does not lay out its blocks as BERT "
            f"does; target its 'embeddings' or 'pooled'"
        )
    return f"bert.{blocks[0]}.{allowed.index(trial.layer) - 1}"
