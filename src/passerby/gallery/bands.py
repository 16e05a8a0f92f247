"""How good a match is, told by the gallery itself: strong, weak, or none.

A cosine means nothing by itself: it depends on the model, on whether words or pictures ask, and on how many people
there are to be confused with. Two things are therefore measured in each gallery. For words: the best score that
sentences about no person at all reach; a match has to be better than nineteen in twenty of them. For pictures: how
near the nearest other picture of the gallery's own pictures is; a match has to be nearer than for the twentieth part
of them. Neither knows who is in the gallery: somebody who looks like the person scores like the person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from passerby.gallery.records import Encoder

#: Below this size the measurements are too few to say anything, and every match is called weak.
FEWEST = 100
#: Gallery pictures whose nearest neighbours are looked at.
_SAMPLE = 64
#: The measurement holds until the gallery has grown or shrunk by more than this share.
_DRIFT = 0.2
_NOBODY = (
    "a bowl of tomato soup",
    "the annual report of a bank",
    "two cats asleep on a sofa",
    "a mountain lake at dawn",
    "how to repair a bicycle chain",
    "an empty parking lot",
    "a plate of spaghetti",
    "the invention of the steam engine",
    "a fire truck in front of its station",
    "leaves on a tree",
    "the sky over the sea",
    "a photograph of an old bridge",
    "a submarine under the ice",
    "snow on a roof",
    "a fruit cut in half",
    "a horse in a field",
    "a wooden chair",
    "a list of numbers",
    "a dog chasing a ball",
    "a glass of water",
    "traffic lights at night",
    "a map of the city",
    "a keyboard and a mouse",
    "a birthday cake",
    "the moon behind clouds",
    "a pair of scissors",
    "fresh bread on a table",
    "a guitar on a stage",
    "a stone church",
    "a row of books",
)

#: Best scores of (Q, D) queries in the gallery, each without the picture itself where one is named.
Best = Callable[[np.ndarray, list[str | None]], np.ndarray]


@dataclass(frozen=True, slots=True)
class Bands:
    """Scores from which matches are weak or strong, for words and for pictures; measured at a size of the gallery."""

    pictures: int
    text_weak: float
    text_strong: float
    image_weak: float
    image_strong: float

    def of(self, score: float, text_share: float) -> str:
        """The band of a score.

        Args:
            score: cosine.
            text_share: how much of the query was text; between words and pictures the limits are mixed alike.
        """
        weak, strong = self.limits(text_share)
        return "strong" if score >= strong else "weak" if score >= weak else "none"

    def limits(self, text_share: float) -> tuple[float, float]:
        """Where weak and strong matches begin."""
        rest = 1 - text_share
        return (
            text_share * self.text_weak + rest * self.image_weak,
            text_share * self.text_strong + rest * self.image_strong,
        )

    def hold_for(self, pictures: int) -> bool:
        """Whether they are still good enough for a gallery of this size."""
        return abs(pictures - self.pictures) <= _DRIFT * self.pictures

    def to_dict(self) -> dict[str, float]:
        """The bands as JSON values."""
        return asdict(self)


def bands_from(values: Mapping[str, Any] | None) -> Bands | None:
    """Bands out of their JSON values, or None where these are none."""
    try:
        return Bands(**values) if values else None
    except TypeError:
        return None


def measure_bands(ids: list[str], vectors: Callable[[list[str]], np.ndarray], best: Best, encoder: Encoder) -> Bands:
    """Measure where matches begin in a gallery.

    Args:
        ids: all pictures; a fixed sample of them is looked at.
        vectors: returns the (N, D) vectors of pictures.
        best: returns the best scores of queries in the gallery.
        encoder: the gallery's model.
    """
    chosen = sorted(ids)[:: max(1, len(ids) // _SAMPLE)][:_SAMPLE]
    nearest = best(vectors(chosen), list(chosen))  # (S,)
    nobody = best(np.asarray(encoder.encode_texts(list(_NOBODY)), np.float32), [None] * len(_NOBODY))  # (T,)
    middle, weak = np.quantile(nobody, [0.5, 0.95])
    image_weak, image_strong = np.quantile(nearest, [0.05, 0.25])
    return Bands(len(ids), float(weak), float(2 * weak - middle), float(image_weak), float(image_strong))
