"""What an engine must do to hold a gallery's vectors, and which engines there are.

An engine knows ids and vectors and nothing else: paths, cameras and thumbnails are the catalogue's. The two agree
because the engine is written first and the catalogue, in one transaction, afterwards: a row that only the engine has
was never acknowledged and is overwritten or ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from passerby.errors import ConfigError, GalleryError, nearest

#: Engines by the prefix of their address; the first is what a plain folder becomes.
ENGINES = ("edge", "exact")


class Engine(Protocol):
    """Vectors on disk, found by their ids and by their neighbours.

    Attributes:
        shares_reading: whether several processes may search the same folder, one of them writing.
        reserve_bytes: room on the disk that must be free before a write, because the engine maps its files.
    """

    shares_reading: bool
    reserve_bytes: int

    def __len__(self) -> int:
        """Number of vectors."""
        ...

    def upsert(self, ids: Sequence[str], vectors: np.ndarray) -> None:
        """Store (N, D) float32 vectors, replacing those of known ids; durable when it returns."""
        ...

    def search(self, query: np.ndarray, k: int) -> list[tuple[str, float]]:
        """The `k` ids with the largest dot product with a (D,) query, best first."""
        ...

    def ids(self) -> Iterator[str]:
        """All ids, in no particular order."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Erase vectors, bytes included, durably; ids that are not there are no error."""
        ...

    def close(self) -> None:
        """Release files and memory; the engine cannot be used afterwards."""
        ...


def parse_address(address: Path | str) -> tuple[str | None, Path]:
    """Split an address into the engine it names, or None, and the folder.

    Raises:
        GalleryError: the address is empty, or names an engine that this version does not have.
    """
    if isinstance(address, Path):
        return None, address
    prefix, colon, rest = address.partition(":")
    if prefix in ("http", "https"):
        raise GalleryError(f"{address} is a server; this version keeps galleries in folders: name a folder")
    if colon and prefix in ENGINES and rest:
        return prefix, Path(rest)
    # One letter before the colon is a Windows drive, a separator before it a folder with a colon in its name.
    if colon and len(prefix) > 1 and prefix.isidentifier() and not Path(address).exists():
        raise ConfigError(
            f"the gallery address {address!r} names no engine and no folder; write FOLDER or "
            f"{' or '.join(f'{name}:FOLDER' for name in ENGINES)}.{nearest(prefix, ENGINES)}"
        )
    if not address.strip():
        raise ConfigError("the gallery address is empty; name a folder")
    return None, Path(address)


def create_engine(name: str, folder: Path, dim: int) -> None:
    """Lay out an engine's empty folder."""
    if name == "edge":
        from passerby.gallery.edge import EdgeEngine

        EdgeEngine.create(folder, dim)
    else:
        from passerby.gallery.exact import ExactEngine

        ExactEngine.create(folder, dim)


def open_engine(name: str, folder: Path, dim: int) -> Engine:
    """Open the engine that a manifest names.

    Raises:
        GalleryError: this version has no such engine, or its data is damaged.
    """
    if name == "edge":
        from passerby.gallery.edge import EdgeEngine

        return EdgeEngine(folder, dim)
    if name == "exact":
        from passerby.gallery.exact import ExactEngine

        return ExactEngine(folder, dim)
    raise GalleryError(f"{folder} was made with the engine {name!r}; this version has {', '.join(ENGINES)}; upgrade it")
