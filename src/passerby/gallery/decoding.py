"""Decoding pictures for an index, in worker processes where there are many.

They use all cores, and a file that brings a decoder down takes a worker with it and not the run. What no header
promises to be cheap is decoded under limits of time and memory besides.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from passerby.data.untrusted import decode_untrusted
from passerby.errors import DataError
from passerby.gallery.thumbnails import make_thumbnail

#: Fewer pictures than this are decoded by threads; starting a process costs as much as decoding hundreds.
_WORTH_PROCESSES = 2_000
_MOST_WORKERS = 16


class Decoder:
    """Turns picture files into pixels and thumbnails; close it to stop its processes."""

    def __init__(self, pictures: int) -> None:
        """Start no process yet.

        Args:
            pictures: how many there are to decode.
        """
        self.workers = min(_MOST_WORKERS, os.cpu_count() or 1)
        self._processes = pictures >= _WORTH_PROCESSES and self.workers > 1
        self._turn = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None

    def decode(self, encoded: bytes, at_least: tuple[int, int], name: str) -> tuple[np.ndarray, bytes]:
        """Pixels (H, W, 3) uint8 and a JPEG thumbnail; safe to call from several threads.

        Raises:
            DataError: the picture cannot be decoded, or brings its decoder down.
        """
        if not self._processes:
            return decode_picture(encoded, at_least, name)
        for attempt in range(2):
            pool = self._started()
            try:
                return pool.submit(decode_picture, encoded, at_least, name).result()
            except BrokenProcessPool as error:
                self._discard(pool)
                # The first time another thread's picture may have done it; alone in a fresh process it is this one.
                if attempt:
                    return self._alone(encoded, at_least, name, error)
        raise DataError(f"{name} could not be decoded")

    def close(self) -> None:
        """Stop the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _alone(
        self, encoded: bytes, at_least: tuple[int, int], name: str, cause: Exception
    ) -> tuple[np.ndarray, bytes]:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                return pool.submit(decode_picture, encoded, at_least, name).result()
            except BrokenProcessPool:
                raise DataError(f"{name} brings its decoder down; remove the file or save it anew") from cause

    def _started(self) -> ProcessPoolExecutor:
        with self._turn:
            if self._pool is None:
                # Spawned: a fork of a process with threads and an inference engine may hang.
                self._pool = ProcessPoolExecutor(self.workers, mp_context=multiprocessing.get_context("spawn"))
            return self._pool

    def _discard(self, pool: ProcessPoolExecutor) -> None:
        with self._turn:
            if self._pool is pool:
                self._pool = None
        pool.shutdown(wait=False, cancel_futures=True)


def decode_picture(encoded: bytes, at_least: tuple[int, int], name: str) -> tuple[np.ndarray, bytes]:
    """Pixels (H, W, 3) uint8 of a picture file and its JPEG thumbnail.

    Raises:
        DataError: the picture cannot be decoded.
    """
    pixels = decode_untrusted(encoded, at_least, name)
    return pixels, make_thumbnail(pixels)
