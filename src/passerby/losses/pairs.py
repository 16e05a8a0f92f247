"""What all losses on pairs share: exact scores, the target that an identity asks for, and the check of shapes.

A loss looks at the pairs of this process as queries and at the pairs of all processes as candidates. The mean over
processes of each loss is then the loss of the whole batch, and so are its gradients.

Axes: Q pairs of this process, N pairs of all processes, D embedding width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from passerby.errors import ConfigError


class Candidates(NamedTuple):
    """The pairs of all processes, gathered with gradient: images (N, D), texts (N, D), ids (N,)."""

    images: Tensor
    texts: Tensor
    ids: Tensor


def candidates_of(
    name: str, images: Tensor, texts: Tensor, ids: Tensor, everywhere: Candidates | None = None
) -> Candidates:
    """The candidates of a loss: what was gathered, or the pairs themselves where there is one process.

    Args:
        name: of the loss, for the error.
        images: one vector for each pair; row i and row i of `texts` belong together.
        texts: likewise.
        ids: identity of each pair; any numbers, with gaps or not.
        everywhere: the pairs of all processes; None when there is one.

    Shape:
        images (Q, D), texts (Q, D), ids (Q,) -> images (N, D), texts (N, D), ids (N,).

    Raises:
        ConfigError: the shapes disagree.
    """
    found = Candidates(images, texts, ids) if everywhere is None else everywhere
    own = images.ndim == 2 and images.shape == texts.shape and ids.shape == images.shape[:1]
    width = images.shape[1:]
    rest = found.images.shape == found.texts.shape and found.ids.shape == found.images.shape[:1]
    if not (own and rest and found.images.shape[1:] == width):
        raise ConfigError(
            f"{name}: images {tuple(images.shape)}, texts {tuple(texts.shape)}, ids {tuple(ids.shape)}, of all "
            f"processes {tuple(found.images.shape)}, {tuple(found.texts.shape)}, {tuple(found.ids.shape)}; expected "
            "(Q, D), (Q, D), (Q,) and (N, D), (N, D), (N,)"
        )
    return found


def exact(tensor: Tensor) -> Tensor:
    """At least float32: half precision has no decimals left at a temperature of 0.015; double stays double."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def scores(queries: Tensor, candidates: Tensor) -> Tensor:
    """Dot products in at least float32, under autocast too: (Q, D), (N, D) -> (Q, N)."""
    # A product of matrices is what autocast would bring back to half precision first.
    with torch.autocast(queries.device.type, enabled=False):
        return exact(queries) @ exact(candidates).T


def same_identity(query_ids: Tensor, candidate_ids: Tensor) -> Tensor:
    """Where query and candidate are one person: (Q,), (N,) -> (Q, N) bool."""
    return query_ids[:, None] == candidate_ids[None, :]


def identity_target(query_ids: Tensor, candidate_ids: Tensor, like: Tensor) -> Tensor:
    """``q_ij = [y_i = y_j] / sum_k [y_i = y_k]``, each row a distribution: (Q,), (N,) -> (Q, N) of the type of `like`.

    Rows are divided, not columns as in the code of IRRA: the two differ as soon as identities come unequally often.
    """
    same = same_identity(query_ids, candidate_ids).to(like.dtype)
    return same / same.sum(dim=1, keepdim=True).clamp(min=1)
