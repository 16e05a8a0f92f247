"""Batch normalisation over the tokens that count, in any number of processes (Ioffe and Szegedy 2015, algorithm 1).

Rows that only fill up a shorter sentence would pull mean and variance towards the padding; a mask leaves them out
without taking anything out of the tensor, so that nothing waits for the device. With several processes the sums are
added up over all of them, with gradient, so that two processes learn exactly what one would.

Axes: R rows of tokens, C channels.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from passerby.nn.process_total import process_total


class MaskedBatchNorm(nn.Module):
    """``y = (x - mean) / sqrt(var + eps) * weight + bias`` with mean and variance over the rows of a mask.

    Args:
        channels: C.
        momentum: share of the newest batch in the running statistics.
        eps: added to the variance.

    Shape:
        (R, C), optional (R,) bool -> (R, C); rows outside the mask come out finite and mean nothing.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise by the batch in training, by the running statistics otherwise."""
        several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        if not self.training or (mask is None and not several):
            # torch's own kernel where nothing is masked; half precision is normalised in float32 inside it.
            return nn.functional.batch_norm(
                values.float(), self.running_mean, self.running_var, self.weight, self.bias,
                self.training, self.momentum, self.eps,
            )  # fmt: skip
        wide = values.float()
        keep = wide.new_ones(wide.shape[0]) if mask is None else mask.to(wide.dtype)  # (R,)
        # Autocast would round both products to three digits, and a variance is their small difference.
        with torch.autocast(wide.device.type, enabled=False):
            sums = torch.cat([keep @ wide, keep @ wide.square(), keep.sum()[None]])  # (2C + 1,)
        if several:
            sums = process_total(sums)
        channels = wide.shape[1]
        count = sums[-1].clamp(min=1)
        mean = sums[:channels] / count
        variance = (sums[channels:-1] / count - mean.square()).clamp(min=0)
        with torch.no_grad():
            unbiased = variance * count / (count - 1).clamp(min=1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        return (wide - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias
