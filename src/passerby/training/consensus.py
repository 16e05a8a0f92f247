"""Confident consensus division (RDE, Qin et al. 2024, section 3.3): which pairs of picture and caption to believe.

Two branches tell how badly each pair fits. For each, a mixture of two normal distributions parts good fits from bad
ones; a pair that both find good counts, one that both find bad does not, and a coin decides where they differ. Pairs
of the same loss get the same verdict, so the only chance in it is the coin, which has a seed.

Axes: C pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from passerby.errors import DataError

Floats = NDArray[np.float64]

_MOST_ROUNDS = 100
_TOLERANCE = 1e-6
#: Added to variances of losses in [0, 1], as the published code does where it fits longest.
_FLOOR = 1e-6
_LEAST_NOISY = 0.01


def believed(losses: Floats) -> Floats:
    """Posterior of the component of smaller losses under a mixture of two normal distributions, fitted by EM.

    Args:
        losses: finite, at least one; scaled to [0, 1] here.

    Shape:
        losses (C,) -> (C,) in [0, 1].

    Raises:
        DataError: there is no loss, or one is not finite.
    """
    if len(losses) == 0 or not np.isfinite(losses).all():
        raise DataError(f"{len(losses)} losses of pairs, of which {np.isfinite(losses).sum()} are finite")
    spread = np.ptp(losses)
    if spread == 0:
        return np.ones_like(losses)  # all fit alike, so none is worse than the others
    scaled = (losses - losses.min()) / spread  # (C,)
    means = np.quantile(scaled, [0.1, 0.9])
    variances, shares, before = np.full(2, scaled.var() + _FLOOR), np.full(2, 0.5), -np.inf
    posterior = np.full((len(losses), 2), 0.5)
    for _ in range(_MOST_ROUNDS):
        logs = np.log(shares) - 0.5 * (
            np.log(2 * np.pi * variances) + (scaled[:, None] - means) ** 2 / variances
        )  # (C, 2)
        total = np.logaddexp(logs[:, 0], logs[:, 1])
        posterior = np.exp(logs - total[:, None])
        likelihood = float(total.mean())
        if likelihood - before < _TOLERANCE:
            break
        before = likelihood
        mass = posterior.sum(axis=0) + 1e-12
        means = posterior.T @ scaled / mass
        variances = (posterior * (scaled[:, None] - means) ** 2).sum(axis=0) / mass + _FLOOR
        shares = mass / mass.sum()
    return posterior[:, int(np.argmin(means))]


def divide(first: Floats, second: Floats, rng: np.random.Generator) -> NDArray[np.float32]:
    """How much each pair counts: 1 where both branches believe it, 0 where neither does, else what a coin says.

    Args:
        first: losses of the pairs in one branch.
        second: losses in the other.
        rng: the coin.

    Shape:
        first (C,), second (C,) -> (C,) of 0 and 1.

    Raises:
        DataError: the branches tell of different numbers of pairs, of none, or a loss is not finite.
    """
    if first.shape != second.shape:
        raise DataError(f"one branch tells of {len(first)} pairs and the other of {len(second)}; expected the same")
    verdicts = [_clean(losses) for losses in (first, second)]
    coins = rng.random(len(first)) < 0.5
    return np.where(verdicts[0] == verdicts[1], verdicts[0], coins).astype(np.float32)


def _clean(losses: Floats) -> NDArray[np.bool_]:
    """Whom a branch believes; where it believes all, the worst hundredth is doubted all the same."""
    clean = believed(losses) > 0.5
    if clean.all() and len(losses) > 1:
        doubted = max(1, int(_LEAST_NOISY * len(losses)))
        clean[np.argsort(losses, kind="stable")[-doubted:]] = False
    return clean
