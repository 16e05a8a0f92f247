"""One layer of a context encoder: rows look at their reciprocal neighbours, then a perceptron; normalised after each.

A layer is cut where a gallery needs it cut: `frame` is what it takes from the landmark rows, `remember` what others
need of a row, `forward` what becomes of a row that looks at remembered ones. A row that looks need not be among those
that are looked at, which is how a query reads a gallery without changing it.

Axes: n rows that look, N rows that are looked at, M neighbours, D width, H heads, S maps, P landmarks, R numbers of a
factor, E = D / S, V = D / H.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from passerby.models.context_config import ContextConfig
from passerby.nn.differential_attention import DifferentialWeight, HeadNorm, combination
from passerby.nn.landmark_attention import edge_affinities, landmark_factors
from passerby.nn.neighbour_mixing import mix_neighbours
from passerby.nn.reciprocal_neighbours import reciprocal_softmax


@dataclass(frozen=True, slots=True)
class Frame:
    """What a layer takes from its landmark rows.

    Attributes:
        queries: (S, P, E), compared with keys.
        keys: (S, P, E), compared with queries.
    """

    queries: Tensor
    keys: Tensor


@dataclass(frozen=True, slots=True)
class Memory:
    """What a layer keeps of rows that can be looked at.

    Attributes:
        keys: (N, S, R) factors of their keys.
        values: (H, N, V).
    """

    keys: Tensor
    values: Tensor

    def part(self, rows: slice | Tensor) -> Memory:
        """Those of some rows."""
        return Memory(self.keys[rows], self.values[:, rows])


@dataclass(frozen=True, slots=True)
class Lists:
    """Whom each row looks at: neighbours (n, 1 or S, M) and whether they count (n, 1 or S, M)."""

    neighbours: Tensor
    reciprocal: Tensor

    def part(self, rows: slice | Tensor) -> Lists:
        """Those of some rows."""
        return Lists(self.neighbours[rows], self.reciprocal[rows])


class ContextLayer(nn.Module):
    """Landmark attention over reciprocal neighbours, differential where configured, and a perceptron.

    Args:
        config: the encoder's configuration.
        layer: which of its layers, counted from 0.
    """

    def __init__(self, config: ContextConfig, layer: int) -> None:
        super().__init__()
        width, maps, heads = config.width, config.maps, config.heads
        self.settings, self.heads, self.maps = config, heads, maps
        self.query, self.key, self.value = (nn.Linear(width, width, bias=config.qkv_bias) for _ in range(3))
        self.out = nn.Linear(width, width, bias=config.qkv_bias)
        weighed = config.logits == "landmark"
        count = config.landmark_count
        if weighed and config.magnitude == "one":
            self.magnitude = nn.Parameter(torch.ones(maps, count))
        elif weighed and config.magnitude == "two":
            # Kaiming's normal start of the release for the shapes (S, P, 1) and (S, 1, P).
            self.magnitude = nn.Parameter(torch.randn(maps, count) * math.sqrt(2 / maps))
            self.key_magnitude = nn.Parameter(torch.randn(maps, count) * math.sqrt(2 / (maps * count)))
        if config.landmarks == "learned" and weighed:
            self.landmarks = nn.Parameter(torch.randn(count, width))
        if config.diff_mode != "off":
            self.difference = DifferentialWeight(width // maps, layer)
        self.head_norm = HeadNorm(width // heads, layer) if config.head_norm else nn.Identity()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.widen = nn.Linear(width, config.mlp_ratio * width)
        self.narrow = nn.Linear(config.mlp_ratio * width, width)
        self.drop_attention, self.drop = nn.Dropout(config.attention_dropout), nn.Dropout(config.dropout)
        for linear in (self.widen, self.narrow):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def frame(self, landmarks: Tensor) -> Frame:
        """What this layer takes from its landmark rows (P, D), which those of "learned" replace."""
        rows = getattr(self, "landmarks", landmarks)
        queries, keys = self._cut(self.query(rows)), self._keys(rows)  # (P, S, E)
        return Frame(queries.transpose(0, 1), keys.transpose(0, 1))

    def remember(self, rows: Tensor, frame: Frame) -> Memory:
        """What others need of rows (n, D) to look at them."""
        keys = self._keys(rows)  # (n, S, E)
        if self.settings.logits == "landmark":
            keys = landmark_factors(keys, frame.queries, self.settings.landmark_norm)  # (n, S, P)
        values = self.value(rows).unflatten(1, (self.heads, -1)).transpose(0, 1)  # (H, n, V)
        return Memory(keys, values.contiguous())

    def factors(self, rows: Tensor, frame: Frame) -> Tensor:
        """What rows (n, D) are compared with remembered keys by, scale, sign and magnitudes in it: (n, S, R)."""
        queries = self._cut(self.query(rows))  # (n, S, E)
        settings = self.settings
        if settings.logits == "landmark":
            queries = landmark_factors(queries, frame.keys, settings.landmark_norm)  # (n, S, P)
            if settings.magnitude != "off":
                queries = queries * (self.magnitude * getattr(self, "key_magnitude", 1.0))
        compared = settings.width if settings.logit_scale == "model" else settings.width // self.maps
        return queries * ((1.0 if settings.softmax_sign == "plus" else -1.0) / math.sqrt(compared))

    def weights(self, rows: Tensor, frame: Frame, own: Memory, memory: Memory, lists: Lists) -> Tensor:
        """Attention of each map before any difference, the row itself first: (n, S, 1 + M)."""
        queries = self.factors(rows, frame)
        mine = (queries * own.keys).sum(dim=2)  # (n, S)
        others = edge_affinities(queries, memory.keys, lists.neighbours)  # (n, S, M)
        return reciprocal_softmax(mine, others, lists.reciprocal)

    def combined(self) -> Tensor:
        """How much of each map a head takes: (H, S)."""
        weight = self.difference() if self.settings.diff_mode != "off" else self.norm1.weight.new_zeros(())
        return combination(weight, self.heads, self.settings.diff_mode)

    def forward(self, rows: Tensor, frame: Frame, own: Memory, memory: Memory, lists: Lists) -> Tensor:
        """What becomes of rows that look.

        Args:
            rows: (n, D).
            frame: of this layer's landmarks.
            own: what is remembered of the rows themselves.
            memory: what is remembered of the rows that are looked at.
            lists: whom each row looks at.

        Returns:
            (n, D).
        """
        weights = self.weights(rows, frame, own, memory, lists)  # (n, S, 1 + M)
        share = self.combined().to(weights.dtype)  # (H, S)
        if lists.neighbours.shape[1] == 1:
            weights = torch.einsum("hs,nsm->nhm", share, weights)  # (n, H, 1 + M)
            itself, others, neighbours = weights[:, :, 0], weights[:, :, 1:], lists.neighbours
        else:  # each map has neighbours of its own: a head looks at those of all its maps
            taken = weights[:, None] * share[:, :, None]  # (n, H, S, 1 + M)
            itself, others = taken[..., 0].sum(dim=2), taken[..., 1:].flatten(2)  # (n, H), (n, H, S * M)
            neighbours = lists.neighbours.flatten(1)[:, None]  # (n, 1, S * M)
        mixed = mix_neighbours(others, memory.values, neighbours)  # (n, H, V)
        mixed = mixed + itself[:, :, None] * own.values.transpose(0, 1)
        attended = self.drop_attention(self.out(self.head_norm(mixed).flatten(1)))
        rows = self.norm1(rows + attended)
        widened = nn.functional.gelu(self.widen(rows), approximate="tanh")
        return self.norm2(rows + self.drop(self.narrow(widened)))

    def _cut(self, rows: Tensor) -> Tensor:
        return rows.unflatten(1, (self.maps, -1))  # (n, S, E)

    def _keys(self, rows: Tensor) -> Tensor:
        keys = self._cut(self.key(rows))
        if self.settings.diff_pairs == "crossed" and self.settings.diff_mode != "off":
            keys = keys.unflatten(1, (self.heads, 2)).flip(2).flatten(1, 2)  # each head's two maps change places
        return keys
