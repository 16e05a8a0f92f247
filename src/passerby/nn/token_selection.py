"""Which tokens of a picture or sentence go on into the local branch: MARS and everything it is compared with.

A selector says which layers it reads and turns what was seen there into one score per token; `select_tokens` takes the
highest, `select_diverse` those that are high and unlike each other. No gradient flows through a selection, so scores
are computed without one. The heuristics A to D rank by mean or standard deviation of the attention over all layers
(supplement of ITSELF, table 3).

Axes: B rows, N tokens, L layers that are read, K tokens that are taken, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor, nn

from passerby.errors import ConfigError, nearest
from passerby.nn.attention_rows import WatchedLayers, attention_rows, mean_attention
from passerby.nn.rollout import DISCARD_AMONG, NORMALISATIONS, rollout_rows

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
        among: the entries that the share of `discard` is one of; a name of `passerby.nn.rollout.DISCARD_AMONG`.
        diversity: how much it counts that a token is like one already taken, in [0, 1); 0 takes the highest scores.

    Raises:
        ConfigError: a name is unknown, or a value is out of range.
    """

    name: str = "mars"
    layers: tuple[int, ...] = field(default=())
    discard: float = 0.25
    norm: str = "l1"
    among: str = "map"
    diversity: float = 0.0

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
        if self.among not in DISCARD_AMONG:
            raise ConfigError(
                f"nothing is discarded among {self.among!r}; known: {', '.join(DISCARD_AMONG)}."
                f"{nearest(self.among, DISCARD_AMONG)}"
            )
        if not 0 <= self.discard < 1:
            raise ConfigError(f"selector.discard is {self.discard}; expected a share of the map from 0 to below 1")
        if not 0 <= self.diversity < 1:
            raise ConfigError(f"selector.diversity is {self.diversity}; expected a weight from 0 to below 1")
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

    def pick(self, scores: Tensor, eligible: Tensor, count: int, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """`select_tokens`, or `select_diverse` where diversity counts: (B, N), (B, N), K, (B, N, C) -> two (B, K)."""
        if self.diversity == 0:
            return select_tokens(scores, eligible, count)
        return select_diverse(scores, eligible, count, tokens, self.diversity)

    def scores(
        self, seen: WatchedLayers, depth: int, at: Tensor, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """One score per token, higher for those that are taken first: (B, N) float32 without gradient.

        Args:
            seen: what the layers of `reads` gave.
            depth: layers of the tower.
            at: places (B,) of the token that stands for the whole, or weights (B, N) of all of them.
            mask: True at the tokens of a sentence; no other is looked at.
            causal: whether a token looks only at itself and those before it, `mask` being True up to some place.
                The smallest entries of a masked or causal map are its zeros, and discarding those changes nothing:
                something is discarded there only where `among` is another than "map".

        Raises:
            ConfigError: the selector is "none".
        """
        layers = self.reads(depth)
        if self.name == "none":
            raise ConfigError("the selector 'none' takes every token and has no scores")
        # In float32 whatever the precision around it: half precision has ties where the ranking is decided.
        with torch.autocast(at.device.type, enabled=False):
            looked = None if causal else mask  # what follows a causal sentence is not looked at anyway
            if self.name == "mars":
                maps = [mean_attention(*seen.query_key(layer), looked, causal) for layer in layers]
                idle = self.among == "map" and (causal or mask is not None)
                return rollout_rows(maps, at, 0.0 if idle else self.discard, self.norm, self.among, mask)
            rows = torch.stack([attention_rows(*seen.query_key(layer), at, looked, causal) for layer in layers])
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


@torch.no_grad()
def select_diverse(
    scores: Tensor, eligible: Tensor, count: int, tokens: Tensor, weight: float
) -> tuple[Tensor, Tensor]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998, section 2): high scores that are unlike each other.

    One token after the other is taken, the next being ``argmax (1 - w) s_i - w max_j cos(t_i, t_j)`` over the taken j.
    ITSELF calls its selection diversity-aware, and neither its equations nor its code say how.

    Args:
        scores: higher is taken first; the lowest and highest eligible one of a row become 0 and 1, because shares of
            attention are hundreds of times smaller than cosines.
        eligible: True where a token may be taken.
        count: K, how many are wanted; rows with fewer fill up as in `select_tokens`.
        tokens: what is compared.
        weight: w, in [0, 1); 0 gives what `select_tokens` gives.

    Shape:
        (B, N), (B, N), (B, N, C) -> places (B, K) int64 in the order of taking, taken (B, K) bool.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        unit = nn.functional.normalize(tokens.float(), dim=-1)
        likeness = torch.bmm(unit, unit.transpose(1, 2))  # (B, N, N)
    lowest = scores.masked_fill(~eligible, torch.inf).amin(dim=1, keepdim=True)
    highest = scores.masked_fill(~eligible, -torch.inf).amax(dim=1, keepdim=True)
    # Eligible tokens are worth -1 to 1 and the others less, but more than what is taken, so that no place comes twice.
    worth = (1 - weight) * (scores - lowest) / (highest - lowest).clamp(min=torch.finfo(scores.dtype).tiny)
    worth = worth.masked_fill(~eligible, -4.0)
    closest, found = torch.zeros_like(worth), []
    for step in range(min(count, scores.shape[1])):
        best = (worth - weight * closest).argmax(dim=1, keepdim=True)  # (B, 1)
        found.append(best)
        worth = worth.scatter(1, best, -torch.inf)
        row = likeness.gather(1, best[..., None].expand(-1, -1, likeness.shape[2])).squeeze(1)  # (B, N)
        closest = row if step == 0 else torch.maximum(closest, row)
    places = torch.cat(found, dim=1)
    return places, eligible.gather(1, places)


def gather_tokens(tokens: Tensor, places: Tensor) -> Tensor:
    """Rows of tokens by place, with gradient: (B, N, C), (B, K) -> (B, K, C)."""
    return tokens.gather(1, places.unsqueeze(-1).expand(-1, -1, tokens.shape[2]))
