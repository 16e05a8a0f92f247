"""How witnesses err: a value is taken for a neighbour that looks like it, never for just anything.

Navy passes for black, a jacket for a coat, a shoulder bag for a handbag. Narrators err by this table and the oracle
judges by the same table, so the ceiling it reports is the true one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from passerby.data.world.attributes import VALUES, Identity

#: Share of the facts that a narrator gets wrong unless told otherwise.
ERROR_RATE = 0.02

#: Log-likelihood of a claim that no mistake of a narrator explains.
IMPOSSIBLE = -25.0

_COLOURS: Mapping[str, tuple[str, ...]] = {
    "black": ("navy",),
    "white": ("beige",),
    "grey": ("white",),
    "red": ("maroon", "orange"),
    "maroon": ("brown", "red"),
    "orange": ("red", "yellow"),
    "yellow": ("orange",),
    "green": ("olive", "teal"),
    "olive": ("green", "brown"),
    "teal": ("green", "blue"),
    "light blue": ("blue",),
    "blue": ("navy", "light blue"),
    "navy": ("black", "blue"),
    "purple": ("blue", "maroon"),
    "pink": ("purple",),
    "brown": ("maroon", "olive"),
    "beige": ("white",),
}

#: Attribute -> value -> the values it is mistaken for. Values that are not listed are never mistaken.
CONFUSED_WITH: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "gender": {},
    "age": {"young": ("adult",), "adult": ("young",), "elderly": ("adult",)},
    "build": {"slim": ("average",), "average": ("slim", "heavy"), "heavy": ("average",)},
    "hair": {
        "bald": ("short",),
        "short": ("medium",),
        "medium": ("short", "long"),
        "long": ("medium",),
        "ponytail": ("long",),
        "bun": ("ponytail",),
    },
    "hair_colour": {
        "black": ("brown",),
        "brown": ("black", "red"),
        "blond": ("brown",),
        "grey": ("blond",),
        "red": ("brown",),
    },
    "headwear": {"none": (), "cap": ("hat",), "beanie": ("cap",), "hat": ("cap",)},
    "top": {"t-shirt": ("shirt",), "shirt": ("t-shirt",), "sweater": ("shirt",), "tank top": ("t-shirt",)},
    "top_pattern": {"striped": ("checked",), "checked": ("striped",), "dotted": ("checked",), "logo": ("two-tone",)},
    "outer": {"jacket": ("coat",), "coat": ("jacket",), "hoodie": ("jacket",), "vest": ("jacket",)},
    "outer_front": {},
    "bottom": {
        "trousers": ("jeans",),
        "jeans": ("trousers",),
        "shorts": ("skirt",),
        "skirt": ("long skirt",),
        "long skirt": ("skirt",),
    },
    "bottom_pattern": {"striped": ("checked",), "checked": ("striped",)},
    "shoes": {
        "sneakers": ("dress shoes",),
        "boots": ("dress shoes",),
        "sandals": ("sneakers",),
        "dress shoes": ("sneakers",),
    },
    "bag": {"backpack": ("shoulder bag",), "handbag": ("shoulder bag",), "shoulder bag": ("handbag",)},
    "carried": {"phone": ("book",), "book": ("phone",), "shopping bag": ("book",), "bottle": ("phone",)},
    **{name: _COLOURS for name in VALUES if name.endswith("_colour") and name != "hair_colour"},
}


def log_likelihood(attribute: str, stated: str, identity: Identity, error_rate: float) -> float:
    """Log-probability that a narrator who speaks of this attribute of this person says `stated`.

    Args:
        attribute: a key of `attributes.VALUES`.
        stated: the value that the words stand for.
        identity: the person looked at.
        error_rate: share of facts that are stated wrongly, in [0, 1).
    """
    if not identity.has(attribute):
        return IMPOSSIBLE
    true = getattr(identity, attribute)
    neighbours = CONFUSED_WITH[attribute].get(true, ())
    if stated == true:
        return math.log1p(-error_rate) if neighbours else 0.0
    if stated in neighbours and error_rate > 0:
        return math.log(error_rate / len(neighbours))
    return IMPOSSIBLE
