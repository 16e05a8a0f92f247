"""The pre-normalised transformer layer (Vaswani et al. 2017; pre-LN as in Radford et al. 2019), and a stack of them.

Attention runs through torch's fused kernel. A mask says which tokens may be looked at; a causal stack lets each token
look at itself and those before it.

Axes: B rows, L tokens, C channels, H heads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from passerby.errors import ConfigError, nearest


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the approximation that OpenAI's CLIP weights were trained with."""

    def forward(self, values: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        if not self.training:
            return values * torch.sigmoid(1.702 * values)
        found: Any = _QuickGELU.apply(values)
        return found


class _QuickGELU(torch.autograd.Function):
    """`QuickGELU` that keeps one array for the backward pass where autograd keeps two and walks over them five times.

    With z = 1.702 x its slope is sigmoid(z) (1 + z (1 - sigmoid(z))), that of SiLU at z, which torch has in one kernel.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return (1.702 * values).sigmoid_().mul_(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (values,) = ctx.saved_tensors
        return torch.ops.aten.silu_backward(gradient, 1.702 * values)


#: Activations by the name that configurations use.
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType({"gelu": nn.GELU, "quick_gelu": QuickGELU})


def check_heads(channels: int, heads: int) -> None:
    """Refuse heads that would not be equally wide.

    Raises:
        ConfigError: the heads do not divide the channels.
    """
    if heads < 1 or channels % heads:
        raise ConfigError(f"{channels} channels cannot be cut into {heads} heads; choose a divisor")


class SelfAttention(nn.Module):
    """Multi-head self-attention.

    Args:
        channels: C.
        heads: H; must divide C.

    Shape:
        (B, L, C) -> (B, L, C).

    Raises:
        ConfigError: the heads do not divide the channels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        check_heads(channels, heads)
        self.heads = heads
        #: Share of attention weights dropped in training; set from outside by whoever trains with it.
        self.dropout = 0.0
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Mix the tokens; `mask` (B, L) is True where a token may be looked at."""
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, L, C/H)
        allowed = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, L)
        dropped = self.dropout if self.training else 0.0
        mixed = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, dropout_p=dropped, is_causal=causal
        )
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a two-layer perceptron, each normalised before and added after.

    Args:
        channels: C.
        heads: H.
        mlp_width: channels inside the perceptron.
        activation: a key of `ACTIVATIONS`.
        dropout: share of the residual branches' channels dropped in training.
        attention: what mixes the tokens; full self-attention by default. A causal stack needs the default.

    Raises:
        ConfigError: the heads do not divide the channels, or the activation is unknown.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        mlp_width: int,
        activation: str = "gelu",
        dropout: float = 0.0,
        attention: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            hint = nearest(activation, ACTIVATIONS)
            raise ConfigError(f"no activation is called {activation!r}; known: {', '.join(ACTIVATIONS)}.{hint}")
        self.norm1 = nn.LayerNorm(channels)
        self.attention = SelfAttention(channels, heads) if attention is None else attention
        self.norm2 = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, mlp_width)
        self.activation = ACTIVATIONS[activation]()
        self.narrow = nn.Linear(mlp_width, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """(B, L, C), optional mask (B, L) -> (B, L, C)."""
        mixed = self.attention(self.norm1(tokens), mask, *([causal] if causal else []))
        tokens = tokens + self.dropout(mixed)
        return tokens + self.dropout(self.narrow(self.activation(self.widen(self.norm2(tokens)))))


class Stack(nn.ModuleList):
    """Blocks one after the other.

    Args:
        layers: how many.
        channels: C.
        heads: H.
        mlp_width: channels inside the perceptrons; 4 * C by default.
        activation: a key of `ACTIVATIONS`.
        dropout: share of the residual branches' channels dropped in training.
    """

    def __init__(
        self,
        layers: int,
        channels: int,
        heads: int,
        mlp_width: int | None = None,
        activation: str = "gelu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(Block(channels, heads, mlp_width or 4 * channels, activation, dropout) for _ in range(layers))

    def forward(self, tokens: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """(B, L, C), optional mask (B, L) -> (B, L, C)."""
        for block in self:
            tokens = block(tokens, mask, causal)
        return tokens
