"""The embedded default engine: the rows of `exact`, and a Qdrant Edge shard that finds candidates among them.

The shard holds half-precision originals and 4-bit TurboQuant codes without a graph, which up to about a million
pictures costs milliseconds; `optimize` may add an HNSW graph. It is a cache that can be made again: it knows rows by
their numbers only, every score is computed from our own rows, and a shard that does not match its checksums, as after
a kill while it was changed, is not opened but built anew. Small galleries need none and are scanned.
"""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as qdrant

from passerby.errors import GalleryError
from passerby.gallery.exact import ExactEngine
from passerby.gallery.seal import read_list, sha256_of, write_list
from passerby.gallery.space import no_space, require_space, writing

_LOGGER = logging.getLogger(__name__)
#: A shard is made from this many rows on; below, comparing every row takes a few milliseconds.
_INDEX_FROM = 10_000
#: Rows behind the shard are compared one by one; this many, or a twentieth of the shard, are put into it.
_LONGEST_TAIL = 4_000
#: Filters that leave this many rows, or a fiftieth of the shard, are answered by comparing all of them: the shard would
#: be asked for a hundred times more candidates than hits, which at a million rows costs four times as much.
_FEW, _FEW_SHARE = 2_000, 50
#: More candidates than this are not asked of the shard; comparing every row is then no slower.
_MOST_CANDIDATES = 20_000
#: Candidates per wanted hit that the codes choose and the rows rank, and how many at least.
_OVERSAMPLING, _FEWEST_CANDIDATES = 4, 64
_BATCH = 1_000
#: Rows in one segment of a shard without a graph; erasing a row writes its segment anew.
_SEGMENT_ROWS = 50_000
_GRAPH_LINKS = 16
_SHARD, _FACTS = "edge", "edge.json"


class EdgeEngine(ExactEngine):
    """Rows with a shard over them, which belongs to one process at a time: open it only under the gallery's lock."""

    def __init__(self, folder: Path, dim: int) -> None:
        """Open the rows; the shard is opened by `open_index`."""
        super().__init__(folder, dim)
        self._dim = dim
        self._shard: qdrant.EdgeShard | None = None
        self._covered = 0
        self._graph = False
        self._distrusted = False

    @property
    def belongs_to_one(self) -> bool:  # type: ignore[override]
        """Whether there is a shard."""
        return (self._folder / _FACTS).exists()

    @property
    def state(self) -> str:
        """How searches are answered."""
        facts = read_list(self._folder / _FACTS)
        if facts is None:
            return f"no index; one is made from {_INDEX_FROM:,} pictures on, or by: passerby gallery optimize"
        return f"{'HNSW graph' if facts['graph'] else '4-bit codes'} over {facts['rows']:,} rows"

    def open_index(self) -> None:
        """Load the shard, if there is one and it is what its checksums say; otherwise every row is compared."""
        if self._shard is not None or self._distrusted or not (facts := self._sound_facts()):
            return
        try:
            with _speaking(self._folder):
                self._shard = qdrant.EdgeShard.load(str(self._folder / _SHARD))
        except GalleryError as error:
            _LOGGER.warning("%s; every vector is compared until then", error)
            return
        self._covered, self._graph = int(facts["rows"]), bool(facts["graph"])

    def close_index(self) -> None:
        """Let another process have the shard; every row is compared until `open_index`."""
        self._release()
        self._covered, self._graph = 0, False

    def search(self, query: np.ndarray, k: int, among: np.ndarray | None = None) -> list[tuple[str, float]]:
        """Let the shard choose candidates and rank them by their rows; equal scores are ordered by id."""
        total = self.span
        few = max(_FEW, self._covered // _FEW_SHARE)
        if self._shard is None or (among is not None and len(among) <= few):
            return super().search(query, k, among)
        allowed = self._flags(total, among)
        tail = np.flatnonzero(allowed[self._covered :]) + self._covered
        inside = int(allowed[: self._covered].sum())
        share = max(inside / max(self._covered, 1), 1e-9)
        limit = min(max(_FEWEST_CANDIDATES, _OVERSAMPLING * k) / share, self._covered)
        while limit <= _MOST_CANDIDATES:
            found = self._candidates(query, math.ceil(limit))
            found = found[allowed[found]]
            if len(found) >= min(2 * k, inside):
                return self._best(np.concatenate([found, tail]), query, k)
            limit *= 4
        return super().search(query, k, among)

    def settle(self) -> None:
        """Bring new rows into the shard where they have become many; call it under the lock after adding."""
        total = self.span
        if len(self) < _INDEX_FROM:
            return
        self.open_index()
        if self._shard is None or total - self._covered >= max(_LONGEST_TAIL, self._covered // 20):
            try:
                self._require_room()
            except GalleryError as error:  # what was added is there and found; only the index has to wait
                _LOGGER.warning("the index is not brought up to date: %s", error)
                return
            self._extend(self._graph)

    def optimize(self, graph: bool) -> None:
        """Bring all rows into the shard, whatever their number.

        Args:
            graph: build an HNSW graph: faster from about a million rows on, minutes for each 100,000 to build.

        Raises:
            GalleryError: the disk has too little room.
        """
        self.open_index()
        if graph != self._graph:
            self._drop()
        if len(self) and (self._shard is None or self.span > self._covered):
            self._extend(graph)

    def delete(self, ids: Sequence[str]) -> None:
        """Overwrite rows with zeros and write the segments of the shard that held them anew."""
        positions = self.positions(ids)
        self._forget(positions)
        super().delete(ids)

    def upsert(self, ids: Sequence[str], vectors: np.ndarray) -> None:
        """Append rows; those that they replace are taken out of the shard first."""
        self._forget(self.positions(ids))
        super().upsert(ids, vectors)

    def close(self) -> None:
        """Release the shard and the rows."""
        self._release()
        super().close()

    def _flags(self, total: int, among: np.ndarray | None) -> np.ndarray:
        """(rows,) whether a row is live and wanted."""
        live = self._live_flags()
        if among is None:
            return live
        wanted = np.zeros(total, bool)
        wanted[among] = True
        return wanted & live

    def _candidates(self, query: np.ndarray, limit: int) -> np.ndarray:
        request = qdrant.QueryRequest(
            limit=limit,
            query=qdrant.Query.Nearest(query.tolist()),
            params=qdrant.SearchParams(
                hnsw_ef=max(limit, 128), quantization=qdrant.QuantizationSearchParams(rescore=False)
            ),
        )
        if self._shard is None:
            return np.zeros(0, np.int64)
        with _speaking(self._folder):
            points = self._shard.query(request)
        return np.array([int(str(point.id)) for point in points], np.int64)

    def _forget(self, positions: np.ndarray) -> None:
        """Take rows out of the shard, bytes included."""
        facts = read_list(self._folder / _FACTS)
        if facts is None or not len(positions) or positions.min() >= int(facts["rows"]):
            if facts is None and (self._folder / _SHARD).exists():
                self._drop()  # a shard that a kill left behind may hold what is to be erased
            return
        self.open_index()
        if self._shard is None:
            self._drop()
            return
        self._unseal()
        inside = positions[positions < self._covered]
        with _speaking(self._folder):
            self._shard.update(qdrant.UpdateOperation.delete_points(inside.tolist()))
            self._shard.flush()
            self._shard.optimize()
        self._seal(self._covered, self._graph)

    def _extend(self, graph: bool) -> None:
        total = self.span
        self._require_room()
        self._unseal()
        folder = self._folder / _SHARD
        with _speaking(self._folder):
            if self._shard is None:
                self._covered = 0
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                self._shard = qdrant.EdgeShard.create(str(folder), _config(self._dim, graph))
            for start in range(self._covered, total, _BATCH):
                positions = np.flatnonzero(self._live_flags()[start : start + _BATCH]) + start
                vectors = self._rows(positions)["vector"].astype(np.float32).tolist()
                points = [qdrant.Point(int(at), vector) for at, vector in zip(positions, vectors, strict=True)]
                self._shard.update(qdrant.UpdateOperation.upsert_points(points))
            self._shard.flush()
            self._shard.optimize()
        self._seal(total, graph)

    def _require_room(self) -> None:
        """The shard's files are mapped, and a full disk would end the process without a word."""
        require_space(self._folder, 200_000_000 + (self.span - self._covered) * self._dim * 8)

    def _sound_facts(self) -> dict[str, Any] | None:
        """What is known of the shard, where its files are exactly those that were sealed."""
        facts = read_list(self._folder / _FACTS)
        if facts is None:
            return None
        if facts["files"] == self._digests():
            return facts
        self._distrusted = True  # said once, and not compared again for each search
        _LOGGER.warning(
            "the index in %s is damaged and is not used; every vector is compared until: passerby gallery optimize %s",
            self._folder / _SHARD,
            self._folder.parent,
        )
        return None

    def _digests(self) -> dict[str, str]:
        files = sorted(path for path in (self._folder / _SHARD).rglob("*") if path.is_file())
        return {path.relative_to(self._folder).as_posix(): sha256_of(path) for path in files}

    def _seal(self, rows: int, graph: bool) -> None:
        """Close the shard, so that old segments are gone from the disk, note its checksums and load it again."""
        for _ in range(2):  # loading a new shard for the first time rewrites its configuration
            self._release()
            with _speaking(self._folder):
                self._shard = qdrant.EdgeShard.load(str(self._folder / _SHARD))
        self._release()
        write_list(self._folder / _FACTS, {"rows": rows, "graph": graph, "files": self._digests()})
        self._covered, self._graph, self._distrusted = rows, graph, False
        with _speaking(self._folder):
            self._shard = qdrant.EdgeShard.load(str(self._folder / _SHARD))

    def _unseal(self) -> None:
        with writing(self._folder):
            (self._folder / _FACTS).unlink(missing_ok=True)

    def _drop(self) -> None:
        self._release()
        self._unseal()
        with writing(self._folder):
            shutil.rmtree(self._folder / _SHARD, ignore_errors=True)
        self._covered, self._graph = 0, False

    def _release(self) -> None:
        if self._shard is not None:
            with _speaking(self._folder):
                self._shard.close()
            self._shard = None


def _config(dim: int, graph: bool) -> qdrant.EdgeConfig:
    row_kilobytes = 2 * dim / 1000
    return qdrant.EdgeConfig(
        vectors=qdrant.EdgeVectorParams(
            size=dim, distance=qdrant.Distance.Dot, datatype=qdrant.VectorStorageDatatype.Float16
        ),
        hnsw_config=qdrant.HnswIndexConfig(m=_GRAPH_LINKS if graph else 0, ef_construct=100, full_scan_threshold=1_000),
        quantization_config=qdrant.TurboQuantQuantizationConfig(
            bits=qdrant.TurboQuantBitSize.Bits4, memory=qdrant.Memory.Cached
        ),
        # A log would keep the vectors of deleted pictures readable, and a half-written shard is never opened anyway.
        wal_enabled=False,
        optimizers=qdrant.EdgeOptimizersConfig(
            deleted_threshold=1e-9,
            vacuum_min_vector_number=1,
            indexing_threshold=1,
            max_segment_size=None if graph else math.ceil(_SEGMENT_ROWS * row_kilobytes),
        ),
    )


@contextlib.contextmanager
def _speaking(folder: Path) -> Iterator[None]:
    """Turn what the engine raises into our family; its panics are no ordinary exceptions."""
    try:
        yield
    except GalleryError:
        raise
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            if "No space left" in str(error):
                raise no_space(folder) from error
            raise GalleryError(
                f"the index in {folder / _SHARD} cannot be used ({str(error).strip()[:300]}); make it again with: "
                f"passerby gallery optimize {folder.parent}"
            ) from error
        raise
