"""One writer at a time: a lock file that the operating system releases when its holder dies.

The lock is the kernel's, not the file's existence, so a killed process leaves nothing to clean up; the file's content
only tells the next one whom it is waiting for.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from passerby.errors import GalleryError
from passerby.gallery.space import writing

#: Files of a gallery that are nothing but locks: of whoever writes, of who waits to write, of the service.
LOCK, QUEUE, SERVICE = LOCKS = ("lock", "queue", "service")
_POLL_S = 0.02
_LONGEST_NOTE = 512


class GalleryLock:
    """The exclusive right to write a gallery, to use an engine that belongs to one process, or to serve it."""

    def __init__(self, path: Path, note: Mapping[str, Any] | None = None) -> None:
        """Remember the lock file and what others shall read in it beside process and host; nothing is opened."""
        self._path = path
        self._note = dict(note or {})
        self._close: weakref.finalize | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._close is not None

    def acquire(self, wait_s: float) -> None:
        """Take the lock, waiting up to `wait_s` seconds for a short-lived holder; a lock already held stays.

        Raises:
            GalleryError: another process holds the lock; the message names it.
        """
        if self.held:
            return
        with writing(self._path.parent):
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        give_up = time.monotonic() + wait_s
        while not _try_lock(handle):
            if time.monotonic() >= give_up:
                holder = _described(_read_note(handle))
                os.close(handle)
                raise GalleryError(f"the gallery {self._path.parent} is in use by {holder}")
            time.sleep(_POLL_S)
        note = json.dumps({"pid": os.getpid(), "host": platform.node()} | self._note).encode()[:_LONGEST_NOTE]
        # On a full disk the note may fail; the lock holds without it.
        with contextlib.suppress(OSError):
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, note.ljust(_LONGEST_NOTE))
        self._close = weakref.finalize(self, os.close, handle)

    def release(self) -> None:
        """Let the next one in; releasing a lock that is not held does nothing."""
        if self._close is not None:
            self._close()
            self._close = None


def holder_of(path: Path) -> dict[str, Any] | None:
    """The note of whoever holds a lock: process ("pid"), host and what they added; None where nobody holds it.

    A note that a dead process left behind is nobody's.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None
    try:
        return None if _try_lock(handle, shared=True) else _read_note(handle)
    finally:
        os.close(handle)


if os.name == "nt":
    import msvcrt

    def _try_lock(handle: int, shared: bool = False) -> bool:
        del shared  # these locks are always exclusive
        os.lseek(handle, _LONGEST_NOTE, os.SEEK_SET)  # behind the note, which others must be able to read
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(handle: int, shared: bool = False) -> bool:
        # Two who only look must not take each other for a holder.
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def _read_note(handle: int) -> dict[str, Any]:
    """What the holder wrote; empty where it cannot be read."""
    os.lseek(handle, 0, os.SEEK_SET)
    try:
        note = json.loads(os.read(handle, _LONGEST_NOTE))
        return note | {"pid": int(note["pid"]), "host": str(note["host"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _described(note: Mapping[str, Any]) -> str:
    if not note:
        return "another process; wait for it to finish, or stop it"
    pid, host = note["pid"], note["host"]
    if pid == os.getpid() and host == platform.node():
        return f"this very process (PID {pid} on {host}); call close() on the other Gallery object first"
    return f"another process (PID {pid} on {host}); wait for it to finish, or stop it"
