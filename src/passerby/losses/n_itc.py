"""Normalised image-text contrast with soft labels (TBPS-CLIP, Cao et al. 2024, eq. 3 and 5).

Cross-entropy of the softmax of ``scale <v_i, t_j>`` against ``a p_i + (1 - a) q_i``, where q_i spreads evenly over the
candidates of the same identity and p_i is the model's own distribution, held constant. The mean of both directions.
With a = 0 it is `identity_contrastive`. The released code runs both towers a second time for p; the first time's
scores without their gradient are the same.

Axes: Q pairs of this process, N pairs of all processes, D embedding width.
"""

from __future__ import annotations

from torch import Tensor

from passerby.errors import ConfigError
from passerby.losses.pairs import Candidates, candidates_of, identity_target, scores


def n_itc(
    images: Tensor,
    texts: Tensor,
    ids: Tensor,
    scale: Tensor | float,
    everywhere: Candidates | None = None,
    softness: float = 0.0,
) -> Tensor:
    """The loss of the formula above.

    Args:
        images: unit image vectors of this process.
        texts: unit text vectors of this process; row i belongs to row i of `images`.
        ids: identity of each pair.
        scale: inverse temperature, positive.
        everywhere: the pairs of all processes.
        softness: a, in [0, 1].

    Shape:
        images (Q, D), texts (Q, D), ids (Q,) -> scalar.

    Raises:
        ConfigError: the shapes disagree, or `softness` lies outside [0, 1].
    """
    if not 0 <= softness <= 1:
        raise ConfigError(f"n_itc: a softness of {softness}; expected a share from 0 to 1")
    others = candidates_of("n_itc", images, texts, ids, everywhere)
    of_images = _direction(scale * scores(images, others.texts), ids, others.ids, softness)
    of_texts = _direction(scale * scores(texts, others.images), ids, others.ids, softness)
    return (of_images + of_texts) / 2


def _direction(logits: Tensor, query_ids: Tensor, candidate_ids: Tensor, softness: float) -> Tensor:
    log_p = logits.log_softmax(dim=1)  # (Q, N)
    target = (1 - softness) * identity_target(query_ids, candidate_ids, log_p) + softness * log_p.detach().exp()
    return -(target * log_p).sum(dim=1).mean()
