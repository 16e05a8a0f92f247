"""The dyed fabrics of one person: attribute colours with that person's own small shift.

No two black coats are the same black. The shift comes from the identity's `tint` alone, so a person wears the same
colours in every picture and two look-alikes differ only where their attributes do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from passerby.data.world.attributes import COLOURS, HAIR_COLOURS, SKIN_TONES, Identity
from passerby.data.world.canvas import RGB, Fabric

_OUTER_WEAVE = {"none": "smooth", "jacket": "smooth", "coat": "felt", "hoodie": "felt", "vest": "quilt"}
_JEANS_THREAD = (226.0, 170.0, 96.0)


@dataclass(frozen=True, slots=True)
class Wardrobe:
    """Fabrics and colours of a person, ready to be cut.

    Attributes:
        skin: bare skin.
        hair: hair colour.
        top: trunk of the top.
        sleeve: its sleeves, which carry no print and may be of the second tone.
        outer: the outer garment.
        bottom: the lower garment.
        shoes: colour of the shoes.
        bag: colour of the bag.
        carried: colour of the carried thing.
        headwear: colour of the headwear.
    """

    skin: Fabric
    hair: RGB
    top: Fabric
    sleeve: Fabric
    outer: Fabric
    bottom: Fabric
    shoes: RGB
    bag: RGB
    carried: RGB
    headwear: RGB


@lru_cache(maxsize=1024)
def wardrobe_of(identity: Identity) -> Wardrobe:
    """Dye the clothes of a person; remembered, because a person is seen several times."""
    rng = np.random.default_rng((identity.tint, 7))
    shift = rng.normal(0.0, 6.0, size=(6, 3))
    light = 1 + rng.normal(0.0, 0.05, size=6)
    top_colour = _dye(COLOURS[identity.top_colour], light[0], shift[0])
    outer_colour = _dye(COLOURS[identity.outer_colour], light[1], shift[1])
    bottom_colour = _dye(COLOURS[identity.bottom_colour], light[2], shift[2])
    jeans, accent = identity.bottom == "jeans", contrast(top_colour)
    top = Fabric(top_colour, accent, identity.top_pattern, "knit" if identity.top == "sweater" else "smooth")
    sleeve = top._replace(pattern="plain") if identity.top_pattern in ("logo", "two-tone") else top
    return Wardrobe(
        skin=Fabric(_dye(SKIN_TONES[identity.skin], 1 + (light[1] - 1) * 0.5, shift[1] * 0.3), folds=0.0, gloss=0.12),
        hair=_dye(HAIR_COLOURS[identity.hair_colour], light[0], shift[0] * 0.4),
        top=top,
        sleeve=sleeve._replace(colour=accent) if identity.top_pattern == "two-tone" else sleeve,
        outer=Fabric(outer_colour, shaded(outer_colour, 0.7), "plain", _OUTER_WEAVE[identity.outer]),
        bottom=Fabric(
            bottom_colour,
            _JEANS_THREAD if jeans else contrast(bottom_colour),
            "pinstripe" if identity.bottom_pattern == "striped" else identity.bottom_pattern,
            "denim" if jeans else "smooth",
        ),
        shoes=_dye(COLOURS[identity.shoes_colour], light[3], shift[3]),
        bag=_dye(COLOURS[identity.bag_colour], light[4], shift[4]),
        carried=_dye(COLOURS[identity.carried_colour], light[5], shift[5]),
        headwear=_dye(COLOURS[identity.headwear_colour], light[5], shift[4]),
    )


def shaded(colour: RGB, factor: float) -> RGB:
    """A darker shade of a colour."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def lightened(colour: RGB) -> RGB:
    """A colour a third of the way to white."""
    red, green, blue = (value + (255 - value) * 0.35 for value in colour)
    return red, green, blue


def contrast(colour: RGB) -> RGB:
    """The second colour of a pattern: off-white on dark cloth, dark navy on light cloth."""
    bright = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    return (236.0, 234.0, 228.0) if bright < 130 else (44.0, 44.0, 62.0)


def _dye(base: tuple[int, int, int], light: float, shift: np.ndarray) -> RGB:
    red, green, blue = (
        min(max(float(value * light + move), 6.0), 250.0) for value, move in zip(base, shift, strict=True)
    )
    return red, green, blue
