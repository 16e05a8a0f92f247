"""Whoever only searches lends the lock to whoever wants to write.

An index that belongs to one process is held open by the first one that searches, be it a service that runs for months.
A writer therefore stands in a queue, which is a second lock, before it waits for the first; a searcher looks at the
queue and gives the index up while somebody stands there. Until it gets the index back it compares every row.
"""

from __future__ import annotations

import threading
import time
import weakref
from pathlib import Path
from typing import Protocol

from passerby.gallery.lock import QUEUE, GalleryLock, holder_of

#: How often a searcher looks whether somebody waits, in seconds; a writer's patience is many times that.
_LOOK_EVERY_S = 0.1


class Lender(Protocol):
    """Who may give the lock up."""

    def lend(self) -> bool:
        """Give the lock up where a writer waits for it and nobody uses it; return whether it is still held."""
        ...


def is_wanted(folder: Path) -> bool:
    """Whether a writer waits for a gallery's lock."""
    return holder_of(folder / QUEUE) is not None


def take(folder: Path, lock: GalleryLock, patience_s: float) -> None:
    """Take a gallery's lock for writing, ahead of all searchers.

    Args:
        folder: the gallery's.
        lock: its lock, which this process does not hold.
        patience_s: how long to wait for another writer.

    Raises:
        GalleryError: another process keeps it; the message names it.
    """
    queue, ends = GalleryLock(folder / QUEUE), time.monotonic() + patience_s
    queue.acquire(patience_s)
    try:
        lock.acquire(max(0.0, ends - time.monotonic()))
    finally:
        queue.release()


def lend_when_wanted(lender: Lender) -> None:
    """Let the lender look at the queue, from a thread of its own, for as long as it lives and holds the lock."""
    threading.Thread(target=_watch, args=(weakref.ref(lender),), name="passerby-lending", daemon=True).start()


def _watch(found: weakref.ref[Lender]) -> None:
    held = True
    while held:
        time.sleep(_LOOK_EVERY_S)
        lender = found()
        held = lender is not None and lender.lend()
        del lender  # or it could not be collected while this thread sleeps
