"""The nearest neighbours of every picture, from features and block by block: what every re-ranking starts from.

No matrix of all by all is ever in memory. Blocks always have the same shape, filled up with zeros at the end, because
a matrix product of another shape may round differently: so what a row finds never depends on the rows beside it.

Axes: N rows that ask, P rows of the pool that is searched, D feature dimensions, B rows of one block, K neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from passerby.errors import DataError
from passerby.metrics.positions import check_finite

Singles: TypeAlias = "NDArray[np.float32]"
Indices: TypeAlias = "NDArray[np.int32]"
Integers: TypeAlias = "NDArray[np.int64]"

#: Bytes of similarities that are held at a time, and the bounds of the rows of a block. A block is a multiple of 16
#: rows, so that no row falls on the odd end of a matrix product's tiles.
_BLOCK_BYTES = 64 * 2**20
_FEWEST_ROWS, _MOST_ROWS = 16, 256
#: Rows are folded into this many layers to bound the K-th best score from below.
_FOLDS = 32


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest of every row, best first; equal similarities in the order of the pool.

    Attributes:
        index: (N, K) rows of the pool.
        similarity: (N, K) cosine similarities; a row and itself have 1.
        lowest: (N,) the similarity to the farthest row of the pool.
    """

    index: Indices
    similarity: Singles
    lowest: Singles


def unit_rows(name: str, features: ArrayLike) -> Singles:
    """Bring every row to unit length.

    Args:
        name: what a row is, for the message.
        features: finite, of any length but zero.

    Shape:
        features: (N, D); returns (N, D).

    Raises:
        DataError: not a matrix of numbers, a value that is not finite, or a row of zeros, which has no direction.
    """
    rows = np.asarray(features)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise DataError(f"{name} features have shape {rows.shape} and type {rows.dtype}; expected (N, D) of numbers")
    check_finite(name, rows)
    length = np.linalg.norm(rows.astype(np.float64), axis=1)
    if len(rows) and not length.all():
        zero = np.flatnonzero(length == 0)
        raise DataError(
            f"{len(zero)} of {len(rows)} {name} rows are all zeros, the first is row {zero[0]}; a vector without a "
            "direction has no nearest neighbours"
        )
    return (rows / length[:, None]).astype(np.float32)


def unit_sides(queries: ArrayLike, gallery: ArrayLike) -> tuple[Singles, Singles]:
    """Bring both sides of a search to unit length.

    Shape:
        queries: (Q, D); gallery: (G, D); returns the same shapes.

    Raises:
        DataError: the sides have different dimensions, or `unit_rows` refuses one of them.
    """
    asking, searched = unit_rows("query", queries), unit_rows("gallery", gallery)
    if asking.shape[1] != searched.shape[1]:
        raise DataError(f"features have shapes {asking.shape} and {searched.shape}; expected (Q, D) and (G, D)")
    return asking, searched


def places_in_gallery(asking: Singles, searched: Singles, own: ArrayLike | None) -> Integers:
    """The gallery row that holds the very vector of a query.

    Args:
        asking: (Q, D) queries.
        searched: (G, D) gallery.
        own: (Q,) the gallery row that is the query's own picture, -1 where it has none; None where none has.

    Returns:
        (Q,) the row, or -1 where there is none or its vector is another (that of a pooled or a flipped query).

    Raises:
        DataError: `own` has another shape, is not whole, or names a row that the gallery does not have.
    """
    if own is None:
        return np.full(len(asking), -1)
    place = np.array(own)
    if place.shape != (len(asking),) or (place.size and place.dtype.kind not in "iu"):
        raise DataError(f"own has shape {place.shape} and type {place.dtype}; expected ({len(asking)},) of integers")
    if (place >= len(searched)).any():
        raise DataError(f"own names the gallery row {place.max()}, but the gallery has {len(searched)} rows")
    place = np.maximum(place.astype(np.int64), -1)
    named = np.flatnonzero(place >= 0)
    same = (asking[named] == searched[place[named]]).all(axis=1)
    place[named[~same]] = -1
    return place


def similarity_blocks(rows: Singles, pool: Singles) -> Iterator[tuple[int, Singles]]:
    """Dot products of successive rows with the whole pool.

    The block that is handed out is overwritten by the next one; whoever gets it may change it too.

    Args:
        rows: those that ask.
        pool: those that are searched.

    Shape:
        rows: (N, D); pool: (P, D); yields (first row, (B, P)).
    """
    fitting = _BLOCK_BYTES // (4 * max(1, len(pool))) // _FEWEST_ROWS * _FEWEST_ROWS
    step = min(_MOST_ROWS, max(_FEWEST_ROWS, fitting))
    left = np.zeros((step, pool.shape[1]), np.float32)
    block = np.empty((step, len(pool)), np.float32)
    for first in range(0, len(rows), step):
        asking = rows[first : first + step]
        left[: len(asking)], left[len(asking) :] = asking, 0
        np.matmul(left, pool.T, out=block)
        yield first, block[: len(asking)]


def nearest_neighbours(features: Singles, k: int) -> Neighbours:
    """The nearest of every row among all rows, itself first.

    A row is always its own nearest, also where others are exactly equal to it.

    Args:
        features: of unit length, from `unit_rows`.
        k: neighbours of each row, itself included; at most as many as there are rows.

    Shape:
        features: (N, D).
    """
    kept = min(k, len(features))
    index = np.empty((len(features), kept), np.int32)
    similarity = np.empty((len(features), kept), np.float32)
    lowest = np.empty(len(features), np.float32)
    for first, block in similarity_blocks(features, features):
        part = slice(first, first + len(block))
        lowest[part] = block.min(axis=1)
        own = np.arange(len(block))
        block[own, first + own] = np.inf
        index[part], similarity[part] = best_of_rows(block, kept)
        similarity[part, 0] = 1.0
    return Neighbours(index, similarity, lowest)


def best_of_rows(scores: Singles, k: int) -> tuple[Indices, Singles]:
    """The k best columns of each row, best first, equal scores by column.

    Only scores above a bound are sorted: the row is folded into layers, and the k-th best of the maxima over the
    layers cannot be better than the k-th best of all.

    Args:
        scores: of any sign.
        k: at most the number of columns.

    Shape:
        scores: (B, P); returns (B, k) columns and (B, k) scores.
    """
    rows, columns = scores.shape
    if k == 0:
        return np.empty((rows, 0), np.int32), np.empty((rows, 0), np.float32)
    folds = max(1, min(_FOLDS, columns // (4 * k)))
    width = columns // folds
    best = scores[:, : folds * width].reshape(rows, folds, width).max(axis=1)  # (B, width)
    bound = np.partition(best, width - k, axis=1)[:, width - k]
    flat = np.flatnonzero(scores >= bound[:, None])
    row, value = flat // columns, scores.reshape(-1)[flat]
    order = np.lexsort((-value, row))  # stable, so that equal scores stay in the order of their columns
    start = np.searchsorted(row, np.arange(rows))
    chosen = order[start[:, None] + np.arange(k)]
    return (flat[chosen] % columns).astype(np.int32), value[chosen]
