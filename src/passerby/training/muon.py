"""Muon: momentum whose matrices are made orthogonal before each step, and AdamW for everything that is no matrix.

The gradient of a weight matrix is dominated by a few directions; making its momentum orthogonal gives every direction
a step of the same length (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"). A convolution
is the matrix from its input patch to its output channels. Steps are scaled as in Liu et al. 2025, "Muon is scalable for
LLM training", section 2.2, so that their root mean square does not depend on the matrix's shape.

`torch.optim.Muon` takes two-dimensional parameters only; the towers here are mostly convolutions.

Axes: O rows (outputs), I columns (inputs of one output).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

#: Coefficients of the quintic iteration that drives all singular values towards 1 (Jordan et al. 2024).
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
#: Root mean square of a step of AdamW, which the scaled steps have too (Liu et al. 2025, eq. 4).
_STEP = 0.2


def orthogonalise(matrix: Tensor) -> Tensor:
    """The nearest matrix whose singular values are all about 1 (between 0.7 and 1.2), by five Newton-Schulz steps.

    ``X <- a X + (b X X^T + c (X X^T)^2) X`` from ``X = M / |M|``, in bfloat16: its errors matter less than its speed.

    Args:
        matrix: any real matrix; a matrix of zeros stays one.

    Shape:
        (O, I) -> (O, I) float32.
    """
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    state = (matrix.T if tall else matrix).bfloat16()  # the smaller Gram matrix
    state = state / (state.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = state @ state.T
        state = a * state + (b * gram + c * gram @ gram) @ state
    return (state.T if tall else state).float()


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
            move = self._move_matrix if group["matrices"] else self._move_plain
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    move(parameter, parameter.grad, group, self.state[parameter])
        return loss

    @staticmethod
    def _move_matrix(parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        average = state["momentum"].mul_(group["momentum"]).add_(gradient)
        ahead = gradient + group["momentum"] * average
        direction = orthogonalise(ahead.flatten(1))  # (O, I)
        length = _STEP * max(direction.shape) ** 0.5
        parameter.add_(direction.view_as(parameter), alpha=-group["lr"] * length)

    @staticmethod
    def _move_plain(parameter: Tensor, gradient: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        if not state:
            state |= {"step": 0, "mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient)}
        state["step"] += 1
        first, second = group["betas"]
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].lerp_(gradient.square(), 1 - second)
        spread = (state["square"] / (1 - second ** state["step"])).sqrt_().add_(group["eps"])
        parameter.addcdiv_(state["mean"], spread, value=-group["lr"] / (1 - first ** state["step"]))
