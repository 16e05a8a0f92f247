"""The exact engine: every vector is compared with the query, out of memory-mapped half-precision blocks.

It is the reference that other engines are measured against and the insurance if one of them goes wrong. A row is an
id, a checksum and the vector; blocks of rows only grow, and an erased row is overwritten with zeros where it stands.
Products and sums are float32, so half precision costs nothing but the rounding of the stored numbers.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from passerby.errors import GalleryError
from passerby.gallery.space import sync_folder, writing

_BLOCK_ROWS = 65_536
#: Rows that are widened to float32 at a time; larger slices leave the processor's cache.
_SLICE_ROWS = 8_192
_NO_ID = bytes(16)


class ExactEngine:
    """Exact search over append-only blocks (axes: N rows, D dimensions)."""

    shares_reading = True
    reserve_bytes = 0

    @staticmethod
    def create(folder: Path, dim: int) -> None:
        """Lay out an empty folder for vectors of any length."""
        del dim
        with writing(folder.parent):
            folder.mkdir()

    def __init__(self, folder: Path, dim: int) -> None:
        """Map the blocks and check every row.

        Raises:
            GalleryError: a block is missing or a row does not match its checksum.
        """
        self._folder = folder
        self._row = np.dtype([("id", "V16"), ("crc", "<u4"), ("vector", "<f2", (dim,))])
        self._blocks: list[np.ndarray] = []
        self._live: list[np.ndarray] = []
        self._place: dict[bytes, tuple[int, int]] = {}
        files = sorted(folder.glob("block-*.rows"))
        if not folder.is_dir() or [file.name for file in files] != [_name(number) for number in range(len(files))]:
            raise _damaged(folder, "a block is missing")
        for number, file in enumerate(files):
            block = self._map(file)
            self._blocks.append(block)
            self._live.append(np.zeros(0, bool))
            self._check(block, file)
            self._remember(number, 0)

    def __len__(self) -> int:
        return len(self._place)

    def upsert(self, ids: Sequence[str], vectors: np.ndarray) -> None:
        """Append rows and sync them; what half a batch left behind at a kill or a full disk is cut off first."""
        rows = np.zeros(len(ids), self._row)
        rows["vector"] = vectors
        for row, name in zip(rows, ids, strict=True):
            row["id"] = bytes.fromhex(name)
            row["crc"] = _checksum(row)
        start = 0
        while start < len(rows):
            if not self._blocks or len(self._blocks[-1]) >= _BLOCK_ROWS:
                self._blocks.append(np.zeros(0, self._row))
                self._live.append(np.zeros(0, bool))
            room = _BLOCK_ROWS - len(self._blocks[-1])
            self._append(rows[start : start + room])
            start += room

    def search(self, query: np.ndarray, k: int) -> list[tuple[str, float]]:
        """The exact answer, equal scores ordered by id."""
        found: list[tuple[float, bytes]] = []
        for number, block in enumerate(self._blocks):
            for start in range(0, len(block), _SLICE_ROWS):
                part = block[start : start + _SLICE_ROWS]
                live = self._live[number][start : start + _SLICE_ROWS]
                scores = np.where(live, part["vector"].astype(np.float32) @ query, -np.inf)  # (rows,)
                # Every row that ties with the k-th best is kept, so that the cut does not depend on where rows lie.
                floor = np.partition(scores, -k)[-k] if k < len(scores) else -np.inf
                for row in np.flatnonzero(live & (scores >= floor)):
                    # another process may have erased the row since it was mapped
                    if (name := part["id"][row].tobytes()) != _NO_ID:
                        found.append((-float(scores[row]), name))
            found = sorted(found)[:k]
        return [(name.hex(), -negative) for negative, name in found]

    def ids(self) -> Iterator[str]:
        """All ids, oldest first."""
        return (name.hex() for name in list(self._place))

    def delete(self, ids: Sequence[str]) -> None:
        """Overwrite rows with zeros."""
        gone = [place for name in ids if (place := self._place.pop(bytes.fromhex(name), None)) is not None]
        self._erase(gone)

    def close(self) -> None:
        """Unmap the blocks."""
        self._blocks, self._live, self._place = [], [], {}

    def _append(self, rows: np.ndarray) -> None:
        number = len(self._blocks) - 1
        kept = len(self._blocks[-1])
        path = self._folder / _name(number)
        with writing(self._folder), path.open("ab") as file:
            file.truncate(kept * self._row.itemsize)
            try:
                file.write(rows.tobytes())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), kept * self._row.itemsize)
                raise
            if not kept:
                sync_folder(self._folder)
        self._blocks[-1] = self._map(path)
        self._erase(self._remember(number, kept))

    def _erase(self, places: Sequence[tuple[int, int]]) -> None:
        nothing = bytes(self._row.itemsize)
        for number, row in places:
            self._live[number][row] = False
        for number in sorted({block for block, _ in places}):
            with writing(self._folder), (self._folder / _name(number)).open("r+b") as file:
                for row in sorted(row for block, row in places if block == number):
                    file.seek(row * self._row.itemsize)
                    file.write(nothing)
                file.flush()
                os.fsync(file.fileno())

    def _map(self, path: Path) -> np.ndarray:
        # A part of a row at the end was being written when its writer died; no one was told that it was there.
        rows = path.stat().st_size // self._row.itemsize
        return np.memmap(path, self._row, "r", shape=(rows,)) if rows else np.zeros(0, self._row)

    def _remember(self, number: int, start: int) -> list[tuple[int, int]]:
        """Note where the rows from `start` on lie; returns the places of older rows with the same ids."""
        older = []
        grown = np.zeros(len(self._blocks[number]), bool)
        grown[:start] = self._live[number][:start]
        self._live[number] = grown
        for row, name in enumerate(self._blocks[number]["id"][start:].tolist(), start):
            if name == _NO_ID:
                continue
            if name in self._place:
                older.append(self._place[name])
                self._live[older[-1][0]][older[-1][1]] = False
            self._place[name] = (number, row)
            grown[row] = True
        return older

    def _check(self, block: np.ndarray, path: Path) -> None:
        crcs, ids = block["crc"].tolist(), block["id"].tolist()
        raw, width, skip = block.tobytes(), self._row.itemsize, self._row.fields["vector"][1]  # type: ignore[index]
        for row, (crc, name) in enumerate(zip(crcs, ids, strict=True)):
            vector = raw[row * width + skip : (row + 1) * width]
            if zlib.crc32(vector, zlib.crc32(name)) != crc and (name != _NO_ID or any(vector) or crc):
                raise _damaged(path, f"row {row} does not match its checksum")


def _checksum(row: np.void) -> int:
    return zlib.crc32(row["vector"].tobytes(), zlib.crc32(row["id"].tobytes()))


def _name(number: int) -> str:
    return f"block-{number:05d}.rows"


def _damaged(path: Path, reason: str) -> GalleryError:
    return GalleryError(
        f"the vectors in {path} are damaged: {reason}; restore the gallery from a backup, or delete it and index again"
    )
