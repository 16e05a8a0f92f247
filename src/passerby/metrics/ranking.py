"""R@K, first rank and mINP of every query, with ties counted as what they are worth.

A tie has no order, so each metric is the expected value over all orders of the tied items, in closed form
(McSherry & Najork, "Computing information retrieval performance measures efficiently in the presence of tied
scores", ECIR 2008). The luckiest and the unluckiest order are there as bounds. A query without a hit has no value:
NaN, to be counted and reported by the caller.

Axes: Q queries, T tie groups. For one group: `a` items above, `n` items in it, `m` of them hits, `h` hits above.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from passerby.errors import ConfigError, nearest
from passerby.metrics.positions import TieGroups

#: How tied items are ordered: averaged over all orders, hits first, or hits last.
Ties: TypeAlias = Literal["expected", "optimistic", "pessimistic"]
Values: TypeAlias = "NDArray[np.float64]"


def first_rank(groups: TieGroups, ties: Ties = "expected") -> Values:
    """Rank of the best hit, counted from 1: `a + (n + 1) / (m + 1)` in the first group that holds a hit.

    Args:
        groups: from `rank_scores` or `rank_features`.
        ties: how tied items are ordered.

    Shape:
        returns (Q,), NaN for queries without a hit.

    Raises:
        ConfigError: `ties` is unknown.
    """
    check_ties(ties)
    first = groups.hits_above == 0
    a, n, m = groups.above[first], groups.size[first], groups.hits[first]
    rank = {"expected": a + (n + 1) / (m + 1), "optimistic": a + 1.0, "pessimistic": a + n - m + 1.0}[ties]
    return _spread(rank, groups.query[first], groups.queries)


def hits_at(groups: TieGroups, k: int, ties: Ties = "expected") -> Values:
    """Whether a hit stands among the first k; for tied items the chance that one does.

    `1 - C(n - m, j) / C(n, j)` with `j = k - a` places left for the first group that holds a hit. The mean over
    queries is R@K, for k = 1, 2, ... the CMC curve.

    Args:
        groups: from `rank_scores` or `rank_features`.
        k: at least 1; may exceed the gallery.
        ties: how tied items are ordered.

    Shape:
        returns (Q,) in [0, 1], NaN for queries without a hit.

    Raises:
        ConfigError: `k` is below 1, or `ties` is unknown.
    """
    if k < 1:
        raise ConfigError(f"hits are asked for among the first {k}; expected at least 1")
    if ties != "expected":
        rank = first_rank(groups, ties)
        return np.where(np.isnan(rank), np.nan, rank <= k)
    first = groups.hits_above == 0
    a, n, m = groups.above[first], groups.size[first], groups.hits[first]
    places = np.clip(k - a, 0, n)
    missed = np.ones(len(a))
    for drawn in range(int(places.max(initial=0))):
        open_ = np.flatnonzero((places > drawn) & (missed > 0))
        if not open_.size:
            break
        missed[open_] *= np.maximum(n - m - drawn, 0)[open_] / (n - drawn)[open_]
    return _spread(1.0 - missed, groups.query[first], groups.queries)


def inverse_negative_penalty(groups: TieGroups, ties: Ties = "expected") -> Values:
    """Hits divided by the rank of the last of them; its mean over queries is mINP.

    In the last group the last hit stands at place `l` with probability `C(l - 1, m - 1) / C(n, m)`. Source: Ye et
    al., "Deep learning for person re-identification: a survey and outlook", TPAMI 2021, equation 4.

    Args:
        groups: from `rank_scores` or `rank_features`.
        ties: how tied items are ordered.

    Shape:
        returns (Q,) in (0, 1], NaN for queries without a hit.

    Raises:
        ConfigError: `ties` is unknown.
    """
    check_ties(ties)
    last = np.ones(len(groups.query), bool)
    last[:-1] = groups.query[1:] != groups.query[:-1]
    a, n, m = groups.above[last], groups.size[last], groups.hits[last]
    inverse = 1.0 / (a + (m if ties == "optimistic" else n))
    if ties == "expected":
        for open_ in np.flatnonzero(n > m):
            inverse[open_] = _inverse_of_last(int(a[open_]), int(n[open_]), int(m[open_]))
    query = groups.query[last]
    return _spread(groups.positives[query] * inverse, query, groups.queries)


def mean_over_queries(values: Values) -> float:
    """Mean over the queries that have a hit to find; NaN when none has."""
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if valid.size else float("nan")


def median_over_queries(values: Values) -> float:
    """Median over the queries that have a hit to find; NaN when none has. Of `first_rank` it is the median rank."""
    valid = values[~np.isnan(values)]
    return float(np.median(valid)) if valid.size else float("nan")


def cmc_curve(groups: TieGroups, length: int, ties: Ties = "expected") -> Values:
    """Cumulative match characteristic: R@1, R@2, ... up to R@length, each the mean of `hits_at` over the queries.

    Args:
        groups: from `rank_scores` or `rank_features`.
        length: points of the curve, at least 1.
        ties: how tied items are ordered.

    Shape:
        returns (length,), ascending in [0, 1]; NaN where no query has a hit.

    Raises:
        ConfigError: `length` is below 1, or `ties` is unknown.
    """
    if length < 1:
        raise ConfigError(f"a curve of {length} points is asked for; expected at least 1")
    return np.array([mean_over_queries(hits_at(groups, k, ties)) for k in range(1, length + 1)])


def check_ties(ties: str) -> None:
    """Refuse an unknown way to treat ties.

    Raises:
        ConfigError: `ties` is unknown.
    """
    known = get_args(Ties)
    if ties not in known:
        raise ConfigError(f"ties are to be {ties!r}; expected one of {', '.join(known)}.{nearest(ties, known)}")


def _inverse_of_last(a: int, n: int, m: int) -> float:
    """Expected value of 1 / rank of the last of m hits among n tied items below a others."""
    place = np.arange(n, m - 1, -1)  # n, n - 1, ..., m
    chance = np.empty(len(place))
    chance[0] = m / n
    chance[1:] = (place[:-1] - m) / (place[:-1] - 1)
    return float((np.cumprod(chance) / (a + place)).sum())


def _spread(values: Values, query: NDArray[np.int64], queries: int) -> Values:
    spread = np.full(queries, np.nan)
    spread[query] = values
    return spread
