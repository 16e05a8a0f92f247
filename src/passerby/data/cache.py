"""Decoded pictures at training size, kept as one memory-mapped uint8 array.

Decoding and resizing cost more than a training step's share of reading, so each picture is decoded once and every
later run maps the same file. The name of the file is a digest of what went in (paths, sizes, times of change, target
size, interpolation), so a changed picture can never meet an old cache; it is written under a temporary name and renamed
when whole.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from passerby.data.images import decode_image, resize_image
from passerby.data.shared_decoding import decode_into
from passerby.errors import DataError

_FORMAT = "uint8-v2"
#: Fewer pictures than this are decoded here; starting a process costs as much as decoding hundreds.
_WORTH_PROCESSES = 1_000
_TELL_EVERY = 256  # pictures


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
    interpolation: str = "bilinear",
) -> np.ndarray:
    """Return all pictures at one size, decoding those that no earlier call has decoded.

    Args:
        paths: the pictures.
        size: (height, width) in pixels.
        folder: where the cache lies; `cache_root()` / "images" by default.
        workers: processes where there are many pictures; the number of cores by default.
        progress: called with (done, total) now and then.
        interpolation: of the resize, as the image tower's preprocessing says.

    Shape:
        (N, height, width, 3) uint8, read-only, memory-mapped.

    Raises:
        DataError: a picture is missing or cannot be decoded, there is none, or the cache's disk is full; nothing is
            left behind.
        ConfigError: no such interpolation.
    """
    if not paths:
        raise DataError("there are no pictures to cache; the split is empty")
    folder = cache_root() / "images" if folder is None else folder
    target = folder / f"{_digest(paths, size, interpolation)}.npy"
    if not target.exists():
        temporary = target.with_name(f"{target.stem}.{os.getpid()}.tmp.npy")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _fill(temporary, paths, size, interpolation, workers or os.cpu_count() or 1, progress)
            temporary.replace(target)
        except OSError as error:
            raise DataError(
                f"decoded pictures cannot be kept in {folder} ({error.strerror or error}); free some space there, or "
                "name another folder in PASSERBY_CACHE"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
    return np.load(target, mmap_mode="r")


def _digest(paths: Sequence[Path], size: tuple[int, int], interpolation: str) -> str:
    digest = hashlib.sha256(f"{_FORMAT}|{size[0]}x{size[1]}|{interpolation}|{len(paths)}".encode())
    folders: dict[Path, Path] = {}  # resolving a path asks the system about each of its parts
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(
                f"the picture {path} cannot be read ({error.strerror}); check the data set's root"
            ) from error
        folder = folders.get(path.parent)
        if folder is None:
            folder = folders[path.parent] = path.parent.resolve()
        digest.update(f"{folder / path.name}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _fill(
    target: Path,
    paths: Sequence[Path],
    size: tuple[int, int],
    interpolation: str,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write all pictures; returning closes the map, which some systems want before the file is renamed."""
    _reserve(target, len(paths) * size[0] * size[1] * 3)
    pixels = np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=(len(paths), *size, 3))
    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None and more:
            progress(done, len(paths))

    if progress is not None:
        progress(0, len(paths))  # from here a rate can be told
    if workers > 1 and len(paths) >= _WORTH_PROCESSES:
        decode_into(target, paths, interpolation, workers, tell)
        return
    for row, path in enumerate(paths):
        pixels[row] = resize_image(decode_image(path, at_least=size), size, interpolation)
        if (row + 1) % _TELL_EVERY == 0 or row + 1 == len(paths):
            tell(row + 1 - done)
    pixels.flush()


def _reserve(target: Path, size: int) -> None:
    """Refuse what the disk cannot hold; a map written past a full disk would end the process with a bus error.

    Raises:
        OSError: there is too little space.
    """
    if shutil.disk_usage(target.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
