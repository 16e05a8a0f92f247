"""Cyclic image-text contrast (TBPS-CLIP, Cao et al. 2024, eq. 7; CyCLIP, Goel et al. 2022, eq. 2 and 3).

``1/4 mean_ij (<v_i, v_j> - <t_i, t_j>)^2 + 1/4 mean_ij (<v_i, t_j> - <v_j, t_i>)^2``: two pictures are as alike as
their sentences are, and a picture is as near to another's sentence as that one's picture is to its own.

Axes: Q pairs of this process, N pairs of all processes, D embedding width.
"""

from __future__ import annotations

from torch import Tensor

from passerby.losses.pairs import Candidates, candidates_of, scores


def c_itc(images: Tensor, texts: Tensor, ids: Tensor, everywhere: Candidates | None = None) -> Tensor:
    """The loss of the formula above; it looks at no identity.

    Args:
        images: unit image vectors of this process.
        texts: unit text vectors of this process; row i belongs to row i of `images`.
        ids: identity of each pair, for the shapes alone.
        everywhere: the pairs of all processes.

    Shape:
        images (Q, D), texts (Q, D), ids (Q,) -> scalar.

    Raises:
        ConfigError: the shapes disagree.
    """
    others = candidates_of("c_itc", images, texts, ids, everywhere)
    within = scores(images, others.images) - scores(texts, others.texts)  # (Q, N)
    across = scores(images, others.texts) - scores(texts, others.images)
    return (within.square().mean() + across.square().mean()) / 4
