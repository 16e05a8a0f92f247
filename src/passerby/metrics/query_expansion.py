"""Alpha query expansion: a picture's vector becomes the weighted mean of its nearest neighbours' vectors.

Chum et al., "Total recall", ICCV 2007, with the weights of Radenovic et al., "Fine-tuning CNN image retrieval with no
human annotation", TPAMI 2019: a neighbour weighs its similarity to the power of alpha, and the picture itself weighs
1. Gallery pictures are expanded like queries. What comes out are vectors again, searched by dot product.

Axes: Q queries, G gallery pictures, D dimensions, B rows of one block, K neighbours, itself included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from passerby.errors import ConfigError
from passerby.metrics.neighbours import (
    Indices,
    Integers,
    Singles,
    best_of_rows,
    nearest_neighbours,
    places_in_gallery,
    similarity_blocks,
    unit_sides,
)

#: Rows that are averaged at a time.
_ROWS = 256


@dataclass(frozen=True, slots=True)
class AlphaExpansion:
    """The numbers of an alpha query expansion.

    Attributes:
        k: neighbours that are averaged, itself included, at least 1; 1 changes nothing.
        alpha: power of the similarity, at least 0; 0 weighs all alike.

    Raises:
        ConfigError: a number is out of range.
    """

    k: int = 5
    alpha: float = 3.0

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"query expansion with k = {self.k}; expected at least 1")
        if not (self.alpha >= 0 and math.isfinite(self.alpha)):
            raise ConfigError(f"query expansion with alpha = {self.alpha}; expected 0 or more")


def expanded_features(
    queries: ArrayLike,
    gallery: ArrayLike,
    settings: AlphaExpansion | None = None,
    *,
    transductive: bool = True,
    own: Integers | None = None,
) -> tuple[Singles, Singles]:
    """Expanded vectors of queries and gallery.

    `f'_i = sum_j max(0, cos_ij)^alpha f_j / |...|` over the k nearest of i, itself included. Negative similarities,
    which an odd power would turn into pushes away, weigh nothing.

    Args:
        queries: features, of any length but zero.
        gallery: features of the same space.
        settings: None means 5 neighbours and alpha 3.
        transductive: whether queries are neighbours of each other and of the gallery. Otherwise the gallery is
            expanded from itself, and each query from itself and the gallery as it was.
        own: (Q,) the gallery row that is the query itself, -1 where it has none; as in `k_reciprocal_blocks`.

    Shape:
        queries: (Q, D); gallery: (G, D); returns the same shapes, of unit length.

    Raises:
        DataError: shapes do not fit, or a feature is not finite or has length zero.
    """
    settings = AlphaExpansion() if settings is None else settings
    asking, searched = unit_sides(queries, gallery)
    place = places_in_gallery(asking, searched, own)
    outside = np.flatnonzero(place < 0)
    pool = np.concatenate([asking[outside], searched]) if transductive else searched
    lists = nearest_neighbours(pool, settings.k)
    expanded = _averaged(pool, pool, lists.index[:, 1:], lists.similarity[:, 1:], settings.alpha)
    of_gallery = expanded[len(pool) - len(searched) :]
    of_queries = np.empty_like(asking)
    of_queries[place >= 0] = of_gallery[place[place >= 0]]
    if transductive:
        of_queries[outside] = expanded[: len(outside)]
        return of_queries, of_gallery
    for first, similarity in similarity_blocks(asking[outside], searched):  # (B, G)
        rows = outside[first : first + len(similarity)]
        index, value = best_of_rows(similarity, min(settings.k - 1, len(searched)))
        of_queries[rows] = _averaged(asking[rows], searched, index, value, settings.alpha)
    return of_queries, of_gallery


def _averaged(rows: Singles, pool: Singles, index: Indices, similarity: Singles, alpha: float) -> Singles:
    """Rows plus their weighted others, at unit length: never zero, as no weight is negative."""
    result = np.empty_like(rows)
    for first in range(0, len(rows), _ROWS):
        part = slice(first, first + _ROWS)
        weight = np.maximum(similarity[part], 0) ** np.float32(alpha)  # (B, K - 1)
        mixed = rows[part] + np.matmul(weight[:, None], pool[index[part]])[:, 0]  # (B, D)
        result[part] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return result
