"""Whether an exported tower computes what the original computes: on random input, on real pictures, at several sizes.

An exporter can silently fix a batch size or a length, so batches of 1, 2 and 7 and several lengths are compared, and
a result below the limit is an error, never a note.

Axes: B pictures or sentences, D width of the shared space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from passerby.errors import CheckpointError

#: Batch sizes that every exported tower is tried with.
BATCHES = (1, 2, 7)
#: Lowest cosine that a float32 export may have with the original.
LOWEST_COSINE = 0.9999

_TOP = 10


@dataclass(frozen=True, slots=True)
class Parity:
    """How close two towers are over everything that was tried.

    Attributes:
        tower: "image" or "text".
        rows: inputs that were compared.
        max_difference: largest absolute difference of two numbers.
        cosine: smallest cosine of two vectors.
        top10: mean share of the ten nearest neighbours that both agree on.
    """

    tower: str
    rows: int
    max_difference: float
    cosine: float
    top10: float


def compare(
    tower: str,
    original: Callable[[np.ndarray], np.ndarray],
    exported: Callable[[np.ndarray], np.ndarray],
    batches: Iterable[np.ndarray],
    lowest_cosine: float = LOWEST_COSINE,
) -> Parity:
    """Compare two functions from inputs to unit vectors.

    Args:
        tower: "image" or "text".
        original: the reference.
        exported: what is judged.
        batches: inputs, each a batch.
        lowest_cosine: the limit.

    Raises:
        CheckpointError: a vector is not finite, a shape differs, or a cosine is below the limit.
    """
    expected, found = [], []
    for batch in batches:
        expected.append(original(batch))
        try:
            found.append(exported(batch))
        except Exception as error:  # an engine's own error, for example on a batch size that was taken for a constant
            raise CheckpointError(
                f"the exported {tower} tower cannot compute an input of {batch.shape}: {error}; nothing was kept"
            ) from error
        if found[-1].shape != expected[-1].shape:
            raise CheckpointError(
                f"the exported {tower} tower gives {found[-1].shape} for an input of {batch.shape}, the original "
                f"{expected[-1].shape}; nothing was kept"
            )
    reference, result = np.concatenate(expected), np.concatenate(found)  # (B, D)
    if not np.isfinite(result).all():
        raise CheckpointError(f"the exported {tower} tower gives numbers that are not finite; nothing was kept")
    cosine = (reference * result).sum(axis=1) / np.linalg.norm(reference, axis=1) / np.linalg.norm(result, axis=1)
    parity = Parity(
        tower,
        len(reference),
        float(np.abs(reference - result).max()),
        float(cosine.min()),
        _top_agreement(reference, result),
    )
    if parity.cosine < lowest_cosine:
        raise CheckpointError(
            f"the exported {tower} tower differs from the original: smallest cosine {parity.cosine:.6f} over "
            f"{parity.rows} inputs, expected at least {lowest_cosine}; nothing was kept"
        )
    return parity


def _top_agreement(reference: np.ndarray, result: np.ndarray) -> float:
    """Mean share of the nearest neighbours among the inputs themselves that both towers agree on."""
    count = min(_TOP, len(reference) - 1)
    if count < 1:
        return 1.0
    nearest = []
    for vectors in (reference, result):
        scores = vectors @ vectors.T  # (B, B)
        np.fill_diagonal(scores, -np.inf)
        nearest.append(np.argsort(-scores, axis=1, kind="stable")[:, :count])
    shared = [len(set(a) & set(b)) for a, b in zip(*nearest, strict=True)]
    return float(np.mean(shared)) / count
