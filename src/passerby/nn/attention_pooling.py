"""Attention pooling: learned queries weigh the tokens, and each brings home one mean of them.

Source: attentive statistics over words, Lin et al. 2017, section 2.1.

Axes: B rows, L tokens, C channels, Q queries.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError


def attention_pool(tokens: Tensor, scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Weighted means of the tokens, ``sum_l softmax_l(scores[l, q]) * tokens[l]``, one for each query.

    Args:
        tokens: what is averaged.
        scores: how much each query wants each token.
        mask: True for the tokens that count; a row without any is averaged evenly.

    Shape:
        tokens (B, L, C), scores (B, L, Q), mask (B, L) -> (B, Q, C).
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if mask is not None:
        scores = scores.masked_fill(~mask[:, :, None], torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=1)  # (B, L, Q)
    return weights.to(tokens.dtype).transpose(1, 2) @ tokens


class AttentionPooling(nn.Module):
    """Normalised tokens, pooled by learned queries whose means stand side by side.

    Args:
        channels: C.
        queries: Q, at least 1.

    Shape:
        (B, L, C), optional mask (B, L) -> (B, Q * C).

    Raises:
        ConfigError: there are no queries.
    """

    def __init__(self, channels: int, queries: int = 1) -> None:
        super().__init__()
        if queries < 1:
            raise ConfigError(f"attention pooling with {queries} queries; expected at least 1")
        self.width = queries * channels
        self.norm = nn.LayerNorm(channels)
        self.score = nn.Linear(channels, queries, bias=False)  # an offset would move all tokens alike

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool the tokens; `mask` is True for those that count."""
        tokens = self.norm(tokens)
        return attention_pool(tokens, self.score(tokens), mask).flatten(1)
