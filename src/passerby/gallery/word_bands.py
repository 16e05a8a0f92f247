"""How well a sentence has to match before anybody is shown: by what kind of sentence it is, told by the gallery itself.

No one score will do. A vague sentence is near to many pictures and very near to none; a detailed one is far from most
and, where its person is there, very near to that one. How vague a sentence is shows in its mean score over the
gallery. Two levels are therefore measured: at which best scores vague sentences that fit somebody in nearly every
gallery stand, and which ones detailed descriptions of nobody reach. Between the two the limit follows the mean.

Whether a sentence is about a person at all is seen beside the words: is it nearer to descriptions of people or to
sentences about things? Some models give the latter the scores of vague descriptions, so that no score would tell.

Axes: N sentences, P about people, T about things, D dimensions, S pictures of a sample.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from passerby.gallery.sample_sentences import DETAILED, THINGS, VAGUE

#: Shares of the vague sentences' best scores below which a match is none, and from which on it is strong.
_VAGUE_WEAK, _VAGUE_STRONG = 0.05, 0.75
#: The same among detailed descriptions of nobody: better than three in four of them, better than nineteen in twenty.
_DETAILED_WEAK, _DETAILED_STRONG = 0.75, 0.95
#: The border between people and things lies half-way between these shares of the two.
_LOWEST_PEOPLE, _HIGHEST_THINGS = 0.05, 0.8
#: Two groups of sentences of which a model makes the same must not make the border a matter of rounding.
_RIDGE = 1e-3

#: The best scores of (N, D) queries in the gallery.
Best = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Level:
    """Where matches begin for sentences of one kind: their mean score over the gallery, and the limits there."""

    mean: float
    weak: float
    strong: float


@dataclass(frozen=True, slots=True)
class Person:
    """Tells descriptions of people from other sentences: a weighted sum of margin and mean score, and its border.

    Attributes:
        margin: weight of how much nearer a sentence is to descriptions of people than to sentences about things.
        mean: weight of its mean score over the gallery.
        border: sums below it belong to sentences about no person; minus infinity where a model tells no difference.
    """

    margin: float
    mean: float
    border: float


@dataclass(frozen=True, slots=True)
class WordBands:
    """The limits for sentences in one gallery.

    Attributes:
        vague: level of vague sentences.
        detailed: level of detailed ones.
        person: what a description of a person is.
        centre: (D,) mean of a sample of the gallery.
        people: (P, D) vectors of sentences about people.
        things: (T, D) vectors of sentences about things.
    """

    vague: Level
    detailed: Level
    person: Person
    centre: np.ndarray
    people: np.ndarray
    things: np.ndarray

    def limits(self, words: np.ndarray) -> tuple[float, float]:
        """Where weak and strong matches of a sentence begin, (D,) its unit vector."""
        span = self.vague.mean - self.detailed.mean  # below zero for models to which details mean nearness to everybody
        # Beyond the vaguest sentences nothing more is known; beyond the most detailed ones neither.
        share = float(np.clip((self.vague.mean - words @ self.centre) / span, 0, 1)) if span else 0.0
        return (
            self.vague.weak + share * (self.detailed.weak - self.vague.weak),
            self.vague.strong + share * (self.detailed.strong - self.vague.strong),
        )

    def is_about_a_person(self, words: np.ndarray) -> bool:
        """Whether a sentence, (D,) its unit vector, reads like the description of a person."""
        margin = float((self.people @ words).max() - (self.things @ words).max())
        return self.person.margin * margin + self.person.mean * float(words @ self.centre) >= self.person.border

    def to_dict(self) -> dict[str, Any]:
        """The bands as JSON values."""
        levels = {name: _numbers(getattr(self, name)) for name in ("vague", "detailed", "person")}
        return levels | {name: _packed(getattr(self, name)) for name in ("centre", "people", "things")}


def measure_word_bands(sample: np.ndarray, best: Best, encode: Callable[[list[str]], np.ndarray]) -> WordBands:
    """Measure the limits for sentences in a gallery.

    Args:
        sample: vectors of pictures, the same ones each time.
        best: returns the best scores of queries.
        encode: returns the vectors of sentences.

    Shape:
        sample (S, D).
    """
    centre = _halved(sample.mean(axis=0))  # (D,)
    vague, detailed, things = (_halved(_unit_rows(encode(list(group)))) for group in (VAGUE, DETAILED, THINGS))
    people, means = np.concatenate([vague, detailed]), (vague @ centre, detailed @ centre)  # (P, D)
    short = _level(means[0], best(vague), _VAGUE_WEAK, _VAGUE_STRONG)
    long = _level(means[1], best(detailed), _DETAILED_WEAK, _DETAILED_STRONG)
    if abs(short.mean - long.mean) < (means[0].std() + means[1].std()) / 2:
        long = short  # the mean does not tell how much a sentence says; then all are held for vague
    return WordBands(
        short,
        long,
        _person(_features(people, things, centre), _features(things, people, centre, sign=-1)),
        centre,
        people,
        things,
    )


def word_bands_from(values: Mapping[str, Any]) -> WordBands:
    """Bands out of their JSON values.

    Raises:
        KeyError: something is missing.
        TypeError: a value is of another kind.
        ValueError: vectors do not fit.
    """
    centre = _unpacked(values["centre"], 1)
    return WordBands(
        Level(**values["vague"]),
        Level(**values["detailed"]),
        Person(**{name: float(value) for name, value in values["person"].items()}),
        centre,
        _unpacked(values["people"], len(centre)).reshape(-1, len(centre)),
        _unpacked(values["things"], len(centre)).reshape(-1, len(centre)),
    )


def _level(means: np.ndarray, scores: np.ndarray, weak: float, strong: float) -> Level:
    return Level(float(np.median(means)), *map(float, np.quantile(scores, [weak, strong])))


def _features(own: np.ndarray, other: np.ndarray, centre: np.ndarray, sign: int = 1) -> np.ndarray:
    """(N, 2) margin and mean score of sentences, each left out of its own group."""
    alike = own @ own.T
    np.fill_diagonal(alike, -1)
    return np.stack([sign * (alike.max(axis=1) - (own @ other.T).max(axis=1)), own @ centre], axis=1)


def _person(people: np.ndarray, things: np.ndarray) -> Person:
    """Fisher's linear discriminant of (P, 2) and (T, 2) features, and the border between them."""
    spread = (np.cov(people.T) + np.cov(things.T)) / 2  # (2, 2)
    spread += _RIDGE * max(float(np.trace(spread)), _RIDGE) * np.eye(2)
    margin, mean = np.linalg.solve(spread, people.mean(axis=0) - things.mean(axis=0))
    sums = [group @ np.array([margin, mean]) for group in (people, things)]
    if np.median(sums[0]) <= np.quantile(sums[1], _HIGHEST_THINGS):
        return Person(float(margin), float(mean), -np.inf)
    border = (np.quantile(sums[0], _LOWEST_PEOPLE) + np.quantile(sums[1], _HIGHEST_THINGS)) / 2
    return Person(float(margin), float(mean), float(border))


def _unit_rows(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors, np.float32) / np.linalg.norm(vectors, axis=1, keepdims=True)


def _halved(vectors: np.ndarray) -> np.ndarray:
    """Vectors as they will be when they come back from a file, so that a gallery answers alike before and after."""
    return vectors.astype(np.float16).astype(np.float32)


def _numbers(record: Level | Person) -> dict[str, float | str]:
    """JSON knows no infinity; `float` reads its name."""
    found = {name: getattr(record, name) for name in record.__slots__}
    return {name: value if np.isfinite(value) else str(value) for name, value in found.items()}


def _packed(vectors: np.ndarray) -> str:
    return base64.b64encode(vectors.astype("<f2").tobytes()).decode()


def _unpacked(text: str, width: int) -> np.ndarray:
    found = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)
    if not len(found) or len(found) % width or not np.isfinite(found).all():
        raise ValueError(f"{len(found)} numbers are no vectors of {width}")
    return found
