"""Whole frames of the street: who walks, where they are, and what is seen of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from passerby.data.world.scenes import Scene, film, walks_of
from passerby.errors import DataError

SMALL = Scene(walkers=4, seconds=6, fps=4, size=(120, 200), seed=5)


@pytest.fixture(scope="module")
def frames():
    return list(film(SMALL))


def test_the_same_seed_gives_the_same_film_and_another_another(frames):
    assert np.array_equal(next(film(SMALL)).image, frames[0].image)
    other = next(film(Scene(walkers=4, seconds=6, fps=4, size=(120, 200), seed=6)))
    assert not np.array_equal(other.image, frames[0].image)
    assert frames[0].image.shape == (120, 200, 3)
    assert len(frames) == 24


def test_walkers_are_different_people_of_different_families():
    walks = walks_of(SMALL)
    assert len({walk.identity.family_id for walk in walks}) == 4
    assert [walk.number for walk in walks] == [0, 1, 2, 3]


def test_boxes_move_steadily_in_the_walks_direction(frames):
    for walk in walks_of(SMALL):
        middles = [
            (frame.time, (one.box[0] + one.box[2]) / 2)
            for frame in frames
            for one in frame.people
            if one.walk == walk.number and one.box[0] > 0 and one.box[2] < 200
        ]
        for (before, left), (after, right) in pairwise(middles):
            assert (right - left) * (1 if walk.rightwards else -1) == pytest.approx(
                walk.speed * (after - before), abs=9
            )


def test_a_box_holds_exactly_what_changes_when_somebody_walks_through():
    """Against the same place without anybody, only noise differs outside the box and the shadow."""
    scene = Scene(walkers=1, seconds=4, fps=2, size=(160, 240), seed=1)
    empty = Scene(walkers=0, seconds=4, fps=2, size=(160, 240), seed=1)
    seen = 0
    for frame, place in zip(film(scene), film(empty), strict=True):
        changed = abs(frame.image.astype(int) - place.image).max(axis=2) > 12
        for one in frame.people:
            seen += 1
            left, top, right, bottom = (int(edge) for edge in one.box)
            assert changed[top:bottom, left:right].mean() > 0.15
            changed[top:bottom, max(left - 1, 0) : right + 1] = False
            changed[int(bottom - 0.2 * (bottom - top)) :, :] = False  # the shadow
        assert changed.mean() < 0.002
    assert seen >= 4


def test_whoever_stands_nearer_hides_whoever_stands_behind():
    crowded = Scene(walkers=12, seconds=6, fps=2, size=(120, 160), seed=2)
    shares = [one.visible for frame in film(crowded) for one in frame.people]
    assert all(0 <= share <= 1 for share in shares)
    assert min(shares) < 0.5
    assert max(shares) > 0.99


@pytest.mark.parametrize(
    "wrong",
    [
        {"walkers": -1},
        {"walkers": 501},
        {"seconds": 0},
        {"seconds": float("nan")},
        {"fps": 0},
        {"fps": 61},
        {"size": (10, 100)},
        {"size": (2000, 100)},
        {"camera": 7},
        {"camera": -1},
        {"light": "dusk"},
    ],
)
def test_scenes_that_cannot_be_filmed_are_refused(wrong):
    with pytest.raises(DataError):
        Scene(**wrong)
