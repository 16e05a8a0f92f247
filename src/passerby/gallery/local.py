"""A gallery in a folder: manifest, catalogue, thumbnails and an engine, kept in step through kills and full disks.

A batch is written in an order that makes a kill at any moment harmless: thumbnails, then vectors, then one
transaction of the catalogue, which alone decides what is there. Erasing goes the other way round and is finished by
the next writer. One process writes at a time; any number may search meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from passerby.errors import GalleryError
from passerby.gallery.catalogue import Catalogue, Entry
from passerby.gallery.exact import ExactEngine
from passerby.gallery.filters import Filter
from passerby.gallery.lending import is_wanted, lend_when_wanted, take
from passerby.gallery.lock import LOCK, GalleryLock
from passerby.gallery.manifest import Manifest, read_manifest, write_manifest
from passerby.gallery.records import Picture, Row, SeenFile
from passerby.gallery.seal import read_list, write_list
from passerby.gallery.space import require_space, writing
from passerby.gallery.store import ENGINES, Address
from passerby.gallery.thumbnails import Thumbnails

_VECTORS, _THUMBNAILS = "vectors", "thumbnails"
#: How long to wait for another writer, in seconds: longer than one batch takes, shorter than a user's patience.
_PATIENCE_S = 3.0
#: Room a batch may take besides its vectors, in bytes per picture: a thumbnail and rows of the catalogue.
_BYTES_PER_PICTURE = 40_000
#: Filters whose rows are remembered.
_MOST_SELECTIONS = 16


class LocalStore:
    """One folder, opened by one process; close it to let other writers in.

    Several threads may search at once; writing is for one thread, with no search beside it.
    """

    @classmethod
    def create(cls, address: Address, manifest: Manifest) -> LocalStore:
        """Make an empty gallery beside its place and rename it, so that a kill leaves no half gallery there.

        Raises:
            GalleryError: there is something at that place already, or it cannot be written.
        """
        folder = _folder_of(address)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise GalleryError(
                f"{folder} exists and is not an empty folder; name a new folder, or open the gallery that is there"
            )
        with writing(folder.parent):
            folder.parent.mkdir(parents=True, exist_ok=True)
        require_space(folder.parent, 1_000_000)
        nursery = folder.with_name(f".{folder.name}.{os.getpid()}.new")
        try:
            with writing(folder.parent):
                nursery.mkdir()
            Catalogue.create(nursery)
            ExactEngine.create(nursery / _VECTORS, manifest.dim)
            write_manifest(nursery, manifest)
            with writing(folder.parent):
                nursery.replace(folder)
        except BaseException:
            shutil.rmtree(nursery, ignore_errors=True)
            raise
        return cls(folder, manifest)

    @classmethod
    def open(cls, address: Address) -> LocalStore:
        """Open the gallery of a folder.

        Raises:
            GalleryError: there is none, it is damaged or too new, or it has another engine than the address says.
        """
        folder = _folder_of(address)
        manifest = read_manifest(folder)
        if address.engine is not None and address.engine != manifest.engine:
            raise GalleryError(
                f"the gallery {folder} was made with the engine {manifest.engine!r}, not {address.engine!r}; "
                f"open it as {folder}"
            )
        return cls(folder, manifest)

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Take a folder that `create` or `open` has checked."""
        self.folder = folder
        self.address = str(folder)
        self.manifest = manifest
        self._catalogue = Catalogue(folder)
        self._thumbnails = Thumbnails(folder / _THUMBNAILS)
        self._lock = GalleryLock(folder / LOCK)
        self._engine: ExactEngine | None = None
        self._turn = threading.RLock()
        self._users = 0
        self._watched = False
        self._selections: dict[Filter, np.ndarray] = {}
        self._selected_at: object = None

    def __len__(self) -> int:
        return len(self._catalogue)

    def ids(self, where: Filter | None = None) -> list[str]:
        """Ids of the pictures that pass."""
        return self._catalogue.ids(where)

    def pictures(self, where: Filter | None = None, after: str = "", most: int = -1) -> Iterator[Picture]:
        """Pictures that pass, in the order of their ids."""
        return (entry.picture for entry in self._catalogue.entries(where, after, most))

    def get(self, ids: Sequence[str]) -> dict[str, Picture]:
        """Pictures by their ids."""
        return {name: entry.picture for name, entry in self._catalogue.get(ids).items()}

    def count(self, where: Filter) -> int:
        """Number of pictures that pass."""
        return self._catalogue.count(where)

    def facets(self, field: str, most: int) -> dict[str, int]:
        """The commonest values of a field."""
        return self._catalogue.facets(field, most)

    def metadata_fields(self) -> list[str]:
        """Names of all metadata fields."""
        return self._catalogue.metadata_fields()

    def times(self) -> tuple[float, float] | None:
        """The earliest and the latest time."""
        return self._catalogue.times()

    def seen(self, paths: Sequence[Path]) -> dict[Path, SeenFile]:
        """What earlier runs know about these files."""
        return self._catalogue.seen(paths)

    def files_of(self, ids: Sequence[str]) -> list[SeenFile]:
        """The files in which these pictures were found."""
        return self._catalogue.files_of(ids)

    def put(self, rows: Sequence[Row], changed: Sequence[Picture] = (), files: Sequence[SeenFile] = ()) -> None:
        """Write a batch; hold `writing` around it.

        Raises:
            GalleryError: the disk is full; nothing of the batch is there.
        """
        entries = []
        if rows:
            halves = np.stack([row.vector for row in rows]).astype(np.float16)  # (N, D)
            require_space(self.folder, 64_000_000 + len(rows) * (4 * halves.shape[1] + _BYTES_PER_PICTURE))
            self._thumbnails.write((row.picture.id, row.thumbnail) for row in rows)
            self.engine.upsert([row.picture.id for row in rows], halves)
            now = time.time()
            entries = [
                Entry(row.picture, zlib.crc32(half.tobytes()), zlib.crc32(row.thumbnail), now)
                for row, half in zip(rows, halves, strict=True)
            ]
        known = self._catalogue.get([picture.id for picture in changed])
        for picture in changed:
            if picture.id in known:
                old = known[picture.id]
                entries.append(Entry(picture, old.vector, old.thumbnail, old.added))
        if entries or files:
            self._catalogue.record(entries, files)

    def remove(self, ids: Sequence[str]) -> None:
        """Erase rows; an interrupted call is finished by the next writer."""
        self._catalogue.remove(ids)
        self._finish_erasing()

    def search(self, query: np.ndarray, k: int, where: Filter | None = None) -> list[tuple[str, float]]:
        """The engine's answer, without rows that were never acknowledged."""
        with self._using():
            with self._turn:  # several threads may search; one of them opens what is not open yet
                if self.engine.belongs_to_one:
                    self._borrow()
                engine = self.engine
                if self._lock.held:
                    engine.open_index()
            among = None if where is None else self._selection(where, engine)
            unknown = max(0, len(engine) - len(self._catalogue))
            return engine.search(query, k + unknown, among)

    def lend(self) -> bool:
        """Give index and lock up where a writer waits and nobody searches; return whether the lock is still held."""
        with self._turn:
            if self._lock.held and not self._users and is_wanted(self.folder):
                self.engine.close_index()
                self._lock.release()
            self._watched = self._lock.held
            return self._watched

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """(N, D) float32 vectors of rows that are there, checked."""
        return self.engine.vectors(ids)

    def thumbnail(self, name: str) -> bytes:
        """The JPEG of a row that is there, checked.

        Raises:
            GalleryError: there is no such row, or its thumbnail is missing or damaged.
        """
        entry = self._catalogue.get([name]).get(name)
        if entry is None:
            raise GalleryError(f"the gallery {self.folder} holds no picture {name}")
        encoded = self._thumbnails.read(name)
        if zlib.crc32(encoded) != entry.thumbnail:
            raise GalleryError(
                f"the thumbnail of {name} is damaged; delete the picture from the gallery and index it again"
            )
        return encoded

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock while the body writes.

        Raises:
            GalleryError: another process holds it; the message names that process.
        """
        with self._using():
            if not self._lock.held:
                take(self.folder, self._lock, _PATIENCE_S)
                self._close_engine()  # what it read before another process wrote is out of date
            try:
                self._finish_erasing()
                yield
            finally:
                self._catalogue.settle()
                if self._engine is None or not self._engine.belongs_to_one:
                    self._lock.release()
                else:
                    self._watch_queue()

    def settle(self) -> None:
        """Bring new rows into the engine's index where they have become many."""
        self.engine.settle()

    def optimize(self, graph: bool) -> None:
        """Bring all rows into the engine's index."""
        self.engine.optimize(graph)

    def read_note(self, name: str) -> dict[str, Any] | None:
        """A few numbers that were measured on the gallery."""
        return read_list(self.folder / f"{name}.json")

    def write_note(self, name: str, values: dict[str, Any]) -> None:
        """Keep a few numbers."""
        write_list(self.folder / f"{name}.json", values)

    def problems(self) -> Iterator[str]:
        """Compare every row, vector and thumbnail with its checksums."""
        try:
            self._catalogue.check()
            self.engine.check()
        except GalleryError as error:
            yield str(error)
            return
        for entry in self._catalogue.entries():
            name = entry.picture.id
            try:
                half = self.engine.vectors([name]).astype(np.float16)
                if zlib.crc32(half.tobytes()) != entry.vector:
                    yield f"the vector of {name} is not the one that was added"
                self.thumbnail(name)
            except GalleryError as error:
                yield str(error)

    @property
    def state(self) -> str:
        """How searches are answered."""
        return self.engine.state

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(_disk_bytes(file) for file in self.folder.rglob("*") if file.is_file())

    def close(self) -> None:
        """Release the files and let other writers in."""
        self._close_engine()
        self._lock.release()
        self._catalogue.close()

    @property
    def engine(self) -> ExactEngine:
        """The engine, opened on first use and again where another process has added rows."""
        with self._turn:
            engine = self._engine
            if engine is not None and not self._lock.held and (engine.behind or len(engine) < len(self._catalogue)):
                engine = None  # not closed: another thread may be searching it
                self._selections.clear()
            if engine is None:
                engine = self._engine = self._opened()
            return engine

    def _opened(self) -> ExactEngine:
        engine = _open_engine(self.manifest.engine, self.folder / _VECTORS, self.manifest.dim)
        missing = len(self._catalogue) - len(engine)
        if missing > 0:
            engine.close()
            raise GalleryError(
                f"the gallery {self.folder} is damaged: the vectors of {missing} pictures are missing; restore it "
                "from a backup, or delete the folder and index again"
            )
        return engine

    @contextlib.contextmanager
    def _using(self) -> Iterator[None]:
        """Keep the lock, where it is held, from being lent while the body runs."""
        with self._turn:
            self._users += 1
        try:
            yield
        finally:
            with self._turn:
                self._users -= 1

    def _borrow(self) -> None:
        """Take the lock for an index that belongs to one process; while another one has it, every row is compared."""
        if not self._lock.held and not is_wanted(self.folder):
            with contextlib.suppress(GalleryError):
                self._lock.acquire(0)
                self._watch_queue()
                if self.engine.behind:  # the index may know rows that were not there when these were read
                    self._engine = None

    def _watch_queue(self) -> None:
        with self._turn:
            if not self._watched:
                self._watched = True
                lend_when_wanted(self)

    def _close_engine(self) -> None:
        self._selections.clear()
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _selection(self, where: Filter, engine: ExactEngine) -> np.ndarray:
        """Positions of the rows that pass, remembered until the catalogue changes."""
        version = (self._catalogue.version, len(engine))
        if version != self._selected_at or len(self._selections) > _MOST_SELECTIONS:
            self._selections.clear()
            self._selected_at = version
        found = self._selections.get(where)
        if found is None:
            found = self._selections[where] = engine.positions(self._catalogue.ids(where))
        return found

    def _finish_erasing(self) -> None:
        ids = self._catalogue.erasing()
        if ids:
            self.engine.delete(ids)
            self._thumbnails.delete(ids)
            self._catalogue.erased(ids)


def _folder_of(address: Address) -> Path:
    if address.folder is None:
        raise GalleryError(f"{address.url} is no folder")
    return address.folder


def _open_engine(name: str, folder: Path, dim: int) -> ExactEngine:
    if name == "edge":
        from passerby.gallery.edge import EdgeEngine

        return EdgeEngine(folder, dim)
    if name == "exact":
        return ExactEngine(folder, dim)
    raise GalleryError(f"{folder} was made with the engine {name!r}; this version has {', '.join(ENGINES)}; upgrade it")


def _disk_bytes(file: Path) -> int:
    status = file.stat()
    return getattr(status, "st_blocks", -(-status.st_size // 512)) * 512
