"""OpenCV, loaded only where a video is read: quiet, from the extra that brings it, and without a way to the network.

FFmpeg follows what a file refers to; a "video" of a few lines could otherwise make it fetch addresses or read other
files of this machine. What local files may use is therefore the local file alone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from passerby.errors import MissingExtraError

_CAPTURE_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_FILES_ONLY = "protocol_whitelist;file"
_TURN = threading.Lock()


def load_opencv(purpose: str) -> ModuleType:
    """Import OpenCV.

    Args:
        purpose: what is about to be done, as a noun phrase that begins an error.

    Raises:
        MissingExtraError: it is not installed.
    """
    # Damaged frames are counted and reported by us; FFmpeg would write a line for each of them.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("cv2", "video", purpose) from error
    return cv2


@contextmanager
def files_only() -> Iterator[None]:
    """While it lasts, FFmpeg opens files and nothing else; OpenCV takes this from the environment alone."""
    with _TURN:
        before = os.environ.get(_CAPTURE_OPTIONS)
        os.environ[_CAPTURE_OPTIONS] = _FILES_ONLY
        try:
            yield
        finally:
            if before is None:
                del os.environ[_CAPTURE_OPTIONS]
            else:
                os.environ[_CAPTURE_OPTIONS] = before
