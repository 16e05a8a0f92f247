"""Why a picture answers a sentence, as numbers: maps over the picture, weights of the words, patches that were taken.

The record needs no torch; `passerby.models.explaining` makes it of gradients, `passerby.models.occlusion` by covering
places, and `passerby.evaluation.explanation_sheet` draws it.

Axes: R rows and S columns of the picture's tokens, W words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

#: A word is letters and digits with inner hyphens and apostrophes; "light-blue" is one.
_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the sentence and the characters that it takes, first and after the last."""

    text: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """What decided a score.

    Attributes:
        sentence: as it was given.
        score: of picture and sentence, in [-1, 1].
        relevance: how much each place adds to what the sentence asks for, (R, S); places that speak against it are
            below zero.
        words: the sentence's words.
        weights: how much the score falls without each word, (W,); below zero for words that speak against the picture.
        word_relevance: how much each place adds to what each word asks for, (W, R, S).
        saliency: what the picture tower itself looks at, whatever the sentence: mechanism -> (R, S), not negative.
        selected: places that went on into the local branch, (R, S) bool; None for a model without one.
        how: what the maps are made of, "gradient" or "occlusion".
    """

    sentence: str
    score: float
    relevance: np.ndarray
    words: tuple[Word, ...]
    weights: np.ndarray
    word_relevance: np.ndarray
    saliency: Mapping[str, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))
    selected: np.ndarray | None = None
    how: str = "gradient"

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "sentence": self.sentence,
            "score": self.score,
            "how": self.how,
            "relevance": self.relevance.tolist(),
            "words": [
                {"text": word.text, "start": word.start, "stop": word.stop, "weight": float(weight), "relevance": heat}
                for word, weight, heat in zip(self.words, self.weights, self.word_relevance.tolist(), strict=True)
            ],
            "saliency": {name: heat.tolist() for name, heat in self.saliency.items()},
            "selected": None if self.selected is None else self.selected.tolist(),
        }


def words_of(sentence: str) -> tuple[Word, ...]:
    """The words of a sentence with their places."""
    return tuple(Word(found[0], found.start(), found.end()) for found in _WORD.finditer(sentence))


def without(sentence: str, start: int, stop: int) -> str:
    """A sentence without some of its characters; a full stop where nothing would be left."""
    rest = f"{sentence[:start].rstrip()} {sentence[stop:].lstrip()}".strip()
    return rest if _WORD.search(rest) else "."
