"""How many tokens are taken at which moment of training: ATS of ITSELF (Nguyen et al. 2026, equation 4).

``rho(t) = rho_start (rho_end / rho_start)^(t / T)`` up to T and rho_end after it: the local branch begins with most
tokens and is left with the half that attention ranks highest. Pure functions of step and epoch, so that a run that was
killed goes on where it was.
"""

from __future__ import annotations

import math

from passerby.errors import ConfigError, nearest

#: What the ratio follows.
SCHEDULES = ("none", "epoch", "step")

_ROUNDING = 1e-9  # 192 * 0.65 * (0.5 / 0.65) may come out a hair below 96


def annealed_ratio(progress: float, start: float = 0.65, end: float = 0.5) -> float:
    """``start (end / start)^progress`` with progress held within 0 and 1.

    Args:
        progress: t / T.
        start: ratio at the beginning, in (0, 1].
        end: ratio from T on, in (0, 1].
    """
    return start * (end / start) ** min(max(progress, 0.0), 1.0)


def scheduled_ratio(
    level: str,
    *,
    step: int,
    steps_per_epoch: int,
    fixed: float = 0.4,
    start: float = 0.65,
    end: float = 0.5,
    until_epochs: float = 10.0,
) -> float:
    """The share of tokens to take in a training step.

    Args:
        level: a name of `SCHEDULES`: "none" takes `fixed` throughout, "step" moves with every step, "epoch" with every
            epoch.
        step: optimiser steps done since the beginning of the run, from 0.
        steps_per_epoch: optimiser steps of an epoch, at least 1.
        fixed: the ratio without a schedule, in (0, 1].
        start: the ratio at the beginning.
        end: the ratio after `until_epochs`.
        until_epochs: T in epochs: 10 in the published code, where the supplement says "the time of the epoch where
            the baseline is best".

    Raises:
        ConfigError: no such schedule, or a ratio is out of range.
    """
    if level not in SCHEDULES:
        raise ConfigError(
            f"no ratio schedule is called {level!r}; known: {', '.join(SCHEDULES)}.{nearest(level, SCHEDULES)}"
        )
    for name, value in (("fixed", fixed), ("start", start), ("end", end)):
        if not 0 < value <= 1:
            raise ConfigError(f"the selection ratio {name!r} is {value}; expected a share above 0 and up to 1")
    if level == "none":
        return fixed
    if level == "epoch":
        return annealed_ratio((step // steps_per_epoch) / until_epochs, start, end)
    # The published code counts from 1, so the first step is already one part of the way.
    return annealed_ratio((step + 1) / (until_epochs * steps_per_epoch), start, end)


def token_count(ratio: float, tokens: int) -> int:
    """``floor(ratio * tokens)``, at least one.

    Args:
        ratio: share of tokens, in (0, 1].
        tokens: patches of a picture, or the most words of a sentence (context length without special tokens).
    """
    return max(1, math.floor(ratio * tokens + _ROUNDING))
