"""A gallery on a Qdrant server or cluster: one collection that holds vectors, what is known, and thumbnails.

Everything of a picture is one point, written at once and acknowledged by the server, so there is nothing to keep in
step; any number of processes may add and search. The manifest is the collection's own metadata. The same code runs
against the client's in-memory mode, which stands in for a server where none is installed.
"""

from __future__ import annotations

import base64
import contextlib
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from passerby.errors import GalleryError, MissingExtraError
from passerby.gallery.filters import FIELDS, Filter
from passerby.gallery.manifest import Manifest, manifest_from
from passerby.gallery.records import Picture, Row, SeenFile
from passerby.gallery.store import MEMORY, Address

try:
    from qdrant_client import QdrantClient, models

    from passerby.gallery.remote_filter import qdrant_filter
except ModuleNotFoundError as error:
    raise MissingExtraError("qdrant_client", "serve", "a gallery on a server") from error

_PAGE = 256
_TIMEOUT_S = 60
#: Most pictures that are read for one facet of a field without an index.
_MOST_VALUES = 100_000
_INDEXES: dict[str, Any] = {
    "camera": models.PayloadSchemaType.KEYWORD,
    "track": models.PayloadSchemaType.KEYWORD,
    "source": models.PayloadSchemaType.KEYWORD,
    "time": models.PayloadSchemaType.FLOAT,
    "person": models.PayloadSchemaType.INTEGER,
    "files[].path": models.PayloadSchemaType.KEYWORD,
}
#: The codes choose four times as many as wanted, and the originals rank them.
_EXACT_ENOUGH = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=True, oversampling=4.0))
#: The stand-ins for servers in this process, which live as long as it does.
_MEMORY: dict[str, QdrantClient] = {}


class RemoteStore:
    """One collection."""

    @classmethod
    def create(cls, address: Address, manifest: Manifest) -> RemoteStore:
        """Make an empty collection.

        Raises:
            GalleryError: there is one of that name already, or the server cannot be reached.
        """
        client = _client(address)
        with _speaking(address):
            if client.collection_exists(address.collection):
                raise GalleryError(
                    f"the collection {address.collection!r} exists on {address.url}; name a new one, or open the "
                    "gallery that is there"
                )
            client.create_collection(
                address.collection,
                vectors_config=models.VectorParams(
                    size=manifest.dim,
                    distance=models.Distance.DOT,
                    datatype=models.Datatype.FLOAT16,
                    on_disk=True,
                ),
                quantization_config=models.ScalarQuantization(
                    scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
                ),
                on_disk_payload=True,
                shard_number=address.shards,
                replication_factor=address.replicas,
                metadata={"passerby": asdict(manifest)},
            )
            if address.url != MEMORY:  # it has no indexes and would warn of each
                for field, kind in _INDEXES.items():
                    client.create_payload_index(address.collection, field, kind)
        return cls(client, address, manifest)

    @classmethod
    def open(cls, address: Address) -> RemoteStore:
        """Open a collection.

        Raises:
            GalleryError: the server cannot be reached, or has no such gallery.
        """
        client = _client(address)
        with _speaking(address):
            if not client.collection_exists(address.collection):
                raise GalleryError(
                    f"{address.url} has no collection {address.collection!r}; make one with: "
                    f"passerby index PICTURES --gallery {_name_of(address)}"
                )
            metadata = client.get_collection(address.collection).config.metadata or {}
        return cls(client, address, manifest_from(metadata.get("passerby"), _name_of(address)))

    def __init__(self, client: QdrantClient, address: Address, manifest: Manifest) -> None:
        """Take a collection that `create` or `open` has checked."""
        self._client = client
        self._place = address
        self._name = address.collection
        self.address = _name_of(address)
        self.manifest = manifest

    def __len__(self) -> int:
        with _speaking(self._place):
            return self._client.count(self._name, exact=True).count

    def ids(self, where: Filter | None = None) -> list[str]:
        """Ids of the pictures that pass."""
        return [_hex(point.id) for point in self._scroll(qdrant_filter(where), payload=False)]

    def pictures(self, where: Filter | None = None, after: str = "", most: int = -1) -> Iterator[Picture]:
        """Pictures that pass, in the order of their ids."""
        start = str(UUID(hex=after)) if after else None
        for point in self._scroll(qdrant_filter(where), start=start):
            if most == 0:
                return
            if _hex(point.id) != after:
                most -= 1
                yield _picture(point)

    def get(self, ids: Sequence[str]) -> dict[str, Picture]:
        """Pictures by their ids."""
        return {_hex(point.id): _picture(point) for point in self._retrieve(ids)}

    def count(self, where: Filter) -> int:
        """Number of pictures that pass."""
        with _speaking(self._place):
            return self._client.count(self._name, count_filter=qdrant_filter(where), exact=True).count

    def facets(self, field: str, most: int) -> dict[str, int]:
        """The commonest values of a field; of metadata, which has no index, as far as 100,000 pictures show."""
        if field in FIELDS:
            with _speaking(self._place):
                found = self._client.facet(self._name, field, limit=most, exact=True).hits
                counts = {str(hit.value): hit.count for hit in found}
        else:
            counts = {}
            for number, picture in enumerate(self.pictures()):
                value = picture.metadata.get(field)
                if value is not None:
                    counts[str(value)] = counts.get(str(value), 0) + 1
                if number >= _MOST_VALUES:
                    break
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most])

    def metadata_fields(self) -> list[str]:
        """Names of all metadata fields, as far as 100,000 pictures show."""
        return sorted({name for picture in self.pictures(most=_MOST_VALUES) for name in picture.metadata})

    def times(self) -> tuple[float, float] | None:
        """The earliest and the latest time."""
        ends = []
        for direction in (models.Direction.ASC, models.Direction.DESC):
            with _speaking(self._place):
                points, _ = self._client.scroll(
                    self._name, limit=1, order_by=models.OrderBy(key="time", direction=direction), with_payload=["time"]
                )
            ends += [float((point.payload or {})["time"]) for point in points]
        return (ends[0], ends[1]) if len(ends) == 2 else None

    def seen(self, paths: Sequence[Path]) -> dict[Path, SeenFile]:
        """What earlier runs know about these files."""
        wanted = {str(path) for path in paths}
        if not wanted:
            return {}
        condition = models.FieldCondition(key="files[].path", match=models.MatchAny(any=sorted(wanted)))
        found = [_files(point) for point in self._scroll(models.Filter(must=[condition]))]
        return {file.path: file for files in found for file in files if str(file.path) in wanted}

    def files_of(self, ids: Sequence[str]) -> list[SeenFile]:
        """The files in which these pictures were found."""
        return [file for point in self._retrieve(ids) for file in _files(point)]

    def put(self, rows: Sequence[Row], changed: Sequence[Picture] = (), files: Sequence[SeenFile] = ()) -> None:
        """Write a batch; the server has it on its disks when this returns."""
        found: dict[str, list[SeenFile]] = {}
        for file in files:
            found.setdefault(file.id, []).append(file)
        known = {_hex(point.id): point for point in self._retrieve([*{*found, *(it.id for it in changed)}])}
        points = []
        for row in rows:
            half = row.vector.astype(np.float16)
            payload = _payload(row.picture) | {
                "thumbnail": base64.b64encode(row.thumbnail).decode(),
                "check": [zlib.crc32(half.tobytes()), zlib.crc32(row.thumbnail)],
                "added": time.time(),
                "files": [_as_json(file) for file in found.get(row.picture.id, [])],
            }
            vector = half.astype(np.float32).tolist()
            points.append(models.PointStruct(id=str(UUID(hex=row.picture.id)), vector=vector, payload=payload))
        fresh = {row.picture.id for row in rows}
        news = {picture.id: picture for picture in changed}
        with _speaking(self._place):
            if points:
                self._client.upsert(self._name, points, wait=True)
            for name, point in known.items():
                if name in fresh:
                    continue
                values = _payload(news[name]) if name in news else {}
                merged = {str(file.path): file for file in [*_files(point), *found.get(name, [])]}
                values["files"] = [_as_json(file) for file in merged.values()]
                self._client.set_payload(self._name, values, [str(UUID(hex=name))], wait=True)

    def remove(self, ids: Sequence[str]) -> None:
        """Delete points; the server overwrites their bytes when it next rewrites the segment."""
        with _speaking(self._place):
            self._client.delete(
                self._name, models.PointIdsList(points=[str(UUID(hex=name)) for name in ids]), wait=True
            )

    def search(self, query: np.ndarray, k: int, where: Filter | None = None) -> list[tuple[str, float]]:
        """The server's answer, equal scores ordered by id."""
        with _speaking(self._place):
            points = self._client.query_points(
                self._name,
                query=query.astype(np.float32).tolist(),
                limit=k,
                query_filter=qdrant_filter(where),
                search_params=_EXACT_ENOUGH if self._place.url != MEMORY else None,
                with_payload=False,
            ).points
        return sorted(((_hex(point.id), float(point.score)) for point in points), key=lambda hit: (-hit[1], hit[0]))

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """(N, D) float32 vectors of rows that are there.

        Raises:
            GalleryError: an id is not there.
        """
        found = {_hex(point.id): point.vector for point in self._retrieve(ids, vectors=True)}
        missing = [name for name in ids if name not in found]
        if missing:
            raise GalleryError(f"{self.address} holds no vector of {missing[0]}")
        return np.array([found[name] for name in ids], np.float32).reshape(len(ids), self.manifest.dim)

    def thumbnail(self, name: str) -> bytes:
        """The JPEG of a row that is there, checked.

        Raises:
            GalleryError: there is no such row, or its thumbnail is damaged.
        """
        for point in self._retrieve([name]):
            payload = point.payload or {}
            with contextlib.suppress(ValueError, KeyError):
                encoded = base64.b64decode(payload["thumbnail"], validate=True)
                if zlib.crc32(encoded) == payload["check"][1]:
                    return encoded
            raise GalleryError(f"the thumbnail of {name} is damaged; delete the picture from {self.address} and add it")
        raise GalleryError(f"{self.address} holds no picture {name}")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Nothing to hold: the server orders its writers."""
        yield

    def settle(self) -> None:
        """Nothing to do: the server optimises by itself."""

    def optimize(self, graph: bool) -> None:
        """Nothing to do, as above; a server builds HNSW graphs in any case."""
        del graph

    def read_note(self, name: str) -> dict[str, Any] | None:
        """A few numbers that were measured on the gallery."""
        with _speaking(self._place):
            return (self._client.get_collection(self._name).config.metadata or {}).get(name)

    def write_note(self, name: str, values: dict[str, Any]) -> None:
        """Keep a few numbers."""
        with _speaking(self._place):
            self._client.update_collection(self._name, metadata={name: values})

    def problems(self) -> Iterator[str]:
        """Compare every vector and thumbnail with its checksum."""
        for point in self._scroll(None, vectors=True):
            name, check = _hex(point.id), (point.payload or {}).get("check", [None, None])
            half = np.array(point.vector, np.float32).astype(np.float16)
            if zlib.crc32(half.tobytes()) != check[0]:
                yield f"the vector of {name} is not the one that was added"
            try:
                self.thumbnail(name)
            except GalleryError as error:
                yield str(error)

    @property
    def state(self) -> str:
        """How searches are answered."""
        return "in this process's memory" if self._place.url == MEMORY else "by the server"

    @property
    def size(self) -> int:
        """Bytes on this machine's disk: none."""
        return 0

    def close(self) -> None:
        """Close the connection."""
        if self._place.url != MEMORY:
            self._client.close()

    def _retrieve(self, ids: Sequence[str], vectors: bool = False) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(ids), _PAGE):
            with _speaking(self._place):
                found += self._client.retrieve(
                    self._name, [str(UUID(hex=name)) for name in ids[start : start + _PAGE]], with_vectors=vectors
                )
        return found

    def _scroll(self, where: Any, payload: bool = True, vectors: bool = False, start: Any = None) -> Iterator[Any]:
        while True:
            with _speaking(self._place):
                points, start = self._client.scroll(
                    self._name,
                    scroll_filter=where,
                    limit=_PAGE if payload else 10_000,
                    offset=start,
                    with_payload=payload,
                    with_vectors=vectors,
                )
            yield from points
            if start is None:
                return


def collection_exists(address: Address) -> bool:
    """Whether a server has a gallery of this name.

    Raises:
        GalleryError: it cannot be reached.
    """
    client = _client(address)
    with _speaking(address):
        return client.collection_exists(address.collection)


def _client(address: Address) -> QdrantClient:
    if address.url == MEMORY:
        return _MEMORY.setdefault("", QdrantClient(":memory:"))
    with _speaking(address):
        return QdrantClient(
            url=address.url, api_key=os.environ.get("QDRANT_API_KEY"), timeout=_TIMEOUT_S, check_compatibility=False
        )


def _name_of(address: Address) -> str:
    return f"{MEMORY}{address.collection}" if address.url == MEMORY else f"{address.url}/{address.collection}"


def _hex(name: Any) -> str:
    return UUID(str(name)).hex


def _payload(picture: Picture) -> dict[str, Any]:
    return {"path": str(picture.path), **picture.known()}


def _picture(point: Any) -> Picture:
    values = point.payload or {}
    known = {name: values.get(name) for name in FIELDS}
    return Picture(_hex(point.id), Path(values.get("path", "")), **known, metadata=values.get("metadata") or {})


def _files(point: Any) -> list[SeenFile]:
    return [
        SeenFile(Path(file["path"]), int(file["size"]), int(file["changed"]), _hex(point.id))
        for file in (point.payload or {}).get("files", [])
    ]


def _as_json(file: SeenFile) -> dict[str, object]:
    return {"path": str(file.path), "size": file.size, "changed": file.changed}


@contextlib.contextmanager
def _speaking(address: Address) -> Iterator[None]:
    """Turn what the client raises into our family."""
    try:
        yield
    except GalleryError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise GalleryError(
            f"the gallery {_name_of(address)} cannot be used: {reason}; check that the server runs and that "
            "QDRANT_API_KEY is right"
        ) from error
