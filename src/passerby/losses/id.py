"""Identity classification: pictures and sentences are told apart by one classifier of people (Zheng et al. 2020).

``1/2 mean_i [ CE(W v_i, y_i) + CE(W t_i, y_i) ]``. One W for both sides pulls them towards the same places.

Axes: B pairs, C identities.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from passerby.errors import ConfigError, DataError
from passerby.losses.pairs import exact


def identity_classification(image_logits: Tensor, text_logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of the formula above.

    Args:
        image_logits: of the pictures.
        text_logits: of the sentences.
        labels: identities 0..C-1, without gaps.

    Shape:
        image_logits (B, C), text_logits (B, C), labels (B,) int64 -> scalar.

    Raises:
        ConfigError: the shapes disagree.
    """
    if image_logits.shape != text_logits.shape or labels.shape != image_logits.shape[:1]:
        raise ConfigError(
            f"id: logits {tuple(image_logits.shape)} and {tuple(text_logits.shape)}, labels {tuple(labels.shape)}; "
            "expected (B, C), (B, C) and (B,)"
        )
    return (cross_entropy(exact(image_logits), labels) + cross_entropy(exact(text_logits), labels)) / 2


def check_identities(classes: int, smallest: int, largest: int) -> None:
    """Refuse identities that a classifier has no output for; once, when it is built, not in each step.

    Raises:
        DataError: the identities do not lie in 0..classes-1.
    """
    if smallest < 0 or largest >= classes:
        raise DataError(
            f"identities from {smallest} to {largest} for {classes} classes; number the people of the training split "
            "from 0 without gaps"
        )
