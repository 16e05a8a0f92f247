"""One more person for a street's gallery: the woman of the sentence that documentation, page and demo ask for.

No split holds her and no test counts her. She is there so that whoever asks a fresh gallery for her can find her, on a
street of any seed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from passerby.data.records import PersonImage
from passerby.data.world.attributes import Identity
from passerby.data.world.cameras import CAMERAS
from passerby.data.world.identities import FAMILY_SIZE, people
from passerby.data.world.layout import Sighting
from passerby.data.world.layouts import layout_of
from passerby.data.world.pieces import save_picture
from passerby.data.world.street import Street, take_picture

#: What finds her.
GUEST_SENTENCE = "a woman in a red coat with a black backpack"

_LOOKS = {"outer": "coat", "outer_colour": "red", "outer_front": "closed", "bag": "backpack", "bag_colour": "black"}
_SEED = 2_626  # a source of chance of its own
_FAMILIES = 64  # drawn until one has a woman in it


def guest_of(street: Street) -> Identity:
    """Who she is on this street: as the sentence says, in everything else as the street's seed has it."""
    drawn = people((street.seed, _SEED), FAMILY_SIZE * _FAMILIES)
    woman = next(person for person in drawn if person.gender == "woman" and person.headwear == "none")
    after_all = sum(street.people_in(split) for split in ("train", "val", "test"))
    return replace(woman, person_id=after_all, family_id=after_all, **_LOOKS)  # pyright: ignore[reportArgumentType]


def draw_guest(street: Street, folder: Path) -> tuple[PersonImage, ...]:
    """Draw her as often as the street's cameras see a person of its test; pictures that are there are drawn anew.

    Args:
        street: whose cameras and pictures' size.
        folder: of the pictures, named as in RSTPReid's layout; made where it is missing.

    Returns:
        Her pictures, with a `person_id` that nobody of the street has.
    """
    guest, layout = guest_of(street), layout_of("rstpreid")
    images: list[PersonImage] = []
    for number in range(street.test_views):
        picture = take_picture(street, "test", street.test, guest, number)  # a place behind the last of the test
        camera = picture.view.camera
        sighting = Sighting("test", guest.person_id, street.test, camera, number, street.test_views)
        image_id = layout.image_id(sighting, picture.frame)
        save_picture(picture.rendering.image, folder / image_id, CAMERAS[camera].jpeg_quality)
        images.append(PersonImage(image_id, folder / image_id, guest.person_id, image_id.split("_")[1]))
    return tuple(images)
