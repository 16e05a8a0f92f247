"""Who walks the street: people with natural clothes, in families of look-alikes.

A family is a base person and variants that differ from the base in exactly one attribute each, so that a retriever
has to read every word and cannot get by with the overall impression. Black, blue and grey are common and orange
suitcases are not; variants change only what people speak about, and only to values that are not easily confused.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np

from passerby.data.world.attributes import COLOURS, DEPENDS_ON, HAIR_COLOURS, SKIN_TONES, VALUES, Identity
from passerby.data.world.mistakes import CONFUSED_WITH
from passerby.errors import DataError

FAMILY_SIZE = 4
_LOOKS = attrgetter(*VALUES)  # all but the person's number, the family's, and the style


class _Table:
    """Values with weights, drawn by one uniform number."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = dict(weights)
        self._values = tuple(weights)
        self._edges = list(itertools.accumulate(weights.values()))

    def draw(self, rng: np.random.Generator) -> str:
        """Draw one value in proportion to its weight."""
        return self._values[bisect.bisect_right(self._edges, rng.random() * self._edges[-1])]

    def draw_except(self, rng: np.random.Generator, avoided: frozenset[str]) -> str | None:
        """Draw one value that is not among those to avoid; None when nothing is left."""
        left = {value: weight for value, weight in self.weights.items() if value not in avoided}
        return _Table(left).draw(rng) if left else None


def _colours(**common: float) -> _Table:
    """A table of all colours: the named ones with their weights, every other with 1."""
    return _Table({colour: common.get(colour.replace(" ", "_"), 1.0) for colour in COLOURS})


_GENDER = _Table({"woman": 1.0, "man": 1.0})
_TABLES: Mapping[str, Mapping[str, _Table]] = {
    "woman": {
        "hair": _Table({"short": 1.0, "medium": 2.0, "long": 4.0, "ponytail": 2.5, "bun": 1.5}),
        "headwear": _Table({"none": 7.5, "cap": 0.9, "beanie": 0.8, "hat": 0.8}),
        "bottom": _Table({"trousers": 3.0, "jeans": 3.0, "shorts": 1.2, "skirt": 2.0, "long skirt": 1.3}),
        "bag": _Table({"none": 3.2, "backpack": 2.3, "handbag": 2.4, "shoulder bag": 1.6, "suitcase": 0.6}),
    },
    "man": {
        "hair": _Table({"bald": 1.2, "short": 6.5, "medium": 1.5, "long": 0.6, "ponytail": 0.2}),
        "headwear": _Table({"none": 7.0, "cap": 1.6, "beanie": 0.9, "hat": 0.6}),
        "bottom": _Table({"trousers": 4.0, "jeans": 3.8, "shorts": 2.2}),
        "bag": _Table({"none": 3.8, "backpack": 3.4, "shoulder bag": 2.0, "suitcase": 0.7}),
    },
}
_SHARED: Mapping[str, _Table] = {
    "age": _Table({"young": 4.0, "adult": 4.5, "elderly": 1.5}),
    "build": _Table({"slim": 3.0, "average": 5.0, "heavy": 2.0}),
    "hair_colour": _Table({"black": 4.0, "brown": 3.5, "blond": 1.8, "grey": 1.0, "red": 0.7}),
    "headwear_colour": _colours(black=4.0, white=2.0, grey=2.0, red=2.0, navy=2.0),
    "top": _Table({"t-shirt": 3.5, "shirt": 2.5, "sweater": 2.5, "tank top": 1.0}),
    "top_colour": _colours(white=4.0, black=3.5, grey=3.0, blue=2.5, red=2.0, light_blue=2.0, navy=1.5, green=1.5),
    "top_pattern": _Table({"plain": 5.0, "striped": 1.6, "checked": 1.2, "dotted": 0.6, "logo": 1.2, "two-tone": 0.6}),
    "outer": _Table({"none": 5.0, "jacket": 2.2, "coat": 1.5, "hoodie": 1.3, "vest": 0.6}),
    "outer_colour": _colours(black=5.0, navy=2.5, grey=2.5, beige=2.0, brown=2.0, blue=1.8, red=1.8, olive=1.5),
    "outer_front": _Table({"open": 1.0, "closed": 1.0}),
    "bottom_colour": _colours(black=5.0, navy=2.5, grey=2.5, beige=2.0, blue=2.0, brown=1.5, white=1.5),
    "bottom_pattern": _Table({"plain": 9.0, "striped": 0.5, "checked": 0.7}),
    "shoes": _Table({"sneakers": 5.0, "boots": 2.0, "sandals": 1.0, "dress shoes": 2.0}),
    "shoes_colour": _colours(black=6.0, white=5.0, brown=3.0, grey=2.0, red=1.2, beige=1.2),
    "bag_colour": _colours(black=5.0, brown=2.5, red=1.5, blue=1.5, grey=1.5),
    "carried": _Table({"none": 7.0, "umbrella": 0.7, "phone": 0.9, "bottle": 0.6, "shopping bag": 0.8, "book": 0.4}),
    "carried_colour": _colours(black=2.5, white=2.0, red=1.5, blue=1.5),
}
_JEANS_COLOUR = _Table({"blue": 5.0, "navy": 4.0, "light blue": 3.0, "black": 3.0, "grey": 1.5, "white": 1.0})
_PHONE_COLOUR = _Table({"black": 4.0, "white": 1.5, "grey": 1.0, "red": 0.5})

#: What a variant may change, by how often narrators speak about it.
_CHANGES = _Table(
    {
        "top_colour": 4.0,
        "outer_colour": 4.0,
        "bottom_colour": 4.0,
        "shoes_colour": 1.5,
        "bag_colour": 1.5,
        "headwear_colour": 1.0,
        "hair_colour": 1.0,
        "bottom": 1.5,
        "bag": 2.0,
        "outer": 1.5,
        "headwear": 1.2,
        "top": 1.2,
        "top_pattern": 1.5,
        "hair": 0.8,
    }
)


def people(
    seed: int | tuple[int, ...],
    count: int,
    *,
    first_person: int = 0,
    first_family: int = 0,
    taken: set[tuple[object, ...]] | None = None,
) -> list[Identity]:
    """Draw people in families of four look-alikes, all of them different from one another.

    The list for a smaller count is the beginning of the list for a larger one (but for the last, incomplete family).
    When `count` is no multiple of four the last family is smaller; a remainder of one joins the family before, so
    that everybody has a twin.

    Args:
        seed: decides everything; a tuple is mixed into one seed.
        count: how many people, at least 2.
        first_person: `person_id` of the first.
        first_family: `family_id` of the first family.
        taken: looks that must not occur (see `looks`); the looks drawn here are added to it.

    Raises:
        DataError: fewer than two people are asked for.
    """
    if count < 2:
        raise DataError(f"a street needs at least 2 people so that everybody has a look-alike, got {count}")
    taken = set() if taken is None else taken
    entropy = seed if isinstance(seed, tuple) else (seed,)
    drawn: list[Identity] = []
    for family, size in enumerate(_family_sizes(count)):
        rng = np.random.default_rng((*entropy, family))
        members = _family(rng, size, taken)
        taken.update(looks(member) for member in members)
        start = first_person + len(drawn)
        drawn += [
            replace(member, person_id=start + place, family_id=first_family + family)
            for place, member in enumerate(members)
        ]
    return drawn


def looks(identity: Identity) -> tuple[object, ...]:
    """Everything that attributes say about a person, as one hashable value."""
    return _LOOKS(identity)


def _family_sizes(count: int) -> list[int]:
    sizes = [FAMILY_SIZE] * (count // FAMILY_SIZE)
    rest = count % FAMILY_SIZE
    if rest == 1:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def _family(rng: np.random.Generator, size: int, taken: set[tuple[object, ...]]) -> list[Identity]:
    """A base person and `size - 1` variants, each changed in an attribute of its own; none of them taken."""
    while True:
        members = [_base(rng)]
        if looks(members[0]) in taken:
            continue
        changed: set[str] = set()
        for _ in range(50):
            if len(members) == size:
                return members
            attribute = _CHANGES.draw(rng)
            variant = None if attribute in changed else _variant(rng, members[0], attribute)
            if variant is not None and looks(variant) not in taken:
                changed.add(attribute)
                members.append(variant)


def _base(rng: np.random.Generator) -> Identity:
    gender = _GENDER.draw(rng)
    values = {"gender": gender}
    for attribute in VALUES:
        if attribute != "gender":
            values[attribute] = _table(gender, attribute, values).draw(rng)
    if values["hair"] != "bald" and values["age"] == "elderly" and rng.random() < 0.6:
        values["hair_colour"] = "grey"
    skin = int(rng.integers(len(SKIN_TONES)))
    looks_like: dict[str, Any] = values
    return _settled(Identity(person_id=0, family_id=0, skin=skin, **looks_like), rng)


def _variant(rng: np.random.Generator, base: Identity, attribute: str) -> Identity | None:
    """The base with one attribute changed to a value that is not easily confused with it; None where that is no use."""
    if not base.has(attribute) or _hidden(base, attribute):
        return None
    old = getattr(base, attribute)
    values = base.attributes()
    avoided = frozenset({old, *CONFUSED_WITH[attribute].get(old, ())})
    if attribute == "bottom" and (base.bottom_colour not in _JEANS_COLOUR.weights or base.bottom_pattern != "plain"):
        avoided |= {"jeans"}  # nobody has seen such jeans, and their colour or pattern would change as well
    if attribute == "hair":
        avoided |= {"bald"}  # reads as a change of hair colour too
    new = _table(base.gender, attribute, values).draw_except(rng, avoided)
    if new is None:
        return None
    changed = replace(base, **{attribute: new})
    if old == "none":  # the new thing needs details of its own; they do not count as differences
        for detail, owner in DEPENDS_ON.items():
            if owner == attribute:
                changed = replace(changed, **{detail: _table(base.gender, detail, values).draw(rng)})
    return _settled(changed, rng)


def _hidden(base: Identity, attribute: str) -> bool:
    """Whether a change of this attribute would mostly not be seen."""
    if attribute in ("top", "top_pattern"):
        return base.outer != "none"
    if attribute == "top_colour":
        return base.outer != "none" and base.outer_front == "closed"
    if attribute in ("hair", "hair_colour"):
        return base.headwear != "none" or base.hair == "bald"
    return False


def _table(gender: str, attribute: str, values: Mapping[str, str]) -> _Table:
    """From which table an attribute is drawn, given what is known of the person already."""
    if attribute == "bottom_colour" and values.get("bottom") == "jeans":
        return _JEANS_COLOUR
    if attribute == "carried_colour" and values.get("carried") == "phone":
        return _PHONE_COLOUR
    return _TABLES[gender].get(attribute) or _SHARED[attribute]


def _settled(person: Identity, rng: np.random.Generator) -> Identity:
    """Give details of absent things their first value, so that equal looks are equal records; draw the style."""
    settled = {name: VALUES[name][0] for name in DEPENDS_ON if not person.has(name)}
    if person.bottom == "jeans":
        settled["bottom_pattern"] = "plain"
    height = min(max(rng.normal(0.97 if person.gender == "woman" else 1.03, 0.03), 0.9), 1.1)
    return replace(person, **settled, height=round(height, 4), tint=int(rng.integers(2**31)))


if not set(_SHARED) | set(_TABLES["woman"]) | {"gender"} == set(VALUES) or set(HAIR_COLOURS) - set(
    _SHARED["hair_colour"].weights
):
    raise RuntimeError("the tables of identities and the vocabulary of attributes have drifted apart")
