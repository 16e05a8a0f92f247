"""A tower with an attention mechanism between its tokens and its pooling, which is again a tower.

What follows (projection, export, re-ranking) sees a tower like any other. Width of the tokens is found by a dry run.

Axes: B pictures or sentences, T tokens, L token ids, C channels of a token, D width of the pooled vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError
from passerby.models.towers.base import ImageTower, TextTower
from passerby.nn.side_by_side import drops_anything
from passerby.nn.token_mixer import TokenMixer, build_mechanism


def token_shape(tower: ImageTower | TextTower) -> tuple[int, int]:
    """(T, C) of a tower's tokens, found by a dry run; for a text tower T is that of the shortest sentence."""
    device = next(tower.parameters()).device
    if isinstance(tower, ImageTower):
        example = torch.zeros(1, 3, *tower.preprocessing.image_size, device=device)
    else:
        example = torch.ones(1, 1, dtype=torch.int64, device=device)
    was_training = tower.training
    tower.eval()
    with torch.no_grad():
        tokens: Tensor = tower.tokens(example)
    tower.train(was_training)
    return int(tokens.shape[1]), int(tokens.shape[2])


class AttendedImage(ImageTower):
    """An image tower whose tokens are mixed before they are pooled.

    Args:
        tower: the tower itself.
        mixer: the mechanism.
    """

    def __init__(self, tower: ImageTower, mixer: TokenMixer) -> None:
        super().__init__()
        self.tower, self.mixer = tower, mixer
        self.name, self.options, self.preprocessing = tower.name, tower.options, tower.preprocessing
        self.grid = tower.grid
        self.width = mixer.pooled_width or tower.width
        self.draws = tower.draws or drops_anything(mixer)

    def tokens(self, images: Tensor) -> Tensor:
        """The tower's own tokens: (B, 3, H, W) -> (B, T, C)."""
        return self.tower.tokens(images)

    def pool(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix, then pool: (B, T, C) -> (B, D)."""
        mixed = self.mixer(tokens, mask)
        return self.tower.pool(mixed, mask) if self.mixer.pooled_width is None else mixed

    def fused(self) -> ImageTower:
        """The same around the fused tower."""
        inner = self.tower.fused()
        if inner is self.tower:
            return self
        fused = AttendedImage(inner, self.mixer)
        fused.preprocessing = self.preprocessing
        return fused.train(self.training)


class AttendedText(TextTower):
    """A text tower whose tokens are mixed before they are pooled.

    Args:
        tower: the tower itself.
        mixer: the mechanism.
    """

    def __init__(self, tower: TextTower, mixer: TokenMixer) -> None:
        super().__init__()
        self.tower, self.mixer = tower, mixer
        self.name, self.options = tower.name, tower.options
        self.width = mixer.pooled_width or tower.width
        self.draws = tower.draws or drops_anything(mixer)

    def mask(self, ids: Tensor) -> Tensor:
        """Which ids are words: (B, L) int64 -> (B, L) bool."""
        return self.tower.mask(ids)

    def tokens(self, ids: Tensor) -> Tensor:
        """The tower's own tokens: (B, L) -> (B, L, C)."""
        return self.tower.tokens(ids)

    def pool(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Mix, then pool: (B, L, C), (B, L) -> (B, D)."""
        mixed = self.mixer(tokens, mask)
        return self.tower.pool(mixed, mask) if self.mixer.pooled_width is None else mixed


def attended_image(tower: ImageTower, name: str, options: Mapping[str, Any]) -> ImageTower:
    """Put a mechanism on an image tower; "none" returns the tower itself.

    Raises:
        ConfigError: no such mechanism or option, or the tower's tokens are no grid.
    """
    if name == "none" and not options:
        return tower
    count, channels = token_shape(tower)
    grid = tower.grid
    if grid is None or grid[0] * grid[1] > count:
        raise ConfigError(
            f"attention {name!r} needs image tokens on a grid; the tower {tower.name} gives {count} tokens without "
            "places. Choose a convolutional tower or a plain vision transformer"
        )
    mixer = build_mechanism(name, channels, grid, count - grid[0] * grid[1], options)
    return tower if mixer is None else AttendedImage(tower, mixer)


def attended_text(tower: TextTower, name: str, options: Mapping[str, Any]) -> TextTower:
    """Put a mechanism on a text tower; "none" returns the tower itself.

    Raises:
        ConfigError: no such mechanism or option.
    """
    if name == "none" and not options:
        return tower
    mixer = build_mechanism(name, token_shape(tower)[1], None, 0, options)
    return tower if mixer is None else AttendedText(tower, mixer)


def tower_weights_at(tower: nn.Module, side: str) -> str:
    """Prefix of a tower's own weights in a dual encoder's state: what may be pretrained, and what is not new.

    Args:
        tower: the image or text tower of the model.
        side: "image" or "text".
    """
    return f"{side}_tower.tower." if isinstance(tower, AttendedImage | AttendedText) else f"{side}_tower."
