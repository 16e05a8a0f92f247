"""A small convolutional text tower over byte-pair tokens.

Two convolutions of width five see a colour and its garment together, which is the binding that a sentence about
clothes is made of; strongest response and mean over the words make the sentence. It learns in minutes from scratch
where a small transformer of the same size does not (see the table in docs/street.md).

Axes: B sentences, L tokens, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from passerby.models.towers.base import TextTower
from passerby.models.towers.registry import register_text_tower


@register_text_tower("conv")
class ConvText(TextTower):
    """Embedding, a stack of width-5 convolutions with shortcuts, and max plus mean pooling.

    Args:
        vocabulary_size: rows of the embedding; id 0 is padding.
        channels: width of the embedding and of every convolution.
        layers: convolutions.
        dropout: share of embedding channels dropped in training.

    Shape:
        ids (B, L) int64 -> tokens (B, L, C) -> pooled (B, 2 * C).
    """

    def __init__(self, vocabulary_size: int, channels: int = 192, layers: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.width = 2 * channels
        self.embedding = nn.Embedding(vocabulary_size, channels, padding_idx=0)
        self.dropout = nn.Dropout(dropout)
        self.convolutions = nn.ModuleList(nn.Conv1d(channels, channels, 5, padding=2) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(layers))

    def tokens(self, ids: Tensor) -> Tensor:
        """One vector per token; those of the padding are zero: (B, L) -> (B, L, C)."""
        keep = (ids != 0).unsqueeze(-1)  # (B, L, 1)
        state = self.dropout(self.embedding(ids)) * keep  # (B, L, C)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            change = convolution(state.transpose(1, 2)).transpose(1, 2)
            state = (state + torch.relu(norm(change))) * keep
        return state

    def pool(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Maximum and mean over the words, side by side: (B, L, C), (B, L) -> (B, 2 * C)."""
        keep = mask.unsqueeze(-1)
        strongest = tokens.masked_fill(~keep, torch.finfo(tokens.dtype).min).amax(dim=1)
        mean = (tokens * keep).sum(dim=1) / keep.sum(dim=1).clamp(min=1)
        return torch.cat([strongest, mean], dim=1)
