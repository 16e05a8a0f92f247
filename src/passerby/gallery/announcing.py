"""A service says in the gallery's folder where it answers, so that commands on the same machine can ask it.

The note is in a file on which the service holds a lock. However the service ends, the kernel takes the lock away, and
a note on which nobody holds a lock is not believed: neither one that a kill left behind, nor one that came with a
folder from elsewhere and would lead a token to a stranger.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from passerby.errors import GalleryError
from passerby.gallery.lock import SERVICE, GalleryLock, holder_of
from passerby.gallery.store import parse_address

#: Where a service and those who ask it take the token from; a command line would show it to whoever lists processes.
TOKEN_VARIABLE = "PASSERBY_TOKEN"  # noqa: S105  # the name of the variable, no token
_LOGGER = logging.getLogger(__name__)
#: Addresses that mean "wherever I am", and how the machine reaches itself.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not listened at


@dataclass(frozen=True, slots=True)
class Service:
    """A service of this machine.

    Attributes:
        host: where it answers.
        port: the TCP port there.
        pid: its process.
        stages: names of the second stages that it offers.
    """

    host: str
    port: int
    pid: int
    stages: tuple[str, ...] = ()


@contextmanager
def announced(address: str, host: str, port: int, stages: Sequence[str] = ()) -> Iterator[None]:
    """Let commands find the service of a gallery in a folder while the body runs.

    Where that is not possible, as in a folder that cannot be written, the log says so and the body runs all the same.

    Args:
        address: the gallery's; one on a server needs no service to be shared.
        host: address at which the service listens.
        port: its TCP port.
        stages: names of the second stages that it offers.
    """
    folder = parse_address(address).folder
    if folder is None:
        yield
        return
    lock = GalleryLock(folder / SERVICE, {"service": [_EVERYWHERE.get(host, host), port], "stages": list(stages)})
    try:
        lock.acquire(0)
    except GalleryError as error:
        _LOGGER.warning("commands will not find this service: %s", error)
    try:
        yield
    finally:
        lock.release()


def service_of(address: Path | str) -> Service | None:
    """The service that serves a gallery's folder on this machine, or None.

    Raises:
        ConfigError: the address is none.
    """
    folder = parse_address(address).folder
    note = None if folder is None else holder_of(folder / SERVICE)
    if not note or note["host"] != platform.node():
        return None
    stages = note.get("stages")
    match note.get("service"):
        case [str(host), int(port)]:
            return Service(host, port, note["pid"], tuple(map(str, stages)) if isinstance(stages, list) else ())
    return None
