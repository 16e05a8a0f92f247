"""Parts of the work of a step that are computed at the same time, each on a core of its own.

The operators of a small network are too short to be shared out among cores: two cores gain little over one. Here whole
parts of a batch are shared out instead, forward and backward, each computed by one core. The gradients of the parts are
added in their order, so the numbers do not depend on which of them was ready first.

Axes: none of its own; what a part is and what comes out is the caller's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

#: One part of the work: what makes its result, which no random number may enter.
Part = Callable[[], Tensor]
Item = TypeVar("Item")
Made = TypeVar("Made")
#: What torch, timm and our own layers call the share that they drop.
_SHARES = ("p", "drop_prob", "drop_rate", "dropout")


def side_by_side(parts: Sequence[Part], parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Compute all parts, at the same time where this is a CPU with several cores to use.

    Args:
        parts: each runs without arguments and returns one tensor; what they share they only read. Longest first is
            fastest.
        parameters: everything in them that may need a gradient.

    Returns:
        One tensor for each part, in order; gradients flow from them to the parameters, and to nothing else.
    """
    learned = [parameter for parameter in parameters if parameter.requires_grad]
    if not learned or not torch.is_grad_enabled() or not _worth_it(len(parts), learned[0].device):
        return [part() for part in parts]
    return list(_SideBySide.apply(parts, _pool(torch.get_num_threads()), *learned))  # type: ignore[arg-type]


def drops_anything(network: nn.Module) -> bool:
    """Whether some layer of a network draws random numbers in training: dropout in its usual forms, dropped paths."""
    return any(
        isinstance(share, int | float) and share > 0
        for module in network.modules()
        for share in (getattr(module, name, None) for name in _SHARES)
    )


def each_on_a_core(function: Callable[[Item], Made], items: Sequence[Item], device: torch.device) -> list[Made]:
    """Apply a function to each item, without gradients, several at the same time where this is a CPU with the cores.

    Args:
        function: touches nothing that another call writes; no random number may enter it.
        items: the largest first is fastest.
        device: where the work is done.
    """

    def run(item: Item) -> Made:
        with torch.no_grad():
            return function(item)

    shared_out = _pool(torch.get_num_threads()).map if _worth_it(len(items), device) else map
    return list(shared_out(run, items))


def _worth_it(parts: int, device: torch.device) -> bool:
    return parts > 1 and device.type == "cpu" and torch.get_num_threads() > 1 and _cores_are_per_thread()


class _SideBySide(torch.autograd.Function):
    """Each part's graph is kept in the context and gone through by the thread that takes it up."""

    @staticmethod
    def forward(ctx: Any, parts: Sequence[Part], pool: ThreadPoolExecutor, *parameters: Tensor) -> tuple[Tensor, ...]:
        wanted, kind = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

        def run(part: Part) -> Tensor:
            # Both settings belong to a thread, and this one knows nothing of the caller's.
            with torch.enable_grad(), torch.autocast("cpu", kind, enabled=wanted, cache_enabled=False):
                return part()

        ctx.pool, ctx.parameters = pool, parameters
        ctx.results = list(pool.map(run, parts))
        return tuple(result.detach() for result in ctx.results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        def run(result: Tensor, gradient: Tensor) -> tuple[Tensor | None, ...]:
            return torch.autograd.grad(result, ctx.parameters, gradient, allow_unused=True)

        per_part = list(ctx.pool.map(run, ctx.results, gradients))
        return (None, None, *(_total(of_one) for of_one in zip(*per_part, strict=True)))


def _total(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """The sum in order; None where no part has a gradient."""
    total: Tensor | None = None
    for gradient in gradients:
        if gradient is not None:
            total = gradient if total is None else total + gradient  # not in place: autograd may share gradients
    return total


@lru_cache(maxsize=1)
def _cores_are_per_thread() -> bool:
    """Whether a thread can be told how many cores its operators use: with OpenMP it can."""
    return "ATen parallel backend: OpenMP" in torch.__config__.parallel_info()


@lru_cache(maxsize=2)
def _pool(cores: int) -> ThreadPoolExecutor:
    """As many threads as cores, each of which uses one."""
    together = threading.Barrier(cores + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread's first question sets it up; asked later it would undo the next line
        torch.set_num_threads(1)
        together.wait()

    pool = ThreadPoolExecutor(cores, thread_name_prefix="side-by-side", initializer=begin)
    for _ in range(cores):
        pool.submit(lambda: None)
    together.wait()
    torch.set_num_threads(cores)  # the number is also what threads yet to come begin with
    return pool
