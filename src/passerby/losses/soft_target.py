"""The soft-target loss of small CLIP tutorials: texts are pulled to pictures as alike as the pairs already are.

For texts t and pictures v of a batch of B pairs and a temperature T,

    L = t v^T / T,    Q = softmax over rows of (v v^T + t t^T) / 2 * T,
    loss = mean_i 1/2 [ -sum_j Q_ij log softmax(L)_ij  -  sum_j Q_ji log softmax(L^T)_ij ].

Source: moein-shariatnia/OpenAI-CLIP and the reports built on it. Three things are theirs and not ours: the vectors
have no unit length, the targets are multiplied by T where the logits are divided (the same at T = 1), and the second
sum takes the columns of Q, which do not add up to one, so it is no proper cross-entropy.

Axes: B pairs, D embedding width.
"""

from __future__ import annotations

from torch import Tensor

from passerby.errors import ConfigError
from passerby.losses.pairs import scores


def soft_target(images: Tensor, texts: Tensor, temperature: float = 1.0, legacy: bool = False) -> Tensor:
    """The loss of the formula above.

    Args:
        images: vectors of the pictures, as the projection gives them.
        texts: vectors of the sentences; row i belongs to row i of `images`.
        temperature: T, positive.
        legacy: True lets gradients flow through the targets too, as the original does; by default they are constants.

    Shape:
        images (B, D), texts (B, D) -> scalar.

    Raises:
        ConfigError: the shapes differ, or the temperature is not positive.
    """
    if images.shape != texts.shape or images.ndim != 2:
        raise ConfigError(
            f"soft_target: {tuple(images.shape)} images and {tuple(texts.shape)} texts; expected (B, D) of both"
        )
    if temperature <= 0:
        raise ConfigError(f"soft_target: the temperature is {temperature}; expected a number above zero")
    # Dot products of hundreds leave half precision no decimals, so `scores` takes none.
    logits = scores(texts, images) / temperature  # (B, B), rows are texts
    alike = (scores(images, images) + scores(texts, texts)) / 2 * temperature
    target = (alike if legacy else alike.detach()).softmax(dim=1)
    of_texts = -(target * logits.log_softmax(dim=1)).sum(dim=1)
    of_images = -(target.T * logits.T.log_softmax(dim=1)).sum(dim=1)
    return ((of_texts + of_images) / 2).mean()
