"""Decoded pictures at training size, kept as one memory-mapped uint8 array.

Decoding and resizing cost more than a training step's share of reading, so each picture is decoded once and every
later run maps the same file. The name of the file is a digest of what went in (paths, sizes, times of change, target
size), so a changed picture can never meet an old cache; it is written under a temporary name and renamed when whole.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from passerby.data.images import decode_image, resize_image
from passerby.errors import DataError

_FORMAT = "uint8-v1"


def cache_root() -> Path:
    """Where passerby keeps what it can make again: ``PASSERBY_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("PASSERBY_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "passerby"


def cached_images(
    paths: Sequence[Path],
    size: tuple[int, int],
    folder: Path | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Return all pictures at one size, decoding those that no earlier call has decoded.

    Args:
        paths: the pictures.
        size: (height, width) in pixels.
        folder: where the cache lies; `cache_root()` / "images" by default.
        workers: decoding threads; the number of cores by default.
        progress: called with (done, total) now and then.

    Shape:
        (N, height, width, 3) uint8, read-only, memory-mapped.

    Raises:
        DataError: a picture is missing or cannot be decoded, or there is none; nothing is left behind.
    """
    if not paths:
        raise DataError("there are no pictures to cache; the split is empty")
    folder = cache_root() / "images" if folder is None else folder
    target = folder / f"{_digest(paths, size)}.npy"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _fill(target, paths, size, workers or os.cpu_count() or 1, progress)
    return np.load(target, mmap_mode="r")


def _digest(paths: Sequence[Path], size: tuple[int, int]) -> str:
    digest = hashlib.sha256(f"{_FORMAT}|{size[0]}x{size[1]}|{len(paths)}".encode())
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(
                f"the picture {path} cannot be read ({error.strerror}); check the data set's root"
            ) from error
        digest.update(f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _fill(
    target: Path,
    paths: Sequence[Path],
    size: tuple[int, int],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    temporary = target.with_name(f"{target.stem}.{os.getpid()}.tmp.npy")
    try:
        pixels = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=(len(paths), *size, 3))

        def place(index: int) -> None:
            pixels[index] = resize_image(decode_image(paths[index], at_least=size), size)

        if progress is not None:
            progress(0, len(paths))  # from here a rate can be told
        with ThreadPoolExecutor(workers) as pool:
            for done, _ in enumerate(pool.map(place, range(len(paths))), start=1):
                if progress is not None and (done % 256 == 0 or done == len(paths)):
                    progress(done, len(paths))
        pixels.flush()
        del pixels
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
