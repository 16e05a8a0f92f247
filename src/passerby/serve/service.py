"""What all routes share: the gallery, the desk, and the few things that are remembered between requests.

Pictures that people search with are remembered in memory only, a few of them, so that the address of a search can be
opened again; the values to filter by are remembered until something is written.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from passerby.data.untrusted import decode_untrusted
from passerby.errors import ConfigError
from passerby.gallery import Gallery
from passerby.gallery.records import Reranker
from passerby.gallery.reranking import offered_stages
from passerby.serve.desk import Desk
from passerby.serve.metrics import Metrics
from passerby.serve.schema import Facets, printable
from passerby.serve.settings import Settings

Result = TypeVar("Result")
_FIELDS = ("camera", "source")
_MOST_VALUES = 50
_FACETS_FOR_S = 30.0
_REMEMBERED = 32
_LOOKERS, _MOST_LOOKING = 2, 256


class Service:
    """One gallery behind one desk."""

    def __init__(self, gallery: Gallery, settings: Settings) -> None:
        """Take an open gallery; whoever opened it closes it."""
        self.gallery = gallery
        self.settings = settings
        self.stages = offered_stages(settings.stages)
        self.metrics = Metrics()
        self.desk = Desk(settings.workers, settings.waiting, settings.timeout_s)
        # A page asks for two dozen thumbnails at once, which are files; they must not push searches out of the queue.
        self.thumbnails = Desk(_LOOKERS, _MOST_LOOKING, settings.timeout_s)
        self._facets: tuple[float, Facets] | None = None
        self._pictures: OrderedDict[str, np.ndarray] = OrderedDict()

    async def write(self, work: Callable[[], Result]) -> Result:
        """Run work that changes the gallery, with nothing beside it."""
        try:
            return await self.desk.write(work)
        finally:
            self._facets = None

    def warm(self) -> None:
        """Load the model and the second stages, answer one question and count what there is: no visitor waits for that.

        Raises:
            GalleryError: the gallery is damaged.
            CheckpointError: its model, or a second stage, cannot be loaded.
            ConfigError: a second stage is not what the gallery's model needs.
            MissingExtraError: a second stage needs torch, which is not installed.
        """
        for name in self.stages:
            self.stage(name)
        if len(self.gallery) and getattr(self.gallery.model, "reads_sentences", True):
            self.gallery.search("a person", k=1)
        self.facets()

    def stage(self, name: str) -> Reranker:
        """A second stage that this service offers.

        Raises:
            ConfigError: it offers none of this name.
        """
        if name not in self.stages:
            raise ConfigError(
                f"this service does not re-rank by {name!r}; it offers {', '.join(self.stages)}, and more where it is "
                f"started with: passerby serve GALLERY --rerank {name}"
            )
        return self.gallery.stage(self.stages[name])

    def facets(self) -> Facets:
        """What there is to filter by; counted anew after a while, as another process may write too."""
        held = self._facets
        if held is not None and time.monotonic() - held[0] < _FACETS_FOR_S:
            return held[1]
        values = {
            name: {printable(value): count for value, count in sorted(self.gallery.facets(name, _MOST_VALUES).items())}
            for name in _FIELDS
        }
        facets = Facets(
            fields=values,
            times=self.gallery.times(),
            metadata_fields=self.gallery.metadata_fields(),
            stages=list(self.stages),
        )
        self._facets = (time.monotonic(), facets)
        return facets

    def decode(self, encoded: bytes, name: str) -> np.ndarray:
        """(H, W, 3) uint8 pixels of a picture that somebody sent, not much larger than the model reads them.

        Raises:
            DataError: it cannot be decoded, is larger than the caps, or takes too much time or memory.
        """
        return decode_untrusted(encoded, self.gallery.model.preprocessing.image_size, name)

    def close(self) -> None:
        """Finish what is being worked on and take nothing more; the gallery stays open."""
        self.desk.close()
        self.thumbnails.close()

    def remember(self, pixels: np.ndarray) -> str:
        """Keep a picture in memory for later searches; return a name that nobody can guess."""
        name = secrets.token_urlsafe(16)
        self._pictures[name] = pixels
        while len(self._pictures) > _REMEMBERED:
            self._pictures.popitem(last=False)
        return name

    def remembered(self, name: str) -> np.ndarray | None:
        """A picture that was kept, or None where it has been forgotten."""
        return self._pictures.get(name)
