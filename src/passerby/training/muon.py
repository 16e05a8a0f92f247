"""Muon: momentum whose matrices are made orthogonal before each step, and AdamW for everything that is no matrix.

The gradient of a weight matrix is dominated by a few directions; making its momentum orthogonal gives every direction
a step of the same length (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"). A convolution
is the matrix from its input patch to its output channels. Steps are scaled as in Liu et al. 2025, "Muon is scalable for
LLM training", section 2.2, so that their root mean square does not depend on the matrix's shape. A matrix is moved from
beginning to end by one core, while its numbers are at hand, and in the order in which they lie in memory.

`torch.optim.Muon` takes two-dimensional parameters only; the towers here are mostly convolutions.

Axes: O rows (outputs), I columns (inputs of one output).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from passerby.nn.side_by_side import each_on_a_core

#: Coefficients of the quintic iteration that drives all singular values towards 1 (Jordan et al. 2024).
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
#: torch itself; it exports the list forms of its operators, and does not declare them.
_LISTS: Any = torch
#: Root mean square of a step of AdamW, which the scaled steps have too (Liu et al. 2025, eq. 4).
_STEP = 0.2


def orthogonalise(matrix: Tensor) -> Tensor:
    """The nearest matrix whose singular values are all about 1 (between 0.7 and 1.2), by five Newton-Schulz steps.

    ``X <- a X + (b X X^T + c (X X^T)^2) X`` from ``X = M / |M|``, in bfloat16: its errors matter less than its speed.

    Args:
        matrix: any real matrix; a matrix of zeros stays one.

    Shape:
        (O, I) -> (O, I) bfloat16.
    """
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    state = (matrix.T if tall else matrix).bfloat16()  # the smaller Gram matrix
    state = state / (state.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = state @ state.T
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        state = torch.addmm(state, polynomial, state, beta=a)  # sums inside the products: no passes of their own
    return state.T if tall else state


class Muon(torch.optim.Optimizer):
    """Muon for groups with ``matrices=True``, AdamW (Loshchilov and Hutter 2019) for all others.

    Args:
        groups: parameter groups; ``matrices`` says which kind a group is.
        lr: learning rate; the root mean square of a step is 0.2 of it for matrices and about that for the others.
        weight_decay: decoupled, times the learning rate.
        momentum: of the matrices, applied as Nesterov has it.
        betas: of AdamW.
        eps: of AdamW.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "betas": betas, "eps": eps}
        super().__init__(groups, {**defaults, "matrices": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                move = self._move_matrices if group["matrices"] else self._move_plain
                move(parameters, [parameter.grad for parameter in parameters], group)
        return loss

    def _remembered(self, parameters: list[Tensor], name: str) -> list[Tensor]:
        """One running average for each parameter, zero at first."""
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter)
        return [self.state[parameter][name] for parameter in parameters]

    def _move_matrices(self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        averages = self._remembered(parameters, "momentum")
        triples = sorted(zip(parameters, gradients, averages, strict=True), key=lambda three: -three[0].numel())
        each_on_a_core(partial(_move_matrix, group=group), triples, parameters[0].device)  # the largest first

    def _move_plain(self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        means, squares = self._remembered(parameters, "mean"), self._remembered(parameters, "square")
        for parameter in parameters:
            self.state[parameter]["step"] = self.state[parameter].get("step", 0) + 1
        steps = [self.state[parameter]["step"] for parameter in parameters]
        first, second = group["betas"]
        _LISTS._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        _LISTS._foreach_lerp_(means, gradients, 1 - first)
        _LISTS._foreach_mul_(squares, second)
        _LISTS._foreach_addcmul_(squares, gradients, gradients, value=1 - second)
        spreads = _LISTS._foreach_div(squares, [1 - second**step for step in steps])
        _LISTS._foreach_sqrt_(spreads)
        _LISTS._foreach_add_(spreads, group["eps"])
        _LISTS._foreach_addcdiv_(parameters, means, spreads, [-group["lr"] / (1 - first**step) for step in steps])


def _move_matrix(three: tuple[Tensor, Tensor, Tensor], group: dict[str, Any]) -> None:
    """Move one weight by its gradient and the running average of its gradients, both (O, ...) as the weight is."""
    weight, gradient, average = three
    average.mul_(group["momentum"]).add_(gradient)
    ahead = torch.add(gradient, average, alpha=group["momentum"])
    # An orthogonal direction is the same in any order of the columns: that of the memory needs no copies.
    last = weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    rows = ahead.permute(0, 2, 3, 1) if last else ahead  # (O, H, W, C) or (O, ...)
    direction = orthogonalise(rows.flatten(1)).to(weight.dtype)  # (O, I)
    length = _STEP * max(direction.shape) ** 0.5
    step = direction.unflatten(1, rows.shape[1:])
    step = step.permute(0, 3, 1, 2) if last else step
    weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(step, alpha=-group["lr"] * length)
