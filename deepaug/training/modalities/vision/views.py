"""Random views of images, as SimCLR's, and the recipe that suits a data set.

torchvision's transforms draw one set of numbers for a whole batch. Here every image of a batch has
its own, given from outside, so that what happens to an image does not depend on its batch.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Recipe:
    """Which random changes make a view of an image, at full view strength.

    The defaults are lightly's CIFAR-10 recipe: crop, flip, colour jitter, grey; no blur.
    """

    smallest_area: float = 0.08
    flip: bool = True
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)  # brightness … hue
    jitter_share: float = 0.8
    grey_share: float = 0.2


COLOUR = Recipe()
# A mirrored 3 is no digit, a mirrored shoe is a shoe; neither has a colour to jitter.
DIGITS = Recipe(smallest_area=0.5, flip=False, jitter=(0, 0, 0, 0), jitter_share=0, grey_share=0)
CLOTHES = Recipe(jitter=(0, 0, 0, 0), jitter_share=0, grey_share=0)

DRAWS = 15  # uniform numbers that decide one view: 4 crop, 1 flip, 9 jitter, 1 grey


def view(pixels: Tensor, draw: Tensor, recipe: Recipe, strength: float, side: int) -> Tensor:
    """A random view of each image, every image with its own draw.

    Args:
        pixels: (n, channels, h, w) in [0, 1].
        draw: uniform numbers in [0, 1), (n, DRAWS).
        recipe: the changes that suit the data set, at full strength.
        strength: scales the smallest crop, the reach of jitter and the probability of grey; the
            probabilities of jitter and mirroring stay. 0 leaves images whole.
        side: pixels along a side of the view.

    Returns:
        (n, channels, side, side) in [0, 1].
    """
    out = _crop(pixels, draw[:, :5], recipe, strength, side)
    if recipe.jitter_share and strength:
        out = _jitter(out, draw[:, 5:14], recipe, strength)
    if recipe.grey_share and strength:
        grey = (draw[:, 14] < recipe.grey_share * min(strength, 1)).view(-1, 1, 1, 1)
        out = torch.where(grey, _grey(out), out)
    return out


def _crop(pixels: Tensor, draw: Tensor, recipe: Recipe, strength: float, side: int) -> Tensor:
    """Crop of random area and aspect (3/4 to 4/3), resampled bilinearly; random mirror image."""
    smallest = max(1 - strength * (1 - recipe.smallest_area), 0.01)
    area = smallest + (1 - smallest) * draw[:, 0]
    stretch = torch.exp((2 * draw[:, 1] - 1) * math.log(4 / 3) / 2 * min(strength, 1))
    width, height = ((area.sqrt() * s).clamp(max=1) for s in (stretch, 1 / stretch))
    # Centres and half-sizes in the sampler's coordinates, where an image spans -1 to 1.
    x, y = (1 - width) * (2 * draw[:, 2] - 1), (1 - height) * (2 * draw[:, 3] - 1)
    if recipe.flip and strength:
        width = torch.where(draw[:, 4] < 0.5, -width, width)
    zero = torch.zeros_like(x)
    where = torch.stack([width, zero, x, zero, height, y], 1).view(-1, 2, 3)
    grid = F.affine_grid(where, [len(pixels), 1, side, side], align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _jitter(pixels: Tensor, draw: Tensor, recipe: Recipe, strength: float) -> Tensor:
    """Colour jitter as torchvision's, each image with its own factors."""
    chosen = draw[:, 0] < recipe.jitter_share
    reach = [strength * r for r in recipe.jitter]
    scale = [1 + r * (2 * u - 1) for r, u in zip(reach[:3], draw[:, 1:4].unbind(1), strict=True)]
    scale = [torch.where(chosen, s.clamp_min(0), 1).view(-1, 1, 1, 1) for s in scale]
    turn = torch.where(chosen, reach[3] * (2 * draw[:, 4] - 1), 0).view(-1, 1, 1)

    def contrast(x: Tensor) -> Tensor:
        mean = _grey(x).mean((1, 2, 3), keepdim=True)
        return (mean + scale[1] * (x - mean)).clamp(0, 1)

    def saturation(x: Tensor) -> Tensor:
        grey = _grey(x)
        return (grey + scale[2] * (x - grey)).clamp(0, 1)

    changes = (lambda x: (x * scale[0]).clamp(0, 1), contrast, saturation, lambda x: _turn(x, turn))
    # One order for the batch, by the first image's draw: four passes instead of sixteen.
    for change in draw[0, 5:9].argsort().tolist():
        pixels = changes[change](pixels)
    return pixels


def _grey(pixels: Tensor) -> Tensor:
    """Luma (ITU-R BT.601), (n, 1, h, w)."""
    weights = pixels.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    return (pixels * weights).sum(1, keepdim=True)


def _turn(pixels: Tensor, turn: Tensor) -> Tensor:
    """Add `turn` (n, 1, 1), in full circles, to the hue in HSV space."""
    red, green, blue = pixels.unbind(1)
    value, least = pixels.amax(1), pixels.amin(1)
    chroma = value - least
    safe = chroma.clamp_min(1e-8)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = hue + 6 * turn
    parts = ((offset + hue) % 6 for offset in (5, 3, 1))
    return torch.stack(
        [value - chroma * torch.minimum(part, 4 - part).clamp(0, 1) for part in parts], 1
    )
