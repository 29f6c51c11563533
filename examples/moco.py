"""MoCo and BYOL: a momentum copy of the network, with the transform in one or in both.

    python examples/moco.py

A deep copy carries a transform of its own, which the handle of the original does not reach. Copy
first and attach afterwards for a plain copy; attach first for a copy that is transformed as well.
He et al. 2020, arXiv 1911.05722.
"""

import copy

import torch
from torch import nn

import deepaug


def main() -> tuple[float, int]:
    torch.manual_seed(0)
    query = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16))

    key = copy.deepcopy(query).requires_grad_(False)  # copied before: it stays plain
    handle = deepaug.attach(query, "1", deepaug.Dropout(0.5))
    # For a transform in both, attach first, and copy the handle along:
    # handle = deepaug.attach(query, "1", deepaug.Dropout(0.5))
    # key, key_handle = copy.deepcopy((query, handle))

    optimizer = torch.optim.SGD(query.parameters(), lr=0.1)
    for _ in range(5):
        views = torch.randn(2, 16, 8)
        with torch.no_grad():
            target = key(views[1])
        loss = deepaug.nt_xent(query(views[0]), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():  # the copy follows slowly
            for slow, fast in zip(key.parameters(), query.parameters(), strict=True):
                slow.lerp_(fast, 0.01)
    print(f"loss {loss.item():.3f}; {handle}")
    return loss.item(), handle.calls


if __name__ == "__main__":
    main()
