"""Sparse attention: each token sees its neighbours and a few global tokens, which see everybody.

The band of Longformer (Beltagy et al. 2020, section 3.1) with global tokens of their own in front of the sequence, as
in ETC (Ainslie et al. 2020, section 3.2). A sentence is a grid of one column, so words and pictures share the code:
there is a dense reference that masks all pairs, and a blocked form that never computes the pairs it would mask, with
time and memory that grow with the number of tokens and not with its square.

Axes: B rows, G global tokens, R rows and S columns of the grid, L = G + R * S tokens, H heads, E channels of a head,
N blocks, P tokens of a block, K tokens that a block sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from passerby.errors import ConfigError
from passerby.nn.transformer import check_heads

#: Tokens along a side of a block, (fewest, most): of sentences, and of each side of a grid.
_BLOCK_OF_WORDS, _BLOCK_OF_GRID = (32, 128), (8, 16)
#: Computing a token densely costs as much as the sequence has tokens; in blocks, as much as the block sees, with a
#: little for the mask, and copying the block's surroundings costs as much as so many tokens more, whatever the window.
#: Measured by `benchmarks/attention.py`, which shows both forms at each length.
_MASKING, _COPYING = 1.2, 200


@dataclass(frozen=True, slots=True)
class Window:
    """Who sees whom: tokens at most `reach` rows and columns apart, and everybody the global tokens and back.

    Attributes:
        grid: (R, S); a sentence of n words is (n, 1).
        reach: rows and columns that a token sees to each side, each at least 0.
        global_tokens: G, tokens in front of the grid that see all and are seen by all.
    """

    grid: tuple[int, int]
    reach: tuple[int, int]
    global_tokens: int = 0

    @property
    def length(self) -> int:
        """L, the tokens of the sequence."""
        return self.global_tokens + self.grid[0] * self.grid[1]

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns of a block: about twice the reach, so that a block and its surroundings are alike large."""
        (rows, columns), (low, high) = self.grid, _BLOCK_OF_WORDS if self.grid[1] == 1 else _BLOCK_OF_GRID
        wanted = [min(max(2 * reach, low), high) for reach in self.reach]
        return min(wanted[0], rows), min(wanted[1], columns)

    @property
    def seen(self) -> int:
        """K, the tokens that one block sees."""
        around = [
            min(side, block + 2 * reach) for side, block, reach in zip(self.grid, self.block, self.reach, strict=True)
        ]
        return self.global_tokens + around[0] * around[1]


def sparse_attention(query: Tensor, key: Tensor, value: Tensor, window: Window, mask: Tensor | None = None) -> Tensor:
    """Sparse attention in whichever form is faster at this length; both give the same numbers.

    Args:
        query: of every token.
        key: likewise.
        value: likewise.
        window: who sees whom.
        mask: True where a token may be looked at. A token always sees itself, so that no row is empty.

    Shape:
        query, key, value (B, L, H, E), mask (B, L) -> (B, L, H, E).

    Raises:
        ConfigError: the sequence has another length than the window.
    """
    # An exported graph has a free length, on which the choice of a form must not depend.
    if torch.compiler.is_exporting() or window.length < _MASKING * window.seen + _COPYING:
        return dense_sparse_attention(query, key, value, window, mask)
    return blocked_sparse_attention(query, key, value, window, mask)


def dense_sparse_attention(
    query: Tensor, key: Tensor, value: Tensor, window: Window, mask: Tensor | None = None
) -> Tensor:
    """The reference: all pairs, those outside the window masked; arguments as for `sparse_attention`."""
    _check(query, window)
    places = torch.arange(query.shape[1], device=query.device)
    allowed = _sees(places[:, None], places[None, :], window)  # (L, L)
    if mask is not None:
        allowed = allowed & (mask[:, None, None, :] | torch.eye(places.shape[0], dtype=torch.bool, device=query.device))
    mixed = scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=allowed
    )  # (B, H, L, E)
    return mixed.transpose(1, 2)


def blocked_sparse_attention(
    query: Tensor, key: Tensor, value: Tensor, window: Window, mask: Tensor | None = None
) -> Tensor:
    """Block by block, each with the tokens around it; arguments as for `sparse_attention`."""
    _check(query, window)
    own, seen, home = _layout(window, query.device)  # (N, P), (N, K), (R * S,)
    (blocks, size), rows = own.shape, query.shape[0]

    def gathered(tokens: Tensor, places: Tensor) -> Tensor:
        """(B, L, H, E) at places (N, X) -> (B * N, H, X, E)."""
        chosen = tokens.index_select(1, places.flatten())
        return chosen.unflatten(1, places.shape).flatten(0, 1).transpose(1, 2)

    allowed = _sees(own[:, :, None], seen[:, None, :], window)  # (N, P, K)
    if mask is None:
        allowed = allowed.expand(rows, -1, -1, -1)
    else:
        looked_at = mask.index_select(1, seen.flatten()).view(rows, blocks, 1, -1)  # (B, N, 1, K)
        allowed = allowed & (looked_at | (own[:, :, None] == seen[:, None, :]))
    mixed = scaled_dot_product_attention(
        gathered(query, own), gathered(key, seen), gathered(value, seen), attn_mask=allowed.flatten(0, 1)[:, None]
    )  # (B * N, H, P, E)
    local = mixed.transpose(1, 2).reshape(rows, blocks * size, *query.shape[2:]).index_select(1, home)
    if not window.global_tokens:
        return local
    return torch.cat([_global_tokens(query[:, : window.global_tokens], key, value, mask), local], dim=1)


def _global_tokens(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """What the global tokens see, which is everything: (B, G, H, E), (B, L, H, E) -> (B, G, H, E)."""
    allowed = None
    if mask is not None:
        count = query.shape[1]
        itself = torch.eye(count, mask.shape[1], dtype=torch.bool, device=mask.device)
        allowed = mask[:, None, None, :] | itself  # (B, 1, G, L)
    mixed = scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=allowed
    )
    return mixed.transpose(1, 2)


def _sees(one: Tensor, other: Tensor, window: Window) -> Tensor:
    """Whether tokens at the places `one` see those at the places `other`; both broadcast."""
    columns, first = window.grid[1], window.global_tokens
    down = torch.div(one - first, columns, rounding_mode="floor") - torch.div(
        other - first, columns, rounding_mode="floor"
    )
    across = (one - first) % columns - (other - first) % columns
    near = (down.abs() <= window.reach[0]) & (across.abs() <= window.reach[1])
    return near | (one < first) | (other < first)


def _layout(window: Window, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Places of each block's own tokens (N, P), of those it sees (N, K), and where each token went (R * S,)."""
    own, around, index_in = [], [], []
    for side, block, reach in zip(window.grid, window.block, window.reach, strict=True):
        starts = torch.arange(0, side, block, device=device)[:, None]  # (blocks of this side, 1)
        places = torch.arange(side, device=device)
        # The last block may reach over the end; its surplus repeats the last token and is dropped.
        own.append((starts + torch.arange(block, device=device)).clamp(max=side - 1))
        wide = min(side, block + 2 * reach)
        # Near the ends the surroundings are moved inwards, so that they hold no place outside the grid.
        around.append((starts - reach).clamp(0, side - wide) + torch.arange(wide, device=device))
        index_in.append((places // block, places % block))
    (row_block, row_place), (column_block, column_place) = index_in
    home = (row_block * len(own[1]))[:, None] + column_block[None, :]
    home = home * (window.block[0] * window.block[1]) + row_place[:, None] * window.block[1] + column_place[None, :]
    hubs = torch.arange(window.global_tokens, device=device).expand(len(own[0]) * len(own[1]), -1)
    return _tiles(own, window), torch.cat([hubs, _tiles(around, window)], dim=1), home.flatten()


def _tiles(sides: list[Tensor], window: Window) -> Tensor:
    """Places in the sequence from places along both sides: (Nr, Pr), (Ns, Ps) -> (Nr * Ns, Pr * Ps)."""
    down, across = sides
    places = down[:, None, :, None] * window.grid[1] + across[None, :, None, :]  # (Nr, Ns, Pr, Ps)
    return window.global_tokens + places.flatten(2).flatten(0, 1)


def _check(query: Tensor, window: Window) -> None:
    if query.shape[1] != window.length:
        raise ConfigError(
            f"sparse attention over {window.global_tokens} global tokens and a grid of {window.grid[0]}x"
            f"{window.grid[1]} needs {window.length} tokens; got {query.shape[1]}"
        )


class SparseAttention(nn.Module):
    """Multi-head self-attention inside a window.

    Args:
        channels: C.
        heads: H; must divide C. Fewer heads are wider ones; they do not change what is computed per pair.
        reach: rows and columns that a token sees to each side.
        global_tokens: G, tokens in front that see all and are seen by all.
        grid: (R, S) of the other tokens, or None for sentences, whose length is free and whose columns are one.

    Shape:
        (B, L, C) -> (B, L, C).

    Raises:
        ConfigError: the heads do not divide the channels, or a number is negative.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        reach: tuple[int, int],
        global_tokens: int = 1,
        grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        check_heads(channels, heads)
        if min(reach) < 0 or global_tokens < 0:
            raise ConfigError(
                f"sparse attention with reach {reach} and {global_tokens} global tokens; expected 0 or more"
            )
        self.heads, self.reach, self.global_tokens, self.grid = heads, reach, global_tokens, grid
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix the tokens; `mask` (B, L) is True where a token may be looked at."""
        grid = self.grid or (tokens.shape[1] - self.global_tokens, 1)
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).unbind(2)  # (B, L, H, C/H)
        mixed = sparse_attention(query, key, value, Window(grid, self.reach, self.global_tokens), mask)
        return self.out(mixed.flatten(2))
