"""What holds a gallery: the interface behind which folders and servers look alike, and how addresses choose one.

A store keeps rows: a picture with what is known about it, its unit vector and its thumbnail. What `put` has returned
from is there, whatever happens next; what `remove` has returned from is gone, bytes included as far as the store
itself can reach. Vectors are kept in half precision and compared by cosine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from passerby.errors import ConfigError, nearest
from passerby.gallery.filters import Filter
from passerby.gallery.manifest import MANIFEST, Manifest
from passerby.gallery.records import Picture, Row, SeenFile

#: Engines in a folder by the prefix of their address; the first is what a plain folder becomes.
ENGINES = ("edge", "exact")
#: The engine of a server, and of the stand-in for one inside this process.
SERVER = "qdrant"
#: Address of a gallery in this process's memory, which speaks a server's language; a name may follow the colon.
MEMORY = ":memory:"


class Store(Protocol):
    """Rows of one gallery.

    Attributes:
        address: what opens the same store again.
        manifest: which model the vectors belong to, and when the gallery was made.
    """

    address: str
    manifest: Manifest

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def ids(self, where: Filter | None = None) -> list[str]:
        """Ids of the pictures that pass."""
        ...

    def pictures(self, where: Filter | None = None, after: str = "", most: int = -1) -> Iterator[Picture]:
        """Pictures that pass, in the order of their ids, from behind an id on, at most so many."""
        ...

    def get(self, ids: Sequence[str]) -> dict[str, Picture]:
        """Pictures by their ids; those that are not there are left out."""
        ...

    def count(self, where: Filter) -> int:
        """Number of pictures that pass."""
        ...

    def facets(self, field: str, most: int) -> dict[str, int]:
        """The commonest values of a field with their number of pictures."""
        ...

    def metadata_fields(self) -> list[str]:
        """Names of all metadata fields."""
        ...

    def times(self) -> tuple[float, float] | None:
        """The earliest and the latest time, or None where no picture has one."""
        ...

    def seen(self, paths: Sequence[Path]) -> dict[Path, SeenFile]:
        """What earlier runs know about these files."""
        ...

    def files_of(self, ids: Sequence[str]) -> list[SeenFile]:
        """The files in which these pictures were found."""
        ...

    def put(self, rows: Sequence[Row], changed: Sequence[Picture] = (), files: Sequence[SeenFile] = ()) -> None:
        """Acknowledge new rows, pictures about which something else is known now, and the files of both."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Erase rows."""
        ...

    def search(self, query: np.ndarray, k: int, where: Filter | None = None) -> list[tuple[str, float]]:
        """Ids and cosines of the `k` pictures that pass and are nearest to a (D,) unit vector, best first."""
        ...

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """(N, D) float32 vectors of rows that are there."""
        ...

    def thumbnail(self, name: str) -> bytes:
        """The JPEG of a row that is there."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """The right to write, for the length of a ``with`` statement."""
        ...

    def settle(self) -> None:
        """Called after adding: what makes searching fast is brought up to date."""
        ...

    def optimize(self, graph: bool) -> None:
        """Bring everything into the index, with an HNSW graph where one is asked for."""
        ...

    def read_note(self, name: str) -> dict[str, Any] | None:
        """A few numbers that were measured on the gallery, or None where they were not, or are damaged."""
        ...

    def write_note(self, name: str, values: dict[str, Any]) -> None:
        """Keep a few numbers; hold `writing` around it."""
        ...

    def problems(self) -> Iterator[str]:
        """What is damaged, one sentence each, after looking at every byte; nothing where all is well."""
        ...

    @property
    def state(self) -> str:
        """How searches are answered."""
        ...

    @property
    def size(self) -> int:
        """Bytes on this machine's disk."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where a gallery lies.

    Attributes:
        engine: one of `ENGINES`, `SERVER`, or None where a plain folder leaves it to what is there.
        folder: of a gallery in a folder.
        url: of a server, or `MEMORY`.
        collection: on the server.
        shards: number of shards of a new collection, or None for the server's own choice.
        replicas: copies of each shard of a new collection.
    """

    engine: str | None
    folder: Path | None = None
    url: str = ""
    collection: str = ""
    shards: int | None = None
    replicas: int = 1


def parse_address(address: Path | str) -> Address:
    """Read an address: ``FOLDER``, ``edge:FOLDER``, ``exact:FOLDER``, ``http(s)://HOST:PORT[/NAME]`` or ``:memory:``.

    A server's address may end in ``?shards=3&replicas=2`` for a gallery that is about to be made.

    Raises:
        ConfigError: the address is empty, or names an engine that this version does not have.
    """
    if isinstance(address, Path):
        return Address(None, address.expanduser().absolute())
    if address.startswith(MEMORY):
        return Address(SERVER, url=MEMORY, collection=address[len(MEMORY) :] or "passerby")
    prefix, colon, rest = address.partition(":")
    if prefix in ("http", "https"):
        return _server(address)
    if colon and prefix in ENGINES and rest:
        return Address(prefix, Path(rest).expanduser().absolute())
    # One letter before the colon is a Windows drive, a separator before it a folder with a colon in its name.
    if colon and len(prefix) > 1 and prefix.isidentifier() and not Path(address).exists():
        raise ConfigError(
            f"the gallery address {address!r} names no engine and no folder; write FOLDER, "
            f"{', '.join(f'{name}:FOLDER' for name in ENGINES)} or http://HOST:6333/NAME.{nearest(prefix, ENGINES)}"
        )
    if not address.strip():
        raise ConfigError("the gallery address is empty; name a folder")
    return Address(None, Path(address).expanduser().absolute())


def exists(address: Path | str) -> bool:
    """Whether there is a gallery at an address.

    Raises:
        ConfigError: the address is none.
        GalleryError: the server cannot be reached.
    """
    place = parse_address(address)
    if place.folder is not None:
        return (place.folder / MANIFEST).exists()
    from passerby.gallery.remote import collection_exists

    return collection_exists(place)


def _server(address: str) -> Address:
    from urllib.parse import parse_qs, urlsplit

    parts = urlsplit(address)
    if parts.username or parts.password:
        raise ConfigError("a gallery address holds no key; put the server's key into QDRANT_API_KEY")
    name = parts.path.strip("/") or "passerby"
    options = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    numbers = {key: int(value) if value.isdecimal() else 0 for key, value in options.items()}
    wrong = sorted(set(options) - {"shards", "replicas"}) or [key for key, value in numbers.items() if value < 1]
    try:
        port = parts.port or 6333
    except ValueError:
        port = 0
    if wrong or not parts.hostname or not port or not all(letter.isalnum() or letter in "-_." for letter in name):
        raise ConfigError(
            f"the gallery address {address!r} is no server's; write http://HOST:6333/NAME, for a new gallery with "
            "?shards=3&replicas=2 behind it"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(
        SERVER, None, f"{parts.scheme}://{host}:{port}", name, numbers.get("shards"), numbers.get("replicas", 1)
    )
