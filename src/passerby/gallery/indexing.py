"""The way of a batch of files into a gallery: read, recognise, decode, encode, store, acknowledge.

Reading and decoding run ahead while the model encodes. A batch is acknowledged as a whole by its store, so a run can
end at any moment and be continued by the same call, which opens no file twice that it has finished.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from passerby.data.images import read_image_file
from passerby.errors import DataError
from passerby.gallery.decoding import Decoder
from passerby.gallery.filters import metadata_of
from passerby.gallery.query import encode_checked
from passerby.gallery.records import AddReport, Encoder, Picture, Progress, Row, SeenFile, Sighting
from passerby.gallery.store import Store

_BATCH = 64
#: Batches that are decoded ahead of the one being encoded.
_AHEAD = 2
_MOST_READERS = 16


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A file and its id; where the gallery does not have its content yet, also its pixels and thumbnail."""

    sighting: Sighting
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
    updated: int = 0

    def progress(self, unreadable: int) -> Progress:
        return Progress(self.done, self.total, self.added, self.already_there, unreadable)


class Indexing:
    """One run over a list of files into one store; `elsewhere` is a store whose pictures are left out as known."""

    def __init__(self, store: Store, elsewhere: Store | None = None) -> None:
        """Take the store to write to, whose lock the caller holds."""
        self._store = store
        self._elsewhere = elsewhere
        self._refused: list[_Refused] = []

    def run(
        self, sightings: Sequence[Sighting], encoder: Encoder, progress: Callable[[Progress], None] | None = None
    ) -> AddReport:
        """Index all files; what is already there is recognised, what cannot be read is collected.

        Raises:
            GalleryError: the gallery cannot be written; every batch before that one is kept.
            CheckpointError: the model returned something else than one finite vector per picture.
        """
        tally = _Tally(len(sightings))
        for batch in self._prepared(sightings, encoder.preprocessing.image_size):
            self._write(batch, encoder, tally)
            tally.done += len(batch)
            if progress is not None:
                progress(tally.progress(len(self._refused)))
        refused = tuple((refused.path, refused.reason) for refused in self._refused)
        return AddReport(tally.added, tally.already_there, tally.moved, tally.updated, refused)

    def _prepared(
        self, sightings: Sequence[Sighting], at_least: tuple[int, int]
    ) -> Iterator[list[_Prepared | _Refused]]:
        """Batches of read files, decoded ahead of their use."""
        decoder = Decoder(len(sightings))
        pool = ThreadPoolExecutor(min(_MOST_READERS, decoder.workers))
        waiting: deque[list[Future[_Prepared | _Refused]]] = deque()
        try:
            for start in range(0, len(sightings), _BATCH):
                batch = sightings[start : start + _BATCH]
                seen = self._seen([one.image.path for one in batch if _has_text_name(one.image.path)])
                waiting.append(
                    [pool.submit(self._prepare, one, seen.get(one.image.path), at_least, decoder) for one in batch]
                )
                if len(waiting) > _AHEAD:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            pool.shutdown(cancel_futures=True)
            decoder.close()

    def _seen(self, paths: Sequence[Path]) -> dict[Path, SeenFile]:
        others = {} if self._elsewhere is None else self._elsewhere.seen(paths)
        return others | self._store.seen(paths)

    def _known(self, ids: Sequence[str]) -> dict[str, Picture]:
        others = {} if self._elsewhere is None else self._elsewhere.get(ids)
        return others | self._store.get(ids)

    def _prepare(
        self, sighting: Sighting, seen: SeenFile | None, at_least: tuple[int, int], decoder: Decoder
    ) -> _Prepared | _Refused:
        path = sighting.image.path
        try:
            if not _has_text_name(path):
                printable = str(path).encode(errors="replace").decode()
                raise DataError(f"{printable} has a name that is not UTF-8; rename the file")
            status = path.stat()
            if seen is not None and (seen.size, seen.changed) == (status.st_size, status.st_mtime_ns):
                return _Prepared(sighting, seen, unchanged=True)
            encoded = read_image_file(path)
            name = hashlib.sha256(encoded).hexdigest()[:32]
            file = SeenFile(path, status.st_size, status.st_mtime_ns, name)
            if self._known([name]):
                return _Prepared(sighting, file)
            pixels, thumbnail = decoder.decode(encoded, at_least, str(path))
            return _Prepared(sighting, file, pixels=pixels, thumbnail=thumbnail)
        except DataError as error:
            return _Refused(path, str(error))
        except OSError as error:
            return _Refused(path, f"{path} cannot be read: {error.strerror}")

    def _write(self, batch: list[_Prepared | _Refused], encoder: Encoder, tally: _Tally) -> None:
        self._refused += [item for item in batch if isinstance(item, _Refused)]
        prepared = [item for item in batch if isinstance(item, _Prepared)]
        known = self._known([item.file.id for item in prepared])
        new = {item.file.id: item for item in prepared if item.file.id not in known and item.pixels is not None}
        moved, changed = 0, dict[str, Picture]()
        for item in prepared:
            old = changed.get(item.file.id) or known.get(item.file.id)
            if old is None:
                continue
            fresh = _picture(item)
            if old.path != fresh.path and not old.path.exists():
                moved += 1
                changed[old.id] = old = replace(old, path=fresh.path)
            if (news := _with_news(old, fresh)) != old:
                changed[old.id] = news
        rows: list[Row] = []
        if new:
            vectors = encode_checked(encoder, [item.pixels for item in new.values() if item.pixels is not None])
            rows = [
                Row(_picture(item), vector, item.thumbnail) for item, vector in zip(new.values(), vectors, strict=True)
            ]
        files = [item.file for item in prepared if not item.unchanged]
        if rows or changed or files:
            self._store.put(rows, list(changed.values()), files)
        tally.added += len(rows)
        tally.already_there += len(prepared) - len(rows)
        tally.moved += moved
        tally.updated += sum(_about(changed[name]) != _about(known[name]) for name in changed if name in known)


def _with_news(old: Picture, fresh: Picture) -> Picture:
    """The old picture with whatever the fresh one knows; what it does not know is kept, the source too."""
    said = {
        name: value for name in ("camera", "time", "person", "track") if (value := getattr(fresh, name)) is not None
    }
    return replace(old, **said, metadata={**old.metadata, **fresh.metadata})


def _about(picture: Picture) -> Picture:
    return replace(picture, path=Path())


def _picture(item: _Prepared) -> Picture:
    image, one = item.sighting.image, item.sighting
    source = one.source or str(image.path.parent)
    known = (image.camera_id, image.time, image.person_id, one.track, source)
    return Picture(item.file.id, image.path, *known, metadata=metadata_of(one.metadata))


def _has_text_name(path: Path) -> bool:
    """Whether the name can be written down: file systems allow any bytes, a catalogue and JSON do not."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
