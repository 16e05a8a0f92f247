"""Attention mechanisms between a tower's tokens and its pooled vector, by name: ``self`` and ``sparse``.

A mechanism is narrow (256 channels by default), whatever the tower is: the tokens are projected into it, told where
they stand, mixed by pre-LN transformer layers, and either pooled by learned queries or given back to the tower's own
pooling as a change that starts at zero. Neither side sees the other's tokens; what looks at both is a re-ranker.

Axes: B rows, G global tokens, T tokens of the tower, C channels of the tower, W channels of the mechanism.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError, nearest
from passerby.nn.attention_pooling import AttentionPooling
from passerby.nn.positions import grid_positions, sine_positions
from passerby.nn.sparse_attention import SparseAttention
from passerby.nn.transformer import Block

POOLINGS = ("attention", "tower")
#: How far a token sees by default: words to each side of a word, cells around a cell of a picture. Checkpoints that
#: were trained with the default rely on them.
_WORDS_SEEN, _CELLS_SEEN = 8, 2


class TokenMixer(nn.Module):
    """Layers that mix tokens, and what becomes of the mixed tokens.

    Args:
        channels: C, of the tower's tokens.
        layers: blocks of W channels, W being `width`.
        width: W, a multiple of 4.
        grid: (R, S) of a picture's tokens, any further ones standing in front of them; None for a sentence.
        global_tokens: G learned tokens put in front.
        pooling: "attention" for learned queries, "tower" to give the tokens back to the tower's own pooling.
        queries: of the attention pooling.

    Raises:
        ConfigError: the pooling is unknown, or the width is no multiple of 4.
    """

    def __init__(
        self,
        channels: int,
        layers: nn.ModuleList,
        width: int,
        grid: tuple[int, int] | None,
        global_tokens: int = 0,
        pooling: str = "attention",
        queries: int = 2,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ConfigError(
                f"no pooling is called {pooling!r}; known: {', '.join(POOLINGS)}.{nearest(pooling, POOLINGS)}"
            )
        self.width, self.grid = width, grid
        self.norm = nn.LayerNorm(channels)
        self.enter = nn.Linear(channels, width)
        self.global_tokens = nn.Parameter(0.02 * torch.randn(global_tokens, width)) if global_tokens else None
        self.layers = layers
        if grid is not None:
            self.register_buffer("places", grid_positions(grid, width), persistent=False)
        self.leave = AttentionPooling(width, queries) if pooling == "attention" else nn.Linear(width, channels)
        if isinstance(self.leave, nn.Linear):
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(self.leave.bias)

    @property
    def pooled_width(self) -> int | None:
        """Channels of the pooled vector; None where the tower pools."""
        return self.leave.width if isinstance(self.leave, AttentionPooling) else None

    def mix(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The mixed tokens and their mask, global tokens in front: (B, T, C) -> (B, G + T, W), (B, G + T)."""
        state = self.enter(self.norm(tokens))  # (B, T, W)
        state = state + self._positions(tokens.shape[1], state)
        if self.global_tokens is not None:
            state = torch.cat([self.global_tokens.to(state.dtype).expand(state.shape[0], -1, -1), state], dim=1)
            if mask is not None:
                mask = nn.functional.pad(mask, (self.global_tokens.shape[0], 0), value=True)
        if mask is not None:
            # The first place is always looked at, or a row of padding alone would divide by zero.
            mask = mask | (torch.arange(state.shape[1], device=mask.device) == 0)
        for layer in self.layers:
            state = layer(state, mask)
        return state, mask

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pooled tokens (B, queries * W), or tokens (B, T, C) for the tower's own pooling; mask (B, T) as usual."""
        state, seen = self.mix(tokens, mask)
        if isinstance(self.leave, AttentionPooling):
            return self.leave(state, seen)
        return tokens + self.leave(state[:, state.shape[1] - tokens.shape[1] :])

    def _positions(self, count: int, like: Tensor) -> Tensor:
        """Where the tokens stand; those in front of a grid stand nowhere: (T, W)."""
        if self.grid is None:
            return sine_positions(torch.arange(count, device=like.device), self.width).to(like.dtype)
        places: Tensor = self.places  # type: ignore[assignment]
        return nn.functional.pad(places, (0, 0, count - places.shape[0], 0)).to(like.dtype)


def self_mixer(
    channels: int,
    grid: tuple[int, int] | None,
    in_front: int,
    *,
    width: int = 256,
    heads: int = 4,
    layers: int = 1,
    mlp_ratio: float = 2.0,
    dropout: float = 0.1,
    pooling: str = "attention",
    queries: int = 2,
) -> TokenMixer:
    """Every token sees every other.

    Args:
        channels: of the tower's tokens.
        grid: rows and columns of a picture's tokens; None for sentences.
        in_front: tokens of a picture that stand in front of its grid.
        width: channels of the mechanism.
        heads: attention heads.
        layers: transformer layers.
        mlp_ratio: channels inside the perceptrons, as a multiple of `width`.
        dropout: share of the residual branches' channels dropped in training.
        pooling: one of `POOLINGS`.
        queries: of the attention pooling.
    """
    blocks = nn.ModuleList(Block(width, heads, round(mlp_ratio * width), dropout=dropout) for _ in range(layers))
    return TokenMixer(channels, blocks, width, grid, 0, pooling, queries)


def sparse_mixer(
    channels: int,
    grid: tuple[int, int] | None,
    in_front: int,
    *,
    window: int | None = None,
    columns: int | None = None,
    global_tokens: int = 1,
    width: int = 256,
    heads: int = 4,
    layers: int = 1,
    mlp_ratio: float = 2.0,
    dropout: float = 0.1,
    pooling: str = "attention",
    queries: int = 2,
) -> TokenMixer:
    """Every token sees its neighbours and the global tokens, which see all; the rest as for `self_mixer`.

    Args:
        channels: of the tower's tokens.
        grid: rows and columns of a picture's tokens; None for sentences.
        in_front: tokens of a picture that stand in front of its grid; they are global too.
        window: how far a word sees to each side, or a cell up and down (8 and 2 by default).
        columns: how far a cell sees to the left and right; as `window` by default.
        global_tokens: learned tokens put in front.
        width: channels of the mechanism.
        heads: attention heads.
        layers: transformer layers.
        mlp_ratio: channels inside the perceptrons, as a multiple of `width`.
        dropout: share of the residual branches' channels dropped in training.
        pooling: one of `POOLINGS`.
        queries: of the attention pooling.

    Raises:
        ConfigError: `columns` is given for a sentence.
    """
    if grid is None and columns is not None:
        raise ConfigError(f"sparse attention over words with columns={columns}; a sentence has none, leave it out")
    reach = (window if window is not None else _CELLS_SEEN if grid else _WORDS_SEEN, 0)
    if grid is not None:
        reach = (reach[0], reach[0] if columns is None else columns)
    blocks = nn.ModuleList(
        Block(
            width,
            heads,
            round(mlp_ratio * width),
            dropout=dropout,
            attention=SparseAttention(width, heads, reach, global_tokens + in_front, grid),
        )
        for _ in range(layers)
    )
    return TokenMixer(channels, blocks, width, grid, global_tokens, pooling, queries)


#: Every mechanism by the name that recipes and checkpoints use; "none" leaves the tower as it is.
MECHANISMS: Mapping[str, Callable[..., TokenMixer] | None] = MappingProxyType(
    {"none": None, "self": self_mixer, "sparse": sparse_mixer}
)


def mechanism_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a mechanism, those that are not given at their defaults; checkpoints write them all down.

    Args:
        name: a key of `MECHANISMS`.
        options: those that are given.

    Raises:
        ConfigError: no such mechanism or option; names the nearest known one.
    """
    if name not in MECHANISMS:
        hint = nearest(name, MECHANISMS)
        if name == "cross":
            hint = " Cross-attention sees picture and sentence at once and cannot encode one alone: it is a re-ranker"
        raise ConfigError(f"no attention mechanism is called {name!r}; known: {', '.join(MECHANISMS)}.{hint}")
    make = MECHANISMS[name]
    parameters = inspect.signature(make).parameters.values() if make else ()
    known = {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    for option in options:
        if option not in known:
            raise ConfigError(
                f"the attention mechanism {name!r} has no option {option!r}; known: {', '.join(known) or 'none'}."
                f"{nearest(option, known)}"
            )
    return {**known, **options}


def build_mechanism(
    name: str, channels: int, grid: tuple[int, int] | None, in_front: int, options: Mapping[str, Any]
) -> TokenMixer | None:
    """Build a mechanism by name; None for "none".

    Args:
        name: a key of `MECHANISMS`.
        channels: C, of the tower's tokens.
        grid: (R, S) of a picture's tokens; None for sentences.
        in_front: tokens of a picture that stand in front of its grid.
        options: keyword arguments of that mechanism.

    Raises:
        ConfigError: no such mechanism or option, or a value is out of range.
    """
    chosen = mechanism_options(name, options)
    make = MECHANISMS[name]
    return None if make is None else make(channels, grid, in_front, **chosen)
