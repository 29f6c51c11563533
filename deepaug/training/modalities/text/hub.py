"""Models of the Hugging Face hub, by name or from a folder: settings, tokenizer, weights."""

import contextlib
import functools
from typing import Any

import huggingface_hub
import transformers

from deepaug.training import registry
from deepaug.validation import DataError


def blocks(name: str) -> int:
    """How many blocks a model has."""
    return config(name).num_hidden_layers


@functools.lru_cache(maxsize=2)
def config(name: str) -> transformers.PretrainedConfig:
    return _load(transformers.AutoConfig, name)


@functools.lru_cache(maxsize=2)
def tokenizer(name: str) -> transformers.PreTrainedTokenizerBase:
    return _load(transformers.AutoTokenizer, name)


def model(name: str) -> transformers.PreTrainedModel:
    return _load(transformers.AutoModel, name, use_safetensors=True)


def _load(kind: Any, name: str, **options: Any) -> Any:
    """Of the model `name`, what `kind` reads: from the cache, else over the network.

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
            f"({str(error).strip().splitlines()[0]}); check its name and the network, or use one "
            f"of {', '.join(registry.encoders('text'))}"
        ) from None
