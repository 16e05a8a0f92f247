"""From boxes in single frames to passages: one track is one person on the way past one camera.

A track expects its next box where its own steady motion leads. Boxes and expectations that overlap most are joined
first; what is left begins new tracks, and a track that finds no box for a while is over. No appearance is compared, so
two people who meet may exchange tracks; what costs less than a network is right for choosing a passage's best crops.

Axes: N tracks, M boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from passerby.errors import ConfigError
from passerby.ingest.boxes import overlaps

#: Share of a new motion in a track's velocity; the rest is what it was.
_NEWS = 0.5


@dataclass(slots=True)
class Track:
    """One passage as far as it is known.

    Attributes:
        number: of the track in its source, from 0.
        box: (4,) where the person was last seen.
        seen: seconds at which that was.
        first: seconds at which the person was first seen.
        velocity: (2,) pixels per second of the box's middle.
        hits: number of boxes that the track has.
    """

    number: int
    box: np.ndarray
    seen: float
    first: float
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    hits: int = 1

    def expected(self, time: float) -> np.ndarray:
        """(4,) the box where steady motion leads by `time`."""
        step = self.velocity * (time - self.seen)
        return self.box + np.concatenate([step, step])

    def to_dict(self) -> dict[str, Any]:
        """The track as JSON values, from which `from_dict` makes the same track."""
        return {
            "number": self.number,
            "box": self.box.tolist(),
            "seen": self.seen,
            "first": self.first,
            "velocity": self.velocity.tolist(),
            "hits": self.hits,
        }

    @classmethod
    def from_dict(cls, known: dict[str, Any]) -> Track:
        """The track that `to_dict` wrote."""
        arrays = {name: np.array(known[name], dtype=np.float64) for name in ("box", "velocity")}
        return cls(**{**known, **arrays})


class Tracker:
    """Joins the boxes of one source, frame after frame."""

    def __init__(self, least: float = 0.2, patience: float = 1.5) -> None:
        """Begin without tracks.

        Args:
            least: intersection over union of a box with a track's expectation that joins them, above 0 to 1.
            patience: seconds without a box after which a track is over.

        Raises:
            ConfigError: a number is out of range.
        """
        if not 0 < least <= 1 or not patience > 0:
            raise ConfigError(f"least is {least} and patience {patience}; expected 0 < least <= 1 and patience > 0 s")
        self._least, self._patience = least, patience
        self.live: list[Track] = []
        self.next_number = 0

    def update(self, boxes: np.ndarray, time: float) -> tuple[list[Track], list[Track]]:
        """Take the boxes of the next frame.

        Args:
            boxes: (M, 4) of one frame.
            time: seconds, later than that of the frame before.

        Returns:
            The track of each box (M of them), and the tracks that are over.
        """
        over = [track for track in self.live if time - track.seen > self._patience]
        self.live = [track for track in self.live if time - track.seen <= self._patience]
        owners: dict[int, Track] = {}
        expected = np.array([track.expected(time) for track in self.live]).reshape(-1, 4)
        for which, position in match(expected, boxes, self._least):
            owners[position] = track = self.live[which]
            _follow(track, boxes[position], time)
        for position in range(len(boxes)):
            if position not in owners:
                owners[position] = Track(self.next_number, np.array(boxes[position], dtype=np.float64), time, time)
                self.next_number += 1
                self.live.append(owners[position])
        return [owners[position] for position in range(len(boxes))], over

    def finish(self) -> list[Track]:
        """End all tracks, as at the end of a video."""
        over, self.live = self.live, []
        return over

    def restore(self, tracks: Sequence[Track], next_number: int) -> None:
        """Go on with the tracks of an earlier run."""
        self.live, self.next_number = list(tracks), next_number


def match(expected: np.ndarray, boxes: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Join expectations and boxes one to one, the pair that overlaps most first.

    Of pairs that overlap alike the one with the lower track, then the lower box, is first, so that the same frames
    give the same tracks.

    Args:
        expected: where tracks should be.
        boxes: what was found.
        least: intersection over union below which nothing is joined.

    Shape:
        expected: (N, 4), boxes: (M, 4) -> pairs (track, box), at most min(N, M).
    """
    shared = overlaps(expected, np.asarray(boxes).reshape(-1, 4))  # (N, M)
    pairs = np.argwhere(shared >= least)
    order = np.argsort(-shared[tuple(pairs.T)], kind="stable")  # argwhere is in the order of tracks and boxes
    joined: list[tuple[int, int]] = []
    tracks, found = set[int](), set[int]()
    for one, other in pairs[order].tolist():
        if one not in tracks and other not in found:
            joined.append((one, other))
            tracks.add(one)
            found.add(other)
    return joined


def _follow(track: Track, box: np.ndarray, time: float) -> None:
    passed = time - track.seen
    if passed > 0:
        moved = (_middle(box) - _middle(track.box)) / passed
        track.velocity = moved if track.hits == 1 else (1 - _NEWS) * track.velocity + _NEWS * moved
    track.box, track.seen = np.array(box, dtype=np.float64), time
    track.hits += 1


def _middle(box: np.ndarray) -> np.ndarray:
    return (np.asarray(box, dtype=np.float64)[:2] + np.asarray(box, dtype=np.float64)[2:]) / 2
