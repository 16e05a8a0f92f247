"""GRAB, the local branch of ITSELF (Nguyen et al. 2026, section 3.2): selected tokens into one wide vector.

``x = token / |token|``, ``z = FC(x) + MLP(x)`` per token, and the largest value of each channel over selected tokens.
The paper writes a generalised pooling and an identity shortcut; its code, and RDE (Qin et al. 2024, table 7) where the
head comes from, take the maximum and a projected shortcut, as is done here. There is no memory between steps.

Axes: B rows, K selected tokens, C channels of a token, D width of the vector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError, nearest
from passerby.nn.generalised_pooling import GeneralisedPooling
from passerby.nn.masked_norm import MaskedBatchNorm

#: How selected tokens become one vector, and what normalises inside the perceptron.
POOLINGS = ("max", "mean", "gpo")
NORMS = ("batch", "layer")


class GrabHead(nn.Module):
    """The head of one modality.

    Args:
        channels: C.
        dim: D.
        pooling: "max", "mean", or "gpo" for a learned weighting of the sorted values.
        norm: "batch" as published, or "layer", which does not depend on the rest of the batch.

    Shape:
        tokens (B, K, C), taken (B, K) bool or None -> (B, D), not normalised.

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

    def forward(self, tokens: Tensor, taken: Tensor | None = None, counted: Tensor | None = None) -> Tensor:
        """Embed and pool.

        Args:
            tokens: the selected tokens.
            taken: which of them are pooled; all where it is None.
            counted: which of them enter the statistics of the normalisation; those of `taken` where it is None.
        """
        unit = nn.functional.normalize(tokens, dim=-1, eps=1e-8)
        flat = unit.flatten(0, 1)  # (B * K, C)
        hidden = self.widen(flat)
        rows = taken if counted is None else counted
        if isinstance(self.between, MaskedBatchNorm):
            hidden = self.between(hidden, None if rows is None else rows.flatten())
        else:
            hidden = self.between(hidden)
        embedded = self.narrow(hidden.relu()) + self.shortcut(flat)
        return self._pool(embedded.view(*tokens.shape[:2], -1), taken)

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
