"""A sum over all processes, with gradient: what normalisation by a whole batch needs when the batch is shared out.

Axes: none; a tensor of any shape, the same in every process.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _Total(torch.autograd.Function):
    """Each process's part has the gradient of what all of them made of the sum."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def process_total(part: Tensor) -> Tensor:
    """Add up what every process brings; call it where a process group has been begun.

    Shape:
        any -> the same.
    """
    # torch.distributed.nn.functional has an all_reduce too, but a module that is imported after the process group has
    # begun keeps the group alive in its default arguments, and gloo then ends the process at the interpreter's exit.
    total = _Total.apply(part)
    if not isinstance(total, Tensor):
        raise TypeError("autograd returned no tensor")
    return total
