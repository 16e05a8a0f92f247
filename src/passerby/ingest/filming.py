"""Films of the synthetic street as video files, with a table of who is where in every frame.

They are what finding, following and cutting out people is tested on, and something to try `passerby index` with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from passerby.data.world.scenes import Frame, Presence, Scene, film
from passerby.errors import DataError
from passerby.ingest.opencv import load_opencv

#: What a film may end in, and how it is encoded: Motion JPEG, which every OpenCV can write and read.
SUFFIX, _CODE = ".avi", "MJPG"


def write_film(scene: Scene, path: Path, progress: Callable[[int, int], None] = lambda *_: None) -> Path:
    """Write a scene as a video, and beside it a JSON Lines file with a line for each frame.

    Each line has ``time`` in seconds and ``people``: walk, person, box (left, top, right, bottom) and visible share.

    Args:
        scene: what is filmed.
        path: the file, ending in ``.avi``.
        progress: called with (frames written, frames in all).

    Returns:
        The path of the table.

    Raises:
        DataError: the file has another ending or cannot be written.
        MissingExtraError: OpenCV is not installed.
    """
    if path.suffix.lower() != SUFFIX:
        raise DataError(f"the film {path} ends in {path.suffix or 'nothing'!r}; expected a name ending in {SUFFIX}")
    partial, table = path.with_name(f".{path.stem}.partial{SUFFIX}"), path.with_suffix(".jsonl")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = []

        def show(frame: Frame, number: int) -> np.ndarray:
            lines.append(json.dumps({"time": round(frame.time, 6), "people": [_row(one) for one in frame.people]}))
            progress(number, scene.frames)
            return frame.image

        write_video((show(frame, number) for number, frame in enumerate(film(scene), start=1)), scene.fps, partial)
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise DataError(
            f"the film {path} cannot be written: {error.strerror or error}; choose another place"
        ) from error
    finally:
        with suppress(OSError):  # its folder may be none
            partial.unlink()
    return table


def write_video(frames: Iterable[np.ndarray], fps: float, path: Path) -> None:
    """Encode (H, W, 3) uint8 RGB frames of one size as Motion JPEG.

    Raises:
        DataError: there is no frame, or OpenCV cannot write the file.
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = load_opencv("writing videos")
    writer = None
    try:
        for frame in frames:
            if writer is None:
                size = (frame.shape[1], frame.shape[0])
                writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*_CODE), fps, size)
                if not writer.isOpened():
                    raise DataError(f"OpenCV cannot write {path}; check that its folder exists and may be written to")
            writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    finally:
        if writer is not None:
            writer.release()
    if writer is None:
        raise DataError(f"there is no frame to write to {path}; expected one or more")


def _row(presence: Presence) -> dict[str, object]:
    return {name: getattr(presence, name) for name in ("walk", "person", "box", "visible")}
