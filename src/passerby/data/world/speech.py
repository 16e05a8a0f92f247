"""What all narrators share when they speak: pronouns that agree, lists, and the ways clothes and bags are put.

A `Speech` holds one sighting, one draft and one wordsmith; the narrators differ only in what they do with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from passerby.data.world.noticing import Fact, Sighting
from passerby.data.world.phrasing import Draft, Wording, Wordsmith
from passerby.data.world.words import FACING_WORDS


@dataclass(frozen=True, slots=True)
class Pronouns:
    """How a narrator refers to the person, with the verb forms that fit."""

    she: str
    her: str
    him: str
    plural: bool

    def verb(self, word: str) -> str:
        """The verb in the person's number: "wears" or "wear", "has" or "have"."""
        forms = {"have": "has", "be": "is", "carry": "carries"}
        if self.plural:
            return "are" if word == "be" else word
        return forms.get(word, f"{word}s")


_PRONOUNS = {"woman": Pronouns("she", "her", "her", False), "man": Pronouns("he", "his", "him", False)}
_NEUTRAL = Pronouns("they", "their", "them", True)


class Speech:
    """What every narrator works with: the wordsmith, the draft and the pronouns."""

    def __init__(self, sighting: Sighting, rng: np.random.Generator, fancy: float, skipped: tuple[str, ...]) -> None:
        self.draft = Draft()
        self.words = Wordsmith(sighting, rng, fancy)
        self.sighting = sighting
        for thing in skipped:
            self.words.skip(thing)
        self.who = _PRONOUNS.get(sighting.stated("gender") or "", _NEUTRAL)

    def chance(self, share: float) -> bool:
        """True in a share of the cases."""
        return bool(self.words.rng.random() < share)

    def pick(self, *choices: str) -> str:
        """One of some ways to say something."""
        return self.words.pick(choices)

    def sees(self, *things: str) -> list[str]:
        """Those of some things that there is something to say about."""
        return [thing for thing in things if self.words.sees(thing)]

    def item(self, thing: str, *, bare: bool = False) -> Callable[[], None]:
        """A thing as a list item."""
        wording = self.words.whole(thing)
        return lambda: self.draft.tell(wording, bare=bare)

    def pair(self, thing: str) -> Callable[[], None]:
        """A thing as a list item, plural things sometimes as "a pair of"."""
        wording = self.words.whole(thing)
        prefix = "a pair of " if wording.plural and self.chance(0.3) else ""

        def tell() -> None:
            self.draft.say(prefix)
            self.draft.tell(wording)

        return tell

    def upper(self, *, bare: bool = False) -> list[Callable[[], None]]:
        """What covers the upper body, outer garment and top in one item: "a coat over a t-shirt"."""
        seen = self.sees("outer", "top")
        if len(seen) < 2:
            return [self.item(thing, bare=bare) for thing in seen]
        outer, top = self.item("outer", bare=bare), self.item("top", bare=bare)
        link = self.pick(" over ", " with {} underneath", " worn over ", " on top of ")

        def tell() -> None:
            outer()
            if "{}" in link:
                self.draft.say(" with ")
                top()
                self.draft.say(" underneath")
            else:
                self.draft.say(link)
                top()

        return [tell]

    def clothes(self, *, bare: bool = False) -> list[Callable[[], None]]:
        """Upper body, lower body and shoes."""
        lower = self.sees("bottom", "shoes")
        return self.upper(bare=bare) + [self.item(thing, bare=True) if bare else self.pair(thing) for thing in lower]

    def bearing(self, thing: str) -> str:
        """How a bag or a carried thing is borne: "pulling"."""
        ways = {"backpack": "carrying", "suitcase": "pulling", "shoulder bag": "carrying", "phone": "holding"}
        return ways.get(self.sighting.stated(thing) or "", "carrying" if thing == "bag" else "holding")

    def lack(self, share: float, frame: str) -> None:
        """In a share of the cases name something that the person does not have, where {} stands in the frame."""
        missing = self.sighting.missing
        if not missing or not self.chance(share):
            return
        thing = self.words.pick(missing)
        before, after = frame.split("{}")
        self.draft.say(before)
        claim = (Fact(thing, "none", "none"),)
        self.draft.tell(Wording("no bag" if thing == "bag" else "no hat", None, claim, plural=True))
        self.draft.say(after)

    def moving(self) -> str:
        """A remark about the side that is seen."""
        return self.words.pick(FACING_WORDS[self.sighting.facing])

    def remark(self) -> None:
        """Add a sentence that claims nothing: about the side seen, or about how hard it was to see."""
        self.draft.say(" " if self.draft.sentence_ended else "")
        it_is = f"{self.who.she} {self.who.verb('be')} {self.moving()}"
        self.draft.say(
            self.pick(
                f"{it_is}.",
                f"{it_is}, and nothing else stands out.",
                f"{it_is}, and the rest is hard to make out from here.",
                "more than that could not be seen.",
            )
        )
