"""Pictures that are whole frames: every person in them is cut out, with the frame's own camera and time.

Frames are known by their bytes, so a folder that grows is gone through again at the cost of reading it. Single
pictures have no tracks: each person in each frame is a crop of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from passerby.data.images import decode_image, read_image_file
from passerby.errors import DataError
from passerby.gallery import Sighting
from passerby.ingest.best_crops import encode_crop, qualities
from passerby.ingest.boxes import covered
from passerby.ingest.detection import Detector
from passerby.ingest.ledger import Entry, Ledger
from passerby.ingest.passages import people_in
from passerby.ingest.watching import Watched

_AT_A_TIME = 50
SOURCE = "frames"


def crops_of_frames(
    frames: Sequence[Sighting],
    detector: Detector,
    folder: Path,
    camera: str | None,
    tell: Callable[[Watched], None],
    refuse: Callable[[Path, str], None],
) -> Iterator[list[Sighting]]:
    """Cut the people out of pictures, a few pictures at a time; those of earlier runs first.

    Args:
        frames: the pictures, with what is known about them.
        detector: finds people.
        folder: where the crops go.
        camera: of pictures that have none.
        tell: called after each picture.
        refuse: called with the path and the reason for each picture that cannot be read.

    Raises:
        GalleryError: the crops cannot be written.
    """
    digest = hashlib.sha256(detector.name.encode()).hexdigest()[:10]
    with Ledger(folder / f"{SOURCE}-{digest}") as ledger:
        seen = dict.fromkeys((ledger.state or {"seen": []})["seen"])
        if seen:
            yield ledger.sightings()
        entries: list[Entry] = []
        people = since = 0
        for number, frame in enumerate(frames, start=1):
            try:
                encoded = read_image_file(frame.image.path)
                name = hashlib.sha256(encoded).hexdigest()[:32]
                if name not in seen:
                    found = _entries(frame, encoded, name, detector, camera)
                    entries, people, since = entries + found, people + len(found), since + 1
                    seen[name] = None
            except DataError as error:
                refuse(frame.image.path, str(error))
            tell(Watched(SOURCE, number, len(frames), people, people, number == len(frames)))
            if since == _AT_A_TIME:
                yield ledger.record(entries, {"seen": list(seen)})
                entries, since = [], 0
        if since:
            yield ledger.record(entries, {"seen": list(seen)})


def _entries(frame: Sighting, encoded: bytes, name: str, detector: Detector, camera: str | None) -> list[Entry]:
    pixels = decode_image(encoded, name=str(frame.image.path))
    found = people_in(pixels, detector)
    good = qualities(pixels, found.boxes, covered(found.boxes))
    camera = frame.image.camera_id or camera
    known = {**frame.metadata, "source": frame.source or str(frame.image.path.parent), "frame": str(frame.image.path)}
    known |= {"camera": camera} if camera is not None else {}
    known |= {"time": frame.image.time} if frame.image.time is not None else {}
    entries = []
    for place, box in enumerate(found.boxes):
        where = " ".join(str(round(float(edge))) for edge in box)
        said = {
            "box": where,
            "detection": round(float(found.scores[place]), 6),
            "quality": round(float(good[place]), 6),
        }
        entries.append(Entry(f"{name[:2]}/{name}-{place}.jpg", encode_crop(pixels, box), {**known, **said}))
    return entries
