"""Cross-attention: the tokens of one side look at the tokens of the other (Vaswani et al. 2017, section 3.2.3).

Each word may look at many regions here. With a single pooled vector to look at, the softmax over one key is 1 and
every word would receive the same thing, whatever it says.

Axes: B rows, Q sentences, K pictures of each, L tokens that look, T tokens that are looked at, C channels, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from passerby.nn.transformer import check_heads


class CrossAttention(nn.Module):
    """Multi-head attention from one sequence to another.

    Args:
        channels: C of both.
        heads: H; must divide C.

    Shape:
        queries (B, L, C), context (B, T, C) -> (B, L, C).

    Raises:
        ConfigError: the heads do not divide the channels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        check_heads(channels, heads)
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Let each query look at the whole context."""
        query = self.query(queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, L, C/H)
        key, value = self.key_value(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, T, C/H)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2))


class CrossMatch(nn.Module):
    """Each word looks at a picture's tokens and says how well what it sees is what it says; the verdicts are added.

    ``logit = sum_h sum_l g[l, h] sum_t a[l, t, h] <u[l, h], v[t, h]>``, where ``a`` is the softmax over tokens of
    ``<q[l, h], k[t, h]> / sqrt(C / H)`` and ``g`` the softmax over words of a learned score. It is cross-attention
    whose output meets the word in a product: a layer that adds what was seen to the word, as fusion encoders do (Li et
    al. 2021, section 3.1), has to learn what a product is, and a few hundred steps do not suffice for that. Late
    interaction (FILIP, Yao et al. 2022, eq. 4) is the special case of a hard ``a`` and an even ``g``.

    The logit starts at zero for every pair, because ``u`` does.

    Args:
        channels: C of words and tokens.
        heads: H; must divide C.

    Raises:
        ConfigError: the heads do not divide the channels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        check_heads(channels, heads)
        self.heads = heads
        self.norm_words, self.norm_tokens = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.query, self.says = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.weigh = nn.Linear(channels, heads, bias=False)  # an offset would move all words alike
        nn.init.zeros_(self.says.weight)
        nn.init.zeros_(self.says.bias)

    def keep(self, tokens: Tensor) -> Tensor:
        """What has to be known of a picture, keys and values side by side: (N, T, C) -> (N, T, 2C)."""
        return self.key_value(self.norm_tokens(tokens))

    def forward(self, words: Tensor, mask: Tensor, kept: Tensor) -> Tensor:
        """Logits of each sentence with each of its pictures.

        Args:
            words: of each sentence.
            mask: True for words; each sentence has at least one.
            kept: from `keep`, K pictures for each sentence.

        Shape:
            words (Q, L, C), mask (Q, L), kept (Q, K, T, 2C) -> (Q, K).
        """
        candidates, count = kept.shape[1:3]
        words = self.norm_words(words)
        query, says = (_in_heads(part, self.heads) for part in (self.query(words), self.says(words)))  # (Q, H, L, C/H)
        key, value = (_in_heads(part.flatten(1, 2), self.heads) for part in kept.to(query.dtype).chunk(2, dim=-1))
        seen = query * query.shape[-1] ** -0.5 @ key.transpose(2, 3)  # (Q, H, L, K * T)
        match = says @ value.transpose(2, 3)
        look = seen.unflatten(3, (candidates, count)).softmax(dim=-1)  # (Q, H, L, K, T)
        verdicts = (look * match.unflatten(3, (candidates, count))).sum(dim=-1)  # (Q, H, L, K)
        scores = self.weigh(words)
        gates = scores.masked_fill(~mask[:, :, None], torch.finfo(scores.dtype).min).softmax(dim=1)  # (Q, L, H)
        # A sum of products and not a matrix product, which mixed precision would round to three digits.
        return (verdicts * gates.transpose(1, 2).unsqueeze(3)).sum(dim=(1, 2))


def _in_heads(states: Tensor, heads: int) -> Tensor:
    """(Q, L, C) -> (Q, H, L, C/H)."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)
