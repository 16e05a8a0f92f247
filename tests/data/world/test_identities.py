"""The people of the street: families that differ as promised, nobody twice, and lists that grow at their end."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.data.world.attributes import VALUES, differing_attributes
from passerby.data.world.identities import FAMILY_SIZE, looks, people
from passerby.data.world.mistakes import CONFUSED_WITH
from passerby.errors import DataError


def families(crowd):
    return [list(members) for _, members in groupby(crowd, key=lambda one: one.family_id)]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(2, 45))
def test_everybody_has_a_twin_that_differs_in_exactly_one_attribute(seed, count):
    crowd = people(seed, count)
    assert len(crowd) == count
    assert [one.person_id for one in crowd] == list(range(count))
    assert len({looks(one) for one in crowd}) == count
    for base, *variants in families(crowd):
        assert variants
        changes = [differing_attributes(base, variant) for variant in variants]
        assert all(len(change) == 1 for change in changes)
        assert len(set(changes)) == len(changes)  # each variant is changed in an attribute of its own


def test_variants_are_never_what_a_narrator_would_confuse_with_the_base():
    for base, *variants in families(people(3, 800)):
        for variant in variants:
            (name,) = differing_attributes(base, variant)
            assert getattr(variant, name) not in CONFUSED_WITH[name].get(getattr(base, name), ())


def test_a_longer_list_begins_with_the_shorter_one():
    assert people(7, 40)[:20] == people(7, 20)
    assert people(7, 20) != people(8, 20)


@pytest.mark.parametrize(("count", "sizes"), [(2, [2]), (4, [4]), (5, [5]), (6, [4, 2]), (9, [4, 5]), (11, [4, 4, 3])])
def test_the_last_family_takes_up_the_remainder(count, sizes):
    assert [len(members) for members in families(people(0, count))] == sizes


def test_taken_looks_are_avoided_and_added():
    first = people(0, 40)
    taken = {looks(one) for one in first}
    second = people(0, 40, taken=taken, first_person=40, first_family=10)
    assert not {looks(one) for one in first} & {looks(one) for one in second}
    assert len(taken) == 80
    assert second[0].person_id == 40
    assert second[0].family_id == 10


def test_common_things_are_common_and_men_wear_no_skirts():
    crowd = people(1, 4000)
    shoes = Counter(one.shoes_colour for one in crowd)
    assert shoes["black"] > 3 * shoes["teal"]
    assert not [one for one in crowd if one.gender == "man" and "skirt" in one.bottom]
    assert 0.45 < sum(one.gender == "woman" for one in crowd) / len(crowd) < 0.55
    for attribute, values in VALUES.items():
        assert {getattr(one, attribute) for one in crowd} == set(values), attribute


def test_absent_things_have_no_details_that_make_equal_looks_unequal():
    for one in people(2, 400):
        if one.bag == "none":
            assert one.bag_colour == VALUES["bag_colour"][0]


@pytest.mark.parametrize("count", [1, 0, -4])
def test_fewer_than_two_people_are_refused(count):
    with pytest.raises(DataError, match="at least 2"):
        people(0, count)


def test_families_have_the_documented_size():
    assert FAMILY_SIZE == 4
