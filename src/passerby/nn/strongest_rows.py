"""The largest value of each channel over groups of rows, of two linear maps added up, with the gradient that it has.

``y_bd = max over rows r of group b of (W h_r + V u_r + c)_d``. One row of a group wins each channel, so every gradient
is a sum over the B * D winners; autograd multiplies whole matrices that are zero everywhere else, K times the work for
groups of K rows. Sums over winners gather rows, which pays where matrix products run in single precision on a
processor; matrix units (GPUs, bfloat16) multiply the zeros faster than anything gathers.

Axes: R rows, of G groups of sizes (B_g, K_g) one after the other, B groups of rows in all, F and C channels of a row,
D channels of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag


def gathering_pays(rows: Tensor) -> bool:
    """Whether sums over winners are likely faster than whole products: on a processor, in single precision."""
    single = rows.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return rows.device.type == "cpu" and single


def strongest_rows(
    hidden: Tensor,
    given: Tensor,
    weights: tuple[Tensor, Tensor],
    bias: Tensor,
    sizes: Sequence[tuple[int, int]],
    taken: Tensor | None = None,
) -> Tensor:
    """``max_r (W h_r + V u_r + c)`` of each group of rows. Of equal winners the first has the whole gradient.

    Args:
        hidden: h.
        given: u.
        weights: W and V.
        bias: c.
        sizes: (B_g, K_g) of the blocks that the rows come in: B_g groups of K_g rows each.
        taken: which rows take part; a group of which none does comes out as the lowest number there is.

    Shape:
        (R, F), (R, C), ((D, F), (D, C)), (D,), (R,) bool -> (B, D).
    """
    found: Any = _StrongestRows.apply(hidden, given, *weights, bias, sizes, taken)
    return found


def _winners(values: Tensor, sizes: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """The largest of each group and channel and its row: (R, D) -> (B, D), (B, D) int64."""
    largest, rows, first = [], [], 0
    for part, (groups, length) in zip(values.split([b * k for b, k in sizes]), sizes, strict=True):
        best, place = part.view(groups, length, -1).max(dim=1)
        starts = first + length * torch.arange(groups, device=values.device)
        largest.append(best)
        rows.append(place + starts[:, None])
        first += groups * length
    return torch.cat(largest), torch.cat(rows)


class _StrongestRows(torch.autograd.Function):
    """`strongest_rows` with gradients summed over winners."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        given: Tensor,
        wide: Tensor,
        short: Tensor,
        bias: Tensor,
        sizes: Sequence[tuple[int, int]],
        taken: Tensor | None,
    ) -> Tensor:
        values = torch.addmm(bias, given, short.T).addmm_(hidden, wide.T)  # (R, D)
        if taken is not None:
            values.masked_fill_(~taken[:, None], torch.finfo(values.dtype).min)
        largest, rows = _winners(values, sizes)
        ctx.save_for_backward(hidden, given, wide, short, rows, None if taken is None else taken[rows])
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, given, wide, short, rows, alive = ctx.saved_tensors
        if alive is not None:
            gradient = gradient.where(alive, 0)
        # Of each channel: the rows that won it. embedding_bag sums weighted rows of a table without writing them out.
        by_channel, share = rows.T.contiguous(), gradient.T.contiguous()  # (D, B)
        of_wide, of_short = (
            embedding_bag(by_channel, table, per_sample_weights=share, mode="sum") for table in (hidden, given)
        )
        # Of each row: the channels that it won.
        order = rows.flatten().argsort(stable=True)
        won = torch.bincount(rows.flatten(), minlength=hidden.shape[0])  # (R,)
        channels, factor = order % rows.shape[1], gradient.flatten()[order]
        starts = won.cumsum(0) - won
        of_hidden, of_given = (
            embedding_bag(channels, table, starts, per_sample_weights=factor, mode="sum") for table in (wide, short)
        )
        return of_hidden, of_given, of_wide, of_short, gradient.sum(dim=0), None, None
