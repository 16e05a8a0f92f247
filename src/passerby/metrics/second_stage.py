"""Scores of two stages as one matrix: the re-ranked candidates of each query first, everything else as it stood.

Axes: Q queries, N gallery items, K candidates of a query.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from passerby.errors import DataError
from passerby.metrics.positions import check_finite

#: Weights of the second stage that a selection split chooses from, beside none.
WEIGHTS = (0.1, 0.25, 0.5, 0.75, 1.0)


def second_stage_scores(
    first: NDArray[np.floating], candidates: NDArray[np.integer], second: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Lift each query's candidates above the rest of the gallery, in the order of their second scores.

    The rest keeps its scores, candidates keep the distances of their second scores, equal ones stay equal.

    Args:
        first: finite scores of the first stage, higher being better.
        candidates: places in the gallery that the second stage looked at, none twice in a row.
        second: finite scores of the candidates.

    Shape:
        first (Q, N), candidates (Q, K), second (Q, K) -> (Q, N) float64.

    Raises:
        DataError: the shapes disagree, a place lies outside the gallery or occurs twice, or a score is not finite.
    """
    scores, places, judged = np.array(first, np.float64), np.asarray(candidates), np.asarray(second, np.float64)
    if scores.ndim != 2 or places.shape != judged.shape or places.ndim != 2 or len(places) != len(scores):
        raise DataError(
            f"first scores {scores.shape}, candidates {places.shape} and second scores {judged.shape}; expected "
            "(Q, N), (Q, K) and (Q, K)"
        )
    if not places.size:
        return scores
    if places.min() < 0 or places.max() >= scores.shape[1]:
        raise DataError(f"a candidate stands at {places.min()} or {places.max()}; the gallery has {scores.shape[1]}")
    if (np.diff(np.sort(places, axis=1), axis=1) == 0).any():
        raise DataError("a query has the same candidate twice; each can be re-ranked once")
    check_finite("first score", scores)
    check_finite("second score", judged)
    above = scores.max(axis=1, keepdims=True) + 1 - judged.min(axis=1, keepdims=True)  # (Q, 1)
    np.put_along_axis(scores, places, judged + above, axis=1)
    return scores
