"""A small convolutional image tower for upright people, fast enough to train in minutes on a CPU.

A patchifying stem (kernel and stride 4), three residual stages at strides 4, 8 and 16, and a strongest-response
pooling within each row of the last map: people stand upright in their crops, so rows are body parts (the horizontal
stripes of PCB, Sun et al. 2018, section 3.1). Plain 3x3 convolutions suit the matrix units of recent processors, where
depthwise ones do not. The stem sees each picture twice, as it is and standardised per channel, because
every camera of a site has its own idea of white. With `levels` above 1 the rows of the finer stages are pooled too:
what a stride of 16 blurs, such as shoes and stripes, is still there at 8 and 4.

Axes: B pictures, C channels, R rows and S columns of the last map, N levels, T = (N - 1) * R + R * S tokens.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError
from passerby.models.towers.base import ImageTower, Preprocessing
from passerby.models.towers.registry import register_image_tower
from passerby.nn.tiled_convolution import TiledConv2d

_STAGES = 3
#: Added to a picture's standard deviation, so that an even surface is not turned into noise.
_FAINT = 0.1


class _Residual(nn.Module):
    """Two 3x3 convolutions with batch normalisation around a shortcut (He et al. 2016, fig. 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            TiledConv2d(channels, channels),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            TiledConv2d(channels, channels),
            nn.BatchNorm2d(channels),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(maps + self.body(maps))


def patchify(images: Tensor, weight: Tensor) -> Tensor:
    """Convolve each picture beside its standardised self, kernel and stride P, without making the latter.

    ``W1 * x + W2 * (x - m) / s = (W1 + W2 / s) * x - sum(W2) m / s``: standardising moves into a kernel of the
    picture's own, which is hundreds of times smaller than the picture.

    Args:
        images: pictures whose sides are multiples of P.
        weight: kernels for the picture's three channels, then for the standardised ones.

    Shape:
        (B, 3, H, W), (C, 6, P, P) -> (B, C, H / P, W / P).
    """
    (count, _, height, width), patch = images.shape, weight.shape[-1]
    mean, square = images.mean(dim=(2, 3)), images.square().mean(dim=(2, 3))  # (B, 3)
    spread = (square - mean.square()).clamp(min=0).sqrt()
    gain = 1 / (spread + _FAINT)  # (B, 3)
    plain, standard = weight.flatten(2).transpose(1, 2).split(3, dim=2)  # (C, P * P, 3) each
    kernels = plain + standard * gain[:, None, None]  # (B, C, P * P, 3)
    offset = -(mean * gain) @ standard.sum(dim=1).T  # (B, C)
    rows, columns = height // patch, width // patch
    cells = images.permute(0, 2, 3, 1).reshape(count, rows, patch, columns, patch * 3).transpose(2, 3)
    patches = cells.reshape(count, rows * columns, patch * patch * 3)  # (B, R * S, P * P * 3)
    maps = torch.baddbmm(offset[:, None], patches, kernels.flatten(2).transpose(1, 2))  # (B, R * S, C)
    return maps.transpose(1, 2).unflatten(2, (rows, columns))


def _downsample(channels: int, wider: int) -> nn.Sequential:
    return nn.Sequential(TiledConv2d(channels, wider, stride=2), nn.BatchNorm2d(wider), nn.ReLU(inplace=True))


@register_image_tower("stripe_conv")
class StripeConv(ImageTower):
    """Residual convolutions with one token per cell and one pooled stripe per row of the last map.

    In front of the cells stand the rows of the finer stages, the finest first, those of one band of the picture folded
    into one token.

    Args:
        image_size: (height, width) in pixels, multiples of 16.
        channels: channels of the first stage; doubled by each of the next two.
        blocks: residual blocks per stage.
        levels: stages whose rows are pooled, counted from the last; 1 to 3.
        means: whether the mean of each row of cells stands beside its strongest response.

    Shape:
        (B, 3, H, W) -> tokens (B, T, 4 * channels) -> pooled (B, N * R * 4 * channels), R = H / 16; with means N + 1.

    Raises:
        ConfigError: a side is no multiple of 16, or there are not so many levels.
    """

    draws = False

    def __init__(
        self,
        image_size: tuple[int, int] = (96, 48),
        channels: int = 64,
        blocks: int = 1,
        levels: int = 1,
        means: bool = False,
    ) -> None:
        super().__init__()
        if not 1 <= levels <= _STAGES:
            raise ConfigError(f"stripe_conv: levels is {levels}; expected 1 to {_STAGES}")
        height, width = image_size
        if height % 16 or width % 16:
            raise ConfigError(f"stripe_conv: image_size is {height}x{width}; both must be multiples of 16")
        self.preprocessing = Preprocessing(
            image_size=(height, width), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), interpolation="bilinear"
        )
        self.rows = height // 16
        self.grid = (self.rows, width // 16)
        wide = 4 * channels
        self.means = means
        self.width = (levels + means) * self.rows * wide
        # Where the finer pooled stages end among the layers: a stage is its blocks, and a narrowing stands between two.
        self.pooled_after = [stage * (blocks + 1) + blocks - 1 for stage in range(_STAGES - levels, _STAGES - 1)]
        self.stem = nn.Sequential(
            nn.Conv2d(6, channels, 4, stride=4, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        self.stages = nn.Sequential(
            *(_Residual(channels) for _ in range(blocks)),
            _downsample(channels, 2 * channels),
            *(_Residual(2 * channels) for _ in range(blocks)),
            _downsample(2 * channels, wide),
            *(_Residual(wide) for _ in range(blocks)),
        )

    def tokens(self, images: Tensor) -> Tensor:
        """Rows of the finer levels, then the cells of the last map row by row: (B, 3, H, W) -> (B, T, 4 * channels)."""
        convolution, *rest = self.stem
        maps = patchify(images, cast(nn.Conv2d, convolution).weight)  # (B, C, H / 4, W / 4)
        for layer in rest:
            maps = layer(maps)
        finer = []
        for place, layer in enumerate(self.stages):
            maps = layer(maps)
            if place in self.pooled_after:
                rows = maps.amax(dim=3).transpose(1, 2)  # (B, R', C'), R' * C' = R * C
                finer.append(rows.flatten(1).unflatten(1, (self.rows, -1)))
        cells = maps.flatten(2).transpose(1, 2)  # (B, R * S, C)
        return torch.cat([*finer, cells], dim=1) if finer else cells

    def pool(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Finer rows as they are, and each row of cells as one: (B, T, C) -> (B, N * R * C). Takes no mask."""
        front = len(self.pooled_after) * self.rows
        cells = tokens[:, front:].unflatten(1, (self.rows, -1))  # (B, R, S, C)
        pooled = [cells.amax(dim=2), cells.mean(dim=2)] if self.means else [cells.amax(dim=2)]  # (B, R, C) each
        return torch.cat([tokens[:, :front], *pooled], dim=1).flatten(1)
