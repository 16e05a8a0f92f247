"""A smaller gallery vector for models with a local branch, and what is lost by it.

A whole local vector of 4,096 numbers beside 512 is nine times a baseline's index. The directions in which local
vectors of pictures and sentences spread most (their second moment, not centred, so that dot products are kept) hold
nearly all of it in a few hundred numbers; eight bits a number hold it in a quarter of the bytes. What either costs is
measured on the caller's own vectors, never assumed.

Axes: R vectors, Q sentences, N pictures, E width of the local branch, D width that is kept.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from passerby.errors import ConfigError, DataError
from passerby.models.dual_encoder import unit_rows
from passerby.models.itself import Itself

_LEVELS = 127


@dataclass(frozen=True, slots=True)
class CompactLoss:
    """What a smaller form of the vectors costs.

    Attributes:
        floats: numbers of a vector that are kept.
        bytes: of a vector in the gallery.
        largest: largest change of a score.
        mean: mean change of a score.
        r1: R@1 of the whole and of the smaller vectors in per cent.
    """

    floats: int
    bytes: int
    largest: float
    mean: float
    r1: tuple[float, float]


def fit_projection(local: Tensor, width: int) -> Tensor:
    """The `width` orthogonal directions in which unit vectors spread most.

    Args:
        local: local vectors of pictures and sentences of a training or selection split, any length.
        width: D, 1 to the smaller of R and E.

    Shape:
        (R, E) -> (D, E), orthonormal rows.

    Raises:
        ConfigError: the width is out of range.
    """
    most = min(local.shape)
    if not 1 <= width <= most:
        raise ConfigError(
            f"a projection to {width} of {local.shape[1]} numbers from {len(local)} vectors; expected 1 to {most}"
        )
    unit = unit_rows(local).double()
    values, vectors = torch.linalg.eigh(unit.T @ unit)
    return vectors[:, values.argsort(descending=True)[:width]].T.float().contiguous()


def compacted(model: Itself, projection: Tensor) -> Itself:
    """A copy of a model whose vectors hold the projected local branch: saved, restored and searched with as any other.

    Args:
        model: a model with its whole local branch.
        projection: of `fit_projection`, (D, E).

    Raises:
        ConfigError: the model is compact already, or the widths differ.
    """
    if model.compact is not None or projection.shape[1] != model.local.dim:
        raise ConfigError(
            f"a projection of {projection.shape[1]} numbers for a local branch of {model.local.dim}; give a model that "
            "is not compact yet, and a projection made from its own vectors"
        )
    smaller = copy.deepcopy(model)
    smaller.local = replace(model.local, compact=int(projection.shape[0]))
    smaller.register_buffer("compact", projection.clone())
    smaller.embedding_dim = smaller.global_dim + smaller.local.width
    return smaller


def int8_rows(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors in eight bits a number: (R, D) -> codes (R, D) int8 and a scale for each row (R,) float32."""
    scale = np.abs(vectors).max(axis=1) / _LEVELS
    safe = np.where(scale > 0, scale, 1)
    return np.rint(vectors / safe[:, None]).astype(np.int8), scale.astype(np.float32)


def from_int8(codes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """What `int8_rows` stored, (R, D) float32."""
    return codes.astype(np.float32) * scale[:, None]


def compact_loss(
    whole: tuple[np.ndarray, np.ndarray], smaller: tuple[np.ndarray, np.ndarray], hits: np.ndarray, bits: int = 32
) -> CompactLoss:
    """Compare a smaller form of the vectors with the whole one.

    Args:
        whole: unit vectors of sentences (Q, D) and pictures (N, D).
        smaller: the same sentences and pictures in the smaller form, as floats again.
        hits: (Q, N) bool, which pictures are right for each sentence.
        bits: of a number in the gallery.

    Raises:
        DataError: the numbers of vectors differ.
    """
    scores, found = whole[0] @ whole[1].T, smaller[0] @ smaller[1].T
    if scores.shape != found.shape or scores.shape != hits.shape:
        raise DataError(f"scores {scores.shape}, {found.shape} and hits {hits.shape} are not of the same vectors")
    change = np.abs(scores - found)
    floats = smaller[1].shape[1]
    r1 = [100 * float(np.take_along_axis(hits, one.argmax(axis=1)[:, None], axis=1).mean()) for one in (scores, found)]
    return CompactLoss(floats, floats * bits // 8, float(change.max()), float(change.mean()), (r1[0], r1[1]))
