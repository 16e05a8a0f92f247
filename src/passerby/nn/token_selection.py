"""Which tokens of a picture or sentence go on into the local branch: MARS and everything it is compared with.

A selector says which layers it reads and turns what was seen there into one score per token; `select_tokens` takes the
highest. No gradient flows through a selection, so scores are computed without one. The heuristics A to D rank by mean
or standard deviation of the attention over all layers (supplement of ITSELF, table 3).

Axes: B rows, N tokens, L layers that are read, K tokens that are taken, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

from passerby.errors import ConfigError, nearest
from passerby.nn.attention_rows import WatchedLayers, attention_rows, mean_attention
from passerby.nn.rollout import NORMALISATIONS, rollout_rows

#: What a selector is called -> what it ranks by.
SELECTORS: Mapping[str, str] = MappingProxyType(
    {
        "mars": "rollout over a middle and the last layer",
        "A": "smallest mean over all layers",
        "B": "largest mean over all layers",
        "C": "smallest standard deviation over all layers",
        "D": "largest standard deviation over all layers",
        "last": "attention of the last layer",
        "layer": "attention of one layer",
        "none": "every token, nothing is selected",
    }
)
_STATISTICS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "A": lambda rows: -rows.mean(dim=0),
        "B": lambda rows: rows.mean(dim=0),
        "C": lambda rows: -rows.std(dim=0, unbiased=False),
        "D": lambda rows: rows.std(dim=0, unbiased=False),
    }
)


@dataclass(frozen=True, slots=True)
class Selector:
    """How tokens are ranked.

    Attributes:
        name: a key of `SELECTORS`.
        layers: layers that "mars" reads, ascending, or the one that "layer" reads, from 0; what
            `default_layers` says where it is empty.
        discard: delta of MARS, in [0, 1).
        norm: how MARS normalises rows; a name of `passerby.nn.rollout.NORMALISATIONS`.

    Raises:
        ConfigError: a name is unknown, or a value is out of range.
    """

    name: str = "mars"
    layers: tuple[int, ...] = field(default=())
    discard: float = 0.25
    norm: str = "l1"

    def __post_init__(self) -> None:
        if self.name not in SELECTORS:
            raise ConfigError(
                f"no selector is called {self.name!r}; known: {', '.join(SELECTORS)}.{nearest(self.name, SELECTORS)}"
            )
        if self.norm not in NORMALISATIONS:
            raise ConfigError(
                f"no normalisation is called {self.norm!r}; known: {', '.join(NORMALISATIONS)}."
                f"{nearest(self.norm, NORMALISATIONS)}"
            )
        if not 0 <= self.discard < 1:
            raise ConfigError(f"selector.discard is {self.discard}; expected a share of the map from 0 to below 1")
        if list(self.layers) != sorted(set(self.layers)) or any(layer < 0 for layer in self.layers):
            raise ConfigError(f"selector.layers is {list(self.layers)}; expected layers from 0, each once, ascending")
        if self.name == "layer" and len(self.layers) != 1:
            raise ConfigError(f"the selector 'layer' reads one layer; selector.layers is {list(self.layers)}")

    def reads(self, depth: int) -> tuple[int, ...]:
        """The layers of a tower of `depth` layers that it reads, ascending."""
        if self.name == "none":
            return ()
        if self.name in _STATISTICS:
            return tuple(range(depth))
        if self.name == "last":
            return (depth - 1,)
        return self.layers or default_layers(depth)

    def scores(
        self, seen: WatchedLayers, depth: int, at: Tensor, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """One score per token, higher for those that are taken first: (B, N) float32 without gradient.

        Args:
            seen: what the layers of `reads` gave.
            depth: layers of the tower.
            at: places (B,) of the token that stands for the whole, or weights (B, N) of all of them.
            mask: True where a token may be looked at; with one, as with `causal`, nothing is discarded.
            causal: whether a token looks only at itself and those before it; the smallest entries of such a map are
                its zeros, so that discarding them would change nothing.

        Raises:
            ConfigError: the selector is "none".
        """
        layers = self.reads(depth)
        if self.name == "none":
            raise ConfigError("the selector 'none' takes every token and has no scores")
        # In float32 whatever the precision around it: half precision has ties where the ranking is decided.
        with torch.autocast(at.device.type, enabled=False):
            if self.name == "mars":
                maps = [mean_attention(*seen.query_key(layer), mask, causal) for layer in layers]
                return rollout_rows(maps, at, 0.0 if causal or mask is not None else self.discard, self.norm)
            rows = torch.stack([attention_rows(*seen.query_key(layer), at, mask, causal) for layer in layers])
            return _STATISTICS[self.name](rows) if self.name in _STATISTICS else rows[0]  # rows are (L, B, N)


def default_layers(depth: int) -> tuple[int, ...]:
    """A middle layer and the last: the 5th and the 12th of 12, in proportion for other depths.

    The paper says "middle and late"; its code reads the layers 4 and 11 of 12, counted from 0.

    Args:
        depth: layers of the tower, at least one.
    """
    return tuple(sorted({max(0, round(0.4 * depth) - 1), depth - 1}))


def select_tokens(scores: Tensor, eligible: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The places of the highest scores among the tokens that may be taken.

    Args:
        scores: higher is taken first.
        eligible: True where a token may be taken.
        count: K, how many are wanted; rows with fewer fill up with places that the second result marks False.

    Shape:
        (B, N), (B, N) -> places (B, K) int64, taken (B, K) bool.
    """
    count = min(count, scores.shape[1])
    found = scores.masked_fill(~eligible, -torch.inf).topk(count, dim=1)
    return found.indices, found.values > -torch.inf


def gather_tokens(tokens: Tensor, places: Tensor) -> Tensor:
    """Rows of tokens by place, with gradient: (B, N, C), (B, K) -> (B, K, C)."""
    return tokens.gather(1, places.unsqueeze(-1).expand(-1, -1, tokens.shape[2]))
