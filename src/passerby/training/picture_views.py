"""Random changes of a picture that are told by numbers, and are the same change at every size.

A teacher and a student read pictures of different sizes. Each must see the same mirror image, shift, tint and erased
rectangle, or the teacher's vector belongs to another picture than the one that the student looks at; so a change is
drawn as shares of height and width, once, and shown at whatever size is asked for (the "reinforced data set" of
MobileCLIP, Vasu et al. 2024). The strengths are those of `passerby.training.recipe.AugmentationConfig`.

Axes: V views, N pictures, B pictures of a batch, H rows, W columns.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from passerby.training.augment import erase_colour
from passerby.training.recipe import AugmentationConfig

#: Numbers in [0, 1) that decide one view of one picture.
DRAWS = 12


def view_draws(pictures: int, views: int, seed: int) -> np.ndarray:
    """The numbers behind every view, each view from a seed of its own: (V, N, 12) float32 in [0, 1)."""
    return np.stack(
        [np.random.default_rng([seed, view]).random((pictures, DRAWS), np.float32) for view in range(views)]
    )


def shown(pixels: Tensor, draws: Tensor, config: AugmentationConfig) -> Tensor:
    """Pictures as their draws change them, in [0, 1].

    Args:
        pixels: pictures of any size, on any device.
        draws: the numbers of one view of each, on the CPU.
        config: strengths and probabilities.

    Shape:
        pixels (B, H, W, 3) uint8, draws (B, 12) -> (B, 3, H, W) float32.
    """
    _, height, width, _ = pixels.shape
    down, right = ((config.shift * (2 * draws[:, axis : axis + 1] - 1)) for axis in (0, 1))  # shares, (B, 1)
    mirrored = draws[:, 2:3] < config.flip
    rows = (torch.arange(height)[None] + (down * height).round().long()).clamp(0, height - 1)  # (B, H)
    columns = torch.arange(width)[None].expand(len(pixels), width)
    columns = torch.where(mirrored, width - 1 - columns, columns) + (right * width).round().long()
    columns = columns.clamp(0, width - 1)  # (B, W)
    batch = torch.arange(len(pixels), device=pixels.device)[:, None, None]
    rows, columns = (places.to(pixels.device, non_blocking=True) for places in (rows, columns))
    moved = pixels[batch, rows[:, :, None], columns[:, None, :]]
    images = moved.permute(0, 3, 1, 2).float().div_(255)  # (B, 3, H, W)
    brightness = 1 + config.colour * (2 * draws[:, 3:4] - 1)
    tint = 1 + config.colour / 2 * (2 * draws[:, 4:7] - 1)
    images = (images * (brightness * tint)[:, :, None, None].to(images.device, non_blocking=True)).clamp_(0, 1)
    return images if config.erase == 0 else _erased(images, draws[:, 7:], config)


def _erased(images: Tensor, draws: Tensor, config: AugmentationConfig) -> Tensor:
    """Fill a rectangle of 2 to 20 % with a colour (Zhong et al. 2020): (B, 3, H, W), (B, 5)."""
    height, width = images.shape[2:]
    area, aspect = 0.02 + 0.18 * draws[:, 0], torch.exp((2 * draws[:, 1] - 1) * 1.2)
    tall, wide = torch.sqrt(area * aspect).clamp(max=1), torch.sqrt(area / aspect).clamp(max=1)  # shares
    top, left = draws[:, 2] * (1 - tall), draws[:, 3] * (1 - wide)
    y, x = (torch.arange(height) + 0.5)[None] / height, (torch.arange(width) + 0.5)[None] / width
    inside_y = (y >= top[:, None]) & (y < (top + tall)[:, None])  # (B, H)
    inside_x = (x >= left[:, None]) & (x < (left + wide)[:, None])  # (B, W)
    inside = inside_y[:, :, None] & inside_x[:, None, :] & (draws[:, 4] < config.erase)[:, None, None]
    return torch.where(inside[:, None].to(images.device, non_blocking=True), erase_colour(images, config), images)
