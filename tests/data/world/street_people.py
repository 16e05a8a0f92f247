"""People for the tests of the street."""

import hashlib
from dataclasses import replace

import numpy as np

from passerby.data.world.attributes import VALUES, Identity
from passerby.data.world.render import render, sample_view

PLAIN = Identity(
    person_id=1,
    family_id=1,
    gender="man",
    age="adult",
    build="average",
    hair="short",
    hair_colour="brown",
    headwear="none",
    headwear_colour="red",
    top="t-shirt",
    top_colour="light blue",
    top_pattern="plain",
    outer="none",
    outer_colour="olive",
    outer_front="open",
    bottom="trousers",
    bottom_colour="grey",
    bottom_pattern="plain",
    shoes="sneakers",
    shoes_colour="red",
    bag="none",
    bag_colour="maroon",
    carried="none",
    carried_colour="yellow",
)
FULL = replace(PLAIN, headwear="cap", outer="jacket", bag="backpack", carried="bottle")


def random_identity(rng, person=7):
    look = {name: str(rng.choice(values)) for name, values in VALUES.items()}
    return Identity(person_id=person, family_id=0, skin=int(rng.integers(5)), tint=int(rng.integers(1000)), **look)


def digest():
    rng = np.random.default_rng(3)
    sha = hashlib.sha256()
    for _ in range(6):
        rendering = render(random_identity(rng), sample_view(rng), (128, 64))
        for array in (rendering.image, rendering.mask, rendering.visible, rendering.full):
            sha.update(array.tobytes())
    return sha.hexdigest()
