"""Similarity distribution matching (IRRA, Jiang and Ye 2023, eq. 5 and 6).

For scores ``s_ij = <v_i, t_j> / T``, ``p_i = softmax(s_i)`` and the identities' distribution ``q_i``,

    loss = mean_i KL(p_i || q_i + eps)  of images to texts, plus the same of texts to images.

It is the reverse divergence: what p puts on a wrong candidate costs about -log(eps), so eps is a weight in disguise.

Axes: Q pairs of this process, N pairs of all processes, D embedding width.
"""

from __future__ import annotations

from torch import Tensor

from passerby.errors import ConfigError
from passerby.losses.pairs import Candidates, candidates_of, identity_target, scores


def reverse_divergence(
    queries: Tensor, candidates: Tensor, query_ids: Tensor, candidate_ids: Tensor, scale: Tensor | float, epsilon: float
) -> Tensor:
    """``mean_i sum_j p_ij (log p_ij - log(q_ij + eps))`` of one direction.

    Args:
        queries: unit vectors.
        candidates: unit vectors.
        query_ids: identity of each query.
        candidate_ids: identity of each candidate.
        scale: inverse temperature, positive.
        epsilon: positive; keeps the logarithm of a wrong candidate finite.

    Shape:
        queries (Q, D), candidates (N, D), query_ids (Q,), candidate_ids (N,) -> scalar.

    Raises:
        ConfigError: `epsilon` is not positive.
    """
    if epsilon <= 0:
        raise ConfigError(f"an epsilon of {epsilon}; expected a number above zero, or wrong candidates cost infinity")
    log_p = (scale * scores(queries, candidates)).log_softmax(dim=1)  # (Q, N)
    target = identity_target(query_ids, candidate_ids, log_p)
    return (log_p.exp() * (log_p - (target + epsilon).log())).sum(dim=1).mean()


def sdm(
    images: Tensor,
    texts: Tensor,
    ids: Tensor,
    scale: Tensor | float = 50.0,
    everywhere: Candidates | None = None,
    epsilon: float = 1e-8,
) -> Tensor:
    """The sum of both directions.

    Args:
        images: unit image vectors of this process.
        texts: unit text vectors of this process; row i belongs to row i of `images`.
        ids: identity of each pair.
        scale: inverse temperature; the paper's is fixed at 1 / 0.02.
        everywhere: the pairs of all processes.
        epsilon: see `reverse_divergence`.

    Shape:
        images (Q, D), texts (Q, D), ids (Q,) -> scalar.

    Raises:
        ConfigError: the shapes disagree, or `epsilon` is not positive.
    """
    others = candidates_of("sdm", images, texts, ids, everywhere)
    of_images = reverse_divergence(images, others.texts, ids, others.ids, scale, epsilon)
    return of_images + reverse_divergence(texts, others.images, ids, others.ids, scale, epsilon)
