"""Pictures from strangers: decoded here where that is sure to be cheap, and otherwise in a process that can be killed.

A file of 20 MB may be made to keep a decoder busy for minutes (a JPEG of a hundred thousand scans) or to take a
gigabyte. What a picture costs at most can mostly be seen from its header; where it cannot, or where it is much, the
picture goes to `passerby.data.decoding_process`, whose processor time and memory the operating system limits.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading

import numpy as np

from passerby.data.images import MAX_FILE_BYTES, decode_image, open_image
from passerby.errors import DataError

#: What is decoded in this process: at most so many bytes and pixels, and for a JPEG so many scans. Cameras write one
#: scan or about ten; these pictures take tenths of a second and 100 MB at the very most.
_ORDINARY_BYTES, _ORDINARY_PIXELS, _ORDINARY_SCANS = 8_000_000, 6_000_000, 20
_SCAN = b"\xff\xda"
#: Where a BMP says how it is compressed, and the values that mean not at all.
_BMP_COMPRESSION, _BMP_PLAIN = slice(30, 34), (0, 3)
#: Limits for one of the others: processor time in seconds, of which 40 megapixels of ordinary kinds take about one;
#: address space in bytes, of which they take half; and how long to wait on a machine that has better things to do.
_SECONDS, _MEMORY, _PATIENCE_S = 10, 2_500_000_000, 600.0


def decode_untrusted(encoded: bytes, at_least: tuple[int, int] | None = None, name: str | None = None) -> np.ndarray:
    """Decode a picture of a stranger, at bounded cost; otherwise as `decode_image`.

    Args:
        encoded: the bytes of a picture file.
        at_least: (height, width) that the caller will resize to; a far larger picture is reduced on the way.
        name: what errors call the picture.

    Shape:
        (H, W, 3) uint8.

    Raises:
        DataError: it is no picture or larger than the caps, or takes too much time or memory.
    """
    label = name or f"the picture of {len(encoded)} bytes"
    if len(encoded) > MAX_FILE_BYTES or is_ordinary(encoded, label):
        return decode_image(encoded, at_least, label)
    return _PROCESS.decode(encoded, at_least, label)


def is_ordinary(encoded: bytes, name: str) -> bool:
    """Whether a picture's header promises that decoding costs little.

    Raises:
        DataError: it is no picture.
    """
    with open_image(encoded, name) as image:
        kind, pixels = image.format, image.width * image.height
        animated = bool(getattr(image, "is_animated", False))
    if len(encoded) > _ORDINARY_BYTES or pixels > _ORDINARY_PIXELS or animated:
        return False
    if kind in ("JPEG", "MPO"):
        return encoded.count(_SCAN) <= _ORDINARY_SCANS
    # The decoder for compressed ones takes a step of Python for each run of equal pixels.
    return kind != "BMP" or int.from_bytes(encoded[_BMP_COMPRESSION], "little") in _BMP_PLAIN


class DecodingProcess:
    """One process that decodes one picture after the other; a picture that ends it gets a new one for the next."""

    def __init__(self, seconds: int = _SECONDS, memory: int = _MEMORY, patience_s: float = _PATIENCE_S) -> None:
        """Start nothing yet.

        Args:
            seconds: processor time for one picture.
            memory: address space of the process in bytes. Windows knows no such limits, only the next.
            patience_s: longest wait for a picture.
        """
        self._limits = [str(seconds), str(memory)]
        self._patience_s = patience_s
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, encoded: bytes, at_least: tuple[int, int] | None, name: str) -> np.ndarray:
        """(H, W, 3) uint8 pixels; safe to call from several threads, which take turns.

        Raises:
            DataError: it cannot be decoded, or not within the limits.
        """
        head = json.dumps({"bytes": len(encoded), "at_least": at_least, "name": name.encode(errors="replace").decode()})
        with self._turn:
            process = self._started()
            timer = threading.Timer(self._patience_s, process.kill)
            timer.start()
            try:
                return self._answer(process, head.encode() + b"\n" + encoded)
            except (OSError, ValueError):  # the process has ended, before or after it read all of the picture
                self.close()
                raise DataError(
                    f"{name} takes too much time or memory to decode; scale it down, or save it anew as a plain picture"
                ) from None
            finally:
                timer.cancel()

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            program = [sys.executable, "-m", "passerby.data.decoding_process", *self._limits]
            self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        return self._process

    def _answer(self, process: subprocess.Popen[bytes], request: bytes) -> np.ndarray:
        given, answers = process.stdin, process.stdout
        if given is None or answers is None:
            raise ValueError("a process without pipes")
        given.write(request)
        given.flush()
        answer = json.loads(answers.readline())
        if "error" in answer:
            raise DataError(answer["error"])
        height, width = answer["size"]
        pixels = answers.read(3 * height * width)
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3).copy()


_PROCESS = DecodingProcess()
atexit.register(_PROCESS.close)
