"""A small vision transformer with a convolutional stem, to learn from scratch in minutes on a CPU.

Transformers over raw patches need far more pictures than a street has; a few strided convolutions in front of them
learn several times as fast (Xiao et al. 2021, "Early convolutions help transformers see better"). The stem sees each
picture twice, as it is and standardised per channel, as `stripe_conv` does. Nothing in it looks at other pictures of
the batch, so that a step is the same on any number of processes.

Axes: B pictures, C channels, R rows and S columns of places, T tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError
from passerby.models.towers.base import ImageTower, Preprocessing
from passerby.models.towers.registry import register_image_tower
from passerby.models.towers.stripe_conv import patchify
from passerby.nn.tiled_convolution import TiledConv2d
from passerby.nn.transformer import Stack

_FIRST = 4  # side of what the first convolution reads, and its stride
_PATCHES = (8, 16, 32)
POOLINGS = ("class", "mean")


class _PlaceNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each place of a map."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in torch.nn.LayerNorm
        """(B, C, R, S) -> the same shape."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@register_image_tower("stem_vit")
class StemVit(ImageTower):
    """Strided convolutions, learned positions and pre-LN transformer layers.

    Args:
        image_size: (height, width) in pixels, multiples of `patch`.
        patch: pixels from one token to the next, 8, 16 or 32.
        channels: C.
        layers: transformer layers.
        heads: attention heads; must divide `channels`.
        pooling: "class" for a class token that stands for the picture, or "mean" over all places.

    Shape:
        (B, 3, H, W) -> tokens (B, T, C) -> pooled (B, C).

    Raises:
        ConfigError: a side is no multiple of the patch, or an option is out of range.
    """

    def __init__(
        self,
        image_size: tuple[int, int] = (96, 48),
        patch: int = 8,
        channels: int = 128,
        layers: int = 4,
        heads: int = 4,
        pooling: str = "class",
    ) -> None:
        super().__init__()
        height, width = image_size
        if patch not in _PATCHES:
            raise ConfigError(f"stem_vit: patch is {patch}; expected one of {', '.join(map(str, _PATCHES))}")
        if height % patch or width % patch:
            raise ConfigError(f"stem_vit: image_size is {height}x{width}; both must be multiples of the patch, {patch}")
        if pooling not in POOLINGS:
            raise ConfigError(f"stem_vit: pooling is {pooling!r}; expected {' or '.join(POOLINGS)}")
        self.preprocessing = Preprocessing(
            image_size=(height, width), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), interpolation="bilinear"
        )
        self.grid = (height // patch, width // patch)
        self.width, self.pooling = channels, pooling
        halvings = int(math.log2(patch // _FIRST))
        widths = [max(16, channels >> halvings - step) for step in range(halvings)]
        self.first = nn.Conv2d(6, widths[0], _FIRST, stride=_FIRST, bias=False)
        self.stem = nn.Sequential()
        for narrow, wide in zip(widths, [*widths[1:], channels], strict=True):
            self.stem.extend((_PlaceNorm(narrow), nn.GELU(), TiledConv2d(narrow, wide, stride=2)))
        self.class_token = nn.Parameter(torch.zeros(channels)) if pooling == "class" else None
        count = self.grid[0] * self.grid[1] + (self.class_token is not None)
        self.positions = nn.Parameter(0.02 * torch.randn(count, channels))
        self.norm_before = nn.LayerNorm(channels)
        self.layers = Stack(layers, channels, heads)
        self.norm_after = nn.LayerNorm(channels)

    def tokens(self, images: Tensor) -> Tensor:
        """The last layer's tokens, a class token first where there is one: (B, 3, H, W) -> (B, T, C)."""
        maps = self.stem(patchify(images, self.first.weight))  # (B, C, R, S)
        tokens = self.norm_before(maps.flatten(2).transpose(1, 2))
        if self.class_token is not None:
            tokens = torch.cat([self.class_token.expand(len(images), 1, -1).to(tokens.dtype), tokens], dim=1)
        return self.layers(tokens + self.positions)

    def dense(self, tokens: Tensor) -> Tensor:
        """Every token normalised as those that are pooled: (B, T, C) -> (B, T, C)."""
        return self.norm_after(tokens)

    def pool(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """The normalised class token, or the mean over the places: (B, T, C) -> (B, C). Takes no mask."""
        if self.pooling == "class":
            return self.norm_after(tokens[:, 0])
        return self.norm_after(tokens).mean(dim=1)
