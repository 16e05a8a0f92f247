"""From noticed facts to noun phrases, and from phrases to a text that remembers which characters say what.

A `Wording` is a noun phrase with the facts it states ("navy parka"); a `Draft` is the text under way, and everything
said through `Draft.tell` becomes a `Phrase` tied to its attributes and to the part that shows them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from passerby.data.world.noticing import Fact, Sighting
from passerby.data.world.words import (
    COLOUR_WORDS,
    GENERIC,
    HAIR_COLOUR_WORDS,
    HAIR_PHRASES,
    NOUNS,
    PATTERN_TAILS,
    PATTERN_WORDS,
    PERSON_WORDS,
    PLURAL,
    article,
)


@dataclass(frozen=True, slots=True)
class Phrase:
    """Some characters of a caption and what they claim.

    Attributes:
        start: index of the first character.
        end: index after the last character.
        part: the part of `attributes.PARTS` they describe; None for the whole figure.
        facts: the claims, at least one.
    """

    start: int
    end: int
    part: str | None
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Wording:
    """A noun phrase without its article, and what it claims."""

    text: str
    part: str | None
    facts: tuple[Fact, ...]
    plural: bool = False

    @property
    def with_article(self) -> str:
        """The phrase as an indefinite noun phrase: "an olive coat", but "black boots"."""
        return self.text if self.plural else f"{article(self.text)} {self.text}"


class Draft:
    """A text under way."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._phrases: list[Phrase] = []

    def say(self, text: str) -> None:
        """Add words that claim nothing."""
        self._pieces.append(text)
        self._length += len(text)

    def tell(self, wording: Wording, *, bare: bool = False) -> None:
        """Add a noun phrase that claims something, with its article unless `bare`."""
        text = wording.text if bare else wording.with_article
        if wording.facts:
            self._phrases.append(Phrase(self._length, self._length + len(text), wording.part, wording.facts))
        self.say(text)

    def list(self, items: Sequence[Callable[[], None]], last: str = " and ") -> None:
        """Say several things as "a, b and c"."""
        for place, item in enumerate(items):
            if place:
                self.say(last if place == len(items) - 1 else ", ")
            item()

    @property
    def ends_open(self) -> bool:
        """Whether the last sentence still lacks its full stop or question mark."""
        return not "".join(self._pieces[-1:]).endswith((".", "?"))

    @property
    def sentence_ended(self) -> bool:
        """Whether the next sentence needs a blank first."""
        return "".join(self._pieces[-1:]).endswith(".")

    @property
    def words(self) -> int:
        """How many words there are so far."""
        return len("".join(self._pieces).split())

    def finish(self) -> tuple[str, tuple[Phrase, ...]]:
        """The text with capitals at the beginnings of sentences, and its phrases."""
        text = re.sub(r"(^|[.!?] )([a-z])", lambda match: match[1] + match[2].upper(), "".join(self._pieces))
        return text.rstrip(), tuple(self._phrases)


@dataclass(slots=True)
class Wordsmith:
    """Chooses words for what was noticed.

    Attributes:
        sighting: what was noticed.
        rng: the source of chance.
        fancy: chance of a synonym in place of the plain word.
    """

    sighting: Sighting
    rng: np.random.Generator
    fancy: float = 0.4
    _skipped: set[str] = field(default_factory=set)

    def pick(self, words: Sequence[str]) -> str:
        """Any of some words, all equally likely."""
        return words[int(self.rng.integers(len(words)))]

    def synonym(self, words: Sequence[str]) -> str:
        """The plain first word, or a synonym."""
        return self.pick(words[1:]) if len(words) > 1 and self.rng.random() < self.fancy else words[0]

    def sees(self, thing: str) -> bool:
        """Whether there is something to say about a thing: that it is there and what it is like."""
        known = any(name.startswith(thing) for name in self.sighting.facts)
        return known and thing in self.sighting.things and thing not in self._skipped

    def skip(self, thing: str) -> None:
        """Leave a thing out after all."""
        self._skipped.add(thing)

    def person(self) -> Wording:
        """The person: "young slim woman"."""
        facts, words = [], []
        for attribute in ("age", "build", "gender"):
            fact = self.sighting.facts.get(attribute)
            if fact and attribute not in self._skipped:
                facts.append(fact)
                words.append(self.synonym(PERSON_WORDS[attribute][fact.stated]))
        if "gender" not in self.sighting.facts:
            words.append("person")
        return Wording(" ".join(words), None, tuple(facts))

    def hair(self) -> Wording:
        """The hair: "long brown hair"; plural, as it takes no article."""
        style, colour = self.sighting.facts.get("hair"), self.sighting.facts.get("hair_colour")
        stem = self.synonym(HAIR_PHRASES[style.stated]) if style else "{colour}hair"
        word = self.synonym(HAIR_COLOUR_WORDS[colour.stated]) if colour and "{colour}" in stem else ""
        text = stem.format(colour=f"{word} " if word else "")
        if text.startswith("a ") and "ponytail" in text:
            text = f"{article(text[2:])} {text[2:]}"
        facts = tuple(fact for fact in (style, colour if word else None) if fact)
        return Wording(text, "hair", facts, plural=True)

    def noun(self, thing: str) -> Wording:
        """A thing by its kind alone: "boots"."""
        fact = self.sighting.facts.get(thing)
        if fact is None:
            return Wording(GENERIC[thing], thing, (), plural=thing == "shoes")
        return Wording(self.synonym(NOUNS[thing][fact.stated]), thing, (fact,), plural=fact.stated in PLURAL)

    def colour(self, thing: str) -> Wording | None:
        """The colour of a thing as a predicate, or None when it was not noticed."""
        fact = self.sighting.facts.get(f"{thing}_colour")
        return Wording(self.synonym(COLOUR_WORDS[fact.stated]), thing, (fact,), plural=True) if fact else None

    def pattern(self, thing: str) -> Wording | None:
        """The pattern of a thing as a predicate ("checked"), or None when it was not noticed."""
        fact = self.sighting.facts.get(f"{thing}_pattern")
        return Wording(self.synonym(PATTERN_WORDS[fact.stated]), thing, (fact,), plural=True) if fact else None

    def whole(self, thing: str) -> Wording:
        """Everything noticed about a thing: "open navy parka", "red t-shirt with a logo on it", "long brown hair"."""
        if thing == "hair":
            return self.hair()
        noun = self.noun(thing)
        facts, before, after = list(noun.facts), [], ""
        hue = self.colour(thing)
        if hue:
            before.append(hue.text)
            facts.extend(hue.facts)
        pattern = self.sighting.facts.get(f"{thing}_pattern")
        if pattern:
            facts.append(pattern)
            tails = PATTERN_TAILS.get(pattern.stated, ())
            if tails and (pattern.stated not in PATTERN_WORDS or self.rng.random() < 0.3):
                after = f" {self.pick(tails)}"
            else:
                place = 0 if pattern.stated == "plain" or self.rng.random() < 0.3 else len(before)
                before.insert(place, self.synonym(PATTERN_WORDS[pattern.stated]))
        front = self.sighting.facts.get("outer_front") if thing == "outer" else None
        if front:
            facts.append(front)
            if front.stated == "open":
                before.insert(0, "open")
            else:
                after = f"{after} {self.pick(('done up', 'closed at the front', 'zipped up'))}"
        return Wording(" ".join([*before, noun.text]) + after, thing, tuple(facts), noun.plural)
