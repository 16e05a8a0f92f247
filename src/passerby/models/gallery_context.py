"""A gallery in context as a post-processor of vectors: fit once, append pictures, transform queries one by one.

This is protocol B: pictures of the gallery look at each other, a query looks at the gallery, and nothing looks at a
query. So an answer depends on neither the other queries nor how they were cut into batches. NumPy in, NumPy out.

Axes: N pictures of the gallery, Q queries, D width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from passerby.errors import ConfigError, DataError
from passerby.models.context import ROWS, ContextEncoder
from passerby.models.context_growth import insert, undo
from passerby.models.context_layer import Frame, Lists
from passerby.models.context_state import ContextState, fitted
from passerby.nn.neighbour_search import RowSearch, unit_rows

#: Queries that are computed together, always exactly so many: a product of another shape may round differently.
QUERY_BLOCK = 64


class GalleryContext:
    """The vectors of a gallery, each in the context of its reciprocal neighbours.

    Keeps about ``4 (2 L + 3) D + 13 k`` bytes of each picture in memory (12 KiB with four layers of width 256).

    Args:
        model: a trained context encoder; is put into evaluation mode.
        gallery: vectors of the encoder that the context encoder was trained on.
        frames: landmark frames of another `GalleryContext`, to be used again instead of new ones.

    Shape:
        gallery (N, D).

    Raises:
        ConfigError: the width is another one, or the model makes its graph from affinities, which know no outside.
        DataError: a vector is not finite, or there is none.
    """

    def __init__(self, model: ContextEncoder, gallery: np.ndarray, frames: list[Frame] | None = None) -> None:
        if model.settings.graph != "cosine":
            raise ConfigError(
                f"a context encoder with graph {model.settings.graph!r} knows no neighbours outside of one set; use "
                "the transductive protocol, or train with graph 'cosine'"
            )
        self._model = model.eval()
        self._state = fitted(model, self._tensor(gallery), frames)
        self._vectors = self._embedded(self._state.levels[-1])
        self._search: RowSearch | None = None

    def __len__(self) -> int:
        return self._state.size

    @property
    def vectors(self) -> np.ndarray:
        """What the gallery is searched in: unit vectors (N, D), in the order in which they were given."""
        return self._vectors.cpu().numpy()

    @property
    def frames(self) -> list[Frame]:
        """What each layer takes from the landmarks. They are chosen once: pictures appended later are none."""
        return self._state.frames

    @torch.no_grad()
    def append(self, features: np.ndarray) -> np.ndarray:
        """Add pictures; only rows that they change are computed again.

        Args:
            features: vectors of the new pictures.

        Shape:
            features (n, D) -> rows of `vectors` that are new or were computed again (r,), sorted.

        Raises:
            ConfigError: the width is another one.
            DataError: a vector is not finite, or there is none.
        """
        given = self._tensor(features)
        rows = insert(self._state, given, self._model.prepared(given), self._searched())
        self._search = None
        room = self._vectors.new_empty((len(given), self._vectors.shape[1]))
        self._vectors = torch.cat([self._vectors, room])
        self._vectors[rows] = self._embedded(self._state.levels[-1][rows])
        return rows.cpu().numpy()

    @torch.no_grad()
    def transform(self, queries: np.ndarray, one_way: bool = False) -> np.ndarray:
        """Let queries look at the gallery; each result is the same whatever other queries come with it.

        Args:
            queries: image vectors, or text vectors of the same space.
            one_way: a query looks at its nearest pictures even where it would not be among theirs. For text, whose
                vectors lie apart from those of all pictures, so that no picture would have a sentence as neighbour.

        Shape:
            queries (Q, D) -> unit vectors (Q, D).

        Raises:
            ConfigError: the width is another one.
            DataError: a vector is not finite, or there is none.
        """
        given = self._tensor(queries)
        prepared = self._model.prepared(given)
        unit = unit_rows(given)
        results = []
        for first in range(0, len(given), QUERY_BLOCK):
            part = slice(first, first + QUERY_BLOCK)
            count = len(prepared[part])
            results.append(self._looked(_filled(prepared[part]), _filled(unit[part]), one_way)[:count])
        return torch.cat(results).cpu().numpy()

    @torch.no_grad()
    def scores_with(self, query: np.ndarray) -> np.ndarray:
        """Protocol C: cosines of one query with the gallery when the query is one of its pictures, as an exact answer.

        Rows that the query changes are computed again for it and put back after it.

        Shape:
            query (D,) -> (N,).

        Raises:
            ConfigError: the width is another one.
            DataError: the vector is not finite.
        """
        state, size = self._state, self._state.size
        given = self._tensor(np.asarray(query)[None])
        prepared, search = self._model.prepared(given), self._searched()
        state.reserve(1)
        state.undone = []
        try:
            rows = insert(state, given, prepared, search)
            embedded = self._embedded(state.levels[-1][rows])  # the query is the last of them
            scores = self._vectors @ embedded[-1]
            scores[rows[:-1]] = embedded[:-1] @ embedded[-1]
        finally:
            undo(state, size)
        return scores.cpu().numpy()

    def _looked(self, rows: Tensor, unit: Tensor, one_way: bool) -> Tensor:
        state: ContextState = self._state
        scores, neighbours = self._searched().nearest(unit, min(state.neighbours.shape[1], state.size))
        # Strictly: of two equal ones the incumbent stays.
        reciprocal = scores > state.thresholds[neighbours]
        lists = Lists(neighbours[:, None], (reciprocal | one_way)[:, None])
        for index, (layer, frame) in enumerate(zip(state.layers, state.frames, strict=True)):
            rows = layer(rows, frame, layer.remember(rows, frame), state.memory(index), lists)
        return self._embedded(rows)

    def _searched(self) -> RowSearch:
        self._search = self._search or self._state.search()
        return self._search

    def _embedded(self, rows: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([unit_rows(self._model.embed(part)) for part in rows.split(ROWS)])

    def _tensor(self, features: np.ndarray) -> Tensor:
        if np.ndim(features) != 2:
            raise DataError(f"vectors have shape {np.shape(features)}; expected (rows, width)")
        parameter = self._model.classifier.weight
        return torch.as_tensor(np.ascontiguousarray(features)).to(parameter.device, parameter.dtype)


def _filled(rows: Tensor) -> Tensor:
    """A block of exactly `QUERY_BLOCK` rows; copies of the first stand in for those that are missing."""
    missing = QUERY_BLOCK - len(rows)
    return torch.cat([rows, rows[:1].expand(missing, -1)]) if missing else rows
