"""Generalised pooling (Chen et al. 2021, section 3.2): a learned weighted sum of sorted values.

Maximum and mean are special cases. The paper weighs places by a recurrent network that runs over the used ones in both
directions. Here a perceptron sees how far a place lies from either end, which is what that network has to count; the
weights are then the same however much padding follows.

Axes: B rows, K tokens, D channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class GeneralisedPooling(nn.Module):
    """``v_d = sum_k theta_k sorted_k(x_d)`` with ``theta = softmax(MLP(codes of k and n - 1 - k))`` over n places.

    Args:
        code: width of a position code, even.
        hidden: width of the perceptron.

    Shape:
        values (B, K, D), taken (B, K) bool or None -> (B, D).
    """

    def __init__(self, code: int = 32, hidden: int = 32) -> None:
        super().__init__()
        self.code = code
        self.score = nn.Sequential(nn.Linear(2 * code, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, values: Tensor, taken: Tensor | None = None) -> Tensor:
        """Sort each channel from high to low and weigh the places."""
        count, tokens = values.shape[:2]
        keep = values.new_ones((count, tokens), dtype=torch.bool) if taken is None else taken
        lowest = torch.finfo(values.dtype).min
        ordered = values.masked_fill(~keep.unsqueeze(-1), lowest).sort(dim=1, descending=True).values
        used = keep.sum(dim=1, keepdim=True)  # (B, 1)
        places = torch.arange(tokens, device=values.device).expand(count, -1)  # (B, K)
        inside = places < used
        codes = torch.cat([self._codes(places), self._codes((used - 1 - places).clamp(min=0))], dim=-1)
        scores = self.score(codes).squeeze(-1).masked_fill(~inside, -torch.inf)
        weights = scores.softmax(dim=1).unsqueeze(-1)
        return (ordered.masked_fill(~inside.unsqueeze(-1), 0) * weights).sum(dim=1)

    def _codes(self, places: Tensor) -> Tensor:
        """Sine and cosine of the place at falling frequencies (Vaswani et al. 2017, section 3.5): (B, K, code)."""
        rates = torch.exp(torch.arange(0, self.code, 2, device=places.device) * (-math.log(10_000.0) / self.code))
        angles = places.float().unsqueeze(-1) * rates
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
