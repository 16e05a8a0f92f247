"""From one gallery to another, whatever their engines: resumable, without the model, and verified row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from passerby.errors import GalleryError
from passerby.gallery.calibration import NOTE
from passerby.gallery.records import Row
from passerby.gallery.store import Store

_BATCH = 256

#: Called with (done, total).
Count = Callable[[int, int], None]


def copy_rows(source: Store, target: Store, progress: Count | None = None) -> int:
    """Copy every row that the target does not have yet, and where matches begin; return how many rows were copied.

    Raises:
        GalleryError: the galleries belong to different models, or one of them is damaged or cannot be written.
    """
    _check_same_model(source, target)
    total, done, copied = len(source), 0, 0
    with target.writing():
        for batch in _batches(source):
            there = target.get(batch)
            missing = [name for name in batch if name not in there]
            if missing:
                pictures, vectors = source.get(missing), source.vectors(missing)
                rows = [
                    Row(pictures[name], vector, source.thumbnail(name))
                    for name, vector in zip(missing, vectors, strict=True)
                ]
                target.put(rows, files=source.files_of(missing))
            changed = [picture for picture in source.get(list(there)).values() if picture != there[picture.id]]
            if changed:
                target.put([], changed, source.files_of([picture.id for picture in changed]))
            done, copied = done + len(batch), copied + len(missing)
            if progress is not None:
                progress(done, total)
        target.settle()
        # A copy has no model to measure this with, and each search would measure it anew.
        if (measured := source.read_note(NOTE)) is not None and target.read_note(NOTE) is None:
            target.write_note(NOTE, measured)
    return copied


def verify_copy(source: Store, target: Store, progress: Count | None = None) -> None:
    """Compare every row of the source with the target's: what is known, half-precision vector, thumbnail, files.

    Raises:
        GalleryError: a row is missing or differs.
    """
    total, done = len(source), 0
    for batch in _batches(source):
        ours, theirs = source.get(batch), target.get(batch)
        missing = [name for name in batch if name not in theirs]
        if missing:
            raise GalleryError(f"{target.address} lacks the picture {missing[0]} of {source.address}; copy again")
        halves = [store.vectors(batch).astype(np.float16) for store in (source, target)]
        for at, name in enumerate(batch):
            same = (
                ours[name] == theirs[name]
                and halves[0][at].tobytes() == halves[1][at].tobytes()
                and source.thumbnail(name) == target.thumbnail(name)
            )
            if not same:
                raise GalleryError(
                    f"the picture {name} differs between {source.address} and {target.address}; delete it from "
                    f"{target.address} and copy again"
                )
        done += len(batch)
        if progress is not None:
            progress(done, total)


def _check_same_model(source: Store, target: Store) -> None:
    ours, theirs = source.manifest, target.manifest
    if (ours.fingerprint, ours.dim) != (theirs.fingerprint, theirs.dim):
        raise GalleryError(
            f"{target.address} belongs to the model {theirs.model!r} ({theirs.fingerprint[:12]}) and {source.address} "
            f"to {ours.model!r} ({ours.fingerprint[:12]}); copy into a new gallery"
        )


def _batches(source: Store) -> Iterator[list[str]]:
    ids = sorted(source.ids())
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))
