"""From what a user names, folders, pictures, globs and tables, to the list of pictures to index."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from passerby.data.images import IMAGE_SUFFIXES, is_image_file
from passerby.data.records import PersonImage
from passerby.errors import DataError
from passerby.gallery.manifest import MANIFEST
from passerby.gallery.records import Sighting
from passerby.gallery.tables import TABLE_SUFFIXES, read_table

_LOGGER = logging.getLogger(__name__)
#: Endings of pictures that are not read. A folder may hold anything else besides, but these would be missed.
_NOT_READ = frozenset({".avif", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".tif", ".tiff"})

#: What can be indexed: a folder (searched recursively), a picture, a glob such as ``crops/**/*.jpg``, a CSV or JSONL
#: table of pictures, a record of a data set, or a record with more than that.
Source = Path | str | PersonImage | Sighting

#: The camera in the file names of person re-identification: 0002_c1s1_000451_03.jpg, 0000_c03_0012.jpg.
_CAMERA = re.compile(r"(?:^|_)(c\d{1,3})(?=s\d|_|\.)", re.IGNORECASE)


def find_pictures(sources: Source | Iterable[Source]) -> list[Sighting]:
    """List the pictures of all sources, folders in the order of their names, every file once.

    The camera is read from file names of the field's form (``0002_c1s1_000451_03.jpg``) unless a record names one.
    Hidden folders and galleries are not entered. Of a file that is named twice, the first mention counts. What is left
    out of a folder although it may be meant, pictures of other kinds and folders that cannot be read, the log says.

    Raises:
        DataError: a source does not exist, a table is wrong, or there is no picture in any of them.
    """
    named = [sources] if isinstance(sources, Path | str | PersonImage | Sighting) else list(sources)
    found: dict[Path, Sighting] = {}
    passed: Counter[str] = Counter()
    for source in named:
        for sighting in _expand(source, passed):
            found.setdefault(sighting.image.path, sighting)
    if passed:
        kinds = ", ".join(f"{count:,} {ending}" for ending, count in passed.most_common())
        _LOGGER.warning("left out: pictures of kinds that are not read (%s); convert them to JPEG or PNG", kinds)
    if not found:
        places = ", ".join(str(source) for source in named) or "an empty list"
        raise DataError(
            f"no pictures in {places}; expected files ending in {', '.join(sorted(IMAGE_SUFFIXES))}, or a table "
            f"ending in {' or '.join(sorted(TABLE_SUFFIXES))}"
        )
    return list(found.values())


def holds_pictures(folder: Path) -> bool:
    """Whether there is a picture in a folder or below it, as `find_pictures` would find it."""
    return next(_walk(folder, Counter()), None) is not None


def _expand(source: Source, passed: Counter[str]) -> Iterator[Sighting]:
    if isinstance(source, PersonImage):
        yield Sighting(replace(source, path=source.path.absolute()))
        return
    if isinstance(source, Sighting):
        yield replace(source, image=replace(source.image, path=source.image.path.absolute()))
        return
    path = Path(source).expanduser().absolute()
    if path.is_dir():
        yield from (_from_file(file, str(path)) for file in _walk(path, passed))
    elif path.exists() and path.suffix.lower() in TABLE_SUFFIXES:
        for sighting in read_table(path):
            known = _from_file(sighting.image.path, sighting.source)
            camera = sighting.image.camera_id or known.image.camera_id
            yield replace(sighting, image=replace(sighting.image, camera_id=camera))
    elif path.exists():
        yield _from_file(path, None)
    elif glob.has_magic(str(source)):
        for name in sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207  (Path.glob takes no absolute pattern)
            if is_image_file(Path(name)) and Path(name).is_file():
                yield _from_file(Path(name), str(source))
    else:
        raise DataError(f"there is no file or folder {source}; check the path")


def _walk(folder: Path, passed: Counter[str]) -> Iterator[Path]:
    """Pictures below a folder in the order of their names; counts those of kinds that are not read."""
    for root, folders, files in os.walk(folder, onerror=_say_closed):
        if MANIFEST in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(root, name)
            if name.startswith("."):
                continue
            if is_image_file(path):
                yield path
            elif path.suffix.lower() in _NOT_READ:
                passed[path.suffix.lower()] += 1


def _say_closed(error: OSError) -> None:
    _LOGGER.warning("left out: the folder %s cannot be read: %s", error.filename, error.strerror)


def _from_file(path: Path, source: str | None) -> Sighting:
    camera = _CAMERA.search(path.name)
    return Sighting(PersonImage(str(path), path, camera_id=camera[1].lower() if camera else None), source=source)
