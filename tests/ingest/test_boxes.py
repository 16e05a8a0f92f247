"""Geometry of boxes against counting pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from passerby.ingest.boxes import covered, cut_out, inside, overlaps, without_repeats

CORNERS = st.tuples(*[st.integers(0, 11)] * 4)
BOX = CORNERS.map(lambda at: (min(at[0], at[2]), min(at[1], at[3]), max(at[0], at[2]), max(at[1], at[3])))
BOXES = st.lists(BOX, max_size=6).map(lambda boxes: np.array(boxes, dtype=float).reshape(-1, 4))


def pixels(box):
    left, top, right, bottom = (int(edge) for edge in box)
    return {(x, y) for x in range(left, right) for y in range(top, bottom)}


@given(BOXES, BOXES)
def test_overlap_is_shared_pixels_over_all_pixels(one, other):
    found = overlaps(one, other)
    assert found.shape == (len(one), len(other))
    for i, first in enumerate(one):
        for j, second in enumerate(other):
            union = len(pixels(first) | pixels(second))
            expected = len(pixels(first) & pixels(second)) / union if union else 0.0
            assert np.isclose(found[i, j], expected)


@given(BOXES)
def test_covered_is_the_share_of_the_first_in_the_second(boxes):
    found = covered(boxes)
    for i, first in enumerate(boxes):
        for j, second in enumerate(boxes):
            expected = len(pixels(first) & pixels(second)) / max(len(pixels(first)), 1) if i != j else 0.0
            assert np.isclose(found[i, j], expected)


@given(BOXES, st.data())
def test_no_two_kept_boxes_repeat_each_other_and_each_dropped_one_repeats_a_better(boxes, data):
    scores = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(boxes), max_size=len(boxes))), dtype=float)
    shared = overlaps(boxes, boxes)
    kept = without_repeats(shared, scores, 0.4).tolist()
    assert all(shared[i, j] <= 0.4 for i in kept for j in kept if i != j)
    for position in set(range(len(boxes))) - set(kept):
        assert any(shared[position, other] > 0.4 and scores[other] >= scores[position] for other in kept)


def test_boxes_are_cut_at_the_frame():
    assert inside(np.array([[-5.0, 2, 30, 90]]), (50, 20)).tolist() == [[0, 2, 20, 50]]


def test_cutting_out_takes_the_box_with_its_margin_and_never_nothing():
    frame = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    assert np.array_equal(cut_out(frame, np.array([4, 5, 14, 15]), 0.0), frame[5:15, 4:14])
    assert cut_out(frame, np.array([4, 5, 14, 15]), 0.1).shape == (12, 12, 3)
    assert cut_out(frame, np.array([0, 0, 30, 20]), 0.5).shape == frame.shape
    assert cut_out(frame, np.array([29.9, 19.9, 30, 20]), 0.0).size
