"""Where the hits of each query stand in its ranking, with ties left open.

No ranking is ever sorted whole: for each query only the items that score at least as high as its worst hit are
looked at. Items of equal score form a tie group, and a group is all that the metrics of `ranking.py` need: how many
items stand above it, how many it holds, and how many of those are hits. Scores come as a matrix, or blockwise from
features, so that the scores of all queries by all gallery items are never in memory together.

Axes: Q queries, G gallery items, D feature dimensions, B queries of one block, T tie groups that hold a hit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from passerby.errors import DataError
from passerby.metrics.relevance import Integers, Relevance

Floats: TypeAlias = "NDArray[np.floating]"

#: Bytes of scores that are computed at a time; fewer would slow the product of matrices down.
_BLOCK_BYTES = 32 * 2**20
#: Bytes of given scores that are copied at a time, so that they are counted while the processor still caches them.
_COPY_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class TieGroups:
    """Every group of equally scored gallery items that holds a hit, by query and from the best score down.

    Attributes:
        queries: number of queries Q, those without a hit included.
        query: (T,) the query that a group belongs to, ascending.
        above: (T,) counted items with a better score.
        size: (T,) counted items in the group.
        hits: (T,) hits in the group, at least 1.
        hits_above: (T,) hits with a better score.
    """

    queries: int
    query: Integers
    above: Integers
    size: Integers
    hits: Integers
    hits_above: Integers

    @property
    def positives(self) -> Integers:
        """(Q,) hits that each query has to find."""
        return np.bincount(self.query, weights=self.hits, minlength=self.queries).astype(np.int64)


def rank_scores(scores: Floats, relevance: Relevance) -> TieGroups:
    """Find the hits in a matrix of scores, higher being better.

    Args:
        scores: finite, of any sign.
        relevance: hits and junk of each query.

    Shape:
        scores: (Q, G).

    Raises:
        DataError: the matrix has another shape, or a score is NaN or infinite; the message names the place.
    """
    matrix = np.asarray(scores)
    expected = (relevance.queries, relevance.gallery_size)
    if matrix.shape != expected or matrix.dtype.kind not in "fiu":
        raise DataError(f"scores have shape {matrix.shape} and type {matrix.dtype}; expected {expected} of numbers")
    dtype = np.result_type(matrix.dtype, np.float32)  # integers and half precision gain bits, nothing loses any
    step = max(1, _COPY_BYTES // max(1, matrix.shape[1] * dtype.itemsize))
    blocks = (matrix[first : first + step].astype(dtype) for first in range(0, len(matrix), step))
    return rank_blocks(blocks, relevance)


def rank_features(queries: Floats, gallery: Floats, relevance: Relevance) -> TieGroups:
    """Find the hits by the dot products of features, block by block of queries.

    Args:
        queries: finite features of the queries, of unit length where the cosine is meant.
        gallery: finite features of the gallery.
        relevance: hits and junk of each query.

    Shape:
        queries: (Q, D); gallery: (G, D).

    Raises:
        DataError: shapes do not fit, or a feature is NaN or infinite; the message names its row.
    """
    left, right = np.asarray(queries), np.asarray(gallery)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise DataError(f"features have shapes {left.shape} and {right.shape}; expected (Q, D) and (G, D)")
    if (len(left), len(right)) != (relevance.queries, relevance.gallery_size):
        raise DataError(
            f"features of {len(left)} queries and {len(right)} gallery items; "
            f"the relevance speaks of {relevance.queries} and {relevance.gallery_size}"
        )
    check_finite("query", left)
    check_finite("gallery", right)
    dtype = np.result_type(left.dtype, right.dtype, np.float32)
    left, right = left.astype(dtype, copy=False), right.astype(dtype, copy=False)
    step = block_rows(len(right), dtype)
    blocks = (left[first : first + step] @ right.T for first in range(0, len(left), step))
    return rank_blocks(blocks, relevance)


def rank_blocks(blocks: Iterable[Floats], relevance: Relevance) -> TieGroups:
    """Find the hits in scores that come some queries at a time, as a re-ranking or a GPU hands them out.

    Args:
        blocks: finite float32 or float64 scores of the next queries, higher being better; they are overwritten.
        relevance: hits and junk of each query.

    Shape:
        blocks: (B, G) each, Q rows together.

    Raises:
        DataError: a block has another width or type, there are not Q rows, or a score is NaN or infinite.
    """
    above = np.empty(len(relevance.positives), np.int64)
    level = np.empty_like(above)
    ignored = np.flatnonzero(relevance.ignored)
    query = 0
    for block in blocks:  # (B, G)
        if block.ndim != 2 or block.shape[1] != relevance.gallery_size or block.dtype.char not in "fd":
            raise DataError(
                f"a block of scores has shape {block.shape} and type {block.dtype}; expected (B, "
                f"{relevance.gallery_size}) of float32 or float64"
            )
        if query + len(block) > relevance.queries:
            raise DataError(f"scores of more than {relevance.queries} queries; the relevance speaks of no more")
        check_finite("score", block, query)
        if ignored.size:
            block[:, ignored] = -np.inf
        for row in block:  # (G,)
            low, high = relevance.positive_start[query : query + 2]
            if low < high:
                row[relevance.junk[relevance.junk_start[query] : relevance.junk_start[query + 1]]] = -np.inf
                above[low:high], level[low:high] = _count(row, relevance.positives[low:high])
            query += 1
    if query != relevance.queries:
        raise DataError(f"scores of {query} queries; the relevance speaks of {relevance.queries}")
    return _fold(above, level, relevance)


def rank_at_random(relevance: Relevance) -> TieGroups:
    """The groups of a model that knows nothing: all items in one tie.

    The expected metrics of this one group are what chance reaches, exactly and without drawing a single number.
    """
    hits = np.diff(relevance.positive_start)
    query = np.flatnonzero(hits)
    none = np.zeros(len(query), np.int64)
    return TieGroups(relevance.queries, query, none, relevance.counted[query], hits[query], none)


def check_finite(name: str, rows: Floats, first: int = 0) -> None:
    """Refuse rows that hold a NaN or an infinity: one NaN would win every query, or none.

    Args:
        name: what a row is, for the message.
        rows: (N, D) numbers.
        first: what number the first row has.

    Raises:
        DataError: names the first bad row and column and says how many rows are bad.
    """
    # A sum is finite only if all its terms are, and needs no matrix of truth values; it may overflow, hence the look.
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not np.isfinite(rows.sum())
    if suspicious and (bad := np.argwhere(~np.isfinite(rows))).size:
        row, column = bad[0]
        raise DataError(
            f"{len(np.unique(bad[:, 0]))} of {len(rows)} {name} rows hold a NaN or an infinite value, the first is "
            f"row {first + row}, column {column}: {rows[row, column]}; a ranking with them would mean nothing"
        )


def block_rows(columns: int, dtype: np.dtype) -> int:
    """How many rows of scores are held at a time, at least 1."""
    return max(1, _BLOCK_BYTES // max(1, columns * dtype.itemsize))


def _count(row: Floats, positives: Integers) -> tuple[Integers, Integers]:
    """For the hits of one query, best first: items that score better, and items that score the same; reorders `row`."""
    scores = np.sort(row[positives])
    better = row >= scores[0]
    # Picking is slower than sorting where there is much to pick; compress takes a quarter of what indexing does.
    rivals = row.compress(better) if 4 * np.count_nonzero(better) < len(row) else row
    rivals.sort()
    first = rivals.searchsorted(scores, "left")
    last = rivals.searchsorted(scores, "right")
    return (len(rivals) - last)[::-1], (last - first)[::-1]


def _fold(above: Integers, level: Integers, relevance: Relevance) -> TieGroups:
    counts = np.diff(relevance.positive_start)
    query = np.repeat(np.arange(relevance.queries), counts)
    # Hits of one query with equally many items above them share their score, hence their group.
    opens = np.ones(len(query), bool)
    opens[1:] = (query[1:] != query[:-1]) | (above[1:] != above[:-1])
    first = np.flatnonzero(opens)
    return TieGroups(
        queries=relevance.queries,
        query=query[first],
        above=above[first],
        size=level[first],
        hits=np.diff(np.append(first, len(query))),
        hits_above=first - relevance.positive_start[query[first]],
    )
