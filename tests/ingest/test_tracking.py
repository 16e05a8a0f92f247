"""Joining boxes to tracks against a plain loop, and people who walk, meet, pause and leave."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passerby.errors import ConfigError
from passerby.ingest.boxes import overlaps
from passerby.ingest.tracking import Track, Tracker, match

BOX = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 8), st.integers(1, 8)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)
BOXES = st.lists(BOX, max_size=6).map(lambda boxes: np.array(boxes, dtype=float).reshape(-1, 4))


def match_naively(expected, boxes, least):
    """Take the best pair, cross out its row and its column, and begin again."""
    left = {
        (i, j): overlaps(expected[i : i + 1], boxes[j : j + 1])[0, 0]
        for i in range(len(expected))
        for j in range(len(boxes))
    }
    joined = []
    while left:
        best = max(left.values())
        if best < least:
            break
        pair = min(pair for pair, value in left.items() if value == best)
        joined.append(pair)
        left = {other: value for other, value in left.items() if other[0] != pair[0] and other[1] != pair[1]}
    return joined


@given(BOXES, BOXES, st.sampled_from([0.1, 0.3, 0.5, 1.0]))
def test_matching_is_the_best_pair_first(expected, boxes, least):
    assert match(expected, boxes, least) == match_naively(expected, boxes, least)


def walker(start, speed, time, top=10.0):
    left = start + speed * time
    return [left, top, left + 20, top + 60]


def follow(frames, step=0.2):
    """Tracks of each frame's boxes, by number."""
    tracker = Tracker()
    return [
        [track.number for track in tracker.update(np.array(boxes).reshape(-1, 4), number * step)[0]]
        for number, boxes in enumerate(frames)
    ]


def test_a_walker_is_one_track_even_with_gaps_and_at_a_pace_that_leaves_no_overlap():
    frames = [[walker(0, 60, 0.2 * number)] for number in range(40)]
    for number in (7, 8, 20, 21, 22):
        frames[number] = []
    assert {number for numbers in follow(frames) for number in numbers} == {0}
    still = np.array(walker(0, 60, 0.0))[None]
    assert overlaps(still, np.array([walker(0, 60, 0.8)])) < 0.2  # without its motion it would have been lost


def test_two_who_walk_towards_each_other_keep_their_tracks():
    frames = [[walker(0, 40, 0.2 * n, top=10), walker(300, -40, 0.2 * n, top=22)] for n in range(40)]
    assert all(numbers == [0, 1] for numbers in follow(frames))


def test_the_order_of_boxes_does_not_matter():
    frames = [[walker(0, 40, 0.2 * n, top=10), walker(300, -40, 0.2 * n, top=22)] for n in range(40)]
    turned = [boxes[::-1] if number % 2 else boxes for number, boxes in enumerate(frames)]
    assert all(numbers == ([1, 0] if at % 2 else [0, 1]) for at, numbers in enumerate(follow(turned)))


def test_a_track_is_over_after_its_patience_and_returned_once():
    tracker = Tracker(patience=1.0)
    tracker.update(np.array([walker(0, 0, 0)]), 0.0)
    assert tracker.update(np.zeros((0, 4)), 1.0)[1] == []
    (over,) = tracker.update(np.zeros((0, 4)), 1.1)[1]
    assert (over.number, over.hits, over.first, over.seen) == (0, 1, 0.0, 0.0)
    assert tracker.update(np.array([walker(0, 0, 0)]), 1.2)[0][0].number == 1
    assert [track.number for track in tracker.finish()] == [1]
    assert tracker.finish() == []


def test_a_track_comes_back_from_json_as_it_was():
    tracker = Tracker()
    for number in range(5):
        tracker.update(np.array([walker(0, 33.3, 0.2 * number)]), 0.2 * number)
    (track,) = tracker.live
    again = Track.from_dict(json.loads(json.dumps(track.to_dict())))
    assert again.to_dict() == track.to_dict()
    assert np.array_equal(again.expected(9.0), track.expected(9.0))


@pytest.mark.parametrize(("least", "patience"), [(0, 1), (1.1, 1), (float("nan"), 1), (0.5, 0), (0.5, float("nan"))])
def test_numbers_out_of_range_are_refused(least, patience):
    with pytest.raises(ConfigError, match="least"):
        Tracker(least, patience)
