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
_SLICE_ROWS = 512
#: Moving a half's exponent and fraction into a single's place makes it this much too small.
_HALF_BIAS = np.float32(2.0**112)
#: Sign, exponent and fraction of a sign-extended half that was shifted by 13.
_SIGN_AND_REST = np.int32(-0x7000_2000)
_NO_ID = bytes(16)
#: Rows that are compared with their checksums when the engine is opened; those behind them only when they are shown,
#: and all of them by `check`. At 512 dimensions the first 200,000 take some tenths of a second.
_CHECKED_ROWS = 200_000


class ExactEngine:
    """Exact search over append-only blocks (axes: N ids given, M rows found, D dimensions)."""

    #: Whether there is something beside the rows that only one process may open.
    belongs_to_one = False

    @staticmethod
    def create(folder: Path, dim: int) -> None:
        """Lay out an empty folder for vectors of any length."""
        del dim
        with writing(folder.parent):
            folder.mkdir()

    def __init__(self, folder: Path, dim: int) -> None:
        """Map the blocks and check the rows.

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
            if (number + 1) * _BLOCK_ROWS <= _CHECKED_ROWS:
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

    def search(self, query: np.ndarray, k: int, among: np.ndarray | None = None) -> list[tuple[str, float]]:
        """The exact answer, equal scores ordered by id.

        Args:
            query: (D,) float32.
            k: number of answers.
            among: (M,) positions to choose from; all by default.
        """
        positions = np.flatnonzero(self._live_flags()) if among is None else np.unique(among)
        return self._best(positions, query, k)

    def positions(self, ids: Sequence[str]) -> np.ndarray:
        """(M,) where rows stand; ids that are not there are left out. A position names the same row for ever."""
        places = map(self._place.get, map(bytes.fromhex, ids))
        found = [place[0] * _BLOCK_ROWS + place[1] for place in places if place is not None]
        return np.array(found, np.int64)

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """(N, D) float32 vectors, each compared with its checksum.

        Raises:
            GalleryError: an id is not there or its row is damaged.
        """
        positions = self.positions(ids)
        if len(positions) != len(ids):
            missing = next(name for name in ids if bytes.fromhex(name) not in self._place)
            raise _damaged(self._folder, f"the vector of {missing} is missing")
        rows = self._rows(positions)
        self._check(rows, self._folder)
        return rows["vector"].astype(np.float32)

    def settle(self) -> None:
        """Nothing to do: rows are searched where they stand."""

    def optimize(self, graph: bool) -> None:
        """Nothing to do, as above."""
        del graph

    def open_index(self) -> None:
        """Nothing to open."""

    def close_index(self) -> None:
        """Nothing to close."""

    def check(self) -> None:
        """Compare every row with its checksum.

        Raises:
            GalleryError: a row is damaged.
        """
        for number, block in enumerate(self._blocks):
            self._check(block, self._folder / _name(number))

    @property
    def state(self) -> str:
        """How searches are answered."""
        return "every vector is compared"

    @property
    def span(self) -> int:
        """The position behind the last row, erased ones counted."""
        return (len(self._blocks) - 1) * _BLOCK_ROWS + len(self._blocks[-1]) if self._blocks else 0

    @property
    def behind(self) -> bool:
        """Whether another process has appended rows since these were mapped."""
        number = len(self._blocks) - 1
        if (self._folder / _name(number + 1)).exists():
            return True
        return number >= 0 and (self._folder / _name(number)).stat().st_size // self._row.itemsize > len(
            self._blocks[number]
        )

    def _live_flags(self) -> np.ndarray:
        """(rows,) whether the row at a position is there."""
        return np.concatenate(self._live) if self._live else np.zeros(0, bool)

    def _rows(self, positions: np.ndarray) -> np.ndarray:
        """Copies of the rows at (M,) positions."""
        rows = np.zeros(len(positions), self._row)
        for number in np.unique(positions // _BLOCK_ROWS):
            inside = positions // _BLOCK_ROWS == number
            rows[inside] = self._blocks[number][positions[inside] % _BLOCK_ROWS]
        return rows

    def _best(self, positions: np.ndarray, query: np.ndarray, k: int) -> list[tuple[str, float]]:
        """The best of (M,) positions by exact score; rows that another process has erased meanwhile are left out."""
        scores = self._scores(positions, query)  # (M,)
        # Every row that ties with the k-th best is kept, so that the cut does not depend on where rows lie.
        floor = np.partition(scores, -k)[-k] if k < len(scores) else -np.inf
        top = scores >= floor
        rows = self._rows(positions[top])
        found = [
            (-float(score), row["id"].tobytes().hex())
            for score, row in zip(scores[top], rows, strict=True)
            if row["id"].tobytes() != _NO_ID
        ]
        found = sorted(found)[:k]
        # What is about to be shown is worth one more look at its checksum.
        self.vectors([name for _, name in found if bytes.fromhex(name) in self._place])
        return [(name, -negative) for negative, name in found]

    def _scores(self, positions: np.ndarray, query: np.ndarray) -> np.ndarray:
        """(M,) dot products of the rows at (M,) positions, which are sorted or few, with a (D,) query."""
        scores = np.empty(len(positions), np.float32)
        numbers = positions // _BLOCK_ROWS
        for number in np.unique(numbers):
            inside = np.flatnonzero(numbers == number)
            vectors = self._blocks[number]["vector"]
            for start in range(0, len(inside), _SLICE_ROWS):
                part = inside[start : start + _SLICE_ROWS]
                rows = positions[part] % _BLOCK_ROWS
                whole = rows[-1] - rows[0] == len(rows) - 1 and bool((np.diff(rows) == 1).all())
                halves = vectors[rows[0] : rows[-1] + 1] if whole else vectors[rows]
                scores[part] = widened(halves) @ query
        return scores

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


def widened(halves: np.ndarray) -> np.ndarray:
    """Finite float16 numbers as float32, the same to the last bit, at half the cost of a conversion by NumPy.

    Shape:
        any, float16 -> the same, float32.
    """
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _SIGN_AND_REST
    singles = bits.view(np.float32)
    singles *= _HALF_BIAS
    return singles


def _checksum(row: np.void) -> int:
    return zlib.crc32(row["vector"].tobytes(), zlib.crc32(row["id"].tobytes()))


def _name(number: int) -> str:
    return f"block-{number:05d}.rows"


def _damaged(path: Path, reason: str) -> GalleryError:
    return GalleryError(
        f"the vectors in {path} are damaged: {reason}; restore the gallery from a backup, or delete it and index again"
    )
