"""The embedded default engine: a Qdrant Edge shard with half-precision originals and 4-bit codes.

The codes are scanned and the best candidates scored again with the originals; there is no graph, which up to about a
million pictures costs milliseconds and keeps adding and deleting cheap. The shard writes no log of its own: a batch is
acknowledged after `flush`, and a batch that a kill interrupted is written again by the next run. A log would also
keep the vectors of deleted pictures readable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import numpy as np
import qdrant_edge as qdrant

from passerby.errors import GalleryError
from passerby.gallery.space import no_space

#: Candidates per wanted hit that the codes choose and the originals rank.
_OVERSAMPLING = 4.0
_BATCH = 256


class EdgeEngine:
    """A shard that belongs to this process as long as the object lives."""

    shares_reading = False
    #: The shard grows by writing into mapped files, where a full disk ends the process without a word.
    reserve_bytes = 64_000_000

    @staticmethod
    def create(folder: Path, dim: int) -> None:
        """Lay out an empty shard for vectors of length `dim`."""
        config = qdrant.EdgeConfig(
            vectors=qdrant.EdgeVectorParams(
                size=dim, distance=qdrant.Distance.Dot, datatype=qdrant.VectorStorageDatatype.Float16
            ),
            # m=0: no graph
            hnsw_config=qdrant.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000),
            quantization_config=qdrant.TurboQuantQuantizationConfig(
                bits=qdrant.TurboQuantBitSize.Bits4, memory=qdrant.Memory.Cached
            ),
            wal_enabled=False,
        )
        with _speaking(folder):
            folder.mkdir()
            qdrant.EdgeShard.create(str(folder), config).close()

    def __init__(self, folder: Path, dim: int) -> None:
        """Load the shard.

        Raises:
            GalleryError: the shard is missing or damaged.
        """
        self._folder = folder
        self._dim = dim
        with _speaking(folder):
            self._shard = qdrant.EdgeShard.load(str(folder))
            if self._shard.info().points_count:
                self._probe()

    def __len__(self) -> int:
        with _speaking(self._folder):
            return self._shard.count(qdrant.CountRequest(exact=True))

    def upsert(self, ids: Sequence[str], vectors: np.ndarray) -> None:
        """Write points and flush them to the disk."""
        with _speaking(self._folder):
            for start in range(0, len(ids), _BATCH):
                rows = vectors[start : start + _BATCH].tolist()
                points = [qdrant.Point(UUID(hex=name), row) for name, row in zip(ids[start:], rows, strict=False)]
                self._shard.update(qdrant.UpdateOperation.upsert_points(points))
            self._shard.flush()

    def search(self, query: np.ndarray, k: int) -> list[tuple[str, float]]:
        """Scan the codes, rank the best candidates with the originals; equal scores are ordered by id."""
        request = qdrant.QueryRequest(
            limit=k,
            query=qdrant.Query.Nearest(query.tolist()),
            params=qdrant.SearchParams(
                quantization=qdrant.QuantizationSearchParams(rescore=True, oversampling=_OVERSAMPLING)
            ),
        )
        with _speaking(self._folder):
            points = self._shard.query(request)
        return sorted(((_hex(point.id), point.score) for point in points), key=lambda hit: (-hit[1], hit[0]))

    def ids(self) -> Iterator[str]:
        """All ids, in the shard's order."""
        offset: qdrant.PointId | None = None
        while True:
            with _speaking(self._folder):
                records, offset = self._shard.scroll(qdrant.ScrollRequest(offset=offset, limit=10_000))
            yield from (_hex(record.id) for record in records)
            if offset is None:
                return

    def delete(self, ids: Sequence[str]) -> None:
        """Overwrite vectors and codes with zeros, then delete the points: a deletion alone only hides them."""
        with _speaking(self._folder):
            wanted: list[qdrant.PointId] = [UUID(hex=name) for name in ids]
            there = [record.id for record in self._shard.retrieve(wanted, False, False)]
            if not there:
                return
            zeros = [0.0] * self._dim
            self._shard.update(qdrant.UpdateOperation.upsert_points([qdrant.Point(name, zeros) for name in there]))
            self._shard.flush()
            self._shard.update(qdrant.UpdateOperation.delete_points(there))
            self._shard.flush()

    def close(self) -> None:
        """Flush and release the shard."""
        with _speaking(self._folder):
            self._shard.close()

    def _probe(self) -> None:
        records, _ = self._shard.scroll(qdrant.ScrollRequest(limit=1, with_vector=True))
        vector = records[0].vector if records else None
        if not isinstance(vector, list) or len(vector) != self._dim:
            raise GalleryError(
                f"the vectors in {self._folder} are not {self._dim} numbers long; delete it and index again"
            )


def _hex(name: qdrant.PointId) -> str:
    return UUID(str(name)).hex


@contextmanager
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
                f"the engine's data in {folder} cannot be used ({str(error).strip()[:300]}); if it is damaged, restore "
                "the gallery from a backup, or delete it and index again"
            ) from error
        raise
