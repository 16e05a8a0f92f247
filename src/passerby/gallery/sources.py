"""From what a user names, folders and files, to the list of pictures to index."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from passerby.data.images import IMAGE_SUFFIXES, is_image_file
from passerby.data.records import PersonImage
from passerby.errors import DataError
from passerby.gallery.manifest import MANIFEST

#: What can be indexed: a folder (searched recursively), a picture, a record of a data set, or several of them.
Source = Path | str | PersonImage

#: The camera in the file names of person re-identification: 0002_c1s1_000451_03.jpg, 0000_c03_0012.jpg.
_CAMERA = re.compile(r"(?:^|_)(c\d{1,3})(?=s\d|_|\.)", re.IGNORECASE)


def find_pictures(sources: Source | Iterable[Source]) -> list[PersonImage]:
    """List the pictures of all sources, folders in the order of their names, every file once.

    The camera is read from file names of the field's form (``0002_c1s1_000451_03.jpg``); records keep their own.
    Hidden folders and galleries are not entered.

    Raises:
        DataError: a source does not exist, or there is no picture in any of them.
    """
    named = [sources] if isinstance(sources, Path | str | PersonImage) else list(sources)
    found: dict[Path, PersonImage] = {}
    for source in named:
        for picture in _expand(source):
            found.setdefault(picture.path, picture)
    if not found:
        places = ", ".join(str(source) for source in named) or "an empty list"
        raise DataError(f"no pictures in {places}; expected files ending in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return list(found.values())


def _expand(source: Source) -> Iterator[PersonImage]:
    if isinstance(source, PersonImage):
        yield PersonImage(
            source.image_id, source.path.absolute(), source.person_id, source.camera_id, source.time, source.junk
        )
        return
    path = Path(source).expanduser().absolute()
    if path.is_dir():
        yield from map(_from_file, _walk(path))
    elif path.exists():
        yield _from_file(path)
    else:
        raise DataError(f"there is no file or folder {source}; check the path")


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        if MANIFEST in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(root, name)
            if is_image_file(path) and not name.startswith("."):
                yield path


def _from_file(path: Path) -> PersonImage:
    camera = _CAMERA.search(path.name)
    return PersonImage(str(path), path, camera_id=camera[1].lower() if camera else None)
