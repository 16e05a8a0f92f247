"""What has been made of one source so far, on disk: crops, a table of them, and where to go on.

The order of writing makes an interruption harmless: crops first, then their lines in the table, then the state, which
says how much of the table counts. A run that was killed in between does the last few seconds again and writes the same
files. The table is one that `passerby index` reads.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passerby.data.records import PersonImage
from passerby.errors import GalleryError
from passerby.gallery import Sighting
from passerby.gallery.lock import GalleryLock
from passerby.gallery.space import sync_folder

TABLE, STATE = "crops.jsonl", "state.json"
_FORMAT = 1
_CROPS_PER_FOLDER = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One crop to be written: its name below the folder, its bytes, and what is known about it."""

    name: str
    jpeg: bytes
    known: Mapping[str, Any]


class Ledger:
    """The folder of one source; use it in a ``with`` statement, which keeps other processes out.

    Attributes:
        folder: where everything lies.
        state: what the last `record` was given, or None for a source that is new.
    """

    def __init__(self, folder: Path) -> None:
        """Remember the folder; nothing is opened."""
        self.folder = folder
        self.state: dict[str, Any] | None = None
        self._rows: list[dict[str, Any]] = []
        self._lock = GalleryLock(folder / "lock")

    def __enter__(self) -> Ledger:
        """Take the lock and read what is there.

        Raises:
            GalleryError: the folder cannot be written or read, or another process works on the source.
        """
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire(0.0)
        try:
            self._read()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let others in."""
        self._lock.release()

    def sightings(self) -> list[Sighting]:
        """Everything recorded so far, as the gallery takes it; a crop that somebody removed stays removed."""
        return [self._sighting(row) for row in self._rows if (self.folder / row["path"]).exists()]

    def record(self, entries: Sequence[Entry], state: Mapping[str, Any]) -> list[Sighting]:
        """Write crops, their lines and the state, so that all of it survives a kill behind this call.

        Args:
            entries: new crops.
            state: JSON values that tell the next run where to go on.

        Returns:
            The new crops, as the gallery takes them.

        Raises:
            GalleryError: the disk is full or the folder may not be written.
        """
        rows = [{"path": entry.name, **entry.known} for entry in entries]
        with self._writing():
            for entry in entries:
                _write(self.folder / entry.name, entry.jpeg)
            table = self.folder / TABLE
            if rows:
                with table.open("ab") as file:
                    file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
                    file.flush()
                    os.fsync(file.fileno())
            size = table.stat().st_size if table.exists() else 0
            self._write_state(state, size)
        self._rows += rows
        return [self._sighting(row) for row in rows]

    def correct(self, **known: Any) -> None:
        """Put other values into every line, such as another camera; what is None is left out.

        Raises:
            GalleryError: the table cannot be written.
        """
        said = {name: value for name, value in known.items() if value is not None}
        corrected = [{**row, **said} for row in self._rows]
        self._rewrite(corrected)

    def shift(self, seconds: float) -> None:
        """Move the time of every line.

        Raises:
            GalleryError: the table cannot be written.
        """
        self._rewrite([{**row, "time": row["time"] + seconds} for row in self._rows])

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        if rows == self._rows or self.state is None:
            return
        # Table and state are two files: the state first promises the new table, and `_read` keeps the promise.
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        with self._writing():
            _write(self.folder / f"{TABLE}.new", text)
            self._write_state(self.state, len(text), renewed=True)
            (self.folder / f"{TABLE}.new").replace(self.folder / TABLE)
            self._write_state(self.state, len(text))
        self._rows = rows

    def _write_state(self, state: Mapping[str, Any], size: int, renewed: bool = False) -> None:
        self.state = dict(state)
        record = {"format": _FORMAT, "table_bytes": size, "renewed": renewed, "state": self.state}
        _write(self.folder / STATE, json.dumps(record).encode())
        sync_folder(self.folder)

    def _read(self) -> None:
        path, table = self.folder / STATE, self.folder / TABLE
        self.state, self._rows = None, []
        try:
            if path.exists():
                record = json.loads(path.read_bytes())
                if record["format"] != _FORMAT:
                    raise ValueError(f"format {record['format']} is not {_FORMAT}")
                if record["renewed"] and table.with_name(f"{TABLE}.new").exists():
                    table.with_name(f"{TABLE}.new").replace(table)
                self.state = record["state"]
                self._read_table(record["table_bytes"])
            elif table.exists():
                table.unlink()  # a run that was killed before it first said where it was
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise GalleryError(
                f"{self.folder} does not hold what an earlier run wrote ({error}); remove this folder, and the source "
                "is gone through again"
            ) from error

    def _read_table(self, size: int) -> None:
        table = self.folder / TABLE
        if not size:
            table.unlink(missing_ok=True)
            return
        with table.open("r+b") as file:
            text = file.read(size)
            if len(text) < size:
                raise ValueError(f"{TABLE} has {len(text)} bytes instead of {size}")
            file.truncate(size)
        self._rows = [json.loads(line) for line in text.decode().splitlines()]

    def _sighting(self, row: Mapping[str, Any]) -> Sighting:
        known = dict(row)
        path = self.folder / known.pop("path")
        image = PersonImage(str(path), path, camera_id=known.pop("camera", None), time=known.pop("time", None))
        return Sighting(image, known.pop("track", None), known.pop("source"), known)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise GalleryError(
                f"crops cannot be written to {self.folder}: {error.strerror or error}; free some space or choose "
                "another folder with --crops; the same command continues"
            ) from error


def crop_name(number: int, place: int) -> str:
    """Name of a track's crop below its folder: a thousand tracks share a subfolder."""
    return f"{number // _CROPS_PER_FOLDER:03d}/{number:05d}-{place}.jpg"


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
