"""Splits by identity: nobody in two, the shares asked for, the same for the same seed, whatever the order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passerby.data.records import Caption, Dataset, PersonImage, Split
from passerby.data.splitting import assign, hold_out, split_by_identity, tutorial_split
from passerby.errors import ConfigError, DataError

SHARES = st.dictionaries(st.sampled_from(["train", "val", "test", "other"]), st.floats(0.01, 10), min_size=1)


@given(st.sets(st.integers(0, 10_000), min_size=4, max_size=200), SHARES, st.integers(0, 5))
def test_everybody_is_in_one_split_of_the_right_size(people, shares, seed):
    home = assign(sorted(people), shares, seed)
    assert set(home) == people
    sizes = {name: list(home.values()).count(name) for name in shares}
    assert min(sizes.values()) >= 1
    exact = {name: len(people) * share / sum(shares.values()) for name, share in shares.items()}
    if min(exact.values()) >= 1:
        assert all(abs(sizes[name] - exact[name]) < 1 for name in shares)
    assert assign(sorted(people, reverse=True), shares, seed) == home


def test_another_seed_deals_otherwise():
    assert assign(range(100), {"a": 1, "b": 1}, 0) != assign(range(100), {"a": 1, "b": 1}, 1)


@pytest.mark.parametrize("shares", [{}, {"a": 0.0}, {"a": -1.0, "b": 2.0}, {"a": float("nan")}, {"a": float("inf")}])
def test_wrong_shares(shares):
    with pytest.raises(ConfigError, match="expected a positive share"):
        assign([1, 2, 3], shares, 0)


def test_too_few_people():
    with pytest.raises(DataError, match="1 people cannot fill 2 splits"):
        assign([1], {"a": 1, "b": 1}, 0)


def dataset(people=10, strangers=4):
    images = [
        PersonImage(f"{person}_{view}.jpg", Path(f"{person}_{view}.jpg"), person)
        for person in range(people)
        for view in range(3)
    ]
    images += [PersonImage(f"s{number}.jpg", Path(f"s{number}.jpg")) for number in range(strangers)]
    captions = [Caption(f"About {image.image_id}.", image.image_id, image.person_id) for image in images]
    queries = tuple(image.image_id for image in images if image.image_id.endswith("_0.jpg"))
    return Dataset("made", Path(), {"train": Split("train", tuple(images), tuple(captions), queries)})


def test_people_stay_together_and_nothing_is_lost():
    made = split_by_identity(dataset(), {"train": 0.5, "val": 0.25, "test": 0.25}, seed=3)
    homes = {}
    for name, split in made.splits.items():
        for image in split.images:
            if image.person_id is not None:
                assert homes.setdefault(image.person_id, name) == name
        assert {caption.image_id for caption in split.captions} == {image.image_id for image in split.images}
        assert set(split.query_ids) == {one.image_id for one in split.images if one.image_id.endswith("_0.jpg")}
        assert split.provenance == "split by identity, shares train 0.5, val 0.25, test 0.25, seed 3"
    assert sorted(homes) == list(range(10))
    assert sum(len(split.images) for split in made.splits.values()) == 34


def test_a_picture_in_two_splits_cannot_be_split_anew():
    given = dataset()
    twice = Dataset(
        "twice", Path(), {"train": given.split("train"), "test": Split("test", given.split("train").images)}
    )
    with pytest.raises(DataError, match="lists a picture in two splits"):
        split_by_identity(twice, {"a": 1, "b": 1})


def test_held_out_people_are_whole_and_strangers_stay_in_train():
    made = hold_out(dataset(), "made-val", people=4, seed=1)
    train, val = made.split("train"), made.split("val")
    assert (len(train.identities), len(val.identities)) == (6, 4)
    assert not set(train.identities) & set(val.identities)
    assert (len(train.images), len(val.images)) == (3 * 6 + 4, 12)
    assert hold_out(dataset(), "made-val", people=4, seed=2).split("val") != val


@pytest.mark.parametrize("people", [0, 10, 11, -1])
def test_all_or_nobody_cannot_be_held_out(people):
    with pytest.raises(DataError, match="cannot be held out"):
        hold_out(dataset(), "made-val", people)


def test_a_val_split_of_its_own_is_kept():
    made = hold_out(dataset(), "made-val", 3)
    with pytest.raises(DataError, match="has a val split of its own"):
        hold_out(made, "again", 3)


def test_the_tutorials_fifth():
    home = tutorial_split([f"{number:05d}.jpg" for number in range(31_783)])
    assert list(home.values()).count("val") == 6356
