"""Sentences of different lengths in torch's own Transformer: padding stays out of it.

    python examples/masked.py

`mask` tells which tokens count; where samples and features lie follows from `batch_first`. The
sentences are random, and the same in both views, as in SimCSE: draws make the difference.
"""

import torch
from torch import nn

import deepaug


class Sentences(nn.Module):
    def __init__(self, width: int = 32):
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, 64, batch_first=True)
        self.words = nn.Embedding(100, width)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        x = self.encoder(self.words(ids), src_key_padding_mask=padding)
        counts = ~padding.unsqueeze(-1)
        return (x * counts).sum(1) / counts.sum(1)


def main() -> float:
    torch.manual_seed(0)
    model = Sentences()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    ids = torch.randint(100, (16, 12))
    padding = torch.arange(12) >= torch.randint(4, 13, (16, 1))

    # The mask is made of the arguments of the model's own forward pass; true is what counts.
    transform = deepaug.PCA(0.5)
    deepaug.attach(model, "encoder.layers.0", transform, mask=lambda ids, padding: ~padding)

    for _ in range(5):
        loss = deepaug.nt_xent(model(ids, padding), model(ids, padding))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"loss {loss.item():.3f}")
    return loss.item()


if __name__ == "__main__":
    main()
