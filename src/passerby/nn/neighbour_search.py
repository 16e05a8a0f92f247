"""The nearest rows of a set by inner product, found block by block so that no N x N matrix is ever held.

A fast product (bfloat16 where the processor multiplies it in hardware) names a shortlist; the scores of the shortlist
are then computed pair by pair in the precision of the vectors, which makes them symmetric and independent of how the
rows were cut into blocks. A bound on the fast product's error says for each row whether the shortlist can have missed
anything; rows where it can are searched again, more widely and in full precision.

Axes: Q rows that ask, N rows that are searched, D width, C neighbours asked for, S shortlist, G columns of a group.
"""

from __future__ import annotations

import torch
from torch import Tensor

from passerby.errors import ConfigError, DataError

#: Largest block of scores, in numbers; beyond it the gain in arithmetic is lost to memory.
_BLOCK = 1 << 25
_FEWEST_ROWS, _MOST_ROWS = 128, 512
#: Columns whose maximum is looked at first: the C best scores lie in the C groups with the best maxima.
_GROUP = 32
#: How far a product of unit vectors can be off: two roundings of the factors and one of the result.
_ERROR = {torch.bfloat16: 3 * 2.0**-9, torch.float32: 2.0**-18, torch.float64: 2.0**-45}
#: Shortlist beyond the neighbours asked for; rounder products need a longer one.
_SLACK = {torch.bfloat16: 28, torch.float32: 12, torch.float64: 12}


def unit_rows(features: Tensor) -> Tensor:
    """Rows divided by their length; a row of zeros stays one. Shape: (N, D) -> (N, D)."""
    return features / features.norm(dim=1, keepdim=True).clamp_min(1e-12)


def check_finite(features: Tensor, what: str = "features") -> None:
    """Refuse vectors that hold NaN or infinity, naming the first such row.

    Raises:
        DataError: some are not finite, there is no row, or there are other than two axes.
    """
    if features.ndim != 2:
        raise DataError(f"{what} have shape {tuple(features.shape)}; expected (rows, width)")
    if len(features) == 0:
        raise DataError(f"there are no {what}; expected at least one row")
    for first in range(0, len(features), 1 << 16):
        bad = ~torch.isfinite(features[first : first + (1 << 16)]).all(dim=1)
        if bad.any():
            row = first + int(bad.nonzero()[0, 0])
            raise DataError(
                f"{what}: row {row} holds NaN or infinity; encode that picture again or leave it out, since one such "
                "row would spread to everything that looks at it"
            )


def pair_scores(queries: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Inner products of named pairs, the same bits for (i, j) as for (j, i) whatever else is computed beside them.

    Args:
        queries: rows that ask.
        rows: rows that are searched.
        columns: which of `rows` each query is multiplied with.

    Shape:
        queries (Q, D), rows (N, D), columns (Q, S) -> (Q, S).
    """
    found = rows.new_empty(columns.shape)
    step = max(1, _BLOCK // 16 // max(1, columns.shape[1] * rows.shape[1]))
    for first in range(0, len(queries), step):
        part = slice(first, first + step)
        gathered = rows.index_select(0, columns[part].flatten()).view(*columns[part].shape, -1)  # (q, S, D)
        # A product and a sum, not a matrix product: its order of addition does not depend on the shape.
        torch.sum(gathered.mul_(queries[part, None, :]), dim=2, out=found[part])
    return found


def fast_dtype(features: Tensor) -> torch.dtype:
    """The number format of the first pass: bfloat16 where it is fast, else that of the vectors."""
    if features.dtype == torch.float32 and (features.is_cuda or torch.cpu._is_amx_tile_supported()):
        return torch.bfloat16
    return features.dtype


@torch.no_grad()
def nearest_rows(
    queries: Tensor, rows: Tensor, count: int, own: Tensor | None = None, fast: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """The `count` rows with the largest inner products, best first, equal scores by their number.

    Args:
        queries: finite float32 or float64 vectors; blocks of them are independent of each other.
        rows: what is searched, of the same dtype.
        count: C, from 0 to N (N - 1 where `own` is given).
        own: the row that is each query itself and is passed over.
        fast: number format of the first pass; `fast_dtype` by default.

    Shape:
        queries (Q, D), rows (N, D), own (Q,) -> scores (Q, C), columns (Q, C) int64.

    Raises:
        ConfigError: `count` is out of range.
    """
    room = len(rows) - (own is not None)
    if not 0 <= count <= room:
        raise ConfigError(f"{count} neighbours of {room} other rows; expected 0 to {room}")
    if count == 0 or len(queries) == 0:
        empty = queries.new_empty((len(queries), count))
        return empty, empty.long()
    fast = fast or fast_dtype(rows)
    scores, columns = queries.new_empty((len(queries), count)), torch.empty((len(queries), count), dtype=torch.long)
    columns = columns.to(queries.device)
    searched, wide = _Searched(rows, fast), None
    step = _block_rows(len(rows))
    for first in range(0, len(queries), step):
        part = slice(first, first + step)
        mine = None if own is None else own[part]
        scores[part], columns[part], sure = searched.best(queries[part], mine, count, count + _SLACK[fast])
        unsure = (~sure).nonzero()[:, 0]
        if len(unsure):
            wide = wide or (searched if fast == rows.dtype else _Searched(rows, rows.dtype))
            where = unsure + first
            mine = None if own is None else own[where]
            scores[where], columns[where], _ = wide.best(queries[where], mine, count, 4 * count + 128)
    return scores, columns


def _block_rows(searched: int) -> int:
    return min(_MOST_ROWS, max(_FEWEST_ROWS, _BLOCK // searched))


class _Searched:
    """Rows made ready for the first pass: narrowed, padded to whole groups, with their largest length."""

    def __init__(self, rows: Tensor, fast: torch.dtype) -> None:
        self.rows, self.fast = rows, fast
        padding = -len(rows) % _GROUP
        narrow = rows.to(fast)
        self.narrow = torch.nn.functional.pad(narrow, (0, 0, 0, padding)) if padding else narrow  # (N', D)
        # One block of scores for all products: asking the system for fresh pages takes longer than the product.
        self.block = rows.new_empty((_block_rows(len(rows)), len(self.narrow)), dtype=fast)
        self.longest = float(rows.norm(dim=1).max())

    def best(self, queries: Tensor, own: Tensor | None, count: int, shortlist: int) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (q, C), columns (q, C), and for each row whether nothing can have been missed (q,)."""
        approximate = torch.mm(queries.to(self.fast), self.narrow.T, out=self.block[: len(queries)])  # (q, N')
        approximate[:, len(self.rows) :] = -torch.inf
        if own is not None:
            approximate[torch.arange(len(own), device=own.device), own] = -torch.inf
        others = len(self.rows) - (own is not None)
        shortlist = min(shortlist, others)
        weakest, columns = _largest(approximate, shortlist)  # (q,), (q, S)
        columns = columns.sort(dim=1).values  # so that the stable sort below orders equal scores by number
        scores, order = pair_scores(queries, self.rows, columns).sort(dim=1, descending=True, stable=True)
        scores, columns = scores[:, :count], columns.gather(1, order[:, :count])
        if shortlist == others:
            return scores, columns, torch.ones(len(queries), dtype=torch.bool, device=queries.device)
        error = _ERROR[self.fast] * self.longest * queries.norm(dim=1)
        return scores, columns, scores[:, -1] > weakest.to(scores.dtype) + error


def _largest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The smallest of the `count` largest scores of each row, and where all of them are: (q,), (q, S)."""
    rows, width = scores.shape
    groups = width // _GROUP
    if groups <= 2 * count:
        best = scores.topk(count, dim=1, sorted=True)
        return best.values[:, -1], best.indices
    # A group is every (N' / G)-th column, so that the maximum runs over whole cache lines.
    maxima = scores.view(rows, _GROUP, groups).amax(dim=1)  # (q, N' / G)
    chosen = maxima.topk(count, dim=1, sorted=False).indices  # (q, S)
    candidates = chosen[:, None, :] + groups * torch.arange(_GROUP, device=scores.device)[None, :, None]
    candidates = candidates.flatten(1)  # (q, G * S)
    best = scores.gather(1, candidates).topk(count, dim=1, sorted=True)
    return best.values[:, -1], candidates.gather(1, best.indices)
