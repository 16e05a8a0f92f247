"""Where a token stands, as sines and cosines of growing period (Vaswani et al. 2017, section 3.5).

They need no training and no longest sentence. A cell of a grid gets its row in the first half of the channels and its
column in the second, as in MAE (He et al. 2022, section 4).

Axes: L places, R rows, S columns, C channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from passerby.errors import ConfigError

_LONGEST = 10_000.0


def sine_positions(places: Tensor, channels: int) -> Tensor:
    """``sin(p / 10000^(2c / C))`` in the first half of the channels, the cosines in the second.

    Args:
        places: whole or broken numbers.
        channels: C, even.

    Shape:
        places (L,) -> (L, C) float32.

    Raises:
        ConfigError: the number of channels is odd.
    """
    if channels % 2:
        raise ConfigError(f"positions need an even number of channels, got {channels}")
    steps = torch.arange(channels // 2, device=places.device, dtype=torch.float32)
    angles = places.float()[:, None] * torch.exp(steps * (-2 * math.log(_LONGEST) / channels))  # (L, C/2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def grid_positions(grid: tuple[int, int], channels: int) -> Tensor:
    """Positions of the cells of a grid, row by row: (R, S) -> (R * S, C) float32.

    Args:
        grid: (R, S).
        channels: C, a multiple of 4.

    Raises:
        ConfigError: the channels cannot be cut into four.
    """
    if channels % 4:
        raise ConfigError(f"positions on a grid need a multiple of four channels, got {channels}")
    rows, columns = (sine_positions(torch.arange(side), channels // 2) for side in grid)
    pairs = [rows[:, None, :].expand(-1, grid[1], -1), columns[None, :, :].expand(grid[0], -1, -1)]
    return torch.cat(pairs, dim=2).flatten(0, 1)
