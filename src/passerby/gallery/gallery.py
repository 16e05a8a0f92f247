"""The `Gallery`: create or open searchable people, add to them, search them, delete from them.

A gallery belongs to the model that made it, because vectors of different models cannot be compared; the model is
loaded only when something has to be encoded. Where the rows lie, in a folder or on a server, its address says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from passerby.data.images import ImageSource
from passerby.errors import GalleryError
from passerby.gallery.calibration import Calibration
from passerby.gallery.filters import Filter
from passerby.gallery.indexing import Indexing
from passerby.gallery.manifest import Manifest
from passerby.gallery.query import Query
from passerby.gallery.records import AddReport, Encoder, GalleryInfo, Hits, Picture, Progress, Reranker
from passerby.gallery.reranking import Stages
from passerby.gallery.searching import Searching, check_id, check_k, check_vector, is_id
from passerby.gallery.sources import Source, find_pictures
from passerby.gallery.store import ENGINES, SERVER, Store, parse_address
from passerby.gallery.where import parse_where

if TYPE_CHECKING:
    from passerby.gallery.local import LocalStore
    from passerby.gallery.remote import RemoteStore

_MOST_FACETS = 1_000


class Gallery:
    """People to search in. Use `create` or `open`; close it, or use it in a ``with`` statement, to let others in."""

    def __init__(self, store: Store, model: Encoder | None) -> None:
        """Take the parts that `create` and `open` have checked."""
        self._store = store
        self._encoder = model
        self._calibration = Calibration(store)
        self._stages = Stages()

    @classmethod
    def create(cls, address: Path | str, model: Encoder | str) -> Self:
        """Make an empty gallery.

        Args:
            address: a folder that does not exist or is empty, ``exact:FOLDER`` for the exact engine, or
                ``http://HOST:6333/NAME`` for a collection on a Qdrant server.
            model: a loaded model, or what `passerby.load` loads.

        Raises:
            GalleryError: there is something at that place already, or it cannot be written.
        """
        place = parse_address(address)
        encoder = _load(model) if isinstance(model, str) else model
        now = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = Manifest(place.engine or ENGINES[0], encoder.dim, encoder.name, encoder.fingerprint, now)
        return cls(_store_class(place.engine).create(place, manifest), encoder)

    @classmethod
    def create_like(cls, address: Path | str, other: Gallery) -> Self:
        """Make an empty gallery for the same model as another one, which is not loaded for that.

        Raises:
            GalleryError: there is something at that place already, or it cannot be written.
        """
        place, facts = parse_address(address), other._store.manifest
        now = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = Manifest(place.engine or ENGINES[0], facts.dim, facts.model, facts.fingerprint, now)
        return cls(_store_class(place.engine).create(place, manifest), other._encoder)

    @classmethod
    def open(cls, address: Path | str, model: Encoder | str | None = None) -> Self:
        """Open a gallery.

        Args:
            address: the gallery's folder, or its collection on a server.
            model: the model that made it; by default the one that the gallery names, loaded when it is needed.

        Raises:
            GalleryError: there is no gallery, it is damaged or too new, or another model made it.
        """
        place = parse_address(address)
        store = _store_class(place.engine).open(place)
        try:
            encoder = _load(model) if isinstance(model, str) else model
            if encoder is not None:
                _check_fingerprint(store, encoder)
        except BaseException:
            store.close()
            raise
        return cls(store, encoder)

    @property
    def address(self) -> str:
        """What opens the gallery again."""
        return self._store.address

    @property
    def store(self) -> Store:
        """The rows themselves, for copying and checking."""
        return self._store

    @property
    def model(self) -> Encoder:
        """The model that the gallery is bound to, loaded on first use.

        Raises:
            GalleryError: the model that the gallery names is another one by now.
            CheckpointError: it cannot be loaded.
        """
        if self._encoder is None:
            encoder = _load(self._store.manifest.model)
            _check_fingerprint(self._store, encoder)
            self._encoder = encoder
        return self._encoder

    def add(self, sources: Source | Iterable[Source], progress: Callable[[Progress], None] | None = None) -> AddReport:
        """Add pictures: what is there already is recognised by its content, what cannot be read is reported.

        A run that was interrupted, even by a kill, loses nothing that was reported as done and is continued by the
        same call. What a record newly says about a known picture, such as its camera, is taken over.

        Args:
            sources: a folder (searched recursively), a picture, a glob, a CSV or JSONL table, a `PersonImage` or a
                `Sighting` with metadata, or several.
            progress: called after each batch.

        Raises:
            DataError: a source does not exist, or none of them holds a picture.
            GalleryError: another process is using the gallery, or it cannot be written.
        """
        sightings = find_pictures(sources)
        encoder = self.model
        with self._store.writing():
            report = Indexing(self._store).run(sightings, encoder, progress)
            self.settle()
        return report

    def settle(self) -> None:
        """Bring index and match bands up to date after rows were put into the store; hold its lock."""
        self._store.settle()
        self._calibration.keep(self._encoder)

    def search(
        self,
        text: str | Sequence[str] | None = None,
        image: ImageSource | Sequence[ImageSource] | None = None,
        k: int = 10,
        text_weight: float = 0.5,
        *,
        like: Iterable[str] = (),
        unlike: Iterable[str] = (),
        where: Filter | str | None = None,
        min_score: float | None = None,
        group: str | None = None,
        reranker: Reranker | str | None = None,
        keep_poor: bool = False,
    ) -> Hits:
        """Find the pictures nearest to sentences, to pictures, to pictures of the gallery, or to all of them.

        Args:
            text: a description, or several of the same person; what the model cannot read of a long one is cut, and
                said in the answer's warnings.
            image: a picture of the person, or several.
            k: number of hits, 1 to 1000.
            text_weight: share of the text in a query of both, 0 to 1.
            like: ids of hits that the answer should be like ("more like this"); they are not part of it.
            unlike: ids of hits that the answer should not be like ("not like this"); they are not part of it.
            where: which pictures may be found, a `Filter` or its text.
            min_score: lowest cosine of a hit, -1 to 1.
            group: a field, such as "person" or "track", of which each value is answered by its best picture only.
            reranker: a second stage over the best candidates, or its name (`passerby.gallery.reranking.find_reranker`).
            keep_poor: answer also where not even the best picture is a match by what this gallery gives to
                sentences about nobody; otherwise the answer is then empty, and a warning says so.

        Raises:
            ConfigError: there is no query, the filter is wrong, or a number is out of range.
            DataError: the picture cannot be decoded.
            GalleryError: the gallery is empty or damaged.
        """
        texts = (text,) if isinstance(text, str) else tuple(text or ())
        images = tuple(image) if isinstance(image, list | tuple) else () if image is None else (image,)
        query = Query(texts, images, tuple(like), tuple(unlike), text_weight)  # type: ignore[arg-type]
        return self.search_many([query], k, where, min_score, group, reranker, keep_poor)[0]

    def search_many(
        self,
        queries: Sequence[Query],
        k: int = 10,
        where: Filter | str | None = None,
        min_score: float | None = None,
        group: str | None = None,
        reranker: Reranker | str | None = None,
        keep_poor: bool = False,
    ) -> list[Hits]:
        """Answer several queries with the same settings, which are those of `search`."""
        check_k(k)
        where = parse_where(where) if isinstance(where, str) else where
        for name in (name for query in queries for name in (*query.like, *query.unlike)):
            check_id(name)
        self._check_not_empty()
        stage = self.stage(reranker) if isinstance(reranker, str) else reranker
        searching = Searching(self._store, lambda: self.model, self._calibration.bands(lambda: self.model))
        return [searching.answer(query, k, where, min_score, group, stage, keep_poor) for query in queries]

    def search_vector(self, query: np.ndarray, k: int = 10, where: Filter | str | None = None) -> Hits:
        """Find the pictures nearest to a vector of the model's space, good matches or not.

        Shape:
            query: (D,) of any length but zero.

        Raises:
            ConfigError: the vector has the wrong shape, is zero or not finite, or `k` is out of range.
            GalleryError: the gallery is empty or damaged.
        """
        check_k(k)
        vector = check_vector(query, self._store.manifest.dim)
        where = parse_where(where) if isinstance(where, str) else where
        self._check_not_empty()
        started = time.perf_counter()
        bands = self._calibration.bands(None)
        searching = Searching(self._store, lambda: self.model, bands)
        hits = searching.nearest(vector, k, where, bands.limits(None, 0.0) if bands else None)
        return Hits(hits, seconds={"search": time.perf_counter() - started})

    def stage(self, text: str) -> Reranker:
        """A second stage by name, ready for `search`; it raises what `find_reranker` of `reranking` raises."""
        return self._stages.find(text, lambda: self.model, self.thumbnail)

    def vectors(self, ids: Sequence[str]) -> np.ndarray:
        """(N, D) float32 unit vectors of pictures that are there, for studies and second stages."""
        return self._store.vectors(ids)

    def delete(self, chosen: Iterable[str] | Filter) -> int:
        """Erase pictures: vectors, metadata and thumbnails; the files they were made from are not touched.

        Indexing the same files again adds them again.

        Args:
            chosen: ids of hits or pictures, or a filter: ``Filter.of(identities=[7])`` erases a person,
                ``Filter.of(sources=["/videos/a.mp4"])`` a source.

        Returns:
            The number of pictures that were erased; ids that the gallery does not hold are not counted.

        Raises:
            ConfigError: an id is not 32 hexadecimal digits.
            GalleryError: another process is using the gallery, or it cannot be written.
        """
        wanted: list[str] = []
        if not isinstance(chosen, Filter):
            wanted = list(dict.fromkeys([chosen] if isinstance(chosen, str) else chosen))
            for name in wanted:
                check_id(name)
        with self._store.writing():
            held = self._store.ids(chosen) if isinstance(chosen, Filter) else list(self._store.get(wanted))
            if held:
                self._store.remove(held)
        self._stages.forget(held)
        return len(held)

    def optimize(self, graph: bool = False) -> None:
        """Bring every picture into the engine's index.

        Args:
            graph: build an HNSW graph too: worth its minutes from about a million pictures on.

        Raises:
            GalleryError: another process is using the gallery, or its disk is too full.
        """
        with self._store.writing():
            self._store.optimize(graph)
            self._calibration.keep(self._encoder)

    def verify(self) -> list[str]:
        """Look at every byte of rows, vectors and thumbnails; return a sentence for each that is damaged."""
        return list(self._store.problems())

    def pictures(self, where: Filter | str | None = None, after: str = "", most: int = -1) -> Iterator[Picture]:
        """Pictures that pass a filter, in the order of their ids, from behind an id on, at most so many."""
        return self._store.pictures(parse_where(where) if isinstance(where, str) else where, after, most)

    def count(self, where: Filter | str) -> int:
        """Number of pictures that pass a filter."""
        return self._store.count(parse_where(where) if isinstance(where, str) else where)

    def facets(self, field: str, most: int = 20) -> dict[str, int]:
        """The commonest values of a field with their number of pictures.

        Args:
            field: "camera", "person", "track", "source" or a metadata field.
            most: number of values, 1 to 1000.
        """
        return self._store.facets(field, max(1, min(most, _MOST_FACETS)))

    def metadata_fields(self) -> list[str]:
        """Names of all metadata fields."""
        return self._store.metadata_fields()

    def times(self) -> tuple[float, float] | None:
        """The earliest and the latest time, or None where no picture has one."""
        return self._store.times()

    def picture(self, name: str) -> Picture | None:
        """What is known about a picture, or None where the gallery does not hold it."""
        return self._store.get([name]).get(name) if is_id(name) else None

    def thumbnail(self, name: str) -> bytes:
        """A small JPEG of a picture, checked.

        Raises:
            GalleryError: the gallery does not hold the picture, or its thumbnail is damaged.
        """
        check_id(name)
        return self._store.thumbnail(name)

    def info(self) -> GalleryInfo:
        """Size, engine and model of the gallery."""
        facts = self._store.manifest
        return GalleryInfo(
            address=self._store.address,
            engine=facts.engine,
            engine_state=self._store.state,
            pictures=len(self),
            cameras=dict(sorted(self._store.facets("camera", _MOST_FACETS).items())),
            sources=self._store.facets("source", _MOST_FACETS),
            dim=facts.dim,
            model=facts.model,
            fingerprint=facts.fingerprint,
            created=facts.created,
            format_version=facts.format_version,
            bytes_on_disk=self._store.size,
        )

    def __len__(self) -> int:
        return len(self._store)

    def __iter__(self) -> Iterator[Picture]:
        """All pictures, in the order of their ids."""
        return self._store.pictures()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.picture(name) is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the files and let other processes in; a closed gallery cannot be used any more."""
        self._store.close()

    def _check_not_empty(self) -> None:
        if not len(self):
            raise GalleryError(
                f"the gallery {self.address} is empty; add pictures with: passerby index PICTURES --gallery "
                f"{self.address}"
            )


def _store_class(engine: str | None) -> type[LocalStore] | type[RemoteStore]:
    if engine == SERVER:
        from passerby.gallery.remote import RemoteStore

        return RemoteStore
    from passerby.gallery.local import LocalStore

    return LocalStore


def _load(model: str) -> Encoder:
    from passerby.retriever import load

    return load(model)


def _check_fingerprint(store: Store, encoder: Encoder) -> None:
    facts = store.manifest
    if encoder.fingerprint != facts.fingerprint:
        raise GalleryError(
            f"the gallery {store.address} was made with the model {facts.model!r} ({facts.fingerprint[:12]}); "
            f"{encoder.name!r} is another one ({encoder.fingerprint[:12]}) and its vectors cannot be compared with "
            "them; use the gallery's own model, or index into a new gallery"
        )
