"""Learning-rate schedules as pure functions from the step to a factor of the base rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from passerby.errors import ConfigError, nearest


def cosine(progress: float, floor: float = 0.0) -> float:
    """Half a cosine from 1 down to `floor` (Loshchilov and Hutter 2017, eq. 5, without restarts).

    Args:
        progress: share of the steps after the warm-up that are done, in [0, 1].
        floor: factor at the end, in [0, 1].
    """
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def linear(progress: float, floor: float = 0.0) -> float:
    """A straight line from 1 down to `floor` (down to zero: Bergsma et al. 2025, "Straight to zero").

    Args:
        progress: share of the steps after the warm-up that are done, in [0, 1].
        floor: factor at the end, in [0, 1].
    """
    return 1 + (floor - 1) * progress


def constant(progress: float, floor: float = 0.0) -> float:
    """The base rate to the end. Neither argument has an effect."""
    return 1.0


#: Schedules that depend on nothing but the share of the steps that is done.
SCHEDULES: Mapping[str, Callable[[float, float], float]] = MappingProxyType(
    {"cosine": cosine, "linear": linear, "constant": constant}
)
#: All names that a recipe may give; "step" goes by `milestones`, "plateau" by what the validations find.
NAMES = (*SCHEDULES, "step", "plateau")


def schedule(
    name: str,
    total: int,
    warmup: int,
    floor: float = 0.0,
    *,
    warmup_from: float = 0.0,
    milestones: Sequence[int] = (),
    decay: float = 0.1,
) -> Callable[[int], float]:
    """The factor of the learning rate as a function of the steps done: a linear warm-up, then a named curve.

    Args:
        name: one of `NAMES`; the part of "plateau" that depends on validations is not here.
        total: steps of the whole run.
        warmup: steps of the linear rise.
        floor: factor at the end of "cosine" and "linear".
        warmup_from: factor at the start of the warm-up; its first step is one part of the way up.
        milestones: steps at which "step" multiplies the factor by `decay`.
        decay: factor of "step", in (0, 1).

    Raises:
        ConfigError: no schedule has that name, or "step" has no milestones.
    """
    if name not in NAMES:
        raise ConfigError(f"no schedule is called {name!r}; known: {', '.join(NAMES)}.{nearest(name, NAMES)}")
    if name == "step" and not milestones:
        raise ConfigError('the schedule "step" needs optimisation.milestones, the epochs at which it lowers the rate')

    def factor(step: int) -> float:
        if step < warmup:
            return warmup_from + (1 - warmup_from) * (step + 1) / warmup
        if name == "step":
            return decay ** sum(step >= milestone for milestone in milestones)
        if name == "plateau":
            return 1.0
        return SCHEDULES[name](min(1.0, (step - warmup) / max(1, total - warmup)), floor)

    return factor
