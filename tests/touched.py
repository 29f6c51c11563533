"""The figure to touch, in torch: what book/_static/touch.js is to compute from the same data."""

import base64
import json

import numpy as np
import torch
from torch.nn import functional as F

TRANSFORMS = ("element", "feature", "drop", "truncate")


def read(script):
    """The data that a script hands to `touch`."""
    assert script.startswith("touch(") and script.endswith(");\n")
    return json.loads(script[len("touch(") : -len(");\n")])


def unpacked(packed):
    numbers = np.frombuffer(base64.b64decode(packed["data"]), "<i2").reshape(packed["shape"])
    return torch.from_numpy(numbers.astype(np.float32)) * packed["scale"]


def step(x, convolutions):
    """From one layer to the next."""
    if not convolutions:
        return x.mean((2, 3))

    def convolve(x, which):
        weight = unpacked(which["weight"])
        options = {"stride": which["stride"], "padding": weight.shape[-1] // 2}
        return F.conv2d(x, weight, unpacked(which["bias"]), **options)

    first, *more = convolutions
    y = convolve(x, first).relu()
    if not more:
        return y
    second, *shortcut = more
    return (convolve(y, second) + (convolve(x, shortcut[0]) if shortcut else x)).relu()


def outputs(data, x, number=0):
    """Those of layer `number`, which are given, and of all behind it."""
    found = [x]
    for convolutions in data["steps"][number:]:
        found.append(step(found[-1], convolutions))
    return found


def uniform(seed, shape):
    """Numbers in [0, 1) by mulberry32, as doubles."""
    steps = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64)  # products of 32 bits fit
    seed = (seed + steps * 0x6D2B79F5) % 2**32
    t = (seed ^ seed >> 15) * (1 | seed) % 2**32
    t = ((t + (t ^ t >> 7) * (61 | t) % 2**32) % 2**32) ^ t
    return torch.from_numpy((t ^ t >> 14) / 2**32).view(shape)


def factors(transform, p, shape, seed):
    """The diagonals of M: of each image or, for "element", of each of its numbers."""
    n, features = shape[:2]
    if transform == "truncate":
        return (torch.arange(features) < max(1, round((1 - p) * features))).float().expand(n, -1)
    draws = uniform(seed, shape if transform == "element" else (n, features))
    return ((draws >= p) / (1 - p)).float()


def transformed(data, number, x, transform, M):
    """Activations (n, f, ...) of layer `number`, transformed by M."""
    if transform == "element":
        return x * M
    if transform == "feature":
        return x * M.view(*M.shape, *[1] * (x.ndim - 2))
    layer = data["layers"][number]
    mean, V = unpacked(layer["mean"]), unpacked(layer["directions"])
    rows = x.flatten(2).mT if x.ndim > 2 else x.unsqueeze(1)
    changed = rows + ((rows - mean) @ V * (M - 1).unsqueeze(1)) @ V.mT
    return changed.mT.reshape(x.shape)
