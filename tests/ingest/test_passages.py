"""What counts as a passage, and numbers that are out of range."""

from __future__ import annotations

import json

import numpy as np
import pytest

from passerby.errors import ConfigError
from passerby.ingest.detection import Detections
from passerby.ingest.footage import Sample
from passerby.ingest.passages import LEAST_HEIGHT, Looking, Passages, people_in


class Fixed:
    name = "fixed"

    def __init__(self, *boxes):
        self.boxes = np.array(boxes, dtype=float).reshape(-1, 4)

    def detect(self, frame):
        return Detections(self.boxes, np.ones(len(self.boxes)))


FRAME = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)


def test_small_boxes_and_what_lies_outside_are_left_alone():
    boxes = [(10, 10, 40, 10 + LEAST_HEIGHT - 1), (50, -30, 90, 90), (299, 10, 320, 190), (100, 10, 140, 150)]
    found = people_in(FRAME, Fixed(*boxes))
    assert found.boxes.tolist() == [[50, 0, 90, 90], [100, 10, 140, 150]]


def test_one_detection_is_no_passage_and_two_are():
    detector = Fixed((100, 10, 140, 150))
    passages = Passages(detector, Looking())
    passages.look(Sample(FRAME, 0.0))
    detector.boxes = np.zeros((0, 4))
    assert passages.look(Sample(FRAME, 9.0)) == []
    detector.boxes = np.array([(100.0, 10, 140, 150)])
    passages.look(Sample(FRAME, 10.0))
    passages.look(Sample(FRAME, 10.2))
    (passage,) = passages.finish()
    assert (passage.number, passage.first, passage.last, len(passage.crops)) == (1, 10.0, 10.2, 1)


def test_people_are_still_expected_where_frames_are_far_apart():
    passages = Passages(Fixed((100, 10, 140, 150)), Looking(every=30))
    over = [one for number in range(4) for one in passages.look(Sample(FRAME, 30.0 * number))]
    assert over == []
    assert len(passages.finish()) == 1


def test_restored_in_the_middle_it_gives_the_same():
    rng = np.random.default_rng(1)
    frames = [Sample(rng.integers(0, 255, (200, 300, 3), dtype=np.uint8), 0.2 * number) for number in range(12)]
    detector = Fixed((100, 10, 140, 150), (200, 20, 260, 190))
    whole, parts = Passages(detector, Looking()), Passages(detector, Looking())
    for frame in frames:
        whole.look(frame)
        parts.look(frame)
        again = Passages(detector, Looking())
        again.restore(json.loads(json.dumps(parts.to_dict())))
        parts = again
    assert parts.finish() == whole.finish()


@pytest.mark.parametrize(
    "wrong", [{"every": 0}, {"every": float("nan")}, {"every": 1e9}, {"most": 0}, {"most": 101}, {"apart": 0}]
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="expected"):
        Looking(**wrong)
