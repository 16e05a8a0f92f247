"""Differential attention: the difference of two attention maps, in which noise that both share cancels.

Ye et al. 2024 (Differential Transformer), used by MagFormer in section 3.3. Every way of putting maps together that
the paper, its release or an ablation needs is linear, so it is one small matrix: heads times maps.

Axes: H heads, S maps (2 H, or H without the difference), N rows, E width of a map, V width of a head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError, nearest

#: Name -> what a head's weights are made of.
DIFF_MODES = {
    "clean": "the first map minus lambda times the second, as the papers write it",
    "off": "one map a head",
    "repo": "what the release of MagFormer computes: an index meant for maps is applied to heads; two heads only",
}


def lambda_init(layer: int) -> float:
    """``0.8 - 0.6 exp(-0.3 l)`` for layers counted from 0; the paper counts from 1 and writes l - 1."""
    return 0.8 - 0.6 * math.exp(-0.3 * layer)


def map_count(heads: int, mode: str) -> int:
    """S, the attention maps that a layer computes.

    Raises:
        ConfigError: the mode is unknown, or "repo" with other than two heads.
    """
    if mode not in DIFF_MODES:
        hint = nearest(mode, DIFF_MODES)
        raise ConfigError(f"no diff_mode is called {mode!r}; known: {', '.join(DIFF_MODES)}.{hint}")
    if mode == "repo" and heads != 2:
        raise ConfigError(f"diff_mode 'repo' with {heads} heads; the release works with exactly 2: use 'clean'")
    return heads if mode == "off" else 2 * heads


def combination(weight: Tensor, heads: int, mode: str) -> Tensor:
    """How much of each map a head takes: (H, S), lambda in the place where the formula has it.

    Maps are ordered head by head: map 2 h + s is map s of head h. "clean" is ``A[h, 0] - lambda A[h, 1]``. "repo" is
    the closed form of the release: ``head 0 = (1 - lambda) A[1, 0] - lambda A[0, 1]`` and
    ``head 1 = A[1, 0] + (1 - 2 lambda) A[1, 1] - A[0, 1]``.

    Args:
        weight: lambda, a scalar.
        heads: H.
        mode: a key of `DIFF_MODES`.

    Shape:
        weight () -> (H, S).
    """
    if mode == "off":
        return torch.eye(heads, dtype=weight.dtype, device=weight.device)
    zero, one = torch.zeros_like(weight), torch.ones_like(weight)
    if mode == "repo":
        first = torch.stack([zero, -weight, 1 - weight, zero])
        second = torch.stack([zero, -one, one, 1 - 2 * weight])
        return torch.stack([first, second])
    pair = torch.stack([one, -weight])  # (2,)
    return torch.block_diag(*[pair[None]] * heads)


class DifferentialWeight(nn.Module):
    """lambda of one layer, shared by its heads.

    ``lambda = exp(<q1, k1>) - exp(<q2, k2>) + lambda_init`` (MagFormer, section 3.3).

    Args:
        width: E, length of the four vectors.
        layer: counted from 0.
    """

    def __init__(self, width: int, layer: int) -> None:
        super().__init__()
        self.start = lambda_init(layer)
        self.query1, self.key1, self.query2, self.key2 = (nn.Parameter(0.1 * torch.randn(width)) for _ in range(4))

    def forward(self) -> Tensor:
        """The weight of the second map: ()."""
        return (self.query1 @ self.key1).exp() - (self.query2 @ self.key2).exp() + self.start


class HeadNorm(nn.Module):
    """Each head divided by its root mean square, times a gain that the heads share, times ``1 - lambda_init``.

    The difference of two maps has rows that no longer sum to 1; this restores their scale (Ye et al. 2024, eq. 3).

    Args:
        width: V.
        layer: counted from 0.
        eps: keeps a head of zeros finite.
    """

    def __init__(self, width: int, layer: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.share, self.eps = 1 - lambda_init(layer), eps

    def forward(self, heads: Tensor) -> Tensor:
        """(N, H, V) -> (N, H, V)."""
        scale = (heads.square().mean(dim=-1, keepdim=True) + self.eps).rsqrt()
        return heads * scale * (self.gain * self.share)
