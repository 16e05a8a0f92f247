"""Self-supervision: two views of one picture recognise each other among all others (SimCLR, Chen et al. 2020, eq. 1).

TBPS-CLIP (Cao et al. 2024, section 3.3) takes it for pictures, on the output of a small perceptron, at temperature 0.1.

Axes: Q pictures of this process, N pictures of all processes, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from passerby.errors import ConfigError
from passerby.losses.pairs import scores


def self_supervision(
    first: Tensor,
    second: Tensor,
    temperature: float = 0.1,
    all_first: Tensor | None = None,
    all_second: Tensor | None = None,
    offset: int = 0,
) -> Tensor:
    """Cross-entropy of each of the 2Q views choosing its partner among the 2N - 1 others.

    Args:
        first: unit vectors of one view of each picture.
        second: unit vectors of the other view.
        temperature: positive.
        all_first: the first views of all processes; `first` when there is one process.
        all_second: likewise the second ones.
        offset: row of `all_first` that is the first of `first`.

    Shape:
        first (Q, D), second (Q, D), all_* (N, D) -> scalar.

    Raises:
        ConfigError: the shapes differ, the rows lie outside, or the temperature is not positive.
    """
    all_first = first if all_first is None else all_first
    all_second = second if all_second is None else all_second
    if first.ndim != 2 or first.shape != second.shape or all_first.shape != all_second.shape:
        raise ConfigError(
            f"ss: views {tuple(first.shape)} and {tuple(second.shape)}, of all processes {tuple(all_first.shape)} and "
            f"{tuple(all_second.shape)}; expected two of (Q, D) and two of (N, D)"
        )
    if temperature <= 0 or not 0 <= offset <= len(all_first) - len(first):
        raise ConfigError(
            f"ss: temperature {temperature}, rows {offset} to {offset + len(first)} of {len(all_first)}; expected a "
            "temperature above zero, and rows that are there"
        )
    everything = torch.cat([all_first, all_second])  # (2N, D)
    logits = scores(torch.cat([first, second]), everything) / temperature  # (2Q, 2N)
    own = offset + torch.arange(len(first), device=first.device)
    itself, partner = torch.cat([own, own + len(all_first)]), torch.cat([own + len(all_first), own])
    logits = logits.scatter(1, itself[:, None], -torch.inf)
    return cross_entropy(logits, partner)
