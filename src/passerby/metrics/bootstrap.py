"""How sure a mean over queries is: percentile bootstrap intervals by identity.

Queries of one person stand or fall together (same clothes, same look-alikes), so whole persons are drawn, not
queries: an interval over single queries would be too narrow. Reference: Davison & Hinkley, "Bootstrap methods and
their application", 1997, section 3.8.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from passerby.errors import ConfigError, DataError
from passerby.metrics.ranking import Values


def identity_bootstrap(
    values: ArrayLike, identities: ArrayLike, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Values:
    """Interval of the mean of each column, drawing identities with replacement.

    Args:
        values: one row per query, one column per metric; NaN rows (queries without a hit) are left out.
        identities: the person of each query.
        draws: number of resamples, at least 1.
        level: share of resampled means inside the interval, in (0, 1).
        seed: of the draws; equal seeds give equal intervals.

    Shape:
        values: (Q, M); identities: (Q,); returns (M, 2), low and high; NaN where fewer than two identities are left.

    Raises:
        DataError: shapes do not fit.
        ConfigError: `draws` or `level` is out of range.
    """
    table, people = np.asarray(values, np.float64), np.asarray(identities)
    if table.ndim != 2 or people.shape != (len(table),):
        raise DataError(f"values {table.shape} and identities {people.shape}; expected (Q, M) and (Q,)")
    if draws < 1 or not 0 < level < 1:
        raise ConfigError(f"{draws} draws at level {level}; expected at least 1 draw and a level between 0 and 1")
    valid = ~np.isnan(table).any(axis=1)
    people, person = np.unique(people[valid], return_inverse=True)  # (I,), (V,)
    if len(people) < 2:
        return np.full((table.shape[1], 2), np.nan)
    columns = [np.bincount(person, weights=column) for column in table[valid].T]
    sums = np.stack([*columns, np.bincount(person).astype(np.float64)], axis=1)  # (I, M + 1), last one counts queries
    random = np.random.default_rng(seed)
    totals = np.empty((draws, sums.shape[1]))
    for draw in range(draws):
        times = np.bincount(random.integers(len(people), size=len(people)), minlength=len(people))
        totals[draw] = times @ sums
    means = totals[:, :-1] / totals[:, -1:]  # (draws, M)
    tail = (1 - level) / 2
    return np.quantile(means, [tail, 1 - tail], axis=0).T
