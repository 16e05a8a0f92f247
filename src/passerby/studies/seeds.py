"""The mean over a few seeds and how sure it is: Student's interval, which is honest about two or three values."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from passerby.errors import DataError

#: Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom; the normal's beyond.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
_NORMAL = 1.96


class Summary(NamedTuple):
    """A mean, the ends of its 95 % interval (None from a single value), and of how many values it is."""

    mean: float
    low: float | None
    high: float | None
    seeds: int


def over_seeds(values: Sequence[float]) -> Summary:
    """``mean +- t s / sqrt(n)`` of one figure over seeds.

    Args:
        values: one for each seed, finite.

    Raises:
        DataError: there is none, or one is not finite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise DataError(f"figures of seeds are {list(values)}; expected one finite number or more")
    mean, count = statistics.fmean(values), len(values)
    if count == 1:
        return Summary(mean, None, None, 1)
    quantile = _T[count - 2] if count - 2 < len(_T) else _NORMAL
    reach = quantile * statistics.stdev(values) / math.sqrt(count)
    return Summary(mean, mean - reach, mean + reach, count)
