"""Learning-rate schedules as pure functions from the step to a factor of the base rate."""

from __future__ import annotations

import math
from collections.abc import Callable

from passerby.errors import ConfigError, nearest


def warmup_cosine(step: int, total: int, warmup: int, floor: float = 0.0) -> float:
    """Linear warm-up, then half a cosine down to `floor` (Loshchilov and Hutter 2017, eq. 5, without restarts).

    Args:
        step: steps done, from 0.
        total: steps of the whole run.
        warmup: steps of the linear rise.
        floor: factor at the end, in [0, 1].
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def warmup_constant(step: int, total: int, warmup: int, floor: float = 0.0) -> float:
    """Linear warm-up, then the base rate to the end. `total` and `floor` have no effect."""
    return (step + 1) / warmup if step < warmup else 1.0


SCHEDULES: dict[str, Callable[[int, int, int, float], float]] = {
    "cosine": warmup_cosine,
    "constant": warmup_constant,
}


def schedule(name: str, total: int, warmup: int, floor: float = 0.0) -> Callable[[int], float]:
    """Return the factor function of a named schedule.

    Raises:
        ConfigError: no schedule has that name.
    """
    if name not in SCHEDULES:
        raise ConfigError(f"no schedule is called {name!r}; known: {', '.join(SCHEDULES)}.{nearest(name, SCHEDULES)}")
    curve = SCHEDULES[name]
    return lambda step: curve(step, total, warmup, floor)
