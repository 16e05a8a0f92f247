"""k-reciprocal re-ranking: two pictures are alike when their neighbourhoods are.

Zhong et al., "Re-ranking person re-identification with k-reciprocal encoding", CVPR 2017. Every picture becomes a row
of weights over its widened reciprocal set; the distance of two pictures is the Jaccard distance of their rows, mixed
with their original distance. The public code holds several matrices of all by all; here features go in, sets and
weights are sparse, and distances come out for some queries at a time.

The original distance is the squared Euclidean distance of unit vectors, 2 - 2 cos. The public code that takes a
distance matrix squares what it is given: it needs the Euclidean distance, and who gives it the squared one gets the
fourth power. Features leave no room for that.

Axes: Q queries, G gallery pictures, P pictures of the pool whose neighbourhoods are looked at, D dimensions, B queries
of one block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from passerby.errors import ConfigError, nearest
from passerby.metrics.neighbours import (
    Integers,
    Neighbours,
    Singles,
    best_of_rows,
    nearest_neighbours,
    places_in_gallery,
    similarity_blocks,
    unit_sides,
)
from passerby.metrics.reciprocal_sets import ReciprocalLists, reciprocal_lists, widened_sets
from passerby.metrics.sparse_rows import SparseRows, mean_of_rows, offsets, shared_mass, stacked, transposed

#: "canonical" is the paper with its public code; "fastreid" takes k1 neighbours with itself where the paper takes
#: k1 + 1, weights by exp(-d) of the squared distance without dividing it by the row's largest, and mixes with 1 - cos.
Variant: TypeAlias = Literal["canonical", "fastreid"]


@dataclass(frozen=True, slots=True)
class KReciprocal:
    """The numbers of a k-reciprocal re-ranking.

    Attributes:
        k1: neighbours that make a reciprocal set, at least 1.
        k2: neighbours, itself included, whose weights are averaged, at least 1; 1 averages nothing.
        original: weight of the original distance beside the Jaccard distance, lambda in the paper, in [0, 1].
        variant: whose version it is.

    Raises:
        ConfigError: a number is out of range, or the variant is unknown.
    """

    k1: int = 20
    k2: int = 6
    original: float = 0.3
    variant: Variant = "canonical"

    def __post_init__(self) -> None:
        for name, value in (("k1", self.k1), ("k2", self.k2)):
            if value < 1:
                raise ConfigError(f"k-reciprocal re-ranking with {name} = {value}; expected at least 1")
        if not 0 <= self.original <= 1:
            raise ConfigError(f"k-reciprocal re-ranking with lambda = {self.original}; expected between 0 and 1")
        if self.variant not in (known := get_args(Variant)):
            raise ConfigError(
                f"no variant {self.variant!r} of k-reciprocal re-ranking; there are {', '.join(known)}."
                f"{nearest(self.variant, known)}"
            )

    @property
    def whole(self) -> int:
        """Length of the lists that make the sets, itself included."""
        return self.k1 + (self.variant == "canonical")

    @property
    def half(self) -> int:
        """Length of the lists that make the half sets, itself included; k1 / 2 is rounded to even as numpy does."""
        return round(self.k1 / 2) + 1


@dataclass(frozen=True, slots=True)
class _Graph:
    """The pool's neighbourhoods: lists, half sets, farthest, and the rows of weights before and after averaging."""

    pool: Singles
    lists: Neighbours
    halves: ReciprocalLists
    weights: SparseRows
    averaged: SparseRows


def k_reciprocal_blocks(
    queries: ArrayLike,
    gallery: ArrayLike,
    settings: KReciprocal | None = None,
    *,
    transductive: bool = True,
    own: Integers | None = None,
) -> Iterator[Singles]:
    """Re-ranked distances, some queries at a time.

    Transductive means that all queries are neighbours of each other and of the gallery, as in the paper: the answer
    to one query depends on which others are asked. Otherwise the gallery's neighbourhoods are those of the gallery
    alone, and each query is laid beside it without changing it: a gallery picture is reciprocal when the query is
    nearer to it than the last of its list. Then an answer has the same bits whoever else asks.

    Args:
        queries: features, of any length but zero.
        gallery: features of the same space.
        settings: None means the paper's 20, 6 and 0.3.
        transductive: whether queries see each other.
        own: (Q,) the gallery row that is the query itself, -1 where it has none. A query that is a gallery picture
            is not put beside it a second time; where its features differ from that picture's, it counts as another.

    Shape:
        queries: (Q, D); gallery: (G, D); yields (B, G) float32, Q rows together, lower being better: in [0, 1], with
        "fastreid" up to 1 + lambda.

    Raises:
        DataError: shapes do not fit, or a feature is not finite or has length zero.
    """
    settings = KReciprocal() if settings is None else settings
    asking, searched = unit_sides(queries, gallery)
    place = places_in_gallery(asking, searched, own)
    if not len(asking) or not len(searched):
        return iter([np.zeros((len(asking), len(searched)), np.float32)] if len(asking) else [])
    outside = np.flatnonzero(place < 0)
    if not transductive:
        return _distances(asking, searched, place, settings, pool=searched)
    place[place >= 0] += len(outside)
    place[outside] = np.arange(len(outside))
    return _distances(asking, searched, place, settings, pool=np.concatenate([asking[outside], searched]))


def _distances(
    asking: Singles, searched: Singles, place: Integers, settings: KReciprocal, *, pool: Singles
) -> Iterator[Singles]:
    """Distances of queries, `place` being their rows in the pool; the gallery is the end of the pool."""
    graph = _graph(pool, settings)
    before = len(pool) - len(searched)
    turned = transposed(graph.averaged.part(before, len(pool)))  # P rows of G columns
    for first, similarity in similarity_blocks(asking, searched):  # (B, G)
        rows = place[first : first + len(similarity)]
        inside = rows >= 0
        lowest = np.where(inside, graph.lists.lowest[rows], 0)
        encoded = graph.averaged.take(rows[inside])
        if not inside.all():
            lowest[~inside] = similarity[~inside].min(axis=1)
            beside = _beside(asking[first : first + len(rows)][~inside], similarity[~inside], graph, settings)
            order = np.argsort(np.concatenate([np.flatnonzero(inside), np.flatnonzero(~inside)]))
            encoded = stacked([encoded, beside], len(pool)).take(order)
        shared = shared_mass(encoded, turned)
        jaccard = np.maximum(1 - shared / (2 - shared), 0)
        distance = _original(similarity, lowest, settings)
        yield (settings.original * distance + (1 - settings.original) * jaccard).astype(np.float32)


def _graph(pool: Singles, settings: KReciprocal) -> _Graph:
    lists = nearest_neighbours(pool, max(settings.whole, settings.half, settings.k2))
    halves = reciprocal_lists(lists.index, settings.half)
    wholes = reciprocal_lists(lists.index, settings.whole)
    row, picture = widened_sets(wholes.index, wholes.mutual, halves)
    weights = _weights(pool, pool, row, picture, lists.lowest, settings)
    averaged = weights if settings.k2 == 1 else mean_of_rows(weights, lists.index[:, : settings.k2])
    return _Graph(pool, lists, halves, weights, averaged)


def _beside(asking: Singles, similarity: Singles, graph: _Graph, settings: KReciprocal) -> SparseRows:
    """Averaged weights of queries that are laid beside the pool; the column of the query itself is left out.

    No row of the pool has that column, so that it shares no mass; its weight counts where a row is made to sum to 1.
    """
    others = min(len(graph.pool), max(settings.whole, settings.half, settings.k2) - 1)
    index, value = best_of_rows(similarity, others)  # (B, L - 1), as the first of the list is the query itself
    near, score = index[:, : settings.whole - 1], value[:, : settings.whole - 1]
    full = graph.lists.index.shape[1] >= settings.whole
    last = graph.lists.similarity[near, settings.whole - 1] if full else np.full(near.shape, -np.inf)
    row, picture = widened_sets(near, score > last, graph.halves)
    lowest = similarity.min(axis=1)
    weights = _weights(asking, graph.pool, row, picture, lowest, settings, beside=True)
    if settings.k2 == 1:
        return weights
    return mean_of_rows(graph.weights, index[:, : settings.k2 - 1], own=weights)


def _weights(
    asking: Singles,
    pool: Singles,
    row: Integers,
    picture: Integers,
    lowest: Singles,
    settings: KReciprocal,
    *,
    beside: bool = False,
) -> SparseRows:
    """Rows of weights that fall with the distance and sum to 1: equation 6, normalised as the public code does."""
    start = offsets(np.bincount(row, minlength=len(asking)))
    values = np.empty(len(picture), np.float32)
    for i in range(len(asking)):
        part = slice(start[i], start[i + 1])
        similarity = pool[picture[part]] @ asking[i]
        if settings.variant == "fastreid":
            weight = np.exp(-np.maximum(2 - 2 * similarity, 0))
        else:
            weight = np.exp(-_original(similarity[None], lowest[i : i + 1], settings)[0])
        values[part] = weight / (weight.sum() + beside)  # the query itself, at distance 0, weighs 1
    return SparseRows(start, picture.astype(np.int32), values, len(pool))


def _original(similarity: Singles, lowest: Singles, settings: KReciprocal) -> Singles:
    """The original distance: as a share of that to the row's farthest, or 1 - cos with "fastreid"."""
    if settings.variant == "fastreid":
        return 1 - similarity
    farthest = np.maximum(2 - 2 * lowest, np.finfo(np.float32).tiny)[:, None]  # a row of twins has nobody farther
    return np.minimum(np.maximum(2 - 2 * similarity, 0) / farthest, 1)
