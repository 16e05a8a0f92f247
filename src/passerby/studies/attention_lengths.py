"""At which length sparse attention in blocks begins to pay: both forms timed beside each other on this machine.

Dense and blocked calls alternate and are compared in processor time, which a busy machine disturbs least.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from passerby.nn.sparse_attention import Window, blocked_sparse_attention, dense_sparse_attention, sparse_attention

LENGTHS = (64, 128, 200, 256, 384, 512, 1024, 2048)
REACH = 32

_HEADS, _WIDTH, _TOKENS, _ROUNDS = 4, 64, 2048, 5
_FORMS = {"dense": dense_sparse_attention, "blocked": blocked_sparse_attention, "chosen": sparse_attention}


@torch.inference_mode()
def time_lengths(
    lengths: Sequence[int] = LENGTHS, reach: int = REACH, clock: Callable[[], float] = time.process_time
) -> dict[str, Any]:
    """Milliseconds of a sentence in each form at each length, and where blocks break even.

    Args:
        lengths: tokens, ascending, one of them global.
        reach: how far a word sees to each side.
        clock: tells seconds.

    Returns:
        ``reach``, ``rows`` (``length`` and milliseconds of each form) and ``break_even`` (tokens, or None).
    """
    rows = []
    for length in lengths:
        window = Window((length - 1, 1), (reach, 0), 1)
        batch = max(1, _TOKENS // length)
        generator = torch.Generator().manual_seed(0)
        query, key, value = (torch.randn(batch, length, _HEADS, _WIDTH, generator=generator) for _ in range(3))
        spent: dict[str, list[float]] = {name: [] for name in _FORMS}
        for turn in range(_ROUNDS + 1):
            for name, form in _FORMS.items():
                started = clock()
                form(query, key, value, window)
                if turn:  # the first is a warm-up
                    spent[name].append(1e3 * (clock() - started) / batch)
        rows.append({"length": length, **{name: statistics.median(times) for name, times in spent.items()}})
    return {"reach": reach, "rows": rows, "break_even": break_even(rows)}


def break_even(rows: Sequence[dict[str, Any]]) -> int | None:
    """The length from which on blocks are faster than the dense form, interpolated; None where it was not met.

    Args:
        rows: ``length``, ``dense`` and ``blocked``, ascending in length.
    """
    ratios = [(row["length"], row["dense"] / max(row["blocked"], 1e-9)) for row in rows]
    for (short, below), (long, above) in itertools.pairwise(ratios):
        if below < 1 <= above:
            return round(short + (long - short) * (1 - below) / (above - below))
    return None
