"""A large contrastive batch in little memory: gradient caching.

    python examples/caching.py

Features of all chunks are made without gradient; the loss is taken on them; then each chunk runs
once more, for its share of the gradient. The second pass has to draw what the first drew: torch's
generator is put back, and a handle knows by itself how it acted on these very tensors, also with
`mask=`, `seed()` and `paused()`. sentence-transformers' CachedMultipleNegativesRankingLoss works
the same way; attach to the SentenceTransformer itself. Gao et al. 2021, arXiv 2101.06983.
"""

import torch
from torch import nn

import deepaug


def cached(model: nn.Module, chunks: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Features of all chunks; their gradient is led back through the model chunk by chunk."""
    states, features = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(torch.get_rng_state())
            features.append(model(chunk))
    cut = torch.cat(features).requires_grad_()

    @torch.enable_grad()
    def again(gradient: torch.Tensor) -> None:
        shares = gradient.split([len(chunk) for chunk in chunks])
        with torch.random.fork_rng(devices=[]):
            for chunk, state, share in zip(chunks, states, shares, strict=True):
                torch.set_rng_state(state)
                model(chunk).backward(share)

    cut.register_hook(again)
    return cut


def main() -> tuple[torch.Tensor, torch.Tensor]:
    found = []
    for run in (cached, lambda model, chunks: torch.cat([model(chunk) for chunk in chunks])):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 32), nn.Dropout(0.1), nn.Linear(32, 16))
        handle = deepaug.attach(model, "0", deepaug.PCA(0.5))
        handle.seed(1)
        views = torch.randn(2, 64, 8)
        z1 = run(model, views[0].split(16))
        with handle.paused():
            z2 = run(model, views[1].split(16))
        deepaug.nt_xent(z1, z2).backward()
        found.append(model[0].weight.grad)
    print(f"largest difference of the gradients: {(found[0] - found[1]).abs().max():.1g}")
    return found[0], found[1]


if __name__ == "__main__":
    main()
