"""The plan of a street: who is where, which captions are queries, and what is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from passerby.data.records import Caption, PersonImage, Split
from passerby.data.world.identities import looks
from passerby.data.world.street import SIZES, Street, inhabitants, queries, street_of_size, take_picture
from passerby.errors import ConfigError

PLAN = Street(train=24, val=8, test=10)


def test_splits_share_neither_people_nor_families_nor_looks():
    residents = inhabitants(PLAN)
    everybody = [one for split in residents.values() for one in split]
    assert {split: len(some) for split, some in residents.items()} == {"train": 24, "val": 8, "test": 10}
    assert [one.person_id for one in everybody] == list(range(42))
    assert len({looks(one) for one in everybody}) == 42
    homes = {one.family_id: split for split, some in residents.items() for one in some}
    assert all(homes[one.family_id] == split for split, some in residents.items() for one in some)


def test_the_same_people_are_tested_whatever_the_training_split():
    small, large = (inhabitants(replace(PLAN, train=count))["test"] for count in (4, 400))
    assert [looks(one) for one in small] == [looks(one) for one in large]
    thousand = inhabitants(replace(PLAN, test=40))["test"]
    assert [looks(one) for one in thousand[:8]] == [looks(one) for one in small[:8]]


def test_seeds_are_different_worlds():
    assert inhabitants(PLAN)["test"] != inhabitants(replace(PLAN, seed=1))["test"]


def test_an_empty_split_is_left_out():
    assert set(inhabitants(Street(train=0, val=0, test=4))) == {"test"}


def test_pictures_of_a_person_come_from_different_cameras_and_are_drawn_from_the_plan_alone():
    person = inhabitants(PLAN)["test"][3]
    pictures = [take_picture(PLAN, "test", 3, person, number) for number in range(4)]
    assert len({one.view.camera for one in pictures}) == 4
    assert len({one.frame for one in pictures}) == 4
    again = take_picture(PLAN, "test", 3, person, 2)
    np.testing.assert_array_equal(again.rendering.image, pictures[2].rendering.image)
    assert again.descriptions == pictures[2].descriptions
    assert all(len(one.descriptions) == 2 for one in pictures)
    assert all(one.descriptions[0].narrator != one.descriptions[1].narrator for one in pictures)


def test_natural_sizes_vary():
    plan = replace(PLAN, size="natural")
    person = inhabitants(plan)["train"][0]
    shapes = {take_picture(plan, "train", 0, person, number).rendering.image.shape for number in range(3)}
    assert len(shapes) == 3


def split_of(images, captions_each=2):
    pictures = tuple(PersonImage(f"{one}.jpg", Path(f"{one}.jpg"), one // 4) for one in range(images))
    told = tuple(
        Caption(f"caption {number}", one.image_id, one.person_id) for one in pictures for number in range(captions_each)
    )
    return Split("test", pictures, told)


def test_standard_queries_are_one_caption_of_each_of_500_images():
    whole = split_of(1000)
    asked = queries(whole)
    assert asked.images == whole.images
    assert len(asked.captions) == 500
    assert len({caption.image_id for caption in asked.captions}) == 500
    assert set(asked.captions) <= set(whole.captions)
    assert 180 < Counter(caption.text for caption in asked.captions)["caption 0"] < 320
    assert queries(whole) == asked
    assert queries(whole, seed=1) != asked
    order = [whole.captions.index(caption) for caption in asked.captions]
    assert order == sorted(order)


def test_a_small_split_is_asked_for_every_image_once():
    assert len(queries(split_of(8)).captions) == 8
    assert not queries(split_of(8, captions_each=0)).captions


def test_no_queries_at_all_are_refused():
    with pytest.raises(ConfigError, match="at least 1"):
        queries(split_of(4), count=0)


def test_named_sizes_keep_the_standard_test():
    assert SIZES["medium"] == Street()
    assert all((one.test, one.test_views) in ((250, 4), (1000, 4)) for one in SIZES.values())
    with pytest.raises(ConfigError, match="Did you mean 'medium'"):
        street_of_size("medum")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"train": 1}, "train is 1 people"),
        ({"val": -3}, "val is -3 people"),
        ({"train": 0, "val": 0, "test": 0}, "without people"),
        ({"train_views": 0}, "views are 0 and 4"),
        ({"test_views": 101}, "views are 2 and 101"),
        ({"size": "big"}, "size is 'big'"),
        ({"size": (8, 64)}, r"size is \(8, 64\)"),
        ({"size": (128,)}, r"size is \(128,\)"),
        ({"error_rate": 1.5}, "error rate 1.5"),
        ({"detail": 0}, "detail 0"),
    ],
)
def test_wrong_numbers_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        replace(PLAN, **change)
