"""Identity-aware contrastive loss: InfoNCE in which every picture of the same person is a positive.

Plain InfoNCE (van den Oord et al. 2018, eq. 4; CLIP, Radford et al. 2021, fig. 3) calls the other pictures of the
described person negatives, and person data sets put several of them into one batch. Here the target is spread evenly
over all candidates that share the query's identity (supervised contrast "outside the logarithm", Khosla et al. 2020,
eq. 2, across the two modalities). With one picture per identity both are the same.

Axes: Q queries of this process, N candidates of all processes, D embedding width.
"""

from __future__ import annotations

from torch import Tensor

from passerby.errors import ConfigError
from passerby.losses.pairs import identity_target, scores


def contrastive_direction(
    queries: Tensor, candidates: Tensor, query_ids: Tensor, candidate_ids: Tensor, scale: Tensor | float
) -> Tensor:
    """Cross-entropy of one direction, from queries to candidates.

    ``loss = -mean_q sum_n target[q, n] * log softmax_n(scale * <queries[q], candidates[n]>)`` with
    ``target[q, n] = [id_q == id_n] / #{m: id_m == id_q}``.

    Args:
        queries: unit vectors.
        candidates: unit vectors; each query must have at least one candidate of its identity.
        query_ids: identity of each query.
        candidate_ids: identity of each candidate.
        scale: inverse temperature, positive.

    Shape:
        queries (Q, D), candidates (N, D), query_ids (Q,), candidate_ids (N,) -> scalar.

    Raises:
        ConfigError: the shapes disagree.
    """
    if queries.shape[0] != query_ids.shape[0] or candidates.shape[0] != candidate_ids.shape[0]:
        raise ConfigError(
            f"identity_contrastive: {tuple(queries.shape)} queries with {tuple(query_ids.shape)} ids and "
            f"{tuple(candidates.shape)} candidates with {tuple(candidate_ids.shape)} ids; each row needs one id"
        )
    log_p = (scale * scores(queries, candidates)).log_softmax(dim=1)  # (Q, N)
    return -(identity_target(query_ids, candidate_ids, log_p) * log_p).sum(dim=1).mean()


def identity_contrastive(
    images: Tensor,
    texts: Tensor,
    ids: Tensor,
    scale: Tensor | float,
    all_images: Tensor | None = None,
    all_texts: Tensor | None = None,
    all_ids: Tensor | None = None,
) -> Tensor:
    """Mean of the image-to-text and the text-to-image direction.

    Args:
        images: unit image vectors of this process; row i and row i of `texts` belong to the same pair.
        texts: unit text vectors of this process.
        ids: identity of each pair.
        scale: inverse temperature, positive.
        all_images: the image vectors of all processes, gathered with gradient; `images` when there is one process.
        all_texts: likewise for the texts.
        all_ids: likewise for the identities.

    Shape:
        images (Q, D), texts (Q, D), ids (Q,), all_* (N, ...) -> scalar.
    """
    all_images = images if all_images is None else all_images
    all_texts = texts if all_texts is None else all_texts
    all_ids = ids if all_ids is None else all_ids
    image_to_text = contrastive_direction(images, all_texts, ids, all_ids, scale)
    text_to_image = contrastive_direction(texts, all_images, ids, all_ids, scale)
    return (image_to_text + text_to_image) / 2
