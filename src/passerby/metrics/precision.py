"""Average precision in its two definitions, and precision at K, with ties counted as what they are worth.

Average precision asks at each hit how pure the ranking is up to there. The step rule takes the precision at the hit
(scikit-learn, torchreid, fast-reid); the trapezoid rule takes the mean of it and of the precision just above, as the
MATLAB code published with Market-1501 does. Figures by the two rules must not be compared.

Axes: Q queries, T tie groups, P hits. For one group: `a` items above, `n` items in it, `m` of them hits, `h` hits
above.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from passerby.errors import ConfigError, nearest
from passerby.metrics.positions import TieGroups
from passerby.metrics.ranking import Ties, Values, check_ties

#: How the area under precision over recall is taken.
PrecisionRule: TypeAlias = Literal["step", "trapezoid"]


def average_precision(groups: TieGroups, ties: Ties = "expected", rule: PrecisionRule = "step") -> Values:
    """Mean over the hits of the precision at their rank.

    With `r_k` the rank of the k-th of P hits: step `1/P sum_k k/r_k`; trapezoid
    `1/P sum_k (k/r_k + (k - 1)/(r_k - 1)) / 2`, where the second term is 1 for `r_k = 1`.

    Args:
        groups: from `rank_scores` or `rank_features`.
        ties: how tied items are ordered.
        rule: which definition.

    Shape:
        returns (Q,) in [0, 1], NaN for queries without a hit.

    Raises:
        ConfigError: `ties` or `rule` is unknown.
    """
    check_ties(ties)
    known = get_args(PrecisionRule)
    if rule not in known:
        raise ConfigError(
            f"average precision by the rule {rule!r}; expected one of {', '.join(known)}.{nearest(rule, known)}"
        )
    precision = _expected(groups, rule) if ties == "expected" else _in_one_order(groups, ties, rule)  # (T,)
    total = np.bincount(groups.query, weights=precision, minlength=groups.queries).astype(np.float64)
    count = groups.positives
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def precision_at(groups: TieGroups, k: int, ties: Ties = "expected") -> Values:
    """Share of hits among the first k; for tied items the expected share, `m / n` for each place that is left.

    Args:
        groups: from `rank_scores` or `rank_features`.
        k: at least 1; the share is of k also where the gallery is smaller.
        ties: how tied items are ordered.

    Shape:
        returns (Q,) in [0, 1], NaN for queries without a hit.

    Raises:
        ConfigError: `k` is below 1, or `ties` is unknown.
    """
    check_ties(ties)
    if k < 1:
        raise ConfigError(f"precision is asked for among the first {k}; expected at least 1")
    n, m = groups.size, groups.hits
    places = np.clip(k - groups.above, 0, n)
    found = {
        "expected": places * m / n,
        "optimistic": np.minimum(places, m),
        "pessimistic": np.maximum(places - (n - m), 0),
    }[ties]
    total = np.bincount(groups.query, weights=found, minlength=groups.queries)
    return np.where(groups.positives > 0, total / k, np.nan)


def _expected(groups: TieGroups, rule: PrecisionRule) -> Values:
    """(T,) expected sum over the hits of each group, in closed form.

    Each place `i = 1..n` of a group holds a hit with chance `m/n`, and then `h + (i - 1) c` hits stand above it, with
    `c = (m - 1)/(n - 1)`. With harmonic numbers H and `S = H(a + n) - H(a)` the step rule sums to
    `m/n [(h + 1) S + c (n - (a + 1) S)]`, and the precision just above to `m/n [h R + c (n - a R)]` with
    `R = H(a + n - 1) - H(a - 1)`; a group that opens the ranking has `m/n [1 + (n - 1) c] = m/n m` instead.
    """
    a, n, m, h = groups.above, groups.size, groups.hits, groups.hits_above
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, int((a + n).max(initial=0)) + 1))])
    share = (m - 1) / np.maximum(n - 1, 1)
    span = np.where(n == 1, 1.0 / (a + 1), harmonic[a + n] - harmonic[a])
    at_hits = m / n * ((h + 1) * span + share * (n - (a + 1) * span))
    if rule == "step":
        return at_hits
    before = harmonic[a + n - 1] - harmonic[np.maximum(a - 1, 0)]
    before = np.where(n == 1, 1.0 / np.maximum(a, 1), before)
    just_above = np.where(a == 0, m, h * before + share * (n - a * before)) * m / n
    return (at_hits + just_above) / 2


def _in_one_order(groups: TieGroups, ties: Ties, rule: PrecisionRule) -> Values:
    """(T,) sum over the hits of each group, hits standing first or last in it."""
    a, n, m, h = groups.above, groups.size, groups.hits, groups.hits_above
    misses_first = (n - m) if ties == "pessimistic" else np.zeros_like(n)
    group = np.repeat(np.arange(len(m)), m)  # (P,)
    nth = np.arange(len(group)) - np.repeat(np.cumsum(m) - m, m) + 1  # (P,) 1..m within each group
    hits, rank = h[group] + nth, (a + misses_first)[group] + nth
    terms: NDArray[np.float64] = hits / rank
    if rule == "trapezoid":
        terms = (terms + np.where(rank == 1, 1.0, (hits - 1) / np.maximum(rank - 1, 1))) / 2
    return np.bincount(group, weights=terms, minlength=len(m)).astype(np.float64, copy=False)
