"""Where matches begin in one gallery: measured after adding, kept beside the rows, measured again when it has grown."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np

from passerby.errors import GalleryError
from passerby.gallery.bands import FEWEST, Bands, bands_from, measure_bands
from passerby.gallery.records import Encoder
from passerby.gallery.store import Store

#: Under which name a store keeps them.
NOTE = "bands"


class Calibration:
    """The bands of one store, as far as they are known."""

    def __init__(self, store: Store) -> None:
        """Read nothing yet."""
        self._store = store
        self._bands: Bands | None = None

    def bands(self, encoder: Callable[[], Encoder] | None) -> Bands | None:
        """The bands as they were measured; where that is out of date, they are measured now with the model, if given.

        Returns:
            None for a gallery that is too small to be measured, or without a model to measure with.
        """
        count = len(self._store)
        if count < FEWEST:
            return None
        if self._bands is None or not self._bands.hold_for(count):
            self._bands = bands_from(self._store.read_note(NOTE))
        if (self._bands is None or not self._bands.hold_for(count)) and encoder is not None:
            self._bands = self._measured(encoder())
        return self._bands

    def keep(self, encoder: Encoder | None) -> None:
        """Measure and keep the bands if they are out of date and the model is at hand; hold the lock."""
        if encoder is None or len(self._store) < FEWEST:
            return
        kept = bands_from(self._store.read_note(NOTE))
        if kept is None or not kept.hold_for(len(self._store)):
            self._bands = self._measured(encoder)
            with contextlib.suppress(GalleryError):  # on a full disk they are measured again when they are needed
                self._store.write_note(NOTE, self._bands.to_dict())

    def _measured(self, encoder: Encoder) -> Bands:
        def best(queries: np.ndarray, own: list[str | None]) -> np.ndarray:
            scores = []
            for query, name in zip(queries, own, strict=True):
                found = self._store.search(query / np.linalg.norm(query), 2)
                scores.append(next(score for other, score in found if other != name))
            return np.array(scores)

        return measure_bands(self._store.ids(), self._store.vectors, best, encoder)
