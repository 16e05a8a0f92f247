"""What a narrator notices of a person in one view, and with which mistakes.

Only what shows in that view can be noticed: a ponytail not from the front, a t-shirt not under a closed coat, shoes
not behind a bench. Of what shows, the salient is nearly always noticed and the rest often passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from passerby.data.world.attributes import PART_LABEL, PART_OF, VALUES, Identity
from passerby.data.world.mistakes import CONFUSED_WITH

#: Chance that a visible thing, or a detail of a thing that is spoken of, is noticed at detail 1.
SALIENCE: Mapping[str, float] = {
    "gender": 0.97,
    "age": 0.45,
    "build": 0.25,
    "hair": 0.78,
    "hair_colour": 0.88,
    "headwear": 0.94,
    "headwear_colour": 0.90,
    "top": 0.98,
    "top_colour": 0.97,
    "top_pattern": 0.90,
    "outer": 0.98,
    "outer_colour": 0.97,
    "outer_front": 0.35,
    "bottom": 0.97,
    "bottom_colour": 0.96,
    "bottom_pattern": 0.85,
    "shoes": 0.85,
    "shoes_colour": 0.90,
    "bag": 0.93,
    "bag_colour": 0.88,
    "carried": 0.75,
    "carried_colour": 0.60,
}

#: Chance that the kind of a thing is noticed once the thing is; things not listed are always named by kind.
KIND_SALIENCE: Mapping[str, float] = {"top": 0.90, "shoes": 0.75, "bag": 0.90}

#: Values that mean the absence of something, seldom worth a word.
SELDOM_SAID: Mapping[str, float] = {"plain": 0.10, "average": 0.10, "adult": 0.25}

#: Things -> share of the crop they must cover to be seen.
_LEAST_SHARE: Mapping[str, float] = {
    "hair": 0.003,
    "headwear": 0.003,
    "top": 0.012,
    "outer": 0.012,
    "bottom": 0.012,
    "shoes": 0.002,
    "bag": 0.004,
    "carried": 0.002,
}
_LEAST_UNHIDDEN = 0.3
THINGS = tuple(_LEAST_SHARE)


@dataclass(frozen=True, slots=True)
class Fact:
    """One claim: what is said of an attribute and what is true."""

    attribute: str
    stated: str
    true: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one narrator noticed: attribute to fact, the side seen, and which things were visibly not there."""

    facts: Mapping[str, Fact]
    things: frozenset[str]
    facing: str
    missing: tuple[str, ...]

    def stated(self, attribute: str) -> str | None:
        """What will be claimed of an attribute, or None."""
        fact = self.facts.get(attribute)
        return fact.stated if fact else None


def notice(
    identity: Identity,
    visible: np.ndarray,
    full: np.ndarray,
    facing: str,
    rng: np.random.Generator,
    *,
    error_rate: float,
    detail: float,
) -> Sighting:
    """Draw what a narrator notices.

    Args:
        identity: the person looked at.
        visible: (len(PARTS),) share of the crop that each part covers.
        full: (len(PARTS),) the same if nothing hid the person.
        facing: "front", "side" or "back".
        rng: the source of chance.
        error_rate: share of facts stated wrongly, as a neighbouring value.
        detail: omissions become this many times rarer; 1 is a casual witness.
    """

    def noticed(chance: float) -> bool:
        return rng.random() >= (1.0 - chance) / detail

    facts: dict[str, Fact] = {}
    things: set[str] = set()
    for attribute in VALUES:
        thing = PART_OF.get(attribute)
        if thing is None:
            shown = True
        elif attribute in THINGS:
            shown = identity.has(attribute) and _shows(thing, identity, visible, full)
        else:
            shown = thing in things and identity.has(attribute) and _detail_shows(attribute, identity, facing)
        if not shown:
            continue
        true = getattr(identity, attribute)
        if not noticed(SALIENCE[attribute] * SELDOM_SAID.get(true, 1.0)):
            continue
        if attribute in THINGS:
            things.add(attribute)
            if not _kind_shows(attribute, identity, facing, rng) or not noticed(KIND_SALIENCE.get(attribute, 1.0)):
                continue
        facts[attribute] = Fact(attribute, _as_stated(attribute, true, rng, error_rate), true)
    missing = tuple(thing for thing in ("headwear", "bag") if getattr(identity, thing) == "none")
    return Sighting(facts, frozenset(things), facing, missing)


def _shows(thing: str, identity: Identity, visible: np.ndarray, full: np.ndarray) -> bool:
    if thing == "hair" and identity.hair == "bald":
        return identity.headwear == "none"
    label = PART_LABEL[thing]
    return bool(visible[label] >= _LEAST_SHARE[thing] and visible[label] >= _LEAST_UNHIDDEN * full[label])


def _detail_shows(attribute: str, identity: Identity, facing: str) -> bool:
    """Whether a detail can be seen from this side once its thing is seen."""
    if attribute == "outer_front":
        return facing != "back"
    if attribute == "top_pattern":
        return facing != "back" or identity.top_pattern != "logo"
    return True


def _kind_shows(thing: str, identity: Identity, facing: str, rng: np.random.Generator) -> bool:
    """Whether the kind of a seen thing can be told from this side."""
    if thing == "hair":
        tied = identity.hair in ("ponytail", "bun")
        return not (tied and facing == "front") and (identity.headwear == "none" or rng.random() < 0.5)
    if thing == "top":
        return identity.outer == "none" or bool(rng.random() < 0.5)  # sleeves are hidden under a coat
    return True


def _as_stated(attribute: str, true: str, rng: np.random.Generator, error_rate: float) -> str:
    neighbours = CONFUSED_WITH[attribute].get(true, ())
    if neighbours and rng.random() < error_rate:
        return neighbours[int(rng.integers(len(neighbours)))]
    return true
