"""Projection heads: from a tower's own width into the space that pictures and sentences share.

Axes: B rows, W width of the tower, D width of the shared space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from passerby.errors import ConfigError, nearest


def linear_projection(width: int, dim: int) -> nn.Module:
    """One matrix without offset, as in CLIP (Radford et al. 2021, figure 3): (B, W) -> (B, D)."""
    projection = nn.Linear(width, dim, bias=False)
    nn.init.normal_(projection.weight, std=width**-0.5)
    return projection


#: Every head by the name that recipes and checkpoints use.
PROJECTIONS: Mapping[str, Callable[[int, int], nn.Module]] = MappingProxyType({"linear": linear_projection})


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
