"""Everything a gallery knows about its pictures except their vectors, in one SQLite file.

The catalogue decides what the gallery holds: a picture is there from the commit that records it and gone with the
commit that removes it. Files seen before are remembered with size and time of change, so that a second run over a
folder opens none of them; ids being erased are remembered until every trace of them is gone. Every row carries a
checksum, and a catalogue that was closed well carries one of the whole file.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import weakref
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from passerby.errors import GalleryError
from passerby.gallery.filter_sql import sql_condition
from passerby.gallery.filters import Filter
from passerby.gallery.records import Picture, SeenFile
from passerby.gallery.seal import break_seal, seal_is_broken, write_seal
from passerby.gallery.space import writing

CATALOGUE = "catalogue.sqlite"

_SCHEMA = """
CREATE TABLE pictures (
    id TEXT PRIMARY KEY, path TEXT NOT NULL, camera TEXT, time REAL, person INTEGER, track TEXT, source TEXT,
    metadata TEXT NOT NULL, vector INTEGER NOT NULL, thumbnail INTEGER NOT NULL, added REAL NOT NULL,
    checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, changed INTEGER NOT NULL, id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX files_by_id ON files (id);
CREATE INDEX pictures_by_camera ON pictures (camera);
CREATE INDEX pictures_by_time ON pictures (time);
CREATE INDEX pictures_by_person ON pictures (person);
CREATE INDEX pictures_by_track ON pictures (track);
CREATE INDEX pictures_by_source ON pictures (source);
CREATE TABLE erasing (id TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_COLUMNS = "id, path, camera, time, person, track, source, metadata, vector, thumbnail, added, checksum"
# What is put into a query: constants of this module, conditions without values, and the number of placeholders.
_PICTURES_BY_ID = f"SELECT {_COLUMNS} FROM pictures WHERE id IN"  # noqa: S608
_FILES_BY_PATH = "SELECT path, size, changed, id FROM files WHERE path IN"
_FILES_BY_ID = "SELECT path, size, changed, id FROM files WHERE id IN"
#: SQLite allows at least 999 placeholders in one statement.
_CHUNK = 500
_BUSY_S = 10.0
_FACETS = ("camera", "person", "track", "source")


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture with the CRC-32 of its half-precision vector and of its thumbnail, and when it was added."""

    picture: Picture
    vector: int
    thumbnail: int
    added: float


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
            write_seal(folder / CATALOGUE)

    def __init__(self, folder: Path) -> None:
        """Open the catalogue of a gallery; one that was not closed well is checked page by page and row by row.

        Raises:
            GalleryError: the file is missing or damaged.
        """
        self._folder = folder
        self._turn = threading.RLock()
        self._wrote = False
        self._counted: tuple[object, int] = (None, 0)
        path = folder / CATALOGUE
        if not path.is_file():
            raise GalleryError(
                f"the gallery {folder} has lost its {CATALOGUE}; restore it from a backup, or delete the gallery's "
                "folder and index again"
            )
        sealed = seal_is_broken(path)
        if sealed:
            raise self._damaged("its checksum does not match its content")
        with self._speaking():
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=32
            )
        self._finalizer = weakref.finalize(self, self._connection.close)
        with self._speaking():
            # Deleted rows are overwritten, and a commit survives a power cut.
            self._connection.execute("PRAGMA secure_delete = ON")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._where(_PICTURES_BY_ID, [""])  # fails on a file that is no catalogue
            if sealed is None:
                self.check()

    def check(self) -> None:
        """Check every page and every row.

        Raises:
            GalleryError: something is damaged.
        """
        with self._speaking():
            verdict = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if verdict != "ok":
                raise self._damaged(verdict)
        for _ in self.entries():
            pass

    def settle(self) -> None:
        """Leave a checksum of the file, if this process wrote to it; only for who holds the gallery's lock."""
        if self._wrote:
            with self._turn:
                write_seal(self._folder / CATALOGUE)
                self._wrote = False

    def close(self) -> None:
        """Close the file."""
        self._finalizer()

    def __len__(self) -> int:
        version = self.version
        if self._counted[0] != version:
            self._counted = (version, self._one("SELECT COUNT(*) FROM pictures"))
        return self._counted[1]

    @property
    def version(self) -> tuple[int, int]:
        """Changes whenever this process or another one has changed the catalogue."""
        with self._speaking():
            return self._one("PRAGMA data_version"), self._connection.total_changes

    def entries(self, where: Filter | None = None, after: str = "", most: int = -1) -> Iterator[Entry]:
        """Pictures that pass, in the order of their ids from `after` on, read in portions."""
        condition, values = ("1", []) if where is None else sql_condition(where)
        query = f"SELECT {_COLUMNS} FROM pictures WHERE id > ? AND {condition} ORDER BY id LIMIT ?"  # noqa: S608
        while most:
            portion = _CHUNK if most < 0 else min(_CHUNK, most)
            with self._speaking():
                rows = self._connection.execute(query, [after, *values, portion]).fetchall()
            yield from map(self._entry, rows)
            if len(rows) < portion:
                return
            after, most = rows[-1][0], most if most < 0 else most - portion

    def ids(self, where: Filter | None = None) -> list[str]:
        """Ids of the pictures that pass."""
        condition, values = ("1", []) if where is None else sql_condition(where)
        with self._speaking():
            rows = self._connection.execute(f"SELECT id FROM pictures WHERE {condition}", values)  # noqa: S608
            return [row[0] for row in rows.fetchall()]

    def count(self, where: Filter) -> int:
        """Number of pictures that pass."""
        condition, values = sql_condition(where)
        return self._one(f"SELECT COUNT(*) FROM pictures WHERE {condition}", values)  # noqa: S608

    def facets(self, field: str, most: int) -> dict[str, int]:
        """The commonest values of a field with their number of pictures; metadata fields are counted too."""
        held = field if field in _FACETS else "json_extract(metadata, ?)"
        names = [] if field in _FACETS else [f"$.{field}"]
        query = (
            f"SELECT {held} AS value, COUNT(*) AS n FROM pictures WHERE value IS NOT NULL "  # noqa: S608
            "GROUP BY value ORDER BY n DESC, value LIMIT ?"
        )
        with self._speaking():
            return {str(value): n for value, n in self._connection.execute(query, [*names, most]).fetchall()}

    def metadata_fields(self) -> list[str]:
        """Names of all metadata fields."""
        query = "SELECT DISTINCT each.key FROM pictures, json_each(pictures.metadata) AS each ORDER BY 1"
        with self._speaking():
            return [row[0] for row in self._connection.execute(query).fetchall()]

    def times(self) -> tuple[float, float] | None:
        """The earliest and the latest time, or None where no picture has one."""
        with self._speaking():
            low, high = self._connection.execute("SELECT MIN(time), MAX(time) FROM pictures").fetchone()
        return None if low is None else (low, high)

    def get(self, ids: Sequence[str]) -> dict[str, Entry]:
        """What is known about these ids; those that the gallery does not hold are left out."""
        return {row[0]: self._entry(row) for row in self._where(_PICTURES_BY_ID, ids)}

    def seen(self, paths: Sequence[Path]) -> dict[Path, SeenFile]:
        """What earlier runs know about these files."""
        rows = self._where(_FILES_BY_PATH, [str(path) for path in paths])
        return {Path(row[0]): SeenFile(Path(row[0]), *row[1:]) for row in rows}

    def files_of(self, ids: Sequence[str]) -> list[SeenFile]:
        """The files in which these pictures were found."""
        return [SeenFile(Path(row[0]), *row[1:]) for row in self._where(_FILES_BY_ID, ids)]

    def record(self, entries: Sequence[Entry], files: Sequence[SeenFile]) -> None:
        """Acknowledge pictures, new ones and changed ones, and the files they were found in, in one transaction."""
        with self._transaction():
            self._connection.executemany(
                f"INSERT OR REPLACE INTO pictures ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                [_row(entry) for entry in entries],
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

    def _one(self, query: str, values: Sequence[object] = ()) -> int:
        with self._speaking():
            return self._connection.execute(query, values).fetchone()[0]

    def _where(self, query: str, values: Sequence[str]) -> list[tuple]:
        rows: list[tuple] = []
        with self._speaking():
            for start in range(0, len(values), _CHUNK):
                chunk = values[start : start + _CHUNK]
                marks = ", ".join("?" * len(chunk))
                rows += self._connection.execute(f"{query} ({marks})", chunk).fetchall()
        return rows

    def _entry(self, row: tuple) -> Entry:
        if row[-1] != _checksum(row[:-1]):
            raise self._damaged(f"the row of the picture {row[0]!r} does not match its checksum")
        picture = Picture(row[0], Path(row[1]), *row[2:7], metadata=json.loads(row[7]))
        return Entry(picture, *row[8:11])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._speaking(), writing(self._folder):
            if not self._wrote:
                break_seal(self._folder / CATALOGUE)
                self._wrote = True
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
                raise self._damaged(str(error)) from error

    def _damaged(self, reason: str) -> GalleryError:
        return GalleryError(
            f"the catalogue of the gallery {self._folder} is damaged ({reason}); restore the gallery from a backup, "
            "or delete its folder and index again"
        )


def _row(entry: Entry) -> tuple:
    it = entry.picture
    metadata = json.dumps(dict(it.metadata), sort_keys=True, ensure_ascii=False)
    time = None if it.time is None else float(it.time)
    known = (it.id, str(it.path), it.camera, time, it.person, it.track, it.source, metadata)
    row = (*known, entry.vector, entry.thumbnail, float(entry.added))
    return (*row, _checksum(row))


def _checksum(row: Sequence[object]) -> int:
    return zlib.crc32(repr(tuple(row)).encode())
