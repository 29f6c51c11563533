"""Sentence encoders: a small BERT from nothing or a model of the hub, and how it is pooled."""

import contextlib
import functools
from typing import Any

import huggingface_hub
import torch
import transformers
from torch import Tensor, nn

from deepaug.training import registry
from deepaug.training.modalities.text import tokens
from deepaug.training.trial import Trial
from deepaug.validation import DataError, reason

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

    def __init__(self, bert: Any, pooling: str):
        super().__init__()
        self.features = bert.config.hidden_size
        self.bert, self.pooled = bert, Pooling(pooling)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.pooled(hidden, attention_mask)


def of_hub(kind: Any, name: str, **options: Any) -> Any:
    """What `kind` reads of a model of the Hugging Face hub: from the cache, else over the network.

    Raises DataError, in one line, if neither has it.
    """
    try:
        with contextlib.suppress(OSError):
            return kind.from_pretrained(name, local_files_only=True, **options)
        # Asked first what answers at once: a download without a network is tried for half a minute.
        huggingface_hub.HfApi().model_info(name, timeout=10)
        return kind.from_pretrained(name, **options)
    except Exception as error:  # of the hub, its HTTP client, the file format: of many kinds
        raise DataError(
            f"cannot load encoder {name!r} from the Hugging Face hub "
            f"({reason(error)}); check its name and the network, or use one of "
            f"{', '.join(registry.MODALITIES['text'].encoders)}"
        ) from None


# For what no training changes.
_kept_of_hub = functools.lru_cache(maxsize=4)(of_hub)


def hub_config(name: str) -> transformers.PretrainedConfig:
    """The architecture of a model of the hub. Raises DataError, in one line."""
    return _kept_of_hub(transformers.AutoConfig, name)


def from_hub(trial: Trial) -> bool:
    return registry.from_hub(trial.modality, trial.encoder)


def tokenizer(trial: Trial) -> transformers.PreTrainedTokenizerBase:
    """The tokenizer of the trial's encoder. Raises ValueError if it takes no views so long."""
    if from_hub(trial):
        found = _kept_of_hub(transformers.AutoTokenizer, trial.encoder)
    else:
        found = tokens.tokenizer(trial.data)
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
        return hub_config(trial.encoder)
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
        bert = of_hub(transformers.AutoModel, trial.encoder, use_safetensors=True)
    else:
        bert = transformers.BertModel(config, add_pooling_layer=False)
    for module in bert.modules():
        if isinstance(module, nn.Dropout):
            # Dropout is SimCSE's augmentation; with another it would add to that one.
            module.p = DROPOUT * trial.view_strength if trial.views == "standard" else 0.0
    return SentenceEncoder(bert, trial.pooling)


def module(trial: Trial, config: transformers.PretrainedConfig, layer: str) -> str:
    """What a layer is called among the modules of the trial's `SentenceEncoder`.

    Raises ValueError for a block that the model does not have.
    """
    if layer in ("none", "pooled"):
        return layer
    if layer == "embeddings":
        return "bert.embeddings"
    allowed = registry.bert_layers(config.num_hidden_layers)
    if layer not in allowed:
        raise ValueError(
            f"encoder {trial.encoder!r} has no layer {layer!r}, but "
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
    return f"bert.{blocks[0]}.{allowed.index(layer) - 1}"
