"""Reciprocal neighbours: who is among whose k nearest, as a list of k per row, and a softmax over that list alone.

MagFormer (eq. 3 to 5) and NFormer (Wang et al. 2022) write this as an N x N mask. Each row has k entries in it, so a
list says the same. A row is always its own neighbour: it is not kept in the list but has a slot of its own, which also
settles what happens when k copies of one picture crowd each other out of their lists.

Axes: N rows, M neighbours beside the row itself (k - 1), S attention maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from passerby.errors import ConfigError
from passerby.nn.neighbour_search import check_finite, nearest_rows, unit_rows

_ROWS = 8192


@dataclass(frozen=True, slots=True)
class NeighbourGraph:
    """Who looks at whom.

    Attributes:
        neighbours: (N, M) int64, the other rows nearest to each row, best first.
        reciprocal: (N, M) bool, whether that neighbour has the row among its own.
        scores: (N, M) cosine of each neighbour. A newcomer enters a list of k - 1 by exceeding the last of them.
    """

    neighbours: Tensor
    reciprocal: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.neighbours)


def clamped_k(k: int, rows: int) -> int:
    """k, or the number of rows where there are fewer: a set cannot give more neighbours than it has.

    Raises:
        ConfigError: k is below 1.
    """
    if k < 1:
        raise ConfigError(f"k is {k}; expected at least 1, the row itself (20 in the papers)")
    return min(k, rows)


def build_neighbour_graph(features: Tensor, k: int, fast: torch.dtype | None = None) -> NeighbourGraph:
    """The graph of a set from the cosine of its vectors.

    ``j in N(i)`` where j is among the k - 1 nearest others of i; reciprocal where also ``i in N(j)``.

    Args:
        features: vectors of any length; searched in float32 unless they are float64.
        k: neighbours including the row itself, at least 1; clamped to N.
        fast: number format of the search's first pass, see `nearest_rows`.

    Shape:
        features (N, D) -> lists (N, min(k, N) - 1).

    Raises:
        ConfigError: k is below 1.
        DataError: a vector is not finite.
    """
    check_finite(features)
    unit = unit_rows(features.detach().double() if features.dtype == torch.float64 else features.detach().float())
    count = clamped_k(k, len(unit)) - 1
    own = torch.arange(len(unit), device=unit.device)
    scores, neighbours = nearest_rows(unit, unit, count, own, fast)
    return NeighbourGraph(neighbours, reciprocal_mask(neighbours), scores)


def reciprocal_mask(neighbours: Tensor, rows: Tensor | None = None, lists: Tensor | None = None) -> Tensor:
    """For each neighbour of each row: does its own list hold the row? k x k comparisons a row.

    Args:
        neighbours: the lists that are asked about.
        rows: the row that each list belongs to; 0..N-1 by default.
        lists: the lists of all rows that neighbours point to; `neighbours` by default.

    Shape:
        neighbours (n, M), rows (n,), lists (N, M) -> (n, M) bool.
    """
    lists = neighbours if lists is None else lists
    rows = torch.arange(len(neighbours), device=neighbours.device) if rows is None else rows
    found = torch.empty_like(neighbours, dtype=torch.bool)
    for first in range(0, len(neighbours), _ROWS):
        part = slice(first, first + _ROWS)
        theirs = lists[neighbours[part]]  # (n, M, M)
        found[part] = (theirs == rows[part, None, None]).any(dim=2)
    return found


def reciprocal_softmax(own: Tensor, others: Tensor, reciprocal: Tensor) -> Tensor:
    """Softmax over a row itself and its reciprocal neighbours; all other neighbours get exactly zero (eq. 5).

    ``w_ia = M_ia exp(A_ia) / sum_b M_ib exp(A_ib)``. Larger affinity, larger weight: the minus sign of eq. 5 would
    prefer the least similar neighbour and is a slip that both papers share.

    Args:
        own: affinity of each row with itself.
        others: affinity with its neighbours.
        reciprocal: which of them count; one mask for all maps or one for each.

    Shape:
        own (n, S), others (n, S, M), reciprocal (n, 1 or S, M) -> (n, S, 1 + M), the row itself first.
    """
    masked = others.masked_fill(~reciprocal, -torch.inf)
    return torch.softmax(torch.cat([own[:, :, None], masked], dim=2), dim=2)
