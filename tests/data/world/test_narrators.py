"""What narrators say: lengths, grammar, phrases tied to characters, only what shows, mistakes at the rate asked for."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sightings import seen

from passerby.data.world.attributes import COLOURS, PART_LABEL, PART_OF, PARTS, VALUES
from passerby.data.world.identities import people
from passerby.data.world.mistakes import CONFUSED_WITH
from passerby.data.world.narrators import NARRATORS, describe
from passerby.data.world.street import WORLD_VERSION
from passerby.data.world.words import COLOUR_WORDS, HAIR_COLOUR_WORDS, HAIR_PHRASES, NOUNS, PERSON_WORDS, article
from passerby.errors import ConfigError

CROWD = people(0, 200)
FACINGS = ("front", "side", "back")
AWKWARD = re.compile(
    r"  | [,.;:]|\.\.|,\.|\b(\w+) \1\b|^[^A-Z]|[.!?] [a-z]|[^.?]$|\ba [aeiou]|\ban [^aeiou]|\{|\}", re.MULTILINE
)


def captions(count, seed=0, **options):
    rng = np.random.default_rng(seed)
    for number in range(count):
        identity = CROWD[number % len(CROWD)]
        yield identity, describe(identity, seen(identity), FACINGS[number % 3], rng, **options)


@settings(max_examples=200, deadline=None)
@given(
    person=st.integers(0, len(CROWD) - 1),
    narrator=st.sampled_from(sorted(NARRATORS)),
    facing=st.sampled_from(FACINGS),
    seed=st.integers(0, 2**32),
    shown=st.lists(st.floats(0, 0.2), min_size=len(PARTS), max_size=len(PARTS)),
    detail=st.sampled_from([0.3, 1.0, 5.0]),
)
def test_any_sighting_gives_good_english_of_15_to_50_words_with_sound_phrases(
    person, narrator, facing, seed, shown, detail
):
    identity, visible = CROWD[person], np.array(shown, np.float32) * (seen(CROWD[person]) > 0)
    told = describe(identity, visible, facing, np.random.default_rng(seed), narrator=narrator, detail=detail)
    assert 15 <= len(told.text.split()) <= 50, told.text
    assert not AWKWARD.search(told.text), told.text
    ends = 0
    for phrase in told.phrases:
        assert ends <= phrase.start < phrase.end <= len(told.text)
        ends = phrase.end
        words = told.text[phrase.start : phrase.end]
        assert words == words.strip()
        assert phrase.facts
        for fact in phrase.facts:
            assert fact.stated in VALUES[fact.attribute]
            assert fact.true == getattr(identity, fact.attribute)
            assert fact.stated == fact.true or fact.stated in CONFUSED_WITH[fact.attribute][fact.true]
            if fact.stated != "none":
                assert phrase.part == PART_OF.get(fact.attribute)


def test_the_characters_of_a_phrase_hold_the_words_of_its_facts():
    for _, told in captions(600):
        for phrase in told.phrases:
            words = told.text[phrase.start : phrase.end].lower()
            for fact in phrase.facts:
                if fact.stated == "none":
                    assert words in ("no bag", "no hat")
                elif fact.attribute == "hair_colour":
                    assert any(word in words for word in HAIR_COLOUR_WORDS[fact.stated])
                elif fact.attribute.endswith("_colour"):
                    assert any(word in words for word in COLOUR_WORDS[fact.stated])
                elif fact.attribute in NOUNS:
                    assert any(word in words for word in NOUNS[fact.attribute][fact.stated])
                elif fact.attribute in PERSON_WORDS:
                    assert any(word in words for word in PERSON_WORDS[fact.attribute][fact.stated])


def test_only_what_shows_is_spoken_of():
    rng = np.random.default_rng(0)
    for identity in CROWD:
        visible = seen(identity)
        visible[PART_LABEL["shoes"]] = visible[PART_LABEL["bag"]] = 0
        told = describe(identity, visible, "front", rng, detail=100)
        named = {fact.attribute for phrase in told.phrases for fact in phrase.facts if fact.stated != "none"}
        assert not named & {"shoes", "shoes_colour", "bag", "bag_colour"}


def test_what_is_mostly_hidden_is_not_spoken_of():
    rng = np.random.default_rng(0)
    identity = CROWD[0]
    visible, full = seen(identity, 0.03), seen(identity, 0.03)
    full[PART_LABEL["bottom"]] = 0.3
    for _ in range(50):
        told = describe(identity, visible, "front", rng, full=full, detail=100)
        assert "bottom" not in {phrase.part for phrase in told.phrases}


@pytest.mark.parametrize(
    ("change", "facing", "attribute"),
    [({"hair": "ponytail", "headwear": "none"}, "front", "hair"), ({"top_pattern": "logo"}, "back", "top_pattern")],
)
def test_what_the_other_side_shows_is_not_spoken_of(change, facing, attribute):
    identity = replace(CROWD[0], outer="none", **change)
    rng = np.random.default_rng(0)
    for _ in range(60):
        told = describe(identity, seen(identity), facing, rng, detail=100)
        assert attribute not in {fact.attribute for phrase in told.phrases for fact in phrase.facts}


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4])
def test_mistakes_come_at_the_rate_asked_for(rate):
    facts = [fact for _, told in captions(500, error_rate=rate) for one in told.phrases for fact in one.facts]
    able = [fact for fact in facts if CONFUSED_WITH[fact.attribute].get(fact.true)]
    wrong = sum(fact.stated != fact.true for fact in able) / len(able)
    assert abs(wrong - rate) < 0.03
    assert (wrong == 0) == (rate == 0)


def test_more_detail_means_more_facts():
    counts = [
        sum(len(phrase.facts) for _, told in captions(300, detail=detail) for phrase in told.phrases)
        for detail in (0.3, 1.0, 5.0)
    ]
    assert counts == sorted(counts)
    assert counts[0] < 0.8 * counts[2]


def test_pronouns_and_verbs_fit():
    for identity, told in captions(600):
        says_gender = any(fact.attribute == "gender" for phrase in told.phrases for fact in phrase.facts)
        words = set(re.findall(r"[a-z']+", told.text.lower()))
        wrong = {"she", "her", "she's", "he", "his", "him", "he's"}
        if says_gender:
            wrong -= {"she", "her", "she's"} if identity.gender == "woman" else {"he", "his", "him", "he's"}
            wrong |= {"they", "their", "them", "they're"}
        assert not words & wrong, told.text
        assert not re.search(r"\bthey (is|has|wears|seems)\b|\b(she|he) (are|have|wear|seem)\b", told.text.lower())


def test_narrators_are_told_apart_and_texts_vary():
    identity = CROWD[5]
    texts = {
        name: {
            describe(identity, seen(identity), "side", np.random.default_rng(seed), narrator=name).text
            for seed in range(20)
        }
        for name in NARRATORS
    }
    assert all(len(some) > 10 for some in texts.values())
    assert len(set.union(*texts.values())) == sum(map(len, texts.values()))


def test_the_same_source_of_chance_gives_the_same_words():
    assert [told for _, told in captions(30, seed=4)] == [told for _, told in captions(30, seed=4)]


def test_the_words_of_this_version_of_the_street_are_frozen():
    """Whoever changes a word changes every trained model's ground: count WORLD_VERSION up and renew the digest."""
    words = "\n".join(told.text for _, told in captions(400, seed=1)).encode()
    assert (WORLD_VERSION, hashlib.sha256(words).hexdigest()[:16]) == (1, "c338661f751f6e70")


def test_every_word_stands_for_one_value_only():
    for attribute, of_value in [
        ("colour", COLOUR_WORDS),
        *NOUNS.items(),
        *PERSON_WORDS.items(),
        ("hair", HAIR_PHRASES),
    ]:
        words = [word for some in of_value.values() for word in some]
        assert len(words) == len(set(words)), attribute
    assert set(COLOUR_WORDS) == set(COLOURS)
    assert all(set(NOUNS[thing]) == set(VALUES[thing]) - {"none"} for thing in NOUNS)


@pytest.mark.parametrize(("words", "expected"), [("olive coat", "an"), ("red coat", "a"), ("Umbrella", "an")])
def test_articles(words, expected):
    assert article(words) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"narrator": "anotator"}, "Did you mean 'annotator'"),
        ({"error_rate": 1.0}, r"error rate 1.0 must be in \[0, 1\)"),
        ({"error_rate": -0.1}, "error rate -0.1"),
        ({"detail": 0.0}, "detail 0.0"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        describe(CROWD[0], seen(CROWD[0]), "front", np.random.default_rng(0), **options)
