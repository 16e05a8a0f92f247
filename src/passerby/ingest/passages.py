"""From frames to passages: detector, tracker and best crops put together, and their memory between two runs.

Nothing here reads or writes a file. What `Passages.to_dict` says, another run's `restore` goes on from, and both runs
together give what one alone would have given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from passerby.errors import ConfigError
from passerby.ingest.best_crops import BestCrops, Crop, encode_crop, qualities
from passerby.ingest.boxes import covered, inside
from passerby.ingest.detection import Detections, Detector, checked
from passerby.ingest.footage import Sample
from passerby.ingest.tracking import Track, Tracker

#: Boxes of fewer pixels in height are left alone: nobody could be told from anybody in such a crop.
LEAST_HEIGHT = 48
#: Detections that a passage must have; one alone is a slip of the detector more often than a person.
LEAST_HITS = 2


@dataclass(frozen=True, slots=True)
class Looking:
    """How frames are looked at.

    Attributes:
        every: seconds between two frames, 0.01 to 3600.
        most: crops kept of each passage, 1 to 100.
        apart: seconds that lie between them at least, roughly: each is the best of its own stretch of this length.
    """

    every: float = 0.2
    most: int = 4
    apart: float = 0.8

    def __post_init__(self) -> None:
        if not 0.01 <= self.every <= 3600:
            raise ConfigError(f"every is {self.every} s; expected 0.01 to 3600 seconds between two frames")
        if not 1 <= self.most <= 100:
            raise ConfigError(f"{self.most} crops of each passage; expected 1 to 100")
        if not 0 < self.apart <= 3600:
            raise ConfigError(f"crops {self.apart} s apart; expected more than 0 and at most 3600 s")


@dataclass(frozen=True, slots=True)
class Passage:
    """One person on the way past one camera: number, first and last time in seconds, and the best crops in time."""

    number: int
    first: float
    last: float
    crops: tuple[Crop, ...]


class Passages:
    """Looks at the frames of one source, one after the other."""

    def __init__(self, detector: Detector, looking: Looking) -> None:
        """Begin before the first frame.

        Args:
            detector: finds people.
            looking: how.
        """
        self._detector, self._looking = detector, looking
        # A frame's distance away the same person must still be expected, however far apart the frames are.
        self._tracker = Tracker(patience=max(1.5, 3.5 * looking.every))
        self._best: dict[int, BestCrops] = {}

    def look(self, sample: Sample) -> list[Passage]:
        """Take the next frame; return the passages that are over."""
        found = people_in(sample.image, self._detector)
        owners, over = self._tracker.update(found.boxes, sample.time)
        good = qualities(sample.image, found.boxes, covered(found.boxes))
        for position, track in enumerate(owners):
            best = self._best.setdefault(track.number, BestCrops(self._looking.most, self._looking.apart))
            quality = round(float(good[position]), 6)
            if best.wants(sample.time, quality):
                jpeg = encode_crop(sample.image, found.boxes[position])
                box = tuple(round(float(edge)) for edge in found.boxes[position])
                best.offer(Crop(sample.time, quality, round(float(found.scores[position]), 6), jpeg, box))
        return self._ended(over)

    def finish(self) -> list[Passage]:
        """The passages that were still going on when the source ended."""
        return self._ended(self._tracker.finish())

    def to_dict(self) -> dict[str, Any]:
        """Everything that the next frame needs to know, as JSON values."""
        crops = {number: [crop.to_dict() for crop in best.crops] for number, best in self._best.items()}
        return {
            "next": self._tracker.next_number,
            "tracks": [{**track.to_dict(), "crops": crops[track.number]} for track in self._tracker.live],
        }

    def restore(self, known: dict[str, Any]) -> None:
        """Go on from what `to_dict` said."""
        tracks = []
        for row in known["tracks"]:
            track = {name: value for name, value in row.items() if name != "crops"}
            tracks.append(Track.from_dict(track))
            best = self._best[track["number"]] = BestCrops(self._looking.most, self._looking.apart)
            best.crops = [Crop.from_dict(crop) for crop in row["crops"]]
        self._tracker.restore(tracks, known["next"])

    def _ended(self, over: list[Track]) -> list[Passage]:
        ended = [(track, self._best.pop(track.number)) for track in over]
        return [
            Passage(track.number, track.first, track.seen, tuple(best.crops))
            for track, best in ended
            if track.hits >= LEAST_HITS
        ]


def people_in(frame: np.ndarray, detector: Detector) -> Detections:
    """What a detector finds in a (H, W, 3) uint8 frame, inside its borders and tall enough to be of use.

    Raises:
        DataError: the detector returned something else than boxes and scores.
    """
    found = checked(detector.detect(frame), detector.name)
    boxes = inside(found.boxes, frame.shape[:2])
    tall = (boxes[:, 3] - boxes[:, 1] >= LEAST_HEIGHT) & (boxes[:, 2] - boxes[:, 0] >= LEAST_HEIGHT / 8)
    return Detections(boxes[tall], found.scores[tall])
