"""What training asks of the process it runs in: keep memory that was freed, and leave long-lived objects alone.

A step frees hundreds of large arrays and asks for the same ones again. The C library hands such memory back to the
system, which then clears each page anew; Python's collector walks through all modules and parameters every few hundred
allocations and finds nothing. Together they were seen to take a tenth of a step on two cores.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_LARGEST_MMAP_THRESHOLD = 32 << 20  # the most that glibc takes
_NEVER_TRIM = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Ask the C library to keep what is freed for the next request; for the whole life of the process.

    Returns:
        Whether it understood; only glibc does.
    """
    try:
        library = ctypes.CDLL(None)
        kept = library.mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        return bool(kept and library.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM))
    except (AttributeError, OSError, TypeError):  # another C library, or none that can be asked
        return False


@contextlib.contextmanager
def long_lived() -> Iterator[None]:
    """Let the collector pass over everything that exists now until the block is left."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
