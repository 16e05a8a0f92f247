"""Everything a gallery knows about its pictures except their vectors, in one SQLite file.

The catalogue decides what the gallery holds: a picture is there from the commit that records it and gone with the
commit that removes it. Files seen before are remembered with size and time of change, so that a second run over a
folder opens none of them; ids being erased are remembered until every trace of them is gone.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from passerby.errors import GalleryError
from passerby.gallery.records import Picture
from passerby.gallery.space import writing

CATALOGUE = "catalogue.sqlite"

_SCHEMA = """
CREATE TABLE pictures (
    id TEXT PRIMARY KEY, path TEXT NOT NULL, camera TEXT, time REAL, person INTEGER, added REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, changed INTEGER NOT NULL, id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX files_by_id ON files (id);
CREATE TABLE erasing (id TEXT PRIMARY KEY) WITHOUT ROWID;
"""
# Every query is a constant; the only thing ever put into one is the number of its placeholders.
_ALL_PICTURES = "SELECT id, path, camera, time, person FROM pictures ORDER BY added, id"
_PICTURES_BY_ID = "SELECT id, path, camera, time, person FROM pictures WHERE id IN"
_FILES_BY_PATH = "SELECT path, size, changed, id FROM files WHERE path IN"
#: SQLite allows at least 999 placeholders in one statement.
_CHUNK = 500
_BUSY_S = 10.0
#: A catalogue up to this size is checked page by page when it is opened; it costs some tens of milliseconds.
_CHECKED_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file as an earlier run saw it."""

    path: Path
    size: int
    changed: int
    id: str


class Catalogue:
    """The pictures of one gallery; safe to use from several threads."""

    @staticmethod
    def create(folder: Path) -> None:
        """Lay out an empty catalogue."""
        with writing(folder):
            connection = sqlite3.connect(folder / CATALOGUE)
            try:
                connection.executescript(_SCHEMA)
            finally:
                connection.close()

    def __init__(self, folder: Path) -> None:
        """Open the catalogue of a gallery.

        Raises:
            GalleryError: the file is missing or damaged.
        """
        self._folder = folder
        self._turn = threading.RLock()
        path = folder / CATALOGUE
        if not path.is_file():
            raise GalleryError(
                f"the gallery {folder} has lost its {CATALOGUE}; restore it from a backup, or delete the gallery's "
                "folder and index again"
            )
        with self._speaking():
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=32
            )
        self._finalizer = weakref.finalize(self, self._connection.close)
        with self._speaking():
            # Deleted rows are overwritten, and a commit survives a power cut.
            self._connection.execute("PRAGMA secure_delete = ON")
            self._connection.execute("PRAGMA synchronous = FULL")
            if path.stat().st_size <= _CHECKED_BYTES:
                verdict = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
                if verdict != "ok":
                    raise sqlite3.DatabaseError(verdict)
            self._where(_PICTURES_BY_ID, [""])  # fails on a file that is no catalogue

    def close(self) -> None:
        """Close the file."""
        self._finalizer()

    def __len__(self) -> int:
        return self._one("SELECT COUNT(*) FROM pictures")

    def __iter__(self) -> Iterator[Picture]:
        """All pictures, oldest first."""
        with self._speaking():
            rows = self._connection.execute(_ALL_PICTURES).fetchall()
        return map(_picture, rows)

    def cameras(self) -> dict[str, int]:
        """Pictures per camera, for the cameras that have a name."""
        query = "SELECT camera, COUNT(*) FROM pictures WHERE camera IS NOT NULL GROUP BY camera ORDER BY camera"
        with self._speaking():
            return dict(self._connection.execute(query).fetchall())

    def pictures(self, ids: Sequence[str]) -> dict[str, Picture]:
        """The pictures with these ids; ids that the gallery does not hold are left out."""
        return {row[0]: _picture(row) for row in self._where(_PICTURES_BY_ID, ids)}

    def seen(self, paths: Sequence[Path]) -> dict[Path, SeenFile]:
        """What earlier runs know about these files."""
        rows = self._where(_FILES_BY_PATH, [str(path) for path in paths])
        return {Path(row[0]): SeenFile(Path(row[0]), *row[1:]) for row in rows}

    def record(self, pictures: Sequence[Picture], files: Sequence[SeenFile], when: float) -> None:
        """Acknowledge pictures, new ones and moved ones, and the files they were found in, in one transaction."""
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO pictures (id, path, camera, time, person, added) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET path = excluded.path",
                [(it.id, str(it.path), it.camera, it.time, it.person, when) for it in pictures],
            )
            self._connection.executemany(
                "INSERT OR REPLACE INTO files (path, size, changed, id) VALUES (?, ?, ?, ?)",
                [(str(file.path), file.size, file.changed, file.id) for file in files],
            )

    def remove(self, ids: Sequence[str]) -> None:
        """Take pictures out of the gallery and remember that their traces are still to be erased."""
        rows = [(name,) for name in ids]
        with self._transaction():
            self._connection.executemany("DELETE FROM pictures WHERE id = ?", rows)
            self._connection.executemany("DELETE FROM files WHERE id = ?", rows)
            self._connection.executemany("INSERT OR IGNORE INTO erasing (id) VALUES (?)", rows)

    def erasing(self) -> list[str]:
        """Ids that were removed and whose vectors or thumbnails may still exist."""
        with self._speaking():
            return [row[0] for row in self._connection.execute("SELECT id FROM erasing").fetchall()]

    def erased(self, ids: Iterable[str]) -> None:
        """Forget ids whose every trace is gone."""
        with self._transaction():
            self._connection.executemany("DELETE FROM erasing WHERE id = ?", [(name,) for name in ids])

    def _one(self, query: str) -> int:
        with self._speaking():
            return self._connection.execute(query).fetchone()[0]

    def _where(self, query: str, values: Sequence[str]) -> list[tuple]:
        rows: list[tuple] = []
        with self._speaking():
            for start in range(0, len(values), _CHUNK):
                chunk = values[start : start + _CHUNK]
                marks = ", ".join("?" * len(chunk))
                rows += self._connection.execute(f"{query} ({marks})", chunk).fetchall()
        return rows

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._speaking(), writing(self._folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        with self._turn:
            try:
                yield
            except sqlite3.DatabaseError as error:
                if "locked" in str(error):
                    raise GalleryError(
                        f"the catalogue of {self._folder} is locked by another process; wait for it to finish"
                    ) from error
                raise GalleryError(
                    f"the catalogue of the gallery {self._folder} is damaged ({error}); restore the gallery from a "
                    "backup, or delete its folder and index again"
                ) from error


def _picture(row: tuple) -> Picture:
    return Picture(row[0], Path(row[1]), *row[2:])
