"""Cross-attention: the tokens of one side look at the tokens of the other (Vaswani et al. 2017, section 3.2.3).

Each word may look at many regions here. With a single pooled vector to look at, the softmax over one key is 1 and
every word would receive the same thing, whatever it says.

Axes: B rows, L tokens that look, T tokens that are looked at, C channels, H heads.
"""

from __future__ import annotations

from torch import Tensor, nn

from passerby.errors import ConfigError
from passerby.nn.transformer import SelfAttention


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
        if heads < 1 or channels % heads:
            raise ConfigError(f"{channels} channels cannot be cut into {heads} heads; choose a divisor")
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


class FusionLayer(nn.Module):
    """Words look at each other, then at the picture, then a two-layer perceptron; each normalised before, added after.

    This is the layer of ALBEF's fusion encoder (Li et al. 2021, section 3.1) with the norms in front.

    Args:
        channels: C.
        heads: H.
        mlp_width: channels inside the perceptron.
        dropout: share of the residual branches' channels dropped in training.
    """

    def __init__(self, channels: int, heads: int, mlp_width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_words = nn.LayerNorm(channels)
        self.words = SelfAttention(channels, heads)
        self.norm_cross = nn.LayerNorm(channels)
        self.cross = CrossAttention(channels, heads)
        self.norm_mlp = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, mlp_width), nn.GELU(), nn.Linear(mlp_width, channels))
        self.dropout = nn.Dropout(dropout)

    def mix_words(self, words: Tensor, mask: Tensor) -> Tensor:
        """The part that knows no picture: (B, L, C), mask (B, L) -> (B, L, C)."""
        return words + self.dropout(self.words(self.norm_words(words), mask))

    def look(self, words: Tensor, context: Tensor) -> Tensor:
        """The part that does: words (B, L, C), context (B, T, C) -> (B, L, C)."""
        words = words + self.dropout(self.cross(self.norm_cross(words), context))
        return words + self.dropout(self.mlp(self.norm_mlp(words)))
