"""Weighted sums over a list of neighbours, without first copying each neighbour's values beside each other.

A bag of rows with a weight each is what an embedding bag adds up; negative weights, as the difference of two maps has
them, are as good as others. Compared with gathering N x M rows it needs a fraction of the time and of the memory.

Axes: n rows that look, N rows that are looked at, M neighbours, H heads, V width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mix_neighbours(weights: Tensor, values: Tensor, neighbours: Tensor) -> Tensor:
    """``u_ih = sum_a w_iha v_jh`` with ``j = neighbours[i, a]`` (MagFormer, eq. 2, over the neighbours alone).

    Args:
        weights: of each neighbour; may be negative.
        values: of all rows that can be looked at, head by head.
        neighbours: whom each row looks at; one list for all heads or one for each.

    Shape:
        weights (n, H, M), values (H, N, V), neighbours (n, 1 or H, M) -> (n, H, V).
    """
    rows, heads, count = weights.shape
    if count == 0:
        return values.new_zeros((rows, heads, values.shape[2]))
    bags = [
        torch.nn.functional.embedding_bag(
            neighbours[:, min(head, neighbours.shape[1] - 1)].contiguous(),
            values[head],
            per_sample_weights=weights[:, head].contiguous(),
            mode="sum",
        )
        for head in range(heads)
    ]
    return torch.stack(bags, dim=1)
