"""How good a match is, told by the gallery itself: strong, weak, or none.

A cosine means nothing by itself: it depends on the model, on whether words or pictures ask, on how much the words say,
and on how many people there are to be confused with. So each gallery is measured. For words see
`passerby.gallery.word_bands`; for pictures: how near the nearest other picture of the gallery's own pictures is. A
match has to be nearer than for the twentieth part of them. Nothing of this knows who is in the gallery: somebody who
looks like the person scores like the person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from passerby.gallery.records import Encoder
from passerby.gallery.word_bands import WordBands, measure_word_bands, word_bands_from

#: Below this size the measurements are too few to say anything, and every match is called weak.
FEWEST = 100
#: Gallery pictures whose nearest neighbours are looked at, and those that tell how near sentences are to all.
_SAMPLE, _CENTRE = 64, 256
_IMAGE_WEAK, _IMAGE_STRONG = 0.05, 0.25
#: The measurement holds until the gallery has grown or shrunk by more than this share.
_DRIFT = 0.2

#: Best scores of (Q, D) queries in the gallery, each without the picture itself where one is named.
Best = Callable[[np.ndarray, list[str | None]], np.ndarray]


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the matches of one query begin.

    Attributes:
        weak: lowest score of a weak match.
        strong: lowest score of a strong one.
        reason: why no score would do, or nothing.
    """

    weak: float
    strong: float
    reason: str = ""

    def band(self, score: float) -> str:
        """The band of a score."""
        return "none" if self.reason or score < self.weak else "weak" if score < self.strong else "strong"


@dataclass(frozen=True, slots=True)
class Bands:
    """Scores from which matches are weak or strong, for words and for pictures; measured at a size of the gallery."""

    pictures: int
    image_weak: float
    image_strong: float
    words: WordBands | None

    def limits(self, words: np.ndarray | None, share: float) -> Limits:
        """Where the matches of a query begin.

        Args:
            words: (D,) unit vector of its sentences, or None where it has none.
            share: how much of the query its sentences are; between words and pictures the limits are mixed alike.
        """
        if words is None or self.words is None:
            return Limits(self.image_weak, self.image_strong)
        weak, strong = self.words.limits(words)
        rest = 1 - share
        reason = "" if rest or self.words.is_about_a_person(words) else "the words do not read like a person's looks"
        return Limits(share * weak + rest * self.image_weak, share * strong + rest * self.image_strong, reason)

    def hold_for(self, pictures: int) -> bool:
        """Whether they are still good enough for a gallery of this size."""
        return abs(pictures - self.pictures) <= _DRIFT * self.pictures

    def to_dict(self) -> dict[str, Any]:
        """The bands as JSON values."""
        numbers = {name: getattr(self, name) for name in ("pictures", "image_weak", "image_strong")}
        return numbers | {"words": None if self.words is None else self.words.to_dict()}


def bands_from(values: Mapping[str, Any] | None) -> Bands | None:
    """Bands out of their JSON values, or None where these are none, such as those of an older version."""
    try:
        if not values:
            return None
        words = values["words"]
        numbers = float(values["image_weak"]), float(values["image_strong"])
        return Bands(int(values["pictures"]), *numbers, None if words is None else word_bands_from(words))
    except (KeyError, TypeError, ValueError):
        return None


def measure_bands(ids: list[str], vectors: Callable[[list[str]], np.ndarray], best: Best, encoder: Encoder) -> Bands:
    """Measure where matches begin in a gallery.

    Args:
        ids: all pictures; fixed samples of them are looked at.
        vectors: returns the (N, D) vectors of pictures.
        best: returns the best scores of queries in the gallery.
        encoder: the gallery's model; one of pictures alone leaves words unmeasured.
    """
    chosen = _spread(ids, _SAMPLE)
    nearest = best(vectors(chosen), list(chosen))  # (S,)
    weak, strong = map(float, np.quantile(nearest, [_IMAGE_WEAK, _IMAGE_STRONG]))
    words = None
    if getattr(encoder, "reads_sentences", True):
        words = measure_word_bands(
            vectors(_spread(ids, _CENTRE)), lambda queries: best(queries, [None] * len(queries)), encoder.encode_texts
        )
    return Bands(len(ids), weak, strong, words)


def _spread(ids: list[str], count: int) -> list[str]:
    """Every so manieth id; ids are digests, so that this is a sample by chance that is the same each time."""
    return sorted(ids)[:: max(1, len(ids) // count)][:count]
