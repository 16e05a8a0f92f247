"""How much of the score each branch gets: chosen on the selection split, never on the one that is reported.

The released code of ITSELF reports the best of thirteen mixtures on the test split; here the share of the global branch
is a setting like any other, found where settings are found and stored in the checkpoint.

Axes: Q captions, N pictures, G global width, E local width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from passerby.evaluation.mixture_oracle import SHARES
from passerby.metrics.positions import rank_scores
from passerby.metrics.precision import average_precision
from passerby.metrics.ranking import hits_at, mean_over_queries
from passerby.metrics.relevance import relevance_from_labels
from passerby.models.dual_encoder import unit_rows
from passerby.models.itself import Itself
from passerby.training.tasks.pair_data import Prepared, unchanged

_BATCH = 256


@torch.no_grad()
def mixed_figures(
    model: Itself, split: Prepared, device: torch.device, metric: str = "map"
) -> tuple[float, dict[str, float]]:
    """Encode a split once, try every share of `SHARES`, and say which is best.

    Args:
        model: in evaluation mode; its own share is not looked at.
        split: the selection split.
        device: where the model is.
        metric: "r1" or "map"; of equal shares the one nearest to a half is taken.

    Returns:
        The best share, and the figures that it reaches in percent: ``r1``, ``map``, ``mix``, and those of either branch
        alone as ``r1_global``, ``r1_local``, ``map_global`` and ``map_local``.
    """
    pictures = [
        model.picture_branches(unchanged(split.pixels[start : start + _BATCH], model.preprocessing, device))
        for start in range(0, len(split.pixels), _BATCH)
    ]
    sentences = [
        model.sentence_branches(torch.from_numpy(split.token_ids[start : start + _BATCH]).to(device))
        for start in range(0, len(split.token_ids), _BATCH)
    ]
    whole, local = (_scores(sentences, pictures, branch) for branch in (0, 1))
    persons = split.pairs.person_of
    relevance = relevance_from_labels(persons[split.pairs.image_of], persons)
    found = {}
    for share in SHARES:
        groups = rank_scores((share * whole + (1 - share) * local).astype(np.float32), relevance)
        found[share] = {
            "r1": 100 * mean_over_queries(hits_at(groups, 1)),
            "map": 100 * mean_over_queries(average_precision(groups)),
        }
    best = max(SHARES, key=lambda share: (found[share][metric], -abs(share - 0.5)))
    alone = {
        f"{key}_{name}": found[share][key] for name, share in (("global", 1.0), ("local", 0.0)) for key in found[1.0]
    }
    return best, {**found[best], "mix": best, **alone}


def _scores(sentences: list[tuple[Tensor, Tensor]], pictures: list[tuple[Tensor, Tensor]], branch: int) -> np.ndarray:
    """Cosines of one branch: (Q, N) float32."""
    texts = unit_rows(torch.cat([part[branch] for part in sentences]))
    images = unit_rows(torch.cat([part[branch] for part in pictures]))
    return (texts @ images.T).cpu().numpy()
