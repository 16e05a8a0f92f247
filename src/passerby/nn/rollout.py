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
#: Among which entries the smallest are sought: "map" as in the published code; the paper does not say.
DISCARD_AMONG = ("map", "row", "nonzero")


def discard_smallest(maps: Tensor, share: float, among: str = "map", own: Tensor | None = None) -> Tensor:
    """Set the smallest entries of each map to zero, the first entry (class token to class token) never.

    The share is one of the whole map, not of each row, as in the published code; of equal entries at the limit it is
    not said which go. In a causal map those are zeros already, hence "nonzero".

    Args:
        maps: attention maps.
        share: delta, in [0, 1]; the floor of that many entries go.
        among: "map" (all N * N entries), "row" (the N of each row), or "nonzero" (those of the map that are not zero).
        own: True at the tokens of a sentence. Padding is neither counted nor discarded then, so that its length
            changes nothing; not for "map".

    Shape:
        (B, N, N), (B, N) -> (B, N, N).

    Raises:
        ConfigError: no such entries.
    """
    if among not in DISCARD_AMONG:
        raise ConfigError(
            f"nothing is discarded among {among!r}; known: {', '.join(DISCARD_AMONG)}.{nearest(among, DISCARD_AMONG)}"
        )
    if among != "map":
        return _discard_counted(maps, share, among, own) if share > 0 else maps
    count = int(share * maps.shape[1] * maps.shape[2])
    if count == 0:
        return maps
    flat = maps.flatten(1)
    places = flat.topk(count, dim=1, largest=False, sorted=False).indices
    kept = flat.scatter(1, places, 0.0)
    kept[:, 0] = flat[:, 0]
    return kept.view_as(maps)


def _discard_counted(maps: Tensor, share: float, among: str, own: Tensor | None) -> Tensor:
    """As `discard_smallest`, where each map or row has its own number of entries; no number leaves the device."""
    counted = maps > 0 if among == "nonzero" else torch.ones_like(maps, dtype=torch.bool)
    if own is not None:
        counted = counted & own[:, :, None] & own[:, None, :]
    values = maps.masked_fill(~counted, torch.inf)  # (B, N, N)
    if among == "nonzero":
        values, counted = values.flatten(1), counted.flatten(1)  # (B, N * N)
    limit = (share * counted.sum(dim=-1, keepdim=True).double()).floor()
    places = values.argsort(dim=-1)
    first = torch.arange(values.shape[-1], device=maps.device) < limit  # which of the sorted entries go
    gone = torch.zeros_like(counted).scatter(-1, places, first).view_as(maps)
    gone[:, 0, 0] = False
    return maps.masked_fill(gone, 0.0)


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
def rollout_rows(
    maps: Sequence[Tensor],
    at: Tensor,
    share: float = 0.25,
    norm: str = "l1",
    among: str = "map",
    own: Tensor | None = None,
) -> Tensor:
    """The rows of the rollout that a selection reads: ``w A'_last ... A'_first``.

    Args:
        maps: attention maps of the chosen layers, the earliest first; at least one.
        at: places (B,) int64 of the row that is read, or weights (B, N) of a mixture of rows.
        share: delta of `discard_smallest`.
        norm: a name of `NORMALISATIONS`.
        among: a name of `DISCARD_AMONG`.
        own: of `discard_smallest`, (B, N).

    Shape:
        each (B, N, N), (B,) or (B, N) -> (B, N) float32.

    Raises:
        ConfigError: no such normalisation, no such entries, or no map.
    """
    row: Tensor | None = None
    for one in reversed(maps):
        step = residual_map(discard_smallest(one.float(), share, among, own), norm)
        if row is None and at.ndim == 1:
            row = step.gather(1, at.view(-1, 1, 1).expand(-1, 1, step.shape[2]))  # (B, 1, N)
        else:
            row = torch.bmm(at.float()[:, None] if row is None else row, step)
    if row is None:
        raise ConfigError("a rollout was asked of no layers; name at least one")
    return row.squeeze(1)
