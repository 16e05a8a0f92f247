"""What every tower offers: tokens, a pooled vector, and the options that rebuild it without fetching anything.

Tokens and pooling are separate so that an attention mechanism or a re-ranker can stand between them.

Axes: B pictures or sentences, T tokens, L token ids, C channels of a token, D width of the pooled vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from passerby.models.preprocessing import Preprocessing

__all__ = ["ImageTower", "Preprocessing", "TextTower", "Tower"]


class Tower(nn.Module, ABC):
    """A network that turns pictures or sentences into one vector each.

    Attributes:
        width: D, the width of the pooled vector.
        name: registry name, set by the factory.
        options: what `structure` returned for the options it was built with, set by the factory.
        draws: whether its forward pass draws random numbers in training, as dropout does. What does must be computed
            in one order, so a tower that says False may be computed beside another.
    """

    width: int
    name: str = ""
    options: Mapping[str, Any] = {}
    draws: bool = True

    def structure(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options that build a tower of the same shape with nothing downloaded; stored in the checkpoint."""
        return dict(options)

    def attention_layers(self) -> list[nn.Module]:
        """Its self-attention modules from first to last, those with one projection ``qkv``; empty where it has none."""
        return [part for part in self.modules() if isinstance(getattr(part, "qkv", None), nn.Linear)]


class ImageTower(Tower):
    """A tower for pictures.

    Attributes:
        preprocessing: what its input must look like.
        grid: rows and columns of its tokens, row by row, after any tokens in front (a class token); None where they
            have no places.
    """

    preprocessing: Preprocessing
    grid: tuple[int, int] | None = None

    @abstractmethod
    def tokens(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) -> (B, T, C)."""

    @abstractmethod
    def pool(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, T, C), optional mask (B, T) of those that count -> (B, D)."""

    def dense(self, tokens: Tensor) -> Tensor:
        """Every token as the pooling reads the one that it takes, normalised: (B, T, C) -> (B, T, C)."""
        return tokens

    def fused(self) -> ImageTower:
        """The tower as it is used after training: parallel branches merged into one; itself where it has none."""
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) -> (B, D)."""
        return self.pool(self.tokens(images))


class TextTower(Tower):
    """A tower for sentences; it never sees a picture, by type. Id 0 is padding.

    Attributes:
        causal: whether a token looks only at itself and those before it.
        specials: tokens of a sentence that are no words, such as start and end.
    """

    causal: bool = False
    specials: int = 0

    @abstractmethod
    def tokens(self, ids: Tensor) -> Tensor:
        """Token ids (B, L) int64 -> (B, L, C)."""

    @abstractmethod
    def pool(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, L, C) and the mask (B, L) of those that count -> (B, D)."""

    def mask(self, ids: Tensor) -> Tensor:
        """Which ids are words: (B, L) int64 -> (B, L) bool."""
        return ids != 0

    def words(self, ids: Tensor) -> Tensor:
        """Which ids are words and neither padding nor special: (B, L) int64 -> (B, L) bool."""
        return self.mask(ids)

    def summary(self, ids: Tensor) -> Tensor:
        """What the pooling reads: places (B,) of one token, or each token's share (B, L)."""
        mask = self.mask(ids).float()
        return mask / mask.sum(dim=1, keepdim=True).clamp(min=1)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids (B, L) int64 -> (B, D)."""
        return self.pool(self.tokens(ids), self.mask(ids))
