"""Triplet alignment loss (RDE, Qin et al. 2024, eq. 5): a soft hardest negative, and a soft choice among positives.

For scores ``S`` and a temperature ``T``, with ``a_ij = y_ij exp(S_ij / T) / sum_k y_ik exp(S_ik / T)`` held constant,

    l_i = [ m - sum_j a_ij S_ij + T log sum_j (1 - y_ij) exp(S_ij / T) ]_+

for images among texts plus the same for texts among images. The last term is at least the hardest negative's score and
tends to it as T goes to 0. A batch of one identity has no negatives: the loss is 0 there, and so is its gradient (the
formula as it is usually written gives NaN).

Axes: Q pairs of this process, N pairs of all processes, D embedding width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from passerby.errors import ConfigError
from passerby.losses.pairs import Candidates, candidates_of, same_identity, scores


def alignment_hinge(similarity: Tensor, same: Tensor, temperature: float = 0.015, margin: float = 0.1) -> Tensor:
    """``l_i`` of one direction; 0 for rows that have no positive or no negative.

    Args:
        similarity: scores, at least float32.
        same: where a candidate has the row's identity.
        temperature: T, positive.
        margin: m.

    Shape:
        similarity (Q, N), same (Q, N) bool -> (Q,).
    """
    usable = same.any(dim=1) & ~same.all(dim=1)  # (Q,)
    # Rows that are left out get a mask with something in it: a softmax over nothing has no gradient but NaN.
    positives, negatives = same | ~usable[:, None], ~same | ~usable[:, None]
    logits = similarity / temperature
    share = logits.detach().masked_fill(~positives, -torch.inf).softmax(dim=1)
    positive = (share * similarity).sum(dim=1)
    negative = temperature * logits.masked_fill(~negatives, -torch.inf).logsumexp(dim=1)
    return torch.where(usable, margin - positive + negative, 0).clamp_min(0)


def tal(
    images: Tensor,
    texts: Tensor,
    ids: Tensor,
    everywhere: Candidates | None = None,
    temperature: float = 0.015,
    margin: float = 0.1,
) -> Tensor:
    """The loss of each pair, both directions added; RDE and ITSELF sum it over the batch.

    Args:
        images: unit image vectors of this process.
        texts: unit text vectors of this process; row i belongs to row i of `images`.
        ids: identity of each pair.
        everywhere: the pairs of all processes.
        temperature: T, positive.
        margin: m.

    Shape:
        images (Q, D), texts (Q, D), ids (Q,) -> (Q,).

    Raises:
        ConfigError: the shapes disagree, or the temperature is not positive.
    """
    if temperature <= 0:
        raise ConfigError(f"tal: the temperature is {temperature}; expected a number above zero, such as 0.015")
    others = candidates_of("tal", images, texts, ids, everywhere)
    same = same_identity(ids, others.ids)
    of_images = alignment_hinge(scores(images, others.texts), same, temperature, margin)
    return of_images + alignment_hinge(scores(texts, others.images), same, temperature, margin)
