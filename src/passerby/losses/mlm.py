"""Masked words, told from the rest of the sentence and the picture (IRRA's implicit relation reasoning, eq. 3 and 4).

Logits exist for the masked places alone; those of all places would be a gigabyte of which an eighth is looked at.

Axes: M masked places, V words of the vocabulary.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from passerby.errors import ConfigError
from passerby.losses.pairs import exact


def masked_words(logits: Tensor, labels: Tensor, total: Tensor | float | None = None) -> Tensor:
    """``sum_m CE(logits_m, label_m) / total``; 0 where nothing was masked.

    Args:
        logits: of the masked places.
        labels: the words that stood there.
        total: divisor; the number of places by default. With several processes: the places of all of them divided by
            the number of processes, so that the mean over processes is the mean over places.

    Shape:
        logits (M, V), labels (M,) int64 -> scalar.

    Raises:
        ConfigError: the shapes disagree.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ConfigError(f"mlm: logits {tuple(logits.shape)}, labels {tuple(labels.shape)}; expected (M, V) and (M,)")
    summed = cross_entropy(exact(logits), labels, reduction="sum")
    if total is None:
        return summed / max(1, len(labels))
    return summed / total
