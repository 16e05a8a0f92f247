"""A gallery as a context encoder has left it: neighbour lists, and what every layer made of every row.

Kept, so that a query can look at it layer by layer and a new picture changes only the rows around it. Arrays have
room to grow; a change can be undone, which is what asking "what if this query were in the gallery" needs.

Axes: N rows (of a larger capacity), D width, M neighbours beside the row itself (k - 1), L layers, H, S, R, V as in
`context_layer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from passerby.models.context import ROWS, ContextEncoder, remembered
from passerby.models.context_layer import ContextLayer, Frame, Lists, Memory
from passerby.nn.neighbour_search import RowSearch, unit_rows
from passerby.nn.reciprocal_neighbours import NeighbourGraph, build_neighbour_graph


@dataclass(slots=True)
class ContextState:
    """All that is kept of N rows.

    Attributes:
        layers: the encoder's, in evaluation mode.
        frames: what each layer takes from the landmarks; decided when the gallery is fitted, and kept.
        size: N.
        unit: (capacity, D) input vectors of length 1.
        neighbours: (capacity, M) int64; a place that is still free holds the row's own number.
        scores: (capacity, M) cosine of each neighbour, best first; -inf for a free place.
        reciprocal: (capacity, M) bool.
        levels: L + 1 arrays (capacity, D): the input of each layer, and the output of the last.
        keys: L arrays (capacity, S, R).
        values: L arrays (H, capacity, V).
    """

    layers: list[ContextLayer]
    frames: list[Frame]
    size: int
    unit: Tensor
    neighbours: Tensor
    scores: Tensor
    reciprocal: Tensor
    levels: list[Tensor]
    keys: list[Tensor]
    values: list[Tensor]
    undone: list[tuple[Tensor, Tensor, Tensor]] | None = field(default=None, repr=False)

    @property
    def thresholds(self) -> Tensor:
        """What a newcomer must exceed to enter each list: (N,)."""
        if self.scores.shape[1] == 0:
            return self.unit.new_full((self.size,), torch.inf)
        return self.scores[: self.size, -1]

    def memory(self, layer: int) -> Memory:
        """What can be looked at in a layer, free capacity included."""
        return Memory(self.keys[layer], self.values[layer])

    def lists(self, rows: Tensor) -> Lists:
        """Whom some rows look at."""
        return Lists(self.neighbours[rows][:, None], self.reciprocal[rows][:, None])

    def search(self) -> RowSearch:
        """The rows made ready to be searched."""
        return RowSearch(self.unit[: self.size])

    def put(self, array: Tensor, rows: Tensor, new: Tensor) -> None:
        """Overwrite rows of one of the arrays, remembering what was there while a change may be undone."""
        if self.undone is not None:
            self.undone.append((array, rows, array[rows].clone()))
        array[rows] = new

    def put_memory(self, layer: int, rows: Tensor, new: Memory) -> None:
        """Overwrite what is remembered of rows in a layer."""
        self.put(self.keys[layer], rows, new.keys)
        self.put(self.values[layer].transpose(0, 1), rows, new.values.transpose(0, 1))

    def reserve(self, count: int) -> None:
        """Make room for `count` more rows, and some to spare so that growing costs little on average."""
        needed, capacity = self.size + count, len(self.unit)
        if needed <= capacity:
            return
        capacity = max(needed, capacity + capacity // 8 + 16)
        self.unit = _grown(self.unit, capacity)
        self.neighbours, self.scores = _grown(self.neighbours, capacity), _grown(self.scores, capacity)
        self.reciprocal = _grown(self.reciprocal, capacity)
        self.levels = [_grown(level, capacity) for level in self.levels]
        self.keys = [_grown(keys, capacity) for keys in self.keys]
        self.values = [_grown(values.transpose(0, 1), capacity).transpose(0, 1).contiguous() for values in self.values]


@torch.no_grad()
def fitted(model: ContextEncoder, features: Tensor, frames: list[Frame] | None = None) -> ContextState:
    """Put a gallery into context and keep every layer's result.

    Args:
        model: in evaluation mode, with a graph of cosines.
        features: the gallery's vectors.
        frames: of an earlier fit, to be used again; made from landmarks among the features by default.

    Shape:
        features (N, D).
    """
    rows = model.prepared(features)
    graph = build_neighbour_graph(features, model.settings.k)
    landmarks = model.choose_landmarks(features)
    layers = [layer for layer in model.layers if isinstance(layer, ContextLayer)]
    lists = Lists(graph.neighbours[:, None], graph.reciprocal[:, None])
    levels, keys, values, used = [rows], [], [], []
    for index, (layer, chosen) in enumerate(zip(layers, landmarks, strict=True)):
        frame = frames[index] if frames is not None else layer.frame(rows[chosen].mean(dim=1))
        memory = remembered(layer, rows, frame)
        parts = [slice(first, first + ROWS) for first in range(0, len(rows), ROWS)]
        rows = torch.cat([layer(rows[p], frame, memory.part(p), memory, lists.part(p)) for p in parts])
        levels.append(rows)
        keys.append(memory.keys)
        values.append(memory.values)
        used.append(frame)
    unit = unit_rows(features)
    neighbours, scores, reciprocal = _padded(graph, model.settings.k - 1)
    return ContextState(layers, used, len(rows), unit, neighbours, scores, reciprocal, levels, keys, values)


def _padded(graph: NeighbourGraph, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lists of k - 1 places, also where the set is too small to fill them."""
    rows, found = graph.neighbours.shape
    own = torch.arange(rows, device=graph.neighbours.device)
    neighbours = own[:, None].repeat(1, width)
    scores = graph.scores.new_full((rows, width), -torch.inf)
    reciprocal = torch.zeros_like(neighbours, dtype=torch.bool)
    neighbours[:, :found], scores[:, :found], reciprocal[:, :found] = graph.neighbours, graph.scores, graph.reciprocal
    return neighbours, scores, reciprocal


def _grown(array: Tensor, capacity: int) -> Tensor:
    larger = array.new_zeros((capacity, *array.shape[1:]))
    larger[: len(array)] = array
    return larger
