"""Arrays that are slow to compute and decided by a digest of what goes in: computed once, kept below the cache.

Files are written under a temporary name and renamed when whole; one that is damaged is named, never used.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from passerby.data.cache import cache_root
from passerby.errors import DataError


def kept_array(
    kind: str, digest: str, shape: tuple[int, ...], dtype: type[np.generic], compute: Callable[[], np.ndarray]
) -> np.ndarray:
    """An array out of the cache, or computed now and kept there.

    Args:
        kind: the folder below `passerby.data.cache.cache_root`.
        digest: changes with everything that decides the content.
        shape: of the array.
        dtype: of the array.
        compute: gives an array of that shape, which is brought to `dtype`.

    Raises:
        DataError: the file of the cache is damaged, or cannot be written.
    """
    folder = cache_root() / kind
    path = folder / f"{digest}.npy"
    if not path.is_file():
        found = np.ascontiguousarray(compute(), dtype)
        _write(path, found)
        return found
    try:
        stored = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"the cached vectors {path} cannot be read: {error}; remove the file") from error
    if stored.shape != shape or stored.dtype != dtype:
        raise DataError(f"the cached vectors {path} have shape {stored.shape} of {stored.dtype}; remove the file")
    return stored


def _write(path: Path, found: np.ndarray) -> None:
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(partial, found)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise DataError(
            f"vectors cannot be kept in {path.parent} ({error.strerror or error}); free some space there, or name "
            "another folder in PASSERBY_CACHE"
        ) from error
