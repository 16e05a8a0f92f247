"""GRAB, the local branch of ITSELF (Nguyen et al. 2026, section 3.2): selected tokens into one wide vector.

``x = token / |token|``, ``z = FC(x) + MLP(x)`` per token, and the largest value of each channel over selected tokens.
The paper writes a generalised pooling and an identity shortcut; its code, and RDE (Qin et al. 2024, table 7) where the
head comes from, take the maximum and a projected shortcut, as is done here. There is no memory between steps.

Axes: B rows, K selected tokens, C channels of a token, D width of the vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError, nearest
from passerby.nn.generalised_pooling import GeneralisedPooling
from passerby.nn.masked_norm import MaskedBatchNorm
from passerby.nn.strongest_rows import gathering_pays, strongest_rows

#: How selected tokens become one vector, and what normalises inside the perceptron.
POOLINGS = ("max", "mean", "gpo")
NORMS = ("batch", "layer")


class TokenGroup(NamedTuple):
    """Selected tokens of rows that have about as many.

    Attributes:
        tokens: (B, K, C).
        taken: which of them are pooled, (B, K) bool; all where it is None.
        counted: which of them enter the statistics of the normalisation; those of `taken` where it is None.
    """

    tokens: Tensor
    taken: Tensor | None = None
    counted: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """B and K."""
        return self.tokens.shape[0], self.tokens.shape[1]


class GrabHead(nn.Module):
    """The head of one modality.

    Args:
        channels: C.
        dim: D.
        pooling: "max", "mean", or "gpo" for a learned weighting of the sorted values.
        norm: "batch" as published, or "layer", which does not depend on the rest of the batch.

    Shape:
        groups of (B, K, C) -> (sum of B, D), not normalised, one group after the other.

    Raises:
        ConfigError: no such pooling or norm.
    """

    def __init__(self, channels: int, dim: int = 4096, pooling: str = "max", norm: str = "batch") -> None:
        super().__init__()
        for kind, name, known in (("pooling", pooling, POOLINGS), ("norm", norm, NORMS)):
            if name not in known:
                raise ConfigError(f"local.{kind} is {name!r}; known: {', '.join(known)}.{nearest(name, known)}")
        inner = max(1, dim // 2)
        self.pooling, self.norm = pooling, norm
        self.shortcut = nn.Linear(channels, dim)
        self.widen = nn.Linear(channels, inner)
        self.between = MaskedBatchNorm(inner) if norm == "batch" else nn.LayerNorm(inner)
        self.narrow = nn.Linear(inner, dim)
        self.weigh = GeneralisedPooling() if pooling == "gpo" else None

    def forward(self, groups: Sequence[TokenGroup]) -> Tensor:
        """Embed and pool; what is normalised by a batch is so over all groups together."""
        sizes = [group.size for group in groups]
        unit = nn.functional.normalize(torch.cat([group.tokens.flatten(0, 1) for group in groups]), dim=-1, eps=1e-8)
        taken = _flat_mask(groups, [group.taken for group in groups])  # (R,)
        counted = _flat_mask(groups, [group.taken if group.counted is None else group.counted for group in groups])
        hidden = self.widen(unit)  # (R, D / 2)
        norm = self.between
        hidden = (norm(hidden, counted) if isinstance(norm, MaskedBatchNorm) else norm(hidden)).relu()
        if self.training and self.pooling == "max" and gathering_pays(hidden):
            weights = self.narrow.weight, self.shortcut.weight
            return strongest_rows(hidden, unit, weights, self.narrow.bias + self.shortcut.bias, sizes, taken)
        embedded = self.narrow(hidden) + self.shortcut(unit)  # (R, D)
        blocks = zip(embedded.split([rows * tokens for rows, tokens in sizes]), groups, strict=True)
        return torch.cat([self._pool(block.view(*group.size, -1), group.taken) for block, group in blocks])

    def _pool(self, embedded: Tensor, taken: Tensor | None) -> Tensor:
        """(B, K, D), (B, K) -> (B, D)."""
        if self.weigh is not None:
            return self.weigh(embedded, taken)
        if taken is None:
            return embedded.amax(dim=1) if self.pooling == "max" else embedded.mean(dim=1)
        keep = taken.unsqueeze(-1)
        if self.pooling == "mean":
            return (embedded * keep).sum(dim=1) / keep.sum(dim=1).clamp(min=1)
        lowest = torch.finfo(embedded.dtype).min
        return embedded.masked_fill(~keep, lowest).amax(dim=1)


def _flat_mask(groups: Sequence[TokenGroup], masks: Sequence[Tensor | None]) -> Tensor | None:
    """The masks of all groups in a row, (R,) bool; None where no group has one."""
    if all(mask is None for mask in masks):
        return None
    whole = [
        group.tokens.new_ones(group.size, dtype=torch.bool) if mask is None else mask
        for group, mask in zip(groups, masks, strict=True)
    ]
    return torch.cat([mask.flatten() for mask in whole])
