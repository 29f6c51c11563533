"""The figure to touch on the page of the method: a small network that runs in the reader's browser.

book/_static/touch.js transforms one of its layers and runs the rest. What it needs is written here:
weights, the PCA bases of all layers, and some images, each number in 16 bits. They come as a
script, because a page opened from a folder may load scripts and nothing else.
"""

import base64
import json
from pathlib import Path
from typing import Any

import torch
from IPython.display import HTML, Markdown, display
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import deepaug
from deepaug.files import whole
from deepaug.pages import notebooks

DATA = "touch-data.js"
LARGEST = 2**15 - 1

MARKUP = """\
<link rel="stylesheet" href="../../_static/touch.css">
<div class="touch" role="group" aria-label="Figure to touch: a transform at one layer">
  <p class="touch-wait">This figure loads as it comes into view. It needs JavaScript.</p>
  <form hidden>
    <div class="touch-controls">
      <div>
        <label for="touch-layer">Layer</label>
        <select id="touch-layer" name="layer"></select>
      </div>
      <div>
        <label for="touch-transform">Transform</label>
        <select id="touch-transform" name="transform">
          <option value="element">dropout, element</option>
          <option value="feature">dropout, feature</option>
          <option value="drop" selected>PCA, drop</option>
          <option value="truncate">PCA, truncate</option>
        </select>
      </div>
      <div>
        <label for="touch-p">p = <span class="touch-strength"></span></label>
        <input id="touch-p" name="p" type="range" min="0" max="0.9" step="0.05" value="0.5">
      </div>
      <button type="button" name="again">Draw again</button>
    </div>
    <fieldset>
      <legend>Choose an image. Below each image: the cosine of the chosen one, transformed, to it.
        The mark is the cosine without the transform.</legend>
      <div class="touch-images"></div>
    </fieldset>
    <p class="touch-title"></p>
    <div class="touch-maps"></div>
    <p class="touch-title">Cosine of features, mean over the ten images</p>
    <div class="touch-bars"></div>
    <p class="touch-said" role="status"></p>
  </form>
</div>
<script src="../../_static/touch.js"></script>
"""


def show(encoder: nn.Module, views: tuple[Tensor, Tensor], labels: Tensor) -> None:
    """Write the figure's data beside the executed pages, and show the figure, with a link to them.

    Args: as of `data`.
    """
    notebooks.EXECUTED.mkdir(parents=True, exist_ok=True)
    write(notebooks.EXECUTED / DATA, data(encoder, views, labels))
    display(HTML(MARKUP))
    # The book copies the file because of this link, and the script finds it by it.
    display(Markdown(f"{{download}}`What this figure is made of <{DATA}>`"))


def write(path: Path, found: dict[str, Any]) -> None:
    """Data as a script that calls `touch` with them."""
    with whole(path) as partial:
        partial.write_text(f"touch({json.dumps(found, separators=(',', ':'))});\n", "utf-8")


@torch.no_grad()
def data(encoder: nn.Module, views: tuple[Tensor, Tensor], labels: Tensor) -> dict[str, Any]:
    """All that the figure needs, in numbers and strings alone.

    Args:
        encoder: a `resnet.ResNet` of one block a stage.
        views: two of the same n images, (n, c, h, w) each. The bases are those of all the first;
            shown is the first image of every class.
        labels: (n,), classes as whole numbers.

    Returns:
        "layers", in execution order, each with its shape, the mean (f,) of its rows and their
        principal directions (f, f); "steps", the convolutions between them; "images", the first
        views; "views", the features (n, f) of the second; "labels".
    """
    encoder.eval()
    first, second = views
    outputs = activations(encoder, first)
    shown = [int((labels == label).nonzero()[0, 0]) for label in labels.unique()]
    return {
        "layers": [_layer(name, output) for name, output in outputs.items()],
        "steps": [_convolutions(module) for module in encoder.children()],
        "images": packed(first[shown]),
        "views": packed(encoder(second[shown])),
        "labels": labels[shown].tolist(),
    }


@torch.no_grad()
def activations(encoder: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Outputs of the layers worth targeting, the input among them, in evaluation mode."""
    found = {"input": images}
    hooks = [
        encoder.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: found.update({name: out})
        )
        for name in deepaug.layers(encoder, images)
        if name != "input"
    ]
    encoder.eval()(images)
    for hook in hooks:
        hook.remove()
    return found


def _layer(name: str, output: Tensor) -> dict[str, Any]:
    rows = output.movedim(1, -1).flatten(0, -2)
    mean, _, directions = deepaug.PCA().basis(rows)
    shape = [*output.shape[1:], 1, 1][:3]
    return {
        "name": name,
        "shape": shape,
        "mean": packed(mean),
        "directions": packed(directions),
    }


def _convolutions(module: nn.Module) -> list[dict[str, Any]]:
    """Of a stage: two and, where it changes the shape, that of its shortcut; of the stem: one.

    Each with the batch normalisation behind it, which in evaluation is a convolution's as well.
    """
    found = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    normalisations = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    fused = [fuse_conv_bn_eval(*pair) for pair in zip(found, normalisations, strict=True)]
    return [
        {"weight": packed(c.weight), "bias": packed(c.bias), "stride": c.stride[0]} for c in fused
    ]


def packed(tensor: Tensor) -> dict[str, Any]:
    """A tensor in 16 bits a number: whole numbers, little-endian, in base64, and their scale."""
    scale = tensor.abs().max().item() / LARGEST or 1.0
    whole_numbers = (tensor.double() / scale).round().contiguous().numpy().astype("<i2")
    return {
        "shape": list(tensor.shape),
        "scale": scale,
        "data": base64.b64encode(whole_numbers.tobytes()).decode("ascii"),
    }
