"""Figures of the paired-batch protocol, as two reports on attention in a small CLIP printed them, and what they hide.

The gallery of a query is its own validation batch: one row for each pair of picture and caption, in file order, so a
picture with five captions stands there five times, and only one of the five rows counts as right. Such figures cannot
be compared with retrieval from a whole gallery. Two numbers say what they are worth: no model that looks at pictures
alone can pass `duplicate_ceiling`, and no soft-target loss can fall below `duplicate_floor`.

Axes: N rows, D embedding width, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from passerby.errors import DataError
from passerby.metrics.positions import rank_features
from passerby.metrics.ranking import hits_at
from passerby.metrics.relevance import relevance_from_labels

Integers: TypeAlias = "NDArray[np.int64]"


def paired_recall(
    texts: NDArray[np.floating], images: NDArray[np.floating], batch: int, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Share of rows whose own row is among the first k of its batch, ties counted as their expected value.

    Args:
        texts: vectors of the captions; row i belongs to row i of `images`.
        images: vectors of the pictures, one row for each caption.
        batch: B, rows of a batch; the last one may be shorter.
        ks: ranks.

    Shape:
        texts (N, D), images (N, D).

    Returns:
        ``paired_recall@k`` in [0, 1] for each k.

    Raises:
        DataError: the shapes differ, there are no rows, or a vector is not finite.
    """
    left, right = np.asarray(texts), np.asarray(images)
    if left.shape != right.shape or left.ndim != 2:
        raise DataError(f"pairs of texts {left.shape} and images {right.shape}; expected (N, D) of both")
    total = dict.fromkeys(ks, 0.0)
    for rows in _batches(len(left), batch):
        own = np.arange(rows.stop - rows.start)
        groups = rank_features(left[rows], right[rows], relevance_from_labels(own, own))
        for k in ks:
            total[k] += float(hits_at(groups, k).sum())
    return {f"paired_recall@{k}": value / len(left) for k, value in total.items()}


def duplicate_ceiling(groups: ArrayLike, batch: int, k: int = 1) -> float:
    """What a perfect matcher of pictures reaches: the mean over rows of ``min(1, k / rows of its picture)``.

    For k = 1 that is the number of distinct pictures, counted batch by batch, divided by the number of rows.

    Args:
        groups: (N,) which picture each row shows, in the order of the rows.
        batch: B, rows of a batch.
        k: rank.

    Raises:
        DataError: there are no rows, or the batch is below 1.
    """
    sizes = _sizes(groups, batch)
    return float(np.minimum(sizes, k).sum() / sizes.sum())


def duplicate_floor(groups: ArrayLike, batch: int) -> float:
    """What the soft-target loss cannot fall below: the mean over rows of ``ln(rows of its picture)``.

    Rows of one picture are equal, so a softmax over the batch gives none of them more than an even share.

    Args:
        groups: (N,) which picture each row shows, in the order of the rows.
        batch: B, rows of a batch.

    Raises:
        DataError: there are no rows, or the batch is below 1.
    """
    sizes = _sizes(groups, batch)
    return float((sizes * np.log(sizes)).sum() / sizes.sum())


def paired_chance(rows: int, batch: int, k: int = 1) -> float:
    """What a random order reaches: the mean over rows of ``min(1, k / rows of its batch)``.

    Raises:
        DataError: there are no rows, or the batch is below 1.
    """
    sizes = np.array([part.stop - part.start for part in _batches(rows, batch)])
    return float(np.minimum(sizes, k).sum() / rows)


def _sizes(groups: ArrayLike, batch: int) -> Integers:
    """Rows of each picture in each batch, all batches together."""
    labels = np.asarray(groups)
    if labels.ndim != 1:
        raise DataError(f"the pictures of the rows have shape {labels.shape}; expected one row of labels")
    counts = [np.unique(labels[rows], return_counts=True)[1] for rows in _batches(len(labels), batch)]
    return np.concatenate(counts)


def _batches(rows: int, batch: int) -> Iterator[slice]:
    if rows < 1 or batch < 1:
        raise DataError(f"{rows} rows in batches of {batch}; expected at least 1 of both")
    for first in range(0, rows, batch):
        yield slice(first, min(first + batch, rows))
