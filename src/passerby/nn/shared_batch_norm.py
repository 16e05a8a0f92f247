"""Batch normalisation whose statistics are those of all processes together, on any device.

Several processes with B pictures each then train as one with all of them: PyTorch's own layer of this kind needs a GPU.
Forward and backward pass exchange two vectors of the channels' length each.

Axes: B rows, C channels.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from passerby.nn.process_total import process_total


class SharedBatchNorm1d(nn.BatchNorm1d):
    """`BatchNorm1d` over the rows of all processes in training; the same layer otherwise."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # as the layer that it replaces calls it
        """(B, C) or (B, C, L) -> the same; every process must bring the same B."""
        return shared_batch_norm(self, input) if self.training else super().forward(input)


class SharedBatchNorm2d(nn.BatchNorm2d):
    """`BatchNorm2d` over the pictures of all processes in training; the same layer otherwise."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # as the layer that it replaces calls it
        """(B, C, H, W) -> the same; every process must bring the same B."""
        return shared_batch_norm(self, input) if self.training else super().forward(input)


def shared_batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d, rows: Tensor) -> Tensor:
    """``(x - mean) / sqrt(var + eps) * gain + shift`` with mean and variance over all processes.

    Args:
        layer: whose gain, shift and running statistics are used; the latter move.
        rows: of this process.

    Shape:
        (B, C, ...) -> the same.
    """
    wide = rows.float() if rows.dtype != torch.float64 else rows
    over = [axis for axis in range(rows.ndim) if axis != 1]
    shape = [1, -1, *[1] * (rows.ndim - 2)]
    count = dist.get_world_size() * rows.numel() // rows.shape[1]
    mean = process_total(wide.sum(dim=over)) / count  # (C,)
    centred = wide - mean.view(shape)
    variance = process_total(centred.square().sum(dim=over)) / count
    if layer.running_mean is not None and layer.running_var is not None and layer.num_batches_tracked is not None:
        with torch.no_grad():
            layer.num_batches_tracked += 1
            share = layer.momentum if layer.momentum is not None else 1 / float(layer.num_batches_tracked)
            layer.running_mean.lerp_(mean.detach().to(layer.running_mean.dtype), share)
            unbiased = variance.detach() * (count / max(1, count - 1))
            layer.running_var.lerp_(unbiased.to(layer.running_var.dtype), share)
    result = centred * (variance + layer.eps).rsqrt().view(shape)
    if layer.affine:
        result = result * layer.weight.view(shape) + layer.bias.view(shape)
    return result.to(rows.dtype)


def share_batch_statistics(network: nn.Module) -> int:
    """Make each plain batch normalisation of a network one over all processes, its weights and their names unchanged.

    Layers that fuse the normalisation with something else, as some of timm's do, stay as they are.

    Args:
        network: changed in place.

    Returns:
        How many layers were changed.
    """
    shared = {nn.BatchNorm1d: SharedBatchNorm1d, nn.BatchNorm2d: SharedBatchNorm2d}
    found = [module for module in network.modules() if type(module) in shared]
    for module in found:
        module.__class__ = shared[type(module)]  # type: ignore[index]
    return len(found)
