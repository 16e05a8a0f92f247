"""Random changes of a whole batch of pictures, on tensors and after the cache.

All random numbers come from one CPU generator, so the same seed gives the same pictures on every device. Mirror image
and shift are one gather on the uint8 pixels; everything else is done in floating point on the target device.

Axes: B pictures, H rows, W columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from passerby.training.recipe import AugmentationConfig


def padded_crop(pixels: Tensor, border: int, generator: torch.Generator) -> Tensor:
    """Put a black border around each picture and cut the picture's size out of it somewhere.

    Args:
        pixels: pictures on any device.
        border: pixels on each side; 0 changes nothing.
        generator: a CPU generator; decides everything.

    Shape:
        (B, H, W, 3) uint8 -> (B, H, W, 3) uint8.
    """
    if border == 0:
        return pixels
    count, height, width, _ = pixels.shape
    down, right = (torch.randint(0, 2 * border + 1, (count, 1), generator=generator) for _ in range(2))
    rows, columns = torch.arange(height)[None] + down, torch.arange(width)[None] + right  # (B, H), (B, W)
    padded = torch.nn.functional.pad(pixels, (0, 0, border, border, border, border))
    places = (torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :])
    return padded[tuple(part.to(pixels.device, non_blocking=True) for part in places)]


def augment(
    pixels: Tensor, config: AugmentationConfig, generator: torch.Generator, largest_erased: float = 0.2
) -> Tensor:
    """Return randomly changed pictures in [0, 1].

    Args:
        pixels: pictures on the target device.
        config: strengths and probabilities.
        generator: a CPU generator; decides everything.
        largest_erased: largest share of a picture that is erased, above 0.02.

    Shape:
        (B, H, W, 3) uint8 -> (B, 3, H, W) float32 in channels-last memory.
    """
    moved = _mirror_and_shift(pixels, config, generator)  # (B, H, W, 3)
    images = moved.permute(0, 3, 1, 2).float().div_(255)  # (B, 3, H, W), channels-last strides
    if config.colour > 0:
        images = _recolour(images, config.colour, generator)
    if config.erase > 0:
        images = _erase(images, config, largest_erased, generator)
    return images


def _mirror_and_shift(pixels: Tensor, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    count, height, width, _ = pixels.shape
    if config.flip == 0 and config.shift == 0:
        return pixels
    reach_y, reach_x = round(config.shift * height), round(config.shift * width)
    dy = torch.randint(-reach_y, reach_y + 1, (count, 1), generator=generator)
    dx = torch.randint(-reach_x, reach_x + 1, (count, 1), generator=generator)
    mirrored = torch.rand((count, 1), generator=generator) < config.flip
    rows = (torch.arange(height)[None] + dy).clamp_(0, height - 1)  # (B, H)
    columns = torch.arange(width)[None].expand(count, width)
    columns = torch.where(mirrored, width - 1 - columns, columns)
    columns = (columns + dx).clamp_(0, width - 1)  # (B, W)
    lines = torch.arange(count)[:, None] * height + rows  # (B, H), counted through the batch
    places = (lines[:, :, None] * width + columns[:, None, :]).flatten()  # (B * H * W,)
    places = places.to(pixels.device, non_blocking=True)
    return pixels.reshape(-1, 3).index_select(0, places).view_as(pixels)


def _recolour(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    count = images.shape[0]
    brightness = 1 + strength * (2 * torch.rand((count, 1), generator=generator) - 1)
    tint = 1 + strength / 2 * (2 * torch.rand((count, 3), generator=generator) - 1)
    gain = (brightness * tint)[:, :, None, None].to(images.device, non_blocking=True)  # (B, 3, 1, 1)
    return (images * gain).clamp_(0, 1)


def _erase(images: Tensor, config: AugmentationConfig, largest: float, generator: torch.Generator) -> Tensor:
    """Fill a rectangle with a colour or the picture's mean (Zhong et al. 2020, random erasing)."""
    count, _, height, width = images.shape
    draws = torch.rand((count, 5), generator=generator)
    area = 0.02 + (largest - 0.02) * draws[:, 0]
    aspect = torch.exp((2 * draws[:, 1] - 1) * 1.2)  # height / width from about 0.3 to 3.3
    tall = (torch.sqrt(area * aspect) * height).clamp(1, height)
    wide = (torch.sqrt(area / aspect) * width).clamp(1, width)
    top, left = draws[:, 2] * (height - tall), draws[:, 3] * (width - wide)
    y, x = torch.arange(height)[None, :, None], torch.arange(width)[None, None, :]
    inside = (y >= top[:, None, None]) & (y < (top + tall)[:, None, None])
    inside = inside & (x >= left[:, None, None]) & (x < (left + wide)[:, None, None])  # (B, H, W)
    inside = inside & (draws[:, 4] < config.erase)[:, None, None]
    return torch.where(inside[:, None].to(images.device, non_blocking=True), erase_colour(images, config), images)


def erase_colour(images: Tensor, config: AugmentationConfig) -> Tensor:
    """What erased rectangles are filled with: (B, 3, H, W) -> (B or 1, 3, 1, 1)."""
    if config.erase_colour is None:
        return images.mean(dim=(2, 3), keepdim=True)
    return torch.tensor(config.erase_colour, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
