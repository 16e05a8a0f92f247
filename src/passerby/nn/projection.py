"""Projection heads: from a tower's own width into the space that pictures and sentences share.

Axes: B rows, W width of the tower, D width of the shared space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor, nn

from passerby.errors import ConfigError, nearest


def linear_projection(width: int, dim: int) -> nn.Module:
    """One matrix without offset, as in CLIP (Radford et al. 2021, figure 3): (B, W) -> (B, D)."""
    projection = nn.Linear(width, dim, bias=False)
    nn.init.normal_(projection.weight, std=width**-0.5)
    return projection


def affine_projection(width: int, dim: int) -> nn.Module:
    """One matrix with offset, as the classifier that MobileCLIP projects with: (B, W) -> (B, D)."""
    projection = nn.Linear(width, dim)
    nn.init.normal_(projection.weight, std=width**-0.5)
    nn.init.zeros_(projection.bias)
    return projection


class ResidualProjection(nn.Module):
    """``z = LayerNorm(Dropout(W2 GELU(p) + b2) + p)`` with ``p = W1 x + b1``, the head of many small CLIPs.

    With unit gain every z has squared length D, so dot products of two lie in [-D, D] before any normalisation.

    Args:
        width: W, channels that come in.
        dim: D, channels that go out.
        dropout: share of the second layer's channels dropped in training.

    Shape:
        (B, W) -> (B, D).
    """

    def __init__(self, width: int, dim: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.enter = nn.Linear(width, dim)
        self.refine = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, vectors: Tensor) -> Tensor:
        """Project, refine, normalise."""
        projected = self.enter(vectors)  # (B, D)
        return self.norm(self.dropout(self.refine(nn.functional.gelu(projected))) + projected)


#: Every head by the name that recipes and checkpoints use.
PROJECTIONS: Mapping[str, Callable[[int, int], nn.Module]] = MappingProxyType(
    {"linear": linear_projection, "affine": affine_projection, "residual": ResidualProjection}
)


def build_projection(name: str, width: int, dim: int) -> nn.Module:
    """Build a projection head by name.

    Args:
        name: a key of `PROJECTIONS`.
        width: W, channels that come in.
        dim: D, channels that go out.

    Raises:
        ConfigError: no such head.
    """
    if name not in PROJECTIONS:
        raise ConfigError(
            f"no projection is called {name!r}; known: {', '.join(PROJECTIONS)}.{nearest(name, PROJECTIONS)}"
        )
    return PROJECTIONS[name](width, dim)
