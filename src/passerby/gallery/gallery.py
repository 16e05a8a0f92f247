"""The `Gallery`: create or open a folder of searchable people, add to it, search it, delete from it.

A gallery belongs to the model that made it, because vectors of different models cannot be compared; the model is
loaded only when something has to be encoded. The folder can be copied and moved as a whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from passerby.data.images import ImageSource, decode_image
from passerby.errors import ConfigError, GalleryError
from passerby.gallery.catalogue import Catalogue
from passerby.gallery.engine import ENGINES, Engine, create_engine, open_engine, parse_address
from passerby.gallery.indexing import Indexing, encode_checked, unit_rows
from passerby.gallery.lock import GalleryLock
from passerby.gallery.manifest import Manifest, read_manifest, write_manifest
from passerby.gallery.records import AddReport, Encoder, GalleryInfo, Hit, Hits, Picture, Progress
from passerby.gallery.sources import Source, find_pictures
from passerby.gallery.space import require_space, writing
from passerby.gallery.thumbnails import Thumbnails

#: Most hits of one search.
MAX_K = 1_000
_VECTORS = "vectors"
_THUMBNAILS = "thumbnails"
_LOCK = "lock"
#: How long to wait for another process, in seconds: longer than a search takes, shorter than a user's patience.
_PATIENCE_S = 3.0


class Gallery:
    """People to search in. Use `create` or `open`; close it, or use it in a ``with`` statement, to let others in."""

    def __init__(self, folder: Path, manifest: Manifest, model: Encoder | None) -> None:
        """Take the parts that `create` and `open` have checked."""
        self._folder = folder
        self._manifest = manifest
        self._encoder = model
        self._catalogue = Catalogue(folder)
        self._thumbnails = Thumbnails(folder / _THUMBNAILS)
        self._lock = GalleryLock(folder / _LOCK)
        self._open_engine: Engine | None = None

    @classmethod
    def create(cls, address: Path | str, model: Encoder | str) -> Self:
        """Make an empty gallery.

        Args:
            address: a folder that does not exist or is empty, or ``exact:FOLDER`` for the exact engine.
            model: a loaded model, or what `passerby.load` loads.

        Raises:
            GalleryError: there is something at that place already, or it cannot be written.
        """
        engine, folder = parse_address(address)
        folder = folder.expanduser().absolute()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise GalleryError(
                f"{folder} exists and is not an empty folder; name a new folder, or open the gallery that is there"
            )
        encoder = _load(model) if isinstance(model, str) else model
        now = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = Manifest(engine or ENGINES[0], encoder.dim, encoder.name, encoder.fingerprint, now)
        # Everything is made beside the place and renamed, so that a kill leaves no half gallery there.
        with writing(folder.parent):
            folder.parent.mkdir(parents=True, exist_ok=True)
        require_space(folder.parent, 1_000_000)
        nursery = folder.with_name(f".{folder.name}.{os.getpid()}.new")
        try:
            with writing(folder.parent):
                nursery.mkdir()
            Catalogue.create(nursery)
            create_engine(manifest.engine, nursery / _VECTORS, manifest.dim)
            write_manifest(nursery, manifest)
            with writing(folder.parent):
                nursery.replace(folder)
        except BaseException:
            shutil.rmtree(nursery, ignore_errors=True)
            raise
        return cls(folder, manifest, encoder)

    @classmethod
    def open(cls, address: Path | str, model: Encoder | str | None = None) -> Self:
        """Open a gallery.

        Args:
            address: the gallery's folder.
            model: the model that made it; by default the one that the gallery names, loaded when it is needed.

        Raises:
            GalleryError: there is no gallery, it is damaged or too new, or another model made it.
        """
        engine, folder = parse_address(address)
        folder = folder.expanduser().absolute()
        manifest = read_manifest(folder)
        if engine is not None and engine != manifest.engine:
            raise GalleryError(
                f"the gallery {folder} was made with the engine {manifest.engine!r}, not {engine!r}; "
                f"open it as {folder}"
            )
        encoder = _load(model) if isinstance(model, str) else model
        if encoder is not None:
            _check_fingerprint(folder, manifest, encoder)
        return cls(folder, manifest, encoder)

    @property
    def path(self) -> Path:
        """The gallery's folder."""
        return self._folder

    @property
    def model(self) -> Encoder:
        """The model that the gallery is bound to, loaded on first use.

        Raises:
            GalleryError: the model that the gallery names is another one by now.
            CheckpointError: it cannot be loaded.
        """
        if self._encoder is None:
            encoder = _load(self._manifest.model)
            _check_fingerprint(self._folder, self._manifest, encoder)
            self._encoder = encoder
        return self._encoder

    def add(self, sources: Source | Iterable[Source], progress: Callable[[Progress], None] | None = None) -> AddReport:
        """Add pictures: what is there already is recognised by its content, what cannot be read is reported.

        A run that was interrupted, even by a kill, loses nothing that was reported as done and is continued by the
        same call.

        Args:
            sources: a folder (searched recursively), a picture, a `PersonImage` with its metadata, or several.
            progress: called after each batch.

        Raises:
            DataError: a source does not exist, or none of them holds a picture.
            GalleryError: another process is using the gallery, or it cannot be written.
        """
        pictures = find_pictures(sources)
        encoder = self.model
        with self._writing():
            engine = self._engine()
            self._finish_erasing(engine)
            return Indexing(self._catalogue, engine, self._thumbnails, self._folder).run(pictures, encoder, progress)

    def search(
        self,
        text: str | None = None,
        image: ImageSource | None = None,
        k: int = 10,
        text_weight: float = 0.5,
    ) -> Hits:
        """Find the pictures nearest to a sentence, to a picture, or to both.

        With both, the query is the weighted sum of the two unit vectors, scaled back to length one.

        Args:
            text: a description; what the model cannot read of a long one is cut, and said in the answer's warnings.
            image: a picture of the person.
            k: number of hits, 1 to 1000.
            text_weight: share of the text in a query of both, 0 to 1.

        Raises:
            ConfigError: there is no query, or `k` or `text_weight` is out of range.
            DataError: the picture cannot be decoded.
            GalleryError: the gallery is empty, in use by another process, or damaged.
        """
        if text is None and image is None:
            raise ConfigError("there is no query; give a text, an image or both")
        if text is not None and not text.strip():
            raise ConfigError("the query text is empty; describe a person, for example 'a woman in a red coat'")
        if not 0 <= text_weight <= 1:
            raise ConfigError(f"text_weight is {text_weight}; expected 0 (only the image) to 1 (only the text)")
        _check_k(k)
        self._check_not_empty()
        query = np.zeros(self._manifest.dim, np.float32)  # (D,)
        warnings: list[str] = []
        if text is not None:
            weight = 1.0 if image is None else text_weight
            query += weight * self._encode_text(text, warnings)
        if image is not None:
            weight = 1.0 if text is None else 1 - text_weight
            pixels = decode_image(image, at_least=self.model.preprocessing.image_size)
            query += weight * encode_checked(self.model, [pixels])[0]
        return Hits(self.search_vector(query, k), warnings)

    def search_vector(self, query: np.ndarray, k: int = 10) -> Hits:
        """Find the pictures nearest to a vector of the model's space.

        Shape:
            query: (D,) of any length but zero.

        Raises:
            ConfigError: the vector has the wrong shape, is zero or not finite, or `k` is out of range.
            GalleryError: the gallery is empty, in use by another process, or damaged.
        """
        _check_k(k)
        query = np.asarray(query, np.float32)
        length = float(np.linalg.norm(query)) if query.shape == (self._manifest.dim,) else 0.0
        if not np.isfinite(length) or length == 0:
            raise ConfigError(
                f"the query vector has shape {query.shape} and length {length}; expected ({self._manifest.dim},), "
                "finite and not zero"
            )
        self._check_not_empty()
        engine = self._engine()
        # Rows of an interrupted batch are in the engine but not in the catalogue; they must not displace others.
        unknown = max(0, len(engine) - len(self._catalogue))
        found = engine.search(query / length, k + unknown)
        pictures = self._catalogue.pictures([name for name, _ in found])
        return Hits([self._hit(pictures[name], score) for name, score in found if name in pictures][:k])

    def delete(self, ids: Iterable[str]) -> int:
        """Erase pictures: vectors, metadata and thumbnails; the files they were made from are not touched.

        Indexing the same files again adds them again.

        Args:
            ids: ids of hits or pictures.

        Returns:
            The number of pictures that were erased; ids that the gallery does not hold are not counted.

        Raises:
            ConfigError: an id is not 32 hexadecimal digits.
            GalleryError: another process is using the gallery, or it cannot be written.
        """
        wanted = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
        for name in wanted:
            if len(name) != 32 or set(name) - set("0123456789abcdef"):
                raise ConfigError(f"{name!r} is no picture id; expected 32 hexadecimal digits, as searches print them")
        with self._writing():
            engine = self._engine()
            self._finish_erasing(engine)
            held = list(self._catalogue.pictures(wanted))
            self._catalogue.remove(held)
            self._finish_erasing(engine)
        return len(held)

    def info(self) -> GalleryInfo:
        """Size, engine and model of the gallery."""
        facts = self._manifest
        size = sum(_disk_bytes(file) for file in self._folder.rglob("*") if file.is_file())
        return GalleryInfo(
            path=self._folder,
            engine=facts.engine,
            pictures=len(self),
            cameras=self._catalogue.cameras(),
            dim=facts.dim,
            model=facts.model,
            fingerprint=facts.fingerprint,
            created=facts.created,
            bytes_on_disk=size,
        )

    def thumbnail(self, name: str) -> Path:
        """Where the small JPEG of a picture lies."""
        return self._thumbnails.path(name)

    def __len__(self) -> int:
        return len(self._catalogue)

    def __iter__(self) -> Iterator[Picture]:
        """All pictures, oldest first."""
        return iter(self._catalogue)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._catalogue.pictures([name]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the files and let other processes in; a closed gallery cannot be used any more."""
        self._close_engine()
        self._lock.release()
        self._catalogue.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock while the body writes; an engine that belongs to one process keeps it until `close`."""
        held = self._lock.held
        self._lock.acquire(_PATIENCE_S)
        if not held:
            self._close_engine()  # what it read before another process wrote is out of date
        try:
            yield
        finally:
            if self._open_engine is None or self._open_engine.shares_reading:
                self._lock.release()

    def _engine(self) -> Engine:
        """The engine, opened on first use; one that cannot share its folder is guarded by the lock."""
        if self._open_engine is not None:
            return self._open_engine
        if self._manifest.engine != "exact":
            self._lock.acquire(_PATIENCE_S)
        engine = open_engine(self._manifest.engine, self._folder / _VECTORS, self._manifest.dim)
        missing = len(self._catalogue) - len(engine)
        if missing > 0:
            engine.close()
            self._lock.release()
            raise GalleryError(
                f"the gallery {self._folder} is damaged: the vectors of {missing} pictures are missing; restore it "
                "from a backup, or delete the folder and index again"
            )
        self._open_engine = engine
        return engine

    def _close_engine(self) -> None:
        if self._open_engine is not None:
            self._open_engine.close()
            self._open_engine = None

    def _finish_erasing(self, engine: Engine) -> None:
        """Erase the traces of removed pictures, those of an interrupted run included."""
        ids = self._catalogue.erasing()
        if ids:
            engine.delete(ids)
            self._thumbnails.delete(ids)
            self._catalogue.erased(ids)

    def _check_not_empty(self) -> None:
        if not len(self):
            raise GalleryError(
                f"the gallery {self._folder} is empty; add pictures with: "
                f"passerby index PICTURES --gallery {self._folder}"
            )

    def _encode_text(self, text: str, warnings: list[str]) -> np.ndarray:
        tokens = self.model.tokenize([text])
        if tokens.truncated:
            warnings.append(
                f"the query has {len(text.split()):,} words; the model read its first {tokens.ids.shape[1]} tokens and "
                "ignored the rest"
            )
        if unknown := int(tokens.unknown[0]):
            warnings.append(f"{unknown} parts of the query are in no language or script that the model knows")
        return unit_rows(self.model.encode_texts([text]), 1, self.model)[0]

    def _hit(self, picture: Picture, score: float) -> Hit:
        path = self._thumbnails.path(picture.id)
        return Hit(picture.id, score, picture.path, picture.camera, picture.time, picture.person, path)


def _load(model: str) -> Encoder:
    from passerby.retriever import load

    return load(model)


def _check_fingerprint(folder: Path, manifest: Manifest, encoder: Encoder) -> None:
    if encoder.fingerprint != manifest.fingerprint:
        raise GalleryError(
            f"the gallery {folder} was made with the model {manifest.model!r} ({manifest.fingerprint[:12]}); "
            f"{encoder.name!r} is another one ({encoder.fingerprint[:12]}) and its vectors cannot be compared with "
            "them; use the gallery's own model, or index into a new gallery"
        )


def _check_k(k: int) -> None:
    if not 1 <= k <= MAX_K:
        raise ConfigError(f"k is {k}; expected 1 to {MAX_K}")


def _disk_bytes(file: Path) -> int:
    status = file.stat()
    return getattr(status, "st_blocks", -(-status.st_size // 512)) * 512
