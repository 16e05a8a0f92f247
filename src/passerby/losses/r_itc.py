"""Reversed image-text contrast (TBPS-CLIP, Cao et al. 2024, eq. 6): SDM with a larger epsilon, halved.

``1/2 [ KL(p_i2t || q + eps) + KL(p_t2i || q + eps) ]`` with eps = 0.01.

Axes: Q pairs of this process, N pairs of all processes, D embedding width.
"""

from __future__ import annotations

from torch import Tensor

from passerby.losses.pairs import Candidates, candidates_of
from passerby.losses.sdm import reverse_divergence


def r_itc(
    images: Tensor,
    texts: Tensor,
    ids: Tensor,
    scale: Tensor | float,
    everywhere: Candidates | None = None,
    epsilon: float = 1e-2,
) -> Tensor:
    """The loss of the formula above.

    Args:
        images: unit image vectors of this process.
        texts: unit text vectors of this process; row i belongs to row i of `images`.
        ids: identity of each pair.
        scale: inverse temperature, positive.
        everywhere: the pairs of all processes.
        epsilon: positive.

    Shape:
        images (Q, D), texts (Q, D), ids (Q,) -> scalar.

    Raises:
        ConfigError: the shapes disagree, or `epsilon` is not positive.
    """
    others = candidates_of("r_itc", images, texts, ids, everywhere)
    of_images = reverse_divergence(images, others.texts, ids, others.ids, scale, epsilon)
    return (of_images + reverse_divergence(texts, others.images, ids, others.ids, scale, epsilon)) / 2
