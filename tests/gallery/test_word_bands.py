"""Limits for sentences: against a plain loop, in a made-up space where it is known who is there, and with nonsense."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passerby.gallery import sample_sentences
from passerby.gallery.sample_sentences import DETAILED, THINGS, VAGUE
from passerby.gallery.word_bands import Level, Person, WordBands, measure_word_bands, word_bands_from

D = 64


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class Space:
    """Pictures are traits and a common direction; a sentence names few traits or many; things point elsewhere."""

    def __init__(self, seed=0, people=400):
        self.random = np.random.default_rng(seed)
        self.common, self.elsewhere = np.eye(D)[0], np.eye(D)[1]
        self.traits = unit(self.random.normal(size=(30, D)) * (np.arange(D) > 1))
        self.worn = np.stack([self.random.choice(30, 6, replace=False) for _ in range(people)])
        self.gallery = unit(0.8 * self.common + self.traits[self.worn].sum(1) * 0.6)

    def sentence(self, traits):
        return unit(self.common * (2.0 if len(traits) < 3 else 0.7) + self.traits[list(traits)].sum(0))

    def encode(self, texts):
        rows = []
        for text in texts:
            traits = self.random.choice(30, 1 if text in VAGUE else 6, replace=False)
            thing = unit(self.elsewhere + 0.7 * self.common + 0.2 * self.random.normal(size=D))
            rows.append(thing if text in THINGS else self.sentence(traits))
        return np.stack(rows)

    def best(self, queries):
        return (queries @ self.gallery.T).max(1)

    def measured(self):
        return measure_word_bands(self.gallery[:128], self.best, self.encode)


def test_who_is_there_is_answered_and_who_is_not_is_not():
    space = Space()
    bands = space.measured()
    there = [space.sentence(worn) for worn in space.worn[:100]]
    strangers = Space(seed=1).worn[:100]
    absent = [space.sentence(worn) for worn in strangers]
    vague = [space.sentence([trait]) for trait in range(30)]
    things = space.encode([THINGS[0]] * 40)

    def answered(sentences):
        scores = space.best(np.stack(sentences))
        return np.mean([
            bands.is_about_a_person(words) and score >= bands.limits(words)[0]
            for words, score in zip(sentences, scores, strict=True)
        ])  # fmt: skip

    assert answered(there) > 0.95
    assert answered(vague) > 0.8
    assert answered(absent) < 0.5
    assert answered(things) < 0.2
    assert bands.detailed.mean < bands.vague.mean


def test_the_levels_are_the_quantiles_of_what_was_measured():
    space = Space()
    asked = []
    bands = measure_word_bands(space.gallery[:128], lambda rows: asked.append(rows) or space.best(rows), space.encode)
    vague, detailed = asked
    assert (len(vague), len(detailed)) == (len(VAGUE), len(DETAILED))
    for level, rows, shares in ((bands.vague, vague, (0.05, 0.75)), (bands.detailed, detailed, (0.75, 0.95))):
        scores = sorted(max(float(row @ picture) for picture in space.gallery) for row in rows)
        assert (level.weak, level.strong) == pytest.approx(tuple(np.quantile(scores, shares)), abs=1e-6)
        means = [np.mean([row @ picture for picture in space.gallery[:128]]) for row in rows]
        assert level.mean == pytest.approx(np.median(means), abs=1e-3)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1, 1, width=32), min_size=D, max_size=D).filter(lambda row: np.linalg.norm(row) > 0.1))
def test_limits_lie_between_the_levels_and_follow_the_mean(row):
    bands = BANDS
    words = unit(row)
    weak, strong = bands.limits(words)
    low, high = sorted([bands.vague.weak, bands.detailed.weak])
    assert low - 1e-6 <= weak <= high + 1e-6
    share = np.clip((bands.vague.mean - words @ bands.centre) / (bands.vague.mean - bands.detailed.mean), 0, 1)
    assert weak == pytest.approx((1 - share) * bands.vague.weak + share * bands.detailed.weak, abs=1e-6)
    assert strong == pytest.approx((1 - share) * bands.vague.strong + share * bands.detailed.strong, abs=1e-6)
    margin = max(float(words @ each) for each in bands.people) - max(float(words @ each) for each in bands.things)
    total = bands.person.margin * margin + bands.person.mean * float(words @ bands.centre)
    if abs(total - bands.person.border) > 1e-3:
        assert bands.is_about_a_person(words) == (total > bands.person.border)


def test_they_come_back_from_a_file_as_they_went(tmp_path):
    again = word_bands_from(json.loads(json.dumps(BANDS.to_dict())))
    assert (again.vague, again.detailed, again.person) == (BANDS.vague, BANDS.detailed, BANDS.person)
    for name in ("centre", "people", "things"):
        np.testing.assert_array_equal(getattr(again, name), getattr(BANDS, name))


@pytest.mark.parametrize(
    "wrong",
    [
        {"centre": ""}, {"centre": "no base64"}, {"people": "AAA="}, {"things": None}, {"vague": {"mean": 1}},
        {"person": {"margin": "x", "mean": 1, "border": 1}}, {"people": "AHwAfAB8"},
    ],
)  # fmt: skip
def test_what_is_none_is_refused(wrong):
    with pytest.raises((KeyError, TypeError, ValueError)):
        word_bands_from(BANDS.to_dict() | wrong)


def test_a_model_that_tells_no_difference_refuses_nobody():
    same = np.eye(D, dtype=np.float32)[0]
    bands = measure_word_bands(
        Space().gallery, lambda rows: np.full(len(rows), 0.5), lambda texts: np.tile(same, (len(texts), 1))
    )
    assert bands.person.border == -np.inf
    assert bands.is_about_a_person(same)
    assert bands.limits(same) == (0.5, 0.5)
    assert word_bands_from(json.loads(json.dumps(bands.to_dict()))).is_about_a_person(-same)


def test_the_mean_may_rise_with_what_is_said_or_tell_nothing():
    rows = np.eye(3, dtype=np.float32)
    rising = WordBands(Level(0.0, 0.3, 0.5), Level(1.0, 0.4, 0.9), Person(1, 0, -np.inf), rows[0], rows, rows)
    assert rising.limits(rows[1]) == pytest.approx((0.3, 0.5))
    assert rising.limits(rows[0]) == pytest.approx((0.4, 0.9))
    assert rising.limits(unit([1, 1.732, 0])) == pytest.approx((0.35, 0.7), abs=1e-3)
    space = Space()
    alike = measure_word_bands(space.gallery, space.best, lambda texts: unit(space.random.normal(size=(len(texts), D))))
    assert alike.detailed == alike.vague, "sentences by chance say equally much"
    assert alike.limits(space.gallery[0]) == (alike.vague.weak, alike.vague.strong)


def test_the_sentences_are_many_different_ones():
    for group in (VAGUE, DETAILED, THINGS):
        assert len(set(group)) == len(group) >= 30
        assert all(text == text.strip() and "{" not in text for text in group)
    for parts in (sample_sentences._ABOVE, sample_sentences._BELOW, sample_sentences._SHOES, sample_sentences._BAGS):
        assert {part for part in parts if any(part in text for text in DETAILED)} == set(parts), "each is used"


BANDS = Space().measured()
