"""What a person of the street can look like: the vocabulary that renderer, narrators and oracle share.

An `Identity` is a flat record of named attributes, each with a small closed set of values, so that "differs in
exactly one attribute" has an exact meaning. The renderer draws them, the narrators put them into words, the oracle
compares words with them. Colours are sRGB; each identity shifts them a little (`tint`), as dyes do.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType

from passerby.errors import DataError, nearest

#: Part labels of the masks, in the order of their label values (uint8).
PARTS = (
    "background",
    "skin",
    "face",
    "hair",
    "headwear",
    "top",
    "outer",
    "bottom",
    "shoes",
    "bag",
    "carried",
    "occluder",
    "bystander",
)

#: Label value of each part name.
PART_LABEL = MappingProxyType({name: label for label, name in enumerate(PARTS)})

#: Colour name -> sRGB in 0..255: seventeen colours that people name without thinking.
COLOURS: MappingProxyType[str, tuple[int, int, int]] = MappingProxyType(
    {
        "black": (28, 28, 32),
        "white": (238, 238, 234),
        "grey": (128, 130, 134),
        "red": (196, 36, 40),
        "maroon": (110, 22, 38),
        "orange": (232, 122, 32),
        "yellow": (236, 204, 52),
        "green": (44, 138, 66),
        "olive": (104, 108, 50),
        "teal": (24, 128, 136),
        "light blue": (134, 184, 226),
        "blue": (38, 84, 190),
        "navy": (26, 36, 84),
        "purple": (112, 54, 148),
        "pink": (236, 142, 174),
        "brown": (112, 70, 42),
        "beige": (206, 184, 148),
    }
)

HAIR_COLOURS: MappingProxyType[str, tuple[int, int, int]] = MappingProxyType(
    {
        "black": (30, 26, 26),
        "brown": (88, 56, 34),
        "blond": (206, 168, 98),
        "grey": (158, 158, 160),
        "red": (150, 66, 30),
    }
)

SKIN_TONES: tuple[tuple[int, int, int], ...] = (
    (244, 210, 184),
    (226, 182, 146),
    (196, 146, 108),
    (154, 106, 74),
    (106, 72, 52),
)

_COLOUR = tuple(COLOURS)
_PATTERN = ("plain", "striped", "checked", "dotted", "logo", "two-tone")

#: Every attribute and the values it can take. "none" means that the person has no such thing.
VALUES: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "gender": ("woman", "man"),
        "age": ("young", "adult", "elderly"),
        "build": ("slim", "average", "heavy"),
        "hair": ("bald", "short", "medium", "long", "ponytail", "bun"),
        "hair_colour": tuple(HAIR_COLOURS),
        "headwear": ("none", "cap", "beanie", "hat"),
        "headwear_colour": _COLOUR,
        "top": ("t-shirt", "shirt", "sweater", "tank top"),
        "top_colour": _COLOUR,
        "top_pattern": _PATTERN,
        "outer": ("none", "jacket", "coat", "hoodie", "vest"),
        "outer_colour": _COLOUR,
        "outer_front": ("open", "closed"),
        "bottom": ("trousers", "jeans", "shorts", "skirt", "long skirt"),
        "bottom_colour": _COLOUR,
        "bottom_pattern": ("plain", "striped", "checked"),
        "shoes": ("sneakers", "boots", "sandals", "dress shoes"),
        "shoes_colour": _COLOUR,
        "bag": ("none", "backpack", "handbag", "shoulder bag", "suitcase"),
        "bag_colour": _COLOUR,
        "carried": ("none", "umbrella", "phone", "bottle", "shopping bag", "book"),
        "carried_colour": _COLOUR,
    }
)

#: Attribute -> the attribute that must not be "none" (or the value that must hold) for it to mean anything.
DEPENDS_ON: MappingProxyType[str, str] = MappingProxyType(
    {
        "headwear_colour": "headwear",
        "outer_colour": "outer",
        "outer_front": "outer",
        "bag_colour": "bag",
        "carried_colour": "carried",
        "hair_colour": "hair",
    }
)

#: Attribute -> the part whose pixels show it. Gender, age and build show on the whole figure.
PART_OF: MappingProxyType[str, str] = MappingProxyType(
    {
        "hair": "hair",
        "hair_colour": "hair",
        "headwear": "headwear",
        "headwear_colour": "headwear",
        "top": "top",
        "top_colour": "top",
        "top_pattern": "top",
        "outer": "outer",
        "outer_colour": "outer",
        "outer_front": "outer",
        "bottom": "bottom",
        "bottom_colour": "bottom",
        "bottom_pattern": "bottom",
        "shoes": "shoes",
        "shoes_colour": "shoes",
        "bag": "bag",
        "bag_colour": "bag",
        "carried": "carried",
        "carried_colour": "carried",
    }
)


@dataclass(frozen=True, slots=True)
class Identity:
    """One person of the street.

    `person_id` and `family_id` name the person and the look-alike family; `skin`, `height` and `tint` vary between
    people without being attributes (no narrator speaks of them); all other fields are attributes of `VALUES`.

    Raises:
        DataError: a value is not one of `VALUES`.
    """

    person_id: int
    family_id: int
    gender: str
    age: str
    build: str
    hair: str
    hair_colour: str
    headwear: str
    headwear_colour: str
    top: str
    top_colour: str
    top_pattern: str
    outer: str
    outer_colour: str
    outer_front: str
    bottom: str
    bottom_colour: str
    bottom_pattern: str
    shoes: str
    shoes_colour: str
    bag: str
    bag_colour: str
    carried: str
    carried_colour: str
    #: index into SKIN_TONES
    skin: int = 1
    #: body height relative to the average adult, about 0.9 to 1.1
    height: float = 1.0
    #: seed of the small colour shifts and pattern scales of this person's clothes
    tint: int = 0

    def __post_init__(self) -> None:
        for name, allowed in VALUES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise DataError(
                    f"identity {self.person_id}: {name} is {value!r}; allowed: {', '.join(allowed)}."
                    f"{nearest(str(value), allowed)}"
                )

    def has(self, attribute: str) -> bool:
        """Whether the attribute means anything for this person (a bag colour needs a bag, a hair colour hair)."""
        owner = DEPENDS_ON.get(attribute)
        return owner is None or getattr(self, owner) not in ("none", "bald")

    def attributes(self) -> dict[str, str]:
        """The attributes that mean something for this person, name to value."""
        return {name: getattr(self, name) for name in VALUES if self.has(name)}


def differing_attributes(one: Identity, other: Identity) -> tuple[str, ...]:
    """The names of the attributes in which two people differ, an absent thing's details not counted."""
    left, right = one.attributes(), other.attributes()
    return tuple(
        name
        for name in VALUES
        if left.get(name) != right.get(name)
        and (name not in DEPENDS_ON or left.get(DEPENDS_ON[name]) == right.get(DEPENDS_ON[name]))
    )


if {field.name for field in fields(Identity)} - set(VALUES) != {"person_id", "family_id", "skin", "height", "tint"}:
    raise RuntimeError("the fields of Identity and the keys of VALUES have drifted apart")
