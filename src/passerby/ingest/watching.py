"""One video or stream from its first frame to its last: passages are found, written down and handed on.

Every so many frames everything that is known goes to the ledger, so that a run that ends anyhow is continued there by
the next one. Crops are handed on as soon as they are written.
"""

from __future__ import annotations

import math
import time as clock
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from passerby.gallery import Sighting
from passerby.ingest.detection import Detector
from passerby.ingest.footage import Sample, Stream, VideoFile, without_secrets
from passerby.ingest.ledger import Entry, Ledger, crop_name
from passerby.ingest.naming import camera_of, file_key, start_of, stream_key
from passerby.ingest.passages import Looking, Passage, Passages

#: Frames of a file, and seconds of a stream, between two visits to the ledger.
FRAMES_AT_A_TIME, SECONDS_AT_A_TIME = 50, 15.0
#: How much shorter than it says a video may be, in seconds and as a share, before that is told.
_SHORT_S, _SHORT_SHARE = 1.0, 0.02


@dataclass(frozen=True, slots=True)
class Watched:
    """How far one source has come.

    Attributes:
        source: the video's path or the stream's address without secrets.
        frames: looked at so far.
        of: frames in all, or None where nobody knows.
        passages: found so far.
        crops: kept of them.
        finished: whether the source came to its end.
        remark: what is noteworthy about it, or nothing.
    """

    source: str
    frames: int
    of: int | None
    passages: int
    crops: int
    finished: bool = False
    remark: str = ""


#: Called after each frame.
Tell = Callable[[Watched], None]


class Watching:
    """Finds the passages of videos and streams, with one detector and one way of looking."""

    def __init__(
        self,
        detector: Detector,
        looking: Looking,
        folder: Path,
        camera: str | None = None,
        start: float | None = None,
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            detector: finds people.
            looking: how frames are looked at.
            folder: where each source gets a folder of crops.
            camera: its name; None takes it from the file's name.
            start: when the video began, seconds since the epoch; None takes it from the file's time.
        """
        self._detector, self._looking, self._folder = detector, looking, folder
        self._camera, self._start = camera, start
        self._made_with = {"detector": detector.name, **asdict(looking)}

    def video(self, path: Path, tell: Tell) -> Iterator[list[Sighting]]:
        """Crops of a video file, a few passages at a time; those of earlier runs first.

        Raises:
            DataError: the video cannot be read.
            GalleryError: the crops cannot be written.
        """
        key = file_key(path, self._made_with)
        with Ledger(self._folder / key) as ledger:
            known = ledger.state
            if known is None:
                opened = VideoFile(path)
                camera = self._camera or camera_of(path)
                begun = {"camera": camera, "start": self._start if self._start is not None else _start(opened)}
            else:
                opened = None if known["finished"] else VideoFile(path)
                begun = self._said_anew(ledger, known)
            if known is not None:
                yield ledger.sightings()
            if opened is None:
                tell(_watched(str(path), {**known, **begun}))  # type: ignore[arg-type]
                return
            run = _Run(ledger, Passages(self._detector, self._looking), str(path), key, begun, known)
            yield from self._to_the_end(run, opened, tell)

    def stream(
        self, url: str, tell: Tell, say: Callable[[str], None], stop_after: float | None = None
    ) -> Iterator[list[Sighting]]:
        """Crops of a stream until it is lost or the time is up, a few passages at a time; those of earlier runs first.

        Args:
            url: its address.
            tell: called after each frame.
            say: called with a sentence about each drop.
            stop_after: seconds.

        Raises:
            DataError: the stream could not be opened once.
            GalleryError: the crops cannot be written.
        """
        shown = without_secrets(url)
        key = stream_key(shown, self._made_with)
        with Ledger(self._folder / key) as ledger:
            if ledger.state is not None:
                yield ledger.sightings()
            begun = {"camera": self._camera, "start": 0.0}  # a stream's frames are timed by the clock
            run = _Run(ledger, Passages(self._detector, self._looking), shown, key, begun, ledger.state)
            run.begin_anew()
            stream, saved = Stream(url, say), clock.monotonic()
            try:
                for sample in stream.samples(self._looking.every, stop_after):
                    run.look(sample)
                    tell(_watched(shown, run.counts(finished=False)))
                    if clock.monotonic() - saved >= SECONDS_AT_A_TIME:
                        yield run.save(finished=False)
                        saved = clock.monotonic()
            except KeyboardInterrupt:
                run.end()
                yield run.save(finished=True)
                raise
            run.end()
            yield run.save(finished=True)
            tell(_watched(shown, run.counts(finished=True), f"dropped {stream.drops} times" if stream.drops else ""))

    def _to_the_end(self, run: _Run, video: VideoFile, tell: Tell) -> Iterator[list[Sighting]]:
        of = None if video.seconds is None else max(1, math.ceil(video.seconds / self._looking.every))
        since = 0
        for sample in video.samples(self._looking.every, run.last):
            run.look(sample)
            tell(_watched(run.source, run.counts(finished=False), of=of))
            since += 1
            if since == FRAMES_AT_A_TIME:
                yield run.save(finished=False)
                since = 0
        run.end()
        run.remark = _remark(video)
        yield run.save(finished=True)
        tell(_watched(run.source, run.counts(finished=True)))

    def _said_anew(self, ledger: Ledger, known: dict[str, Any]) -> dict[str, Any]:
        """Camera and start of a video that an earlier run began, after what this one was told about them."""
        camera = self._camera or known["camera"]
        start = known["start"] if self._start is None else self._start
        if camera != known["camera"]:
            ledger.correct(camera=camera)
        if start != known["start"]:
            ledger.shift(start - known["start"])
        return {"camera": camera, "start": start}


class _Run:
    """The part of a run that changes: what was found and where the source stands."""

    def __init__(
        self,
        ledger: Ledger,
        passages: Passages,
        source: str,
        key: str,
        begun: dict[str, Any],
        known: dict[str, Any] | None,
    ) -> None:
        self.source, self.last, self.remark = source, -math.inf, ""
        self._ledger, self._passages, self._key, self._begun = ledger, passages, key, begun
        self._frames = self._found = self._crops = 0
        self._ended: list[Passage] = []
        if known is not None:
            passages.restore(known["passages"])
            self.last = known["last"]
            self._frames, self._found, self._crops = known["frames"], known["found"], known["crops"]

    def begin_anew(self) -> None:
        """Let go of people who were in the picture when an earlier run ended: a stream has moved on."""
        self._ended += self._passages.finish()

    def look(self, sample: Sample) -> None:
        self._ended += self._passages.look(sample)
        self.last = sample.time
        self._frames += 1

    def end(self) -> None:
        self._ended += self._passages.finish()

    def save(self, finished: bool) -> list[Sighting]:
        """Write down what is new and return it as the gallery takes it."""
        entries = [entry for passage in self._ended for entry in self._entries(passage)]
        self._found += len(self._ended)
        self._crops += len(entries)
        self._ended = []
        return self._ledger.record(entries, self.state(finished))

    def state(self, finished: bool) -> dict[str, Any]:
        return {
            **self._begun,
            **self.counts(finished),
            "source": self.source,
            "last": self.last if math.isfinite(self.last) else -1.0,
            "passages": self._passages.to_dict(),
        }

    def counts(self, finished: bool) -> dict[str, Any]:
        return {
            "finished": finished,
            "remark": self.remark,
            "frames": self._frames,
            "found": self._found + len(self._ended),
            "crops": self._crops + sum(len(passage.crops) for passage in self._ended),
        }

    def _entries(self, passage: Passage) -> Iterator[Entry]:
        for place, crop in enumerate(passage.crops):
            known = {
                "time": round(self._begun["start"] + crop.time, 3),
                "track": f"{self._key}-{passage.number:05d}",
                "source": self.source,
                "box": " ".join(map(str, crop.box)),
                "detection": crop.score,
                "quality": crop.quality,
            }
            if self._begun["start"]:
                known["offset"] = round(crop.time, 3)  # where in the video
            if self._begun["camera"] is not None:
                known["camera"] = self._begun["camera"]
            yield Entry(crop_name(passage.number, place), crop.jpeg, known)


def _start(video: VideoFile) -> float:
    return start_of(video.path, video.seconds)


def _remark(video: VideoFile) -> str:
    """A sentence about a video that is shorter than it says."""
    if video.seconds is None:
        return ""
    missing = video.seconds - video.ended - 1 / video.fps
    if missing <= max(_SHORT_S, _SHORT_SHARE * video.seconds):
        return ""
    return f"ends after {video.ended:.1f} of {video.seconds:.1f} s: it is damaged or cut off; what came before was kept"


def _watched(source: str, state: dict[str, Any], remark: str = "", of: int | None = None) -> Watched:
    of = state["frames"] if state["finished"] else of
    counts = (state["frames"], of, state["found"], state["crops"], state["finished"])
    return Watched(source, *counts, remark or state["remark"])
