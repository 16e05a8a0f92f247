"""Features of all processes in one tensor, with gradients that flow back to where they came from.

An in-batch contrastive loss needs every process's candidates. The backward pass adds up what each process computed
for a row and hands it to the row's owner, so that after the data-parallel mean of parameter gradients, P processes
with B rows each equal one process with P x B rows.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)  # (P * B, ...)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


def process_count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_with_gradient(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes in rank order; the identity when there is one process.

    Shape:
        (B, ...) -> (P * B, ...); every process must bring the same B.
    """
    if process_count() == 1:
        return rows
    if rows.is_floating_point():
        gathered = _Gather.apply(rows)
        if not isinstance(gathered, Tensor):
            raise TypeError("autograd returned no tensor")
        return gathered
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def first_row(count: int) -> int:
    """Where the rows of this process begin among those of all, when every process brings `count`."""
    return dist.get_rank() * count if process_count() > 1 else 0
