"""Networks for text, sound and other series, and plain ones of torch."""

import networks
import torch
from networks import Network
from torch import Tensor, nn

from cells import network

TOKENS = {"vocab_size": 30}
LAYERS = {"num_hidden_layers": 3, "num_attention_heads": 2}
WIDTHS = {"hidden_size": 16, "intermediate_size": 32}
CACHELESS = {"use_cache": False}


def transformer(name: str, target: str, **settings) -> Network:
    """One of Hugging Face's by the name of its family, on padded sequences of tokens."""
    import transformers

    # No token ends a text: the usual ones are not among so few.
    config = getattr(transformers, f"{name}Config")(bos_token_id=1, eos_token_id=2, **settings)
    batch = {
        "input_ids": torch.randint(3, 30, (4, 6)),
        "attention_mask": (torch.arange(6) < torch.tensor([[6], [4], [2], [5]])).long(),
    }
    return Network(getattr(transformers, f"{name}Model")(config), batch, target)


def without_mask(name: str, target: str, **settings) -> Network:
    net = transformer(name, target, **settings)
    del net.batch["attention_mask"]
    return net


def t5() -> Network:
    """An encoder and a decoder, each with its own tokens."""
    net = transformer(
        "T5", "encoder.block.1", d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2,
        **TOKENS, **CACHELESS,
    )  # fmt: skip
    net.batch["decoder_input_ids"] = torch.randint(3, 30, (4, 5))
    return net


def wav2vec2() -> Network:
    """Sound: one-dimensional convolutions, then attention."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    stem = {"conv_dim": (8, 8), "conv_stride": (4, 2), "conv_kernel": (8, 3)}
    spread = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    # Masking in time draws from numpy; without it all randomness is torch's.
    config = Wav2Vec2Config(**WIDTHS, **LAYERS, **stem, **spread, apply_spec_augment=False)
    return Network(Wav2Vec2Model(config), torch.randn(4, 400), "encoder.layers.1")


class Series(nn.Module):
    """A recurrent network between two linear layers; of the last step."""

    def __init__(self, kind: type[nn.RNNBase], **settings):
        super().__init__()
        self.inward, self.outward = nn.Linear(3, 8), nn.LazyLinear(2)
        self.recurrent = kind(8, 8, batch_first=True, **settings)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.recurrent(self.inward(x))
        return self.outward(states[:, -1])


def recurrent(kind: str, **settings) -> Network:
    model, batch = Series(getattr(nn, kind), **settings), torch.randn(4, 7, 3)
    model(batch)  # now its widths are known
    return Network(model, batch, "recurrent")


class Stepwise(nn.Module):
    """A cell called step by step, so that a transform acts at every step."""

    def __init__(self):
        super().__init__()
        self.cell, self.outward = nn.GRUCell(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 8)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.outward(state)


def stepwise() -> Network:
    return Network(Stepwise(), torch.randn(4, 7, 3), "cell")


def encoder() -> Network:
    """torch's own Transformer, which in evaluation takes a faster way of its own."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.Sequential(nn.Linear(3, 16), nn.TransformerEncoder(layer, 3), nn.Linear(16, 2))
    return Network(model, torch.randn(4, 5, 3), "1.layers.1")


def convolutions() -> Network:
    model = nn.Sequential(
        nn.Conv1d(3, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(),
        nn.Conv1d(8, 8, 3, padding=2, dilation=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1),
        nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip
    return Network(model, torch.randn(4, 3, 9), "3", options={"dim": 1})


def perceptron() -> Network:
    hidden = nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU()
    model = nn.Sequential(*hidden, nn.Linear(16, 2))
    return Network(model, torch.randn(8, 6), "2")


NETWORKS = {
    "BERT": network.cell("transformers", "attention", networks.bert),
    "DistilBERT": network.cell(
        "transformers", "attention", transformer, "DistilBert", "transformer.layer.1",
        dim=16, hidden_dim=32, n_layers=3, n_heads=2, **TOKENS,
    ),
    "GPT-2": network.cell(
        "transformers", "attention", transformer, "GPT2", "h.1",
        n_embd=16, n_layer=3, n_head=2, **TOKENS, **CACHELESS,
    ),
    "Llama": network.cell(
        "transformers", "attention", transformer, "Llama", "layers.1",
        **TOKENS, **WIDTHS, **LAYERS, **CACHELESS,
    ),
    "T5": network.cell("transformers", "attention", t5),
    "Wav2Vec2": network.cell("transformers", "attention", wav2vec2),
    "FNet": network.cell(
        "transformers", "mixer", without_mask, "FNet", "encoder.layer.1",
        **TOKENS, **WIDTHS, num_hidden_layers=3,
    ),
    "Mamba": network.cell(
        "transformers", "recurrent", transformer, "Mamba", "layers.1",
        hidden_size=16, num_hidden_layers=3, state_size=4, **TOKENS, **CACHELESS,
    ),
    "LSTM": network.cell("torch", "recurrent", recurrent, "LSTM", num_layers=2, bidirectional=True),
    "GRU": network.cell("torch", "recurrent", recurrent, "GRU"),
    "RNN": network.cell("torch", "recurrent", recurrent, "RNN"),
    "GRU cell": network.cell("torch", "recurrent", stepwise),
    "Self-attention": network.cell("torch", "attention", networks.attention),
    "Transformer": network.cell("torch", "attention", encoder),
    "Temporal convolutions": network.cell("torch", "convolutional", convolutions),
    "Perceptron": network.cell("torch", "fully connected", perceptron),
}  # fmt: skip
