"""Who counts as a hit for whom, and who counts as nothing.

A `Relevance` lists for each query its positives and its junk (gallery items that are neither hit nor miss: the query
picture itself, the same person on the same camera). Everything else is a miss. Both are stored as ragged rows, so
that a gallery of a hundred thousand needs no mask of queries by gallery.

Axes: Q queries, G gallery items, P positives of all queries together, J junk of all queries together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from passerby.errors import DataError

Integers: TypeAlias = "NDArray[np.int64]"


@dataclass(frozen=True, slots=True)
class Relevance:
    """Hits and junk of every query; the positives of query `q` are `positives[positive_start[q]:positive_start[q+1]]`.

    Attributes:
        gallery_size: number of gallery items, G.
        ignored: (G,) bool, gallery items that count for no query at all.
        positive_start: (Q + 1,) offsets into `positives`.
        positives: (P,) gallery indices.
        junk_start: (Q + 1,) offsets into `junk`.
        junk: (J,) gallery indices; holds none that are already `ignored`.
    """

    gallery_size: int
    ignored: NDArray[np.bool_]
    positive_start: Integers
    positives: Integers
    junk_start: Integers
    junk: Integers

    @property
    def queries(self) -> int:
        """Number of queries, Q."""
        return len(self.positive_start) - 1

    @property
    def counted(self) -> Integers:
        """(Q,) gallery items that count for each query, as hit or as miss."""
        return self.gallery_size - int(self.ignored.sum()) - np.diff(self.junk_start)


def relevance_from_labels(
    query_labels: ArrayLike,
    gallery_labels: ArrayLike,
    *,
    ignored: ArrayLike | None = None,
    itself: ArrayLike | None = None,
    query_cameras: ArrayLike | None = None,
    gallery_cameras: ArrayLike | None = None,
) -> Relevance:
    """Call equal labels a hit, with the junk rules of person re-identification.

    Args:
        query_labels: (Q,) integers; a negative label matches nothing.
        gallery_labels: (G,) integers; a negative label matches nothing and stays in the gallery as a miss.
        ignored: (G,) bool, items to be left out for every query (junk boxes of the data set).
        itself: (Q,) gallery index of the query's own picture, which is junk for it; -1 where it has none.
        query_cameras: (Q,) integers; with `gallery_cameras`, same label on the same camera is junk. A negative
            camera is unknown and equals no other.
        gallery_cameras: (G,) integers.

    Raises:
        DataError: an array has another shape or type than stated, or only one of the camera arrays is given.
    """
    query = _whole("query_labels", query_labels)
    gallery = _whole("gallery_labels", gallery_labels)
    left_out = np.zeros(len(gallery), bool) if ignored is None else np.asarray(ignored)
    if left_out.shape != gallery.shape or left_out.dtype != bool:
        raise DataError(
            f"ignored has shape {left_out.shape} and type {left_out.dtype}; expected {gallery.shape} of bool"
        )
    if (query_cameras is None) != (gallery_cameras is None):
        raise DataError("only one of query_cameras and gallery_cameras is given; the same-camera rule needs both")

    rows, columns = _equal_pairs(query, gallery)  # (pairs,), (pairs,)
    kept = ~left_out[columns]
    rows, columns = rows[kept], columns[kept]
    is_junk = np.zeros(len(rows), bool)
    if query_cameras is not None and gallery_cameras is not None:
        of_query = _whole("query_cameras", query_cameras, len(query))
        of_gallery = _whole("gallery_cameras", gallery_cameras, len(gallery))
        is_junk |= (of_query[rows] == of_gallery[columns]) & (of_query[rows] >= 0)
    own = np.full(len(query), -1) if itself is None else _whole("itself", itself, len(query))
    if own.size and own.max() >= len(gallery):
        raise DataError(f"itself names the gallery item {own.max()}, but the gallery has {len(gallery)} items")
    is_junk |= own[rows] == columns

    # The query's own picture is junk even where its label is unknown, so it is added apart from the equal pairs.
    extra = np.flatnonzero(own >= 0)
    extra = extra[~left_out[own[extra]]]
    extra = extra[(query[extra] != gallery[own[extra]]) | (query[extra] < 0)]
    junk_rows = np.concatenate([rows[is_junk], extra])
    junk_columns = np.concatenate([columns[is_junk], own[extra]])
    order = np.argsort(junk_rows, kind="stable")
    return Relevance(
        gallery_size=len(gallery),
        ignored=left_out,
        positive_start=_starts(rows[~is_junk], len(query)),
        positives=columns[~is_junk],
        junk_start=_starts(junk_rows, len(query)),
        junk=junk_columns[order],
    )


def _equal_pairs(query: Integers, gallery: Integers) -> tuple[Integers, Integers]:
    """All (query, gallery) index pairs of equal, non-negative labels, ordered by query."""
    order = np.argsort(gallery, kind="stable")
    ordered = gallery[order]
    first = np.searchsorted(ordered, query, "left")
    count = np.where(query >= 0, np.searchsorted(ordered, query, "right") - first, 0)
    rows = np.repeat(np.arange(len(query)), count)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    return rows, order[np.repeat(first, count) + within]


def _starts(rows: Integers, queries: int) -> Integers:
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=queries))]).astype(np.int64)


def _whole(name: str, values: ArrayLike, length: int | None = None) -> Integers:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise DataError(f"{name} has shape {array.shape} and type {array.dtype}; expected one row of integers")
    if length is not None and len(array) != length:
        raise DataError(f"{name} has {len(array)} entries; expected {length}")
    return array.astype(np.int64)
