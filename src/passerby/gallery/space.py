"""Writing to a disk that may be full or closed to us, and saying so in one sentence.

A full disk is an ordinary event in the life of an index. Ordinary writes report it; memory-mapped ones end the
process instead, so an engine that maps its files asks for room before it writes.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from passerby.errors import GalleryError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CLOSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Translate what goes wrong while a gallery is written.

    Raises:
        GalleryError: no space left, or no permission to write, in the body.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise no_space(folder) from error
        if error.errno in _CLOSED:
            raise GalleryError(
                f"the gallery {folder} cannot be written: {error.strerror}; give yourself write permission there"
            ) from error
        raise GalleryError(f"writing the gallery {folder} failed: {error}; check the disk") from error
    except sqlite3.OperationalError as error:
        message = str(error)
        if "full" in message or ("I/O error" in message and shutil.disk_usage(folder).free < 1_000_000):
            raise no_space(folder) from error
        if "readonly" in message or "unable to open" in message:
            raise GalleryError(
                f"the gallery {folder} cannot be written: {message}; give yourself write permission there"
            ) from error
        raise


def require_space(folder: Path, need: int) -> None:
    """Refuse to write when fewer than `need` bytes are free.

    Raises:
        GalleryError: too little space is left on the disk that holds the folder.
    """
    if shutil.disk_usage(folder).free < need:
        raise no_space(folder, need)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can open folders."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def no_space(folder: Path, need: int = 0) -> GalleryError:
    """The error for a full disk, with what is free and, where it is known, what is needed."""
    free = shutil.disk_usage(folder).free / 1e6
    wanted = f" and {need / 1e6:.0f} MB are needed to go on safely" if need else ""
    return GalleryError(
        f"no space left on the disk of the gallery {folder}: {free:.0f} MB are free{wanted}; nothing that was "
        "finished is lost; free some space and run the same command again, it continues where it stopped"
    )
