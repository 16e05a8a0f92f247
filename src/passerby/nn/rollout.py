"""Attention rollout over a few layers (Abnar and Zuidema 2020, section 4), of one row only.

MARS of ITSELF (Nguyen et al. 2026, equations 1 and 2) ranks tokens by ``R = A_l' ... A_m'`` with
``A' = L1((Discard(A, delta) + I) / 2)``, and reads nothing but the row of the class or end token. That row is a chain
of vector-matrix products, so no product of two maps is ever computed.

Axes: B rows, N tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from passerby.errors import ConfigError, nearest

#: How a row of a map is brought back to one after discarding.
NORMALISATIONS = ("l1", "softmax", "none")


def discard_smallest(maps: Tensor, share: float) -> Tensor:
    """Set the smallest entries of each map to zero, the first entry (class token to class token) never.

    The share is one of the whole map, not of each row, as in the published code; of equal entries at the limit it is
    not said which go.

    Args:
        maps: attention maps.
        share: delta, in [0, 1]; ``floor(delta * N * N)`` entries go.

    Shape:
        (B, N, N) -> (B, N, N).
    """
    count = int(share * maps.shape[1] * maps.shape[2])
    if count == 0:
        return maps
    flat = maps.flatten(1)
    places = flat.topk(count, dim=1, largest=False, sorted=False).indices
    kept = flat.scatter(1, places, 0.0)
    kept[:, 0] = flat[:, 0]
    return kept.view_as(maps)


def residual_map(maps: Tensor, norm: str = "l1") -> Tensor:
    """``A' = Norm((A + I) / 2)``: half of a token is what it was before the layer.

    Args:
        maps: attention maps, after discarding.
        norm: a name of `NORMALISATIONS`, of each row.

    Shape:
        (B, N, N) -> (B, N, N).

    Raises:
        ConfigError: no such normalisation.
    """
    if norm not in NORMALISATIONS:
        raise ConfigError(
            f"no normalisation is called {norm!r}; known: {', '.join(NORMALISATIONS)}.{nearest(norm, NORMALISATIONS)}"
        )
    mixed = maps / 2
    mixed.diagonal(dim1=1, dim2=2).add_(0.5)
    if norm == "l1":
        return mixed / mixed.sum(dim=-1, keepdim=True)
    return mixed.softmax(dim=-1) if norm == "softmax" else mixed


@torch.no_grad()
def rollout_rows(maps: Sequence[Tensor], at: Tensor, share: float = 0.25, norm: str = "l1") -> Tensor:
    """The rows of the rollout that a selection reads: ``w A'_last ... A'_first``.

    Args:
        maps: attention maps of the chosen layers, the earliest first; at least one.
        at: places (B,) int64 of the row that is read, or weights (B, N) of a mixture of rows.
        share: delta of `discard_smallest`.
        norm: a name of `NORMALISATIONS`.

    Shape:
        each (B, N, N), (B,) or (B, N) -> (B, N) float32.

    Raises:
        ConfigError: no such normalisation.
    """
    row: Tensor | None = None
    for one in reversed(maps):
        step = residual_map(discard_smallest(one.float(), share), norm)
        if row is None and at.ndim == 1:
            row = step.gather(1, at.view(-1, 1, 1).expand(-1, 1, step.shape[2]))  # (B, 1, N)
        else:
            row = torch.bmm(at.float()[:, None] if row is None else row, step)
    if row is None:
        raise ConfigError("a rollout was asked of no layers; name at least one")
    return row.squeeze(1)
