"""Views of pictures as TBPS-CLIP makes them: two changes drawn from six, and strong views for self-supervision.

All of a batch at once on the target device; every random number comes from one CPU generator. Turning, cutting out and
mirroring are one affine map each picture is sampled through once.

Axes: B pictures, H rows, W columns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: TBPS-CLIP's six changes in the order that they are drawn by (Cao et al. 2024, section 3.2).
CHANGES = ("colour", "turn", "cut", "grey", "mirror", "erase")

_LUMA = (0.299, 0.587, 0.114)


def drawn_views(images: Tensor, drawn: int, generator: torch.Generator) -> Tensor:
    """Change each picture by some of `CHANGES`, drawn with replacement; one drawn twice is done once.

    Colours move by a tenth, pictures turn by up to 15 degrees, 90 to 100 % of the area are cut out, one in ten loses
    its colours, half are mirrored, and half lose a rectangle of 10 to 20 %.

    Args:
        images: pictures in [0, 1].
        drawn: how many changes are drawn for each.
        generator: a CPU generator.

    Shape:
        (B, 3, H, W) -> (B, 3, H, W).
    """
    count = len(images)
    chosen = torch.zeros(count, len(CHANGES), dtype=torch.bool)
    chosen.scatter_(1, torch.randint(len(CHANGES), (count, drawn), generator=generator), value=True)
    draws = torch.rand((count, 4), generator=generator)
    angle = math.radians(15) * (2 * draws[:, 0] - 1) * chosen[:, 1]
    area = torch.where(chosen[:, 2], 0.9 + 0.1 * draws[:, 1], 1.0)
    mirrored = chosen[:, 4] & (draws[:, 2] < 0.5)
    images = _moved(images, angle, area, mirrored, generator)
    images = _recoloured(images, torch.where(chosen[:, 0], 0.1, 0.0), generator)
    images = _greyed(images, chosen[:, 3] & (draws[:, 3] < 0.1))
    erased = chosen[:, 5] & (torch.rand(count, generator=generator) < 0.5)
    return _erased(images, erased, generator)


def strong_views(images: Tensor, generator: torch.Generator) -> Tensor:
    """SimCLR's changes: 20 to 100 % cut out, colours moved by 0.4 in four of five, grey, blurred, mirrored.

    Args:
        images: pictures in [0, 1].
        generator: a CPU generator.

    Shape:
        (B, 3, H, W) -> (B, 3, H, W).
    """
    draws = torch.rand((len(images), 5), generator=generator)
    still = torch.zeros(len(images))
    images = _moved(images, still, 0.2 + 0.8 * draws[:, 0], draws[:, 1] < 0.5, generator)
    images = _recoloured(images, torch.where(draws[:, 2] < 0.8, 0.4, 0.0), generator)
    images = _greyed(images, draws[:, 3] < 0.2)
    return torch.where(_column(draws[:, 4] < 0.5, images), _blurred(images), images)


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values[:, None, None, None].to(like.device, non_blocking=True)


def _moved(images: Tensor, angle: Tensor, area: Tensor, mirrored: Tensor, generator: torch.Generator) -> Tensor:
    """Turn by angles in radians, cut out a share of the area somewhere, and mirror; borders are repeated."""
    height, width = images.shape[2:]
    side = area.sqrt()
    room = 1 - side  # how far the cut-out's centre may be from the picture's, in half pictures
    shift = (2 * torch.rand((len(images), 2), generator=generator) - 1) * room[:, None]
    sign = torch.where(mirrored, -1.0, 1.0)
    ratio = height / width
    theta = torch.stack(
        [
            torch.stack([side * angle.cos() * sign, -side * angle.sin() * ratio, shift[:, 0]], dim=1),
            torch.stack([side * angle.sin() / ratio * sign, side * angle.cos(), shift[:, 1]], dim=1),
        ],
        dim=1,
    )  # (B, 2, 3)
    grid = torch.nn.functional.affine_grid(theta.to(images, non_blocking=True), list(images.shape), align_corners=False)
    return torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _recoloured(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation, each by a factor within 1 - strength and 1 + strength."""
    factors = 1 + strength[:, None] * (2 * torch.rand((len(images), 3), generator=generator) - 1)
    bright, contrast, colour = (_column(factors[:, index], images) for index in range(3))
    images = (images * bright).clamp(0, 1)
    mean = _luma(images).mean(dim=(2, 3), keepdim=True)
    images = (mean + (images - mean) * contrast).clamp(0, 1)
    grey = _luma(images)
    return (grey + (images - grey) * colour).clamp(0, 1)


def _luma(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W)."""
    red, green, blue = images.split(1, dim=1)
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def _greyed(images: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(_column(chosen, images), _luma(images), images)


def _erased(images: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """Fill a rectangle of 10 to 20 % of the chosen pictures with zeros."""
    count, _, height, width = images.shape
    draws = torch.rand((count, 4), generator=generator)
    area, aspect = 0.1 + 0.1 * draws[:, 0], torch.exp((2 * draws[:, 1] - 1) * math.log(3.3))
    tall = ((area * aspect).sqrt() * height).clamp(1, height)
    wide = ((area / aspect).sqrt() * width).clamp(1, width)
    top, left = draws[:, 2] * (height - tall), draws[:, 3] * (width - wide)
    y, x = torch.arange(height)[None, :, None], torch.arange(width)[None, None, :]
    inside = (y >= top[:, None, None]) & (y < (top + tall)[:, None, None])
    inside = inside & (x >= left[:, None, None]) & (x < (left + wide)[:, None, None]) & chosen[:, None, None]
    return images.masked_fill(inside[:, None].to(images.device, non_blocking=True), 0.0)


def _blurred(images: Tensor) -> Tensor:
    """A Gaussian of a standard deviation of a hundredth of the height, at least half a pixel."""
    deviation = max(0.5, images.shape[2] / 100)
    reach = max(1, round(2 * deviation))
    places = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.softmax(-(places**2) / (2 * deviation**2), dim=0)
    padded = torch.nn.functional.pad(images, (reach, reach, reach, reach), mode="replicate")
    rows = torch.nn.functional.conv2d(padded, kernel.view(1, 1, -1, 1).expand(3, 1, -1, 1), groups=3)
    return torch.nn.functional.conv2d(rows, kernel.view(1, 1, 1, -1).expand(3, 1, 1, -1), groups=3)
