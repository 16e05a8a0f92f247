"""A small convolutional text tower over byte-pair tokens.

Two convolutions of width five see a colour and its garment together, which is the binding that a sentence about
clothes is made of; learned queries then weigh the words, most of which say nothing about the person, and stand beside
the strongest response of each channel (attentive statistics over words as in Lin et al. 2017, section 2.1). With
`levels` above 1 the strongest responses of the layers below stand there too: a single pair of words, before a whole
phrase is mixed into it.

Axes: B sentences, L tokens, C channels, Q queries, N levels.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from passerby.errors import ConfigError
from passerby.models.towers.base import TextTower
from passerby.models.towers.registry import register_text_tower

#: Stands for minus infinity, also in half precision.
_NEVER = -1e4


@register_text_tower("conv")
class ConvText(TextTower):
    """Embedding, a stack of width-5 convolutions with shortcuts, and attention plus max pooling.

    Args:
        vocabulary_size: rows of the embedding; id 0 is padding.
        channels: width of the embedding and of every convolution.
        layers: convolutions.
        dropout: share of the embedding's channels dropped in training, the same ones in all words of a sentence
            (Gal and Ghahramani 2016).
        queries: learned queries of the attention pooling.
        levels: layers whose strongest responses are pooled, counted from the last; 1 to `layers`.

    Shape:
        ids (B, L) int64 -> tokens (B, L, N * C), the last layer's first -> pooled (B, (Q + N) * C).

    Raises:
        ConfigError: there are not so many layers.
    """

    def __init__(
        self,
        vocabulary_size: int,
        channels: int = 192,
        layers: int = 2,
        dropout: float = 0.1,
        queries: int = 4,
        levels: int = 1,
    ) -> None:
        super().__init__()
        if not 1 <= levels <= layers:
            raise ConfigError(f"conv: levels is {levels}; expected 1 to the number of layers, {layers}")
        self.channels, self.levels = channels, levels
        self.draws = dropout > 0
        self.width = (queries + levels) * channels
        self.embedding = nn.Embedding(vocabulary_size, channels, padding_idx=0)
        self.dropout = nn.Dropout(dropout)
        self.convolutions = nn.ModuleList(nn.Conv1d(channels, channels, 5, padding=2) for _ in range(layers))
        self.score = nn.Linear(channels, queries)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(layers))

    def tokens(self, ids: Tensor) -> Tensor:
        """One vector per token; those of the padding are zero: (B, L) -> (B, L, N * C)."""
        # All in the number format of the convolutions: a sum of two formats costs more than the convolution.
        kind = _number_format(self.embedding.weight)
        keep = (ids != 0).unsqueeze(-1).to(kind)  # (B, L, 1)
        state = self.embedding(ids).to(kind)  # (B, L, C)
        if self.training and self.draws:
            state = state * self.dropout(torch.ones_like(state[:, :1]))
        state = state * keep
        states = []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            found = torch.relu(norm(_along_words(state, cast(nn.Conv1d, convolution))))
            state = torch.addcmul(state, found.to(kind), keep)
            states.append(state)
        return state if self.levels == 1 else torch.cat(states[: -self.levels - 1 : -1], dim=2)

    def pool(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Weighted means of the words, one a query, and their maximum: (B, L, N * C), (B, L) -> (B, (Q + N) * C)."""
        keep = mask.unsqueeze(-1)  # (B, L, 1)
        last = tokens[..., : self.channels]  # (B, L, C)
        weights = self.score(last).float().masked_fill(~keep, _NEVER).softmax(dim=1)  # (B, L, Q)
        means = weights.to(tokens.dtype).transpose(1, 2) @ last  # (B, Q, C)
        strongest = tokens.masked_fill(~keep, _NEVER).amax(dim=1)  # (B, N * C)
        return torch.cat([means.flatten(1), strongest], dim=1)


def _number_format(weight: Tensor) -> torch.dtype:
    """What autocast computes convolutions in, or the weights' own format without it."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def _along_words(state: Tensor, convolution: nn.Conv1d) -> Tensor:
    """A one-dimensional convolution over words as a two-dimensional one of height 1: (B, L, C) -> (B, L, C).

    In two dimensions the channels may come last, as they do here, so nothing is copied to and fro.
    """
    picture = state.transpose(1, 2).unsqueeze(2)  # (B, C, 1, L), channels last in memory
    kernel = convolution.weight.unsqueeze(2)  # (C, C, 1, 5)
    moved = conv2d(picture, kernel, convolution.bias, padding=(0, kernel.shape[-1] // 2))
    return moved.squeeze(2).transpose(1, 2)
