"""The nearest rows of a set by inner product, found block by block so that no N x N matrix is ever held.

A fast product (bfloat16 where the processor multiplies it in hardware) names a shortlist; the scores of the shortlist
are then computed pair by pair in the precision of the vectors, which makes them symmetric and independent of how the
rows were cut into blocks. A bound on the fast product's error says for each row whether the shortlist can have missed
anything; rows where it can are searched again, more widely and in full precision.

Axes: Q rows that ask, N rows that are searched, D width, C neighbours asked for, S shortlist, G columns of a group.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from passerby.errors import ConfigError, DataError

#: Largest block of scores, in numbers; beyond it the gain in arithmetic is lost to memory.
_BLOCK = 1 << 25
_FEWEST_ROWS, _MOST_ROWS = 128, 512
#: Most columns whose maximum is looked at first: the C best scores lie in the C groups with the best maxima.
_GROUP = 64
#: How far a product of unit vectors can be off: two roundings of the factors and one of the result.
_ERROR = {torch.bfloat16: 3 * 2.0**-9, torch.float32: 2.0**-18, torch.float64: 2.0**-45}
#: Shortlist beyond the neighbours asked for; the longer, the fewer rows are searched again.
_SLACK = 16


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


def nearest_rows(
    queries: Tensor, rows: Tensor, count: int, own: Tensor | None = None, fast: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """The `count` rows with the largest inner products; see `RowSearch`, which is made for this one call.

    Shape:
        queries (Q, D), rows (N, D), own (Q,) -> scores (Q, C), columns (Q, C) int64.
    """
    return RowSearch(rows, fast).nearest(queries, count, own)


class RowSearch:
    """Rows made ready to be searched: narrowed for the first pass and padded to whole groups.

    Args:
        rows: finite float32 or float64 vectors, at least one.
        fast: number format of the first pass; `fast_dtype` by default.
    """

    def __init__(self, rows: Tensor, fast: torch.dtype | None = None) -> None:
        self.rows = rows.detach()
        self.fast = fast or fast_dtype(rows)
        padding = -len(rows) % _GROUP
        narrow = self.rows.to(self.fast)
        self._narrow = torch.nn.functional.pad(narrow, (0, 0, 0, padding)) if padding else narrow  # (N', D)
        self._longest = float(self.rows.norm(dim=1).max())
        self._step = min(_MOST_ROWS, max(_FEWEST_ROWS, _BLOCK // len(rows)))
        self._block = rows.new_empty(0, dtype=self.fast)
        self._wide: RowSearch | None = None

    @torch.no_grad()
    def nearest(self, queries: Tensor, count: int, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The `count` rows with the largest inner products, best first, equal scores by their number.

        Args:
            queries: vectors of the rows' dtype.
            count: C, from 0 to N (N - 1 where `own` is given).
            own: the row that is each query itself and is passed over.

        Shape:
            queries (Q, D), own (Q,) -> scores (Q, C), columns (Q, C) int64.

        Raises:
            ConfigError: `count` is out of range.
        """
        room = len(self.rows) - (own is not None)
        if not 0 <= count <= room:
            raise ConfigError(f"{count} neighbours of {room} other rows; expected 0 to {room}")
        scores = queries.new_empty((len(queries), count))
        columns = torch.empty((len(queries), count), dtype=torch.long, device=queries.device)
        for first in range(0, len(queries) if count else 0, self._step):
            part = slice(first, first + self._step)
            mine = None if own is None else own[part]
            scores[part], columns[part], sure = self._best(queries[part], mine, count, count + _SLACK)
            unsure = (~sure).nonzero()[:, 0] + first
            if len(unsure):
                mine = None if own is None else own[unsure]
                scores[unsure], columns[unsure], _ = self._widely()._best(queries[unsure], mine, count, 2 * count + 64)
        return scores, columns

    @torch.no_grad()
    def above(self, queries: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All pairs whose inner product is larger than the row's own threshold.

        Args:
            queries: vectors of the rows' dtype.
            thresholds: one number for each row.

        Shape:
            queries (Q, D), thresholds (N,) -> query (P,), row (P,), score (P,) of each pair.
        """
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for first in range(0, len(queries), self._step):
            asking = queries[first : first + self._step]
            approximate = self._products(asking)[:, : len(self.rows)]
            error = _ERROR[self.fast] * self._longest * asking.norm(dim=1, keepdim=True)  # (q, 1)
            query, row = (approximate + error > thresholds).nonzero(as_tuple=True)
            score = pair_scores(asking[query], self.rows, row[:, None])[:, 0]
            kept = score > thresholds[row]
            found.append((query[kept] + first, row[kept], score[kept]))
        if not found:
            none = torch.empty(0, dtype=torch.long, device=self.rows.device)
            return none, none, self.rows.new_empty(0)
        query, row, score = (torch.cat(parts) for parts in zip(*found, strict=True))
        return query, row, score

    def _widely(self) -> RowSearch:
        if self.fast == self.rows.dtype:
            return self
        self._wide = self._wide or RowSearch(self.rows, self.rows.dtype)
        return self._wide

    def _products(self, queries: Tensor) -> Tensor:
        """Approximate inner products with all rows and the padding, in a block that the next call overwrites."""
        if len(self._block) < len(queries):
            # Kept for all products: asking the system for fresh pages takes longer than the product itself.
            self._block = self._narrow.new_empty((len(queries), len(self._narrow)))
        return torch.mm(queries.to(self.fast), self._narrow.T, out=self._block[: len(queries)])  # (q, N')

    def _best(self, queries: Tensor, own: Tensor | None, count: int, shortlist: int) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (q, C), columns (q, C), and for each row whether nothing can have been missed (q,)."""
        approximate = self._products(queries)
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
        error = _ERROR[self.fast] * self._longest * queries.norm(dim=1)
        return scores, columns, scores[:, -1] > weakest.to(scores.dtype) + error


def _largest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The smallest of the `count` largest scores of each row, and where all of them are: (q,), (q, S)."""
    rows, width = scores.shape
    size = _group_size(width, count)
    groups = width // size
    if groups <= 2 * count:
        best = scores.topk(count, dim=1, sorted=True)
        return best.values[:, -1], best.indices
    # A group is every (N' / G)-th column, so that the maximum runs over whole cache lines.
    maxima = scores.view(rows, size, groups).amax(dim=1)  # (q, N' / G)
    chosen = maxima.topk(count, dim=1, sorted=False).indices  # (q, S)
    candidates = chosen[:, None, :] + groups * torch.arange(size, device=scores.device)[None, :, None]
    candidates = candidates.flatten(1)  # (q, G * S)
    best = scores.gather(1, candidates).topk(count, dim=1, sorted=True)
    return best.values[:, -1], candidates.gather(1, best.indices)


def _group_size(width: int, count: int) -> int:
    """A power of two, so that it divides the padding, near where both partial sorts see equally many numbers."""
    return min(_GROUP, 1 << round(math.log2(max(2.0, math.sqrt(width / count)))))
