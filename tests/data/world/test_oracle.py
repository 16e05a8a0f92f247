"""The all-knowing reader against a naive one, and against captions whose right answer is plain."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sightings import seen

from passerby.data.world.attributes import PART_OF, VALUES
from passerby.data.world.identities import people
from passerby.data.world.mistakes import CONFUSED_WITH, IMPOSSIBLE, log_likelihood
from passerby.data.world.narrators import Description, describe
from passerby.data.world.noticing import Fact
from passerby.data.world.oracle import SILENCE, score_matrix
from passerby.data.world.phrasing import Phrase

CROWD = people(0, 48)


def claims(**stated):
    facts = tuple(Fact(name, value, value) for name, value in stated.items())
    return Description("", "annotator", tuple(Phrase(0, 1, PART_OF.get(fact.attribute), (fact,)) for fact in facts))


def naive(description, identity, rate):
    """Every claim and every silence of one caption about one person, by the definition."""
    facts = {(fact.attribute, fact.stated) for phrase in description.phrases for fact in phrase.facts}
    named, parts = {name for name, _ in facts}, {PART_OF.get(name) for name, _ in facts}
    total = 0.0
    for name, value in facts:
        true = identity.attributes().get(name)
        neighbours = CONFUSED_WITH[name].get(true, ())
        if true is None or (value != true and value not in neighbours):
            total += IMPOSSIBLE
        elif value == true:
            total += math.log(1 - rate) if neighbours else 0.0
        else:
            total += math.log(rate / len(neighbours))
    for name, chance in SILENCE.items():
        if getattr(identity, name) in ("none", "plain"):
            continue
        pattern = name.endswith("_pattern")
        if (pattern and PART_OF[name] in parts and name not in named) or (not pattern and PART_OF[name] not in parts):
            total += math.log(chance)
    return total


def test_scores_equal_the_naive_loop():
    rng = np.random.default_rng(0)
    told = [describe(one, seen(one), "side", rng, error_rate=0.1) for one in CROWD]
    expected = [[naive(caption, one, 0.1) for one in CROWD] for caption in told]
    np.testing.assert_allclose(score_matrix(told, CROWD, 0.1), expected, rtol=1e-9)


def test_a_caption_with_every_fact_finds_its_person_alone():
    told = [claims(**one.attributes()) for one in CROWD]
    assert (score_matrix(told, CROWD).argmax(axis=1) == np.arange(len(CROWD))).all()
    top = np.sort(score_matrix(told, CROWD), axis=1)
    assert (top[:, -1] > top[:, -2]).all()


def test_people_whom_no_word_tells_apart_stay_tied():
    scores = score_matrix(
        [claims(gender="woman")], [replace(CROWD[0], shoes="boots"), replace(CROWD[0], shoes="sandals")]
    )
    assert scores[0, 0] == scores[0, 1]


def test_a_likely_mistake_costs_less_than_an_impossible_one():
    navy, red = (replace(CROWD[0], bottom_colour=colour) for colour in ("navy", "red"))
    black = claims(bottom_colour="black")
    scores = score_matrix([black], [replace(CROWD[0], bottom_colour="black"), navy, red])[0]
    assert scores[0] > scores[1] > scores[2]


def test_silence_about_a_bag_speaks_for_somebody_without_one():
    bare, laden = replace(CROWD[0], bag="none"), replace(CROWD[0], bag="backpack")
    scores = score_matrix([claims(gender=bare.gender)], [bare, laden])[0]
    assert scores[0] > scores[1]


def test_without_mistakes_a_wrong_claim_is_impossible():
    assert log_likelihood("bottom_colour", "black", replace(CROWD[0], bottom_colour="navy"), 0.0) == IMPOSSIBLE


@pytest.mark.parametrize("attribute", sorted(VALUES))
def test_chances_of_everything_that_can_be_said_add_up_to_one(attribute):
    owners = [one for one in people(1, 200) if one.has(attribute)]
    for one in owners[:20]:
        said = [log_likelihood(attribute, value, one, 0.2) for value in VALUES[attribute]]
        assert math.isclose(sum(math.exp(value) for value in said if value != IMPOSSIBLE), 1.0)


def test_confusions_are_values_of_the_same_attribute():
    for attribute, table in CONFUSED_WITH.items():
        for value, neighbours in table.items():
            assert {value, *neighbours} <= set(VALUES[attribute])
            assert value not in neighbours
    assert set(CONFUSED_WITH) == set(VALUES)
