"""The way of a batch of files into a gallery: read, recognise, decode, encode, store, acknowledge.

Reading and decoding run ahead in threads while the model encodes. A batch is stored in an order that makes a kill at
any moment harmless: thumbnails, then vectors, then one transaction of the catalogue, which alone decides what is
there; whatever came before it is written again by the next run.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from passerby.data.images import decode_image, read_image_file
from passerby.data.records import PersonImage
from passerby.errors import CheckpointError, DataError
from passerby.gallery.catalogue import Catalogue, SeenFile
from passerby.gallery.engine import Engine
from passerby.gallery.records import AddReport, Encoder, Picture, Progress
from passerby.gallery.space import require_space
from passerby.gallery.thumbnails import Thumbnails, make_thumbnail

_BATCH = 64
#: Batches that are decoded ahead of the one being encoded.
_AHEAD = 2
_MOST_WORKERS = 8
#: Room a batch may take besides its vectors, in bytes per picture: a thumbnail and rows of the catalogue.
_BYTES_PER_PICTURE = 40_000


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A file and its id; where the gallery does not have its content yet, also its pixels and thumbnail."""

    source: PersonImage
    file: SeenFile
    unchanged: bool = False
    pixels: np.ndarray | None = None
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True)
class _Refused:
    path: Path
    reason: str


@dataclass(slots=True)
class _Tally:
    total: int
    done: int = 0
    added: int = 0
    already_there: int = 0
    moved: int = 0

    def progress(self, unreadable: int) -> Progress:
        return Progress(self.done, self.total, self.added, self.already_there, unreadable)


class Indexing:
    """One run over a list of files into one gallery."""

    def __init__(self, catalogue: Catalogue, engine: Engine, thumbnails: Thumbnails, folder: Path) -> None:
        """Take the parts of the gallery to write to."""
        self._catalogue = catalogue
        self._engine = engine
        self._thumbnails = thumbnails
        self._folder = folder
        self._refused: list[_Refused] = []

    def run(
        self, sources: Sequence[PersonImage], encoder: Encoder, progress: Callable[[Progress], None] | None = None
    ) -> AddReport:
        """Index all files; what is already there is recognised, what cannot be read is collected.

        Raises:
            GalleryError: the gallery cannot be written; every batch before that one is kept.
            CheckpointError: the model returned something else than one finite vector per picture.
        """
        tally = _Tally(len(sources))
        for batch in self._prepared(sources, encoder.preprocessing.image_size):
            self._store(batch, encoder, tally)
            tally.done += len(batch)
            if progress is not None:
                progress(tally.progress(len(self._refused)))
        refused = tuple((refused.path, refused.reason) for refused in self._refused)
        return AddReport(tally.added, tally.already_there, tally.moved, refused)

    def _prepared(
        self, sources: Sequence[PersonImage], at_least: tuple[int, int]
    ) -> Iterator[list[_Prepared | _Refused]]:
        """Batches of read files, decoded ahead of their use."""
        pool = ThreadPoolExecutor(min(_MOST_WORKERS, os.cpu_count() or 1))
        waiting: deque[list[Future[_Prepared | _Refused]]] = deque()
        try:
            for start in range(0, len(sources), _BATCH):
                batch = sources[start : start + _BATCH]
                seen = self._catalogue.seen([source.path for source in batch if _has_text_name(source.path)])
                waiting.append(
                    [pool.submit(self._prepare, source, seen.get(source.path), at_least) for source in batch]
                )
                if len(waiting) > _AHEAD:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            pool.shutdown(cancel_futures=True)

    def _prepare(self, source: PersonImage, seen: SeenFile | None, at_least: tuple[int, int]) -> _Prepared | _Refused:
        try:
            if not _has_text_name(source.path):
                printable = str(source.path).encode(errors="replace").decode()
                raise DataError(f"{printable} has a name that is not UTF-8; rename the file")
            status = source.path.stat()
            if seen is not None and (seen.size, seen.changed) == (status.st_size, status.st_mtime_ns):
                return _Prepared(source, seen, unchanged=True)
            encoded = read_image_file(source.path)
            name = hashlib.sha256(encoded).hexdigest()[:32]
            file = SeenFile(source.path, status.st_size, status.st_mtime_ns, name)
            if self._catalogue.pictures([name]):
                return _Prepared(source, file)
            pixels = decode_image(encoded, at_least=at_least, name=str(source.path))
            return _Prepared(source, file, pixels=pixels, thumbnail=make_thumbnail(pixels))
        except DataError as error:
            return _Refused(source.path, str(error))
        except OSError as error:
            return _Refused(source.path, f"{source.path} cannot be read: {error.strerror}")

    def _store(self, batch: list[_Prepared | _Refused], encoder: Encoder, tally: _Tally) -> None:
        self._refused += [item for item in batch if isinstance(item, _Refused)]
        prepared = [item for item in batch if isinstance(item, _Prepared)]
        known = self._catalogue.pictures([item.file.id for item in prepared])
        new = {item.file.id: item for item in prepared if item.file.id not in known and item.pixels is not None}
        fresh = list(new.values())
        moved = [
            Picture(item.file.id, item.source.path)
            for item in prepared
            if item.file.id in known and _has_moved(known[item.file.id], item.source.path)
        ]
        if fresh:
            vectors = encode_checked(encoder, [item.pixels for item in fresh if item.pixels is not None])
            row_bytes = 4 * vectors.shape[1] + _BYTES_PER_PICTURE
            require_space(self._folder, self._engine.reserve_bytes + len(fresh) * row_bytes)
            self._thumbnails.write((name, item.thumbnail) for name, item in new.items())
            self._engine.upsert(list(new), vectors)
        files = [item.file for item in prepared if not item.unchanged]
        if files or moved:
            self._catalogue.record([*map(_picture, fresh), *moved], files, time.time())
        tally.added += len(fresh)
        tally.already_there += len(prepared) - len(fresh)
        tally.moved += len(moved)


def encode_checked(encoder: Encoder, pictures: list[np.ndarray]) -> np.ndarray:
    """Encode pictures and refuse anything but one finite vector each; rows come back with length one.

    Shape:
        (N, D) float32.

    Raises:
        CheckpointError: the shape is wrong, or a number is not finite.
    """
    return unit_rows(encoder.encode_images(pictures), len(pictures), encoder)


def unit_rows(vectors: np.ndarray, count: int, encoder: Encoder) -> np.ndarray:
    """Check what an encoder returned and scale its rows to length one.

    Raises:
        CheckpointError: the shape is wrong, or a row is zero or not finite: such a row would be everybody's neighbour.
    """
    vectors = np.asarray(vectors, np.float32)
    if vectors.shape != (count, encoder.dim):
        raise CheckpointError(
            f"the model {encoder.name} returned vectors of shape {vectors.shape}; expected ({count}, {encoder.dim})"
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)  # (N, 1)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise CheckpointError(
            f"the model {encoder.name} returned a vector that is zero or not finite; its weights are damaged: "
            "load another checkpoint"
        )
    return vectors / lengths


def _has_text_name(path: Path) -> bool:
    """Whether the name can be written down: file systems allow any bytes, a catalogue and JSON do not."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _has_moved(known: Picture, path: Path) -> bool:
    return known.path != path and not known.path.exists()


def _picture(item: _Prepared) -> Picture:
    source = item.source
    return Picture(item.file.id, source.path, source.camera_id, source.time, source.person_id)
