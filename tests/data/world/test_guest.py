"""The guest: as her sentence says, on every street, and somebody of her own."""

from dataclasses import replace

import pytest
from PIL import Image

from passerby.data.world.guest import GUEST_SENTENCE, draw_guest, guest_of
from passerby.data.world.street import SIZES, Street, inhabitants


@pytest.mark.parametrize("seed", range(20))
def test_she_is_whom_the_sentence_describes(seed):
    guest = guest_of(Street(seed=seed))
    said = f"a {guest.gender} in a {guest.outer_colour} {guest.outer} with a {guest.bag_colour} {guest.bag}"
    assert said == GUEST_SENTENCE


def test_nobody_of_the_street_has_her_number_or_her_family():
    street = replace(SIZES["small"], train=40)
    guest = guest_of(street)
    others = [person for residents in inhabitants(street).values() for person in residents]
    assert guest.person_id not in {person.person_id for person in others}
    assert guest.family_id not in {person.family_id for person in others}


def test_streets_of_other_seeds_have_other_guests():
    assert len({guest_of(Street(seed=seed)).tint for seed in range(8)}) == 8


def test_she_is_seen_as_often_as_the_people_of_the_test(tmp_path):
    street = Street(train=0, val=0, test=4, test_views=3, size=(64, 32))
    images = draw_guest(street, tmp_path / "guest")
    assert len({image.camera_id for image in images}) == 3
    assert {image.person_id for image in images} == {4}
    for image in images:
        with Image.open(image.path) as picture:
            assert picture.size == (32, 64)
    before = [image.path.read_bytes() for image in images]
    assert draw_guest(street, tmp_path / "guest") == images
    assert [image.path.read_bytes() for image in images] == before
