"""A convolution over small maps whose weight gradient is computed on maps laid side by side.

The processor's kernel for the gradient of the weights runs along the columns of a map, and in bfloat16 it leaves most
of the matrix unit idle where a map has three or six of them. Laying several maps in one row, a column of zeros between
neighbours, gives the same sums over long rows: seen 2 to 4 times as fast at 6x3 and 12x6. Nothing else changes; where
there is no such processor, or no gradient, this is `torch.nn.Conv2d`.

Axes: B maps, C channels in, O channels out, H rows, W columns.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import conv2d

_SIDE_BY_SIDE = 16  # maps in a row; more gain nothing
_WIDE = 8  # columns from which on the ordinary kernel is as fast


def lay_side_by_side(maps: Tensor, across: int, rows: int, columns: int) -> Tensor:
    """Lay groups of maps into wide ones: every `columns` columns a map begins, with zeros behind and below it.

    Args:
        maps: channels last in memory.
        across: maps in a row, a divisor of B.
        rows: rows of the wide map, at least H.
        columns: columns from one map to the next, at least W.

    Shape:
        (B, C, H, W) -> (B / across, C, rows, across * columns), channels last in memory.
    """
    count, channels, height, width = maps.shape
    wide = maps.new_zeros(count // across, rows, across, columns, channels)
    wide[:, :height, :, :width] = maps.permute(0, 2, 3, 1).unflatten(0, (-1, across)).transpose(1, 2)
    return wide.flatten(2, 3).permute(0, 3, 1, 2)


def weight_gradient(maps: Tensor, gradient: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Gradient of the weight of a 3x3 convolution with padding 1, from maps laid side by side.

    Args:
        maps: what was convolved; the sides are multiples of the stride.
        gradient: with respect to the convolution's output.
        weight: the kernel; only its shape and layout matter.
        stride: of the convolution.

    Shape:
        (B, C, H, W), (B, O, H / stride, W / stride), (O, C, 3, 3) -> (O, C, 3, 3).
    """
    across = math.gcd(len(maps), _SIDE_BY_SIDE)
    # One row and column of zeros in the output's steps: what a kernel sees beyond a map is then always zero.
    rows, columns = gradient.shape[2] + 1, gradient.shape[3] + 1
    wide_maps = lay_side_by_side(maps, across, rows * stride, columns * stride)
    wide_gradient = lay_side_by_side(gradient, across, rows, columns)
    return _backward(wide_gradient, wide_maps, weight, stride, of_input=False)


def _backward(gradient: Tensor, maps: Tensor, weight: Tensor, stride: int, of_input: bool) -> Tensor:
    steps, ones, zeros = [stride, stride], [1, 1], [0, 0]
    both = torch.ops.aten.convolution_backward(
        gradient, maps, weight, None, steps, ones, ones, False, zeros, 1, [of_input, not of_input, False]
    )
    return both[0] if of_input else both[1]


class _TiledConvolution(torch.autograd.Function):
    """Forward and the input's gradient as ever, the weight's gradient from `weight_gradient`."""

    @staticmethod
    def forward(ctx: FunctionCtx, maps: Tensor, weight: Tensor, stride: int) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(maps, weight)
        ctx.stride = stride  # type: ignore[attr-defined]
        return conv2d(maps, weight, stride=stride, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:  # type: ignore[override]
        maps, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        asked = ctx.needs_input_grad[0]
        back = _backward(gradient, maps, weight, ctx.stride, of_input=True) if asked else None
        return back, weight_gradient(maps, gradient, weight, ctx.stride), None


class TiledConv2d(nn.Conv2d):
    """A 3x3 convolution with padding 1 and no bias, for small maps.

    Args:
        channels: C.
        wider: O.
        stride: 1 or 2.

    Shape:
        (B, C, H, W) -> (B, O, H / stride, W / stride).
    """

    def __init__(self, channels: int, wider: int, stride: int = 1) -> None:
        super().__init__(channels, wider, 3, stride=stride, padding=1, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in torch.nn.Conv2d
        """Convolve; in training in bfloat16 on a processor, prepare the faster gradient."""
        stride = self.stride[0]
        if not self._is_slow_case(input) or input.shape[2] % stride or input.shape[3] % stride:
            return super().forward(input)
        maps = input.bfloat16().contiguous(memory_format=torch.channels_last)
        return _TiledConvolution.apply(maps, self.weight.bfloat16(), stride)

    def _is_slow_case(self, maps: Tensor) -> bool:
        """Whether the ordinary kernel would be slow at the gradient of the weights."""
        in_bfloat16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16
        narrow = maps.shape[3] // self.stride[0] < _WIDE
        learns = self.training and torch.is_grad_enabled() and self.weight.requires_grad
        return learns and maps.device.type == "cpu" and in_bfloat16 and narrow


def tile_convolutions(network: nn.Module) -> None:
    """Put a `TiledConv2d` with the same weight in the place of each 3x3 convolution that one can stand for.

    Names, weights and results stay what they are. Left alone are convolutions with a bias, groups, a dilation, another
    padding or another stride, and subclasses of `torch.nn.Conv2d`, which may compute something else.

    Args:
        network: changed in place.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Conv2d and _is_plain(child):
                tiled = TiledConv2d(child.in_channels, child.out_channels, child.stride[0])
                tiled.weight = child.weight
                setattr(parent, name, tiled.train(child.training))


def _is_plain(convolution: nn.Conv2d) -> bool:
    """Whether a convolution is one of those that `TiledConv2d` is."""
    same = convolution.kernel_size == (3, 3) and convolution.padding == convolution.dilation == (1, 1)
    stepped = convolution.stride in ((1, 1), (2, 2)) and convolution.padding_mode == "zeros"
    return same and stepped and convolution.groups == 1 and convolution.bias is None
