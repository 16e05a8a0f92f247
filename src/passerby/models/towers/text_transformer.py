"""A small transformer over byte-pair tokens, trained from scratch: the usual text tower at a small size.

Axes: B sentences, L tokens, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from passerby.models.towers.base import TextTower
from passerby.models.towers.registry import register_text_tower
from passerby.nn.transformer import Stack


@register_text_tower("transformer")
class TransformerText(TextTower):
    """Embedding, learned positions, pre-LN layers that all words see all words in, and the mean over the words.

    Args:
        vocabulary_size: rows of the embedding; id 0 is padding.
        context_length: most tokens of a sentence.
        channels: C.
        layers: transformer layers.
        heads: attention heads; must divide `channels`.
        dropout: share of channels dropped in training.

    Shape:
        ids (B, L) int64 -> tokens (B, L, C) -> pooled (B, C).

    Raises:
        ConfigError: the heads do not divide the channels.
    """

    def __init__(
        self,
        vocabulary_size: int,
        context_length: int,
        channels: int = 192,
        layers: int = 4,
        heads: int = 6,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.width = channels
        self.embedding = nn.Embedding(vocabulary_size, channels, padding_idx=0)
        self.positions = nn.Parameter(torch.zeros(context_length, channels))
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.01)
        self.dropout = nn.Dropout(dropout)
        self.layers = Stack(layers, channels, heads, dropout=dropout)
        self.norm = nn.LayerNorm(channels)

    def tokens(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, C); no word looks at padding."""
        state = self.dropout(self.embedding(ids) + self.positions[: ids.shape[1]])  # (B, L, C)
        # The first place is always looked at, or a row of padding alone would divide by zero.
        mask = self.mask(ids) | (torch.arange(ids.shape[1], device=ids.device) == 0)
        return self.norm(self.layers(state, mask))

    def pool(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Mean over the words: (B, L, C), (B, L) -> (B, C)."""
        keep = mask.unsqueeze(-1)
        return (tokens * keep).sum(dim=1) / keep.sum(dim=1).clamp(min=1)
