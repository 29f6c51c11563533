"""Small networks of many libraries to attach to, each with a batch and a layer to target."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deepaug.method.layers import call


@dataclasses.dataclass
class Network:
    model: nn.Module
    batch: Any  # passed as `deepaug.layers` passes it
    target: str
    layers: list[str] = dataclasses.field(default_factory=list)  # those worth targeting
    options: dict = dataclasses.field(default_factory=dict)  # that `attach` needs


def run(model: nn.Module, batch: Any, seed: int = 1) -> Tensor:
    """The model's (first) output tensor, all randomness drawn from `seed`."""
    torch.manual_seed(seed)
    return first_tensor(call(model, batch))


def first_tensor(output: Any) -> Tensor | None:
    return next((value for value in values(output) if isinstance(value, Tensor)), None)


def values(output: Any) -> list:
    """What an output holds: a tensor, sequence, mapping or dataclass."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        return list(output.values())
    return list(vars(output).values() if dataclasses.is_dataclass(output) else output)


def network(name: str) -> Network:
    """A fresh copy of one of `NETWORKS`, in training mode."""
    return copy.deepcopy(_built(name))


@cache
def _built(name: str) -> Network:
    torch.manual_seed(0)
    built = NETWORKS[name]()
    built.model.train()
    return built


def images(*shape: int) -> Tensor:
    return torch.randn(4, 3, *shape)


def resnet() -> Network:
    from torchvision.models import resnet18

    stages = [f"layer{i}" for i in range(1, 5)]
    layers = ["input", "conv1", "maxpool", *stages, "avgpool"]
    return Network(resnet18(num_classes=2), images(16, 16), "layer3", layers)


def vit() -> Network:
    from torchvision.models import VisionTransformer

    model = VisionTransformer(16, 4, 3, 2, hidden_dim=16, mlp_dim=32, num_classes=5)
    nn.init.normal_(model.heads.head.weight)  # it starts at zero, where no change can be seen
    blocks = [f"encoder.layers.encoder_layer_{i}" for i in range(3)]
    layers = ["input", "conv_proj", "encoder.dropout", *blocks]
    return Network(model, images(16, 16), blocks[1], layers)


def swin() -> Network:
    """Images that stay channels-last from layer to layer."""
    from torchvision.models import SwinTransformer

    model = SwinTransformer([2, 2], 16, [1, 1], [2, 2], [2, 2], stochastic_depth_prob=0.0)
    stages = [f"features.{i}" for i in range(4)]
    layers = ["input", *stages, "permute", "avgpool", "flatten"]
    return Network(model, images(16, 16), "features.1", layers)


def timm_vit() -> Network:
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(16, 4, num_classes=5, embed_dim=16, depth=3, num_heads=2)
    blocks = [f"blocks.{i}" for i in range(3)]
    layers = ["input", "patch_embed", "pos_drop", *blocks, "fc_norm"]
    return Network(model, images(16, 16), "blocks.1", layers)


def bert() -> Network:
    """Sentences of different lengths: the mask tells which tokens count."""
    from transformers import BertConfig, BertModel

    sizes = {"vocab_size": 30, "hidden_size": 16, "intermediate_size": 32}
    depth = {"num_hidden_layers": 3, "num_attention_heads": 2, "max_position_embeddings": 8}
    plain = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    blocks = [f"encoder.layer.{i}" for i in range(3)]
    return Network(
        BertModel(BertConfig(**sizes, **depth, **plain)),
        {
            "input_ids": torch.randint(0, 30, (4, 6)),
            "attention_mask": (torch.arange(6) < torch.tensor([[6], [4], [2], [5]])).long(),
        },
        "encoder.layer.1",
        ["embeddings", *blocks, "pooler"],
        {"mask": lambda input_ids, attention_mask: attention_mask},
    )


def gin() -> Network:
    """Graphs of different sizes, their nodes along axis 0: `groups` tells them apart."""
    from torch_geometric.nn.models import GIN

    graph = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
    ring = torch.stack([torch.arange(10), torch.arange(10).roll(1)])
    return Network(
        GIN(3, 16, 3),
        {"x": torch.randn(10, 3), "edge_index": ring, "batch": graph},
        "convs.1",
        ["input", "convs.0", "convs.1", "convs.2"],
        {"groups": lambda x, edge_index, batch: batch},
    )


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inward = nn.Linear(3, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.outward = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inward(x)
        attended, _ = self.attention(x, x, x)
        return self.outward(attended)


def attention() -> Network:
    """A layer that returns a tuple."""
    layers = ["input", "inward", "attention", "outward"]
    return Network(SelfAttention(), torch.randn(4, 5, 3), "attention", layers)


class Pair(NamedTuple):
    hidden: Tensor
    extra: str


@dataclasses.dataclass
class Output:
    hidden: Tensor
    extra: str


class Packing(nn.Linear):
    """Linear layer that returns its tensor packed with something else."""

    def __init__(self, pack: Callable[[Tensor], Any]):
        super().__init__(8, 8)
        self.pack = pack

    def forward(self, x: Tensor) -> Any:
        return self.pack(super().forward(x))


class Packed(nn.Module):
    def __init__(self, pack: Callable[[Tensor], Any], unpack: Callable[[Any], Tensor]):
        super().__init__()
        self.inward, self.packing, self.outward = nn.Linear(3, 8), Packing(pack), nn.Linear(8, 2)
        self.unpack = unpack
        self.packed: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.packed = self.packing(self.inward(x))
        return self.outward(self.unpack(self.packed))


def packed(pack: Callable[[Tensor], Any], unpack: Callable[[Any], Tensor]) -> Network:
    layers = ["input", "inward", "packing", "outward"]
    return Network(Packed(pack, unpack), torch.randn(4, 3), "packing", layers)


def a_list() -> Network:
    return packed(lambda x: [x, "extra"], lambda packed: packed[0])


def named_tuple() -> Network:
    return packed(lambda x: Pair(x, "extra"), lambda packed: packed.hidden)


def dictionary() -> Network:
    return packed(lambda x: {"extra": "extra", "hidden": x}, lambda packed: packed["hidden"])


def dataclass() -> Network:
    return packed(lambda x: Output(x, "extra"), lambda packed: packed.hidden)


def model_output() -> Network:
    """Hugging Face's outputs are dataclasses and mappings at once."""
    from transformers.modeling_outputs import BaseModelOutput

    return packed(lambda x: BaseModelOutput(x), lambda packed: packed.last_hidden_state)


PACKED = {f.__name__: f for f in (a_list, named_tuple, dictionary, dataclass, model_output)}
NETWORKS = {f.__name__: f for f in (resnet, vit, swin, timm_vit, bert, gin, attention)} | PACKED
