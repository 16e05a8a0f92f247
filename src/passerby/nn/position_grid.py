"""Learned positions of a grid of patches, brought to another grid: how a ViT reads pictures of another size.

The grid is taken as a small picture of C channels and resized bilinearly between cell centres, as IRRA, RDE and ITSELF
do for 384x128 pixels; tokens in front of the patches (a class token) keep their positions.

Axes: R x S cells of the old grid, U x V cells of the new one, X tokens in front, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from passerby.errors import ConfigError


def patch_grid(image_size: tuple[int, int], patch: int, stride: int | None = None) -> tuple[int, int]:
    """(rows, columns) of the patches of a picture: ``(side - patch) / stride + 1``.

    Args:
        image_size: (height, width) in pixels.
        patch: side of a patch in pixels.
        stride: pixels from one patch to the next, less than `patch` where they overlap; `patch` where it is None.

    Raises:
        ConfigError: the stride leaves gaps or is not positive, a side is smaller than a patch, or its last patch would
            stick out.
    """
    step = patch if stride is None else stride
    height, width = image_size
    if not 1 <= step <= patch:
        raise ConfigError(f"clip: the stride is {step}; expected 1 to {patch}, the side of a patch")
    if min(image_size) < patch or (height - patch) % step or (width - patch) % step:
        what = f"multiples of the patch, {patch}" if step == patch else f"{patch} and some strides of {step} more"
        raise ConfigError(f"clip: image_size is {height}x{width}; both must be {what}")
    return (height - patch) // step + 1, (width - patch) // step + 1


def resample_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Bring learned positions from one grid to another.

    Args:
        positions: those of any tokens in front, then those of the patches, row by row.
        old: (R, S).
        new: (U, V).

    Shape:
        (X + R * S, C) -> (X + U * V, C).

    Raises:
        ConfigError: there are fewer positions than the old grid has cells.
    """
    front = len(positions) - old[0] * old[1]
    if front < 0:
        raise ConfigError(f"{len(positions)} positions for a grid of {old[0]}x{old[1]}; expected one for each cell")
    if old == new:
        return positions
    cells = positions[front:].unflatten(0, old).permute(2, 0, 1)[None]  # (1, C, R, S)
    resized = torch.nn.functional.interpolate(cells.float(), new, mode="bilinear", align_corners=False)
    return torch.cat([positions[:front], resized[0].permute(1, 2, 0).flatten(0, 1).to(positions.dtype)])
