"""Frames of a video file or a camera stream, taken by their time: every so many seconds, however many lie between.

A file's frames are known by the time from its beginning; a stream's by the clock. A stream that drops is opened again
a few times, waiting longer each time, and every drop is told.
"""

from __future__ import annotations

import math
import time as clock
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from passerby.data.images import MAX_PIXELS, MAX_SIDE
from passerby.errors import DataError
from passerby.ingest.opencv import files_only, load_opencv

#: Times that a stream is opened again after a drop before it is given up; a minute of frames starts the count anew.
RECONNECTIONS = 5
_STEADY = 60.0
#: Seconds before the first of them; each further one waits twice as long.
_FIRST_WAIT = 1.0
_TIMEOUT_MS = 10_000
#: Frames in a row that cannot be decoded before a file counts as ended.
_MOST_BROKEN = 50
_SLACK = 1e-6
#: Frames per second of a source that does not say, and OpenCV's number of that property.
_USUAL_FPS, _FPS = 25.0, 5


class Capture(Protocol):
    """The part of OpenCV's VideoCapture that is used."""

    def isOpened(self) -> bool:  # noqa: N802  (OpenCV's name)
        """Whether there is anything to read."""
        ...

    def grab(self) -> bool:
        """Step to the next frame."""
        ...

    def retrieve(self) -> tuple[bool, Any]:
        """Decode the frame, (H, W, 3) uint8, blue first."""
        ...

    def get(self, wanted: int, /) -> float:
        """A property."""
        ...

    def release(self) -> None:
        """Close."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame that is looked at: (H, W, 3) uint8 RGB, and seconds from the beginning of its source."""

    image: np.ndarray
    time: float


class VideoFile:
    """One video file.

    Attributes:
        path: of the file.
        fps: frames per second as the file says.
        seconds: its length as the file says, or None.
    """

    def __init__(self, path: Path) -> None:
        """Open a file and read what it says of itself.

        Raises:
            DataError: there is no such file, it is no video, has no frames, or frames that are too large.
            MissingExtraError: OpenCV is not installed.
        """
        cv2 = load_opencv("reading videos")
        if not path.is_file():
            raise DataError(f"there is no video file {path}; check the path")
        if not path.stat().st_size:
            raise DataError(f"{path} is an empty file; expected a video; copy it again")
        self.path, self._cv2 = path, cv2
        with files_only():
            self._capture: Capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise DataError(
                f"{path} is no video that can be read: damaged, cut off before its index, or another kind of file; "
                "expected MP4, MOV, AVI, MKV or WebM; play it elsewhere, and copy it again or convert it"
            )
        try:
            self._check_size()
        except DataError:
            self._capture.release()
            raise
        said = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = said if math.isfinite(said) and 0.01 < said < 1000 else _USUAL_FPS
        frames = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.seconds = frames / self.fps if 0 < frames < 1e9 else None

    def samples(self, every: float, after: float = -math.inf) -> Iterator[Sample]:
        """The frames at each multiple of `every` seconds, or the first ones behind it.

        Args:
            every: seconds between two frames that are looked at, above 0.
            after: seconds; frames up to there were looked at by an earlier run and are stepped over undecoded.

        Raises:
            DataError: the file holds no frame that can be decoded.
        """
        number, due, last, shown, broken = -1, 0.0, -1.0, 0, 0
        try:
            while broken < _MOST_BROKEN and self._capture.grab():
                number += 1
                at = last = self._time(number, last)
                if at < due - _SLACK:
                    continue
                if at <= after + _SLACK:
                    due, shown = _next_due(at, every), shown + 1
                    continue
                fine, pixels = self._capture.retrieve()
                if not fine or pixels is None or not pixels.size:
                    broken += 1  # the next frame stands in for a damaged one
                    continue
                due, shown, broken = _next_due(at, every), shown + 1, 0
                yield Sample(_rgb(pixels), at)
        finally:
            self._capture.release()
        if not shown:
            raise DataError(f"{self.path} holds no frame that can be decoded; play it elsewhere, and copy it again")
        self.ended = last

    #: Seconds of the last frame, once `samples` came to its end.
    ended: float = 0.0

    def _time(self, number: int, last: float) -> float:
        """Seconds of the grabbed frame: what the container says if that goes forward, else by counting."""
        said = self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000
        if number == 0:
            return 0.0 if not math.isfinite(said) or abs(said) > 1 else max(said, 0.0)
        counted = number / self.fps
        return said if math.isfinite(said) and said > last else max(counted, last + _SLACK)

    def _check_size(self) -> None:
        width, height = (int(self._capture.get(self._cv2.__dict__[name])) for name in _SIDES)
        if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
            raise DataError(f"{self.path} has frames of {width} x {height} pixels; at most side {MAX_SIDE} is read")


_SIDES = ("CAP_PROP_FRAME_WIDTH", "CAP_PROP_FRAME_HEIGHT")


class Stream:
    """A camera's stream.

    Attributes:
        shown: the address without name and password.
        drops: how often it dropped so far.
    """

    def __init__(
        self,
        url: str,
        tell: Callable[[str], None],
        connect: Callable[[str], Capture] | None = None,
        sleep: Callable[[float], None] = clock.sleep,
        now: Callable[[], float] = clock.time,
    ) -> None:
        """Open nothing yet.

        Args:
            url: its address, such as ``rtsp://camera.example/main``.
            tell: called with a sentence about each drop and each return.
            connect: opens the stream; OpenCV by default.
            sleep: waits so many seconds.
            now: seconds since the epoch.
        """
        self._url, self._tell, self._sleep, self._now = url, tell, sleep, now
        self._connect = connect or _open_stream
        self.shown = without_secrets(url)
        self.drops = 0

    def samples(self, every: float, stop_after: float | None = None) -> Iterator[Sample]:
        """The newest frame every so many seconds, timed by the clock, until the stream is lost or the time is up.

        Args:
            every: seconds between two frames that are looked at.
            stop_after: seconds after which to stop.

        Raises:
            DataError: the stream could not be opened once.
        """
        began, due, failures, seen = self._now(), -math.inf, 0, False
        while failures <= RECONNECTIONS:
            capture, returned = self._connect(self._url), None
            try:
                while capture.isOpened() and capture.grab():
                    at = self._now()
                    if stop_after is not None and at - began >= stop_after:
                        return
                    if at < due - _SLACK:
                        continue
                    fine, pixels = capture.retrieve()
                    if not fine or pixels is None or not pixels.size:
                        break
                    if returned is None:
                        returned = at
                        if seen:
                            self._tell(f"{self.shown} is back")
                    failures = 0 if at - returned >= _STEADY else failures
                    seen, due = True, at + every
                    yield Sample(_rgb(pixels), at)
                    self._catch_up(capture, self._now() - at)
            finally:
                capture.release()
            if stop_after is not None and self._now() - began >= stop_after:
                return
            failures += 1
            self.drops += seen
            if failures <= RECONNECTIONS:
                wait = _FIRST_WAIT * 2 ** (failures - 1)
                what = "dropped" if seen else "cannot be opened"
                self._tell(f"{self.shown} {what}; try {failures} of {RECONNECTIONS} in {wait:.0f} s")
                self._sleep(wait)
        if not seen:
            raise DataError(
                f"the stream {self.shown} could not be opened in {RECONNECTIONS + 1} tries; check address, name, "
                "password and network, and whether another program can play it"
            )
        self._tell(f"{self.shown} did not come back in {RECONNECTIONS} tries; it is given up")

    def _catch_up(self, capture: Capture, seconds: float) -> None:
        """Step over the frames that waited while the last one was looked at, so that the next one is of now."""
        said = capture.get(_FPS)
        fps = said if math.isfinite(said) and 1 <= said <= 120 else _USUAL_FPS
        for _ in range(int(seconds * fps)):
            if not capture.grab():
                return


def without_secrets(url: str) -> str:
    """A stream's address without user, password and query, fit for screens, tables and galleries."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path.partition('?')[0].partition('#')[0]}"


def _open_stream(url: str) -> Capture:
    cv2 = load_opencv("reading streams")
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MS]
    return cv2.VideoCapture(url, cv2.CAP_FFMPEG, timeouts)


def _next_due(at: float, every: float) -> float:
    """The first multiple of `every` behind a time."""
    return (math.floor(at / every + _SLACK) + 1) * every


def _rgb(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, 2::-1])
