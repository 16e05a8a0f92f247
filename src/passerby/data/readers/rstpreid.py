"""RSTPReid: 20,505 pictures of 4,101 people from 15 cameras, two sentences each; and every street in its layout.

`data_captions.json` is one list of {id, img_path, captions, split}; pictures lie flat in `imgs/` and carry person,
camera and frame in their names. Source: Zhu et al., DSSL (2021). Captions are kept as they are,
missing blanks included.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from passerby.data.readers.entries import Entry
from passerby.data.readers.places import find_root, read_entries
from passerby.data.readers.source import Counts, Source, SourceRow, assemble
from passerby.data.records import Dataset

ANNOTATIONS = "data_captions.json"
IMAGES = "imgs"
SPLITS = ("train", "val", "test")

#: As published; an older archive has 3,901 + 100 + 100 people.
PUBLISHED = {
    "train": Counts(images=18505, identities=3701, captions=37010),
    "val": Counts(images=1000, identities=200, captions=2000),
    "test": Counts(images=1000, identities=200, captions=2000),
}

_EXPECTED = "the unpacked archive of RSTPReid, or a street: passerby world make FOLDER --layout rstpreid"
_FIELDS = ("id", "img_path", "captions", "split")
_NAME = re.compile(r"^\d+_(?P<camera>c\d+)_\d+\.\w+$")


def read(root: Path) -> Dataset:
    """Open RSTPReid, or a street in its layout.

    Images come in the order of person and file name, captions in the order of their images.

    Args:
        root: the folder with `data_captions.json` and `imgs/`.

    Raises:
        DataError: a file is missing, damaged or not what it should be; the message says what, where and what to do.
    """
    return assemble(source(root))


def source(root: Path) -> Source:
    """What the files of RSTPReid say, defects included.

    Raises:
        DataError: the annotations are missing or cannot be read.
    """
    root = find_root(root, (ANNOTATIONS,), _EXPECTED)
    path = root / ANNOTATIONS
    entries = read_entries(path, "{id, img_path, captions, split}")
    return Source(
        name="rstpreid",
        title="RSTPReid",
        root=root,
        pictures=root / IMAGES,
        listing=path,
        rows=tuple(_row(entry, number, path) for number, entry in enumerate(entries)),
        licence="RSTPReid: images under the MSMT17 research agreement",
        published=PUBLISHED,
        captioned=True,
        notes=(
            "Its people are also in ICFG-PEDES and MSMT17 under other ids: training on one of them and testing here is "
            "not zero-shot.",
        ),
    )


def _row(value: Any, number: int, path: Path) -> SourceRow:
    entry = Entry(value, path, f"entry {number}", _FIELDS)
    image = entry.text("img_path")
    entry.named(image)
    return SourceRow(
        image=image,
        split=entry.choice("split", SPLITS),
        person_id=entry.whole_number("id"),
        captions=entry.captions("captions"),
        camera_id=_camera(image),
    )


def _camera(image: str) -> str | None:
    match = _NAME.match(PurePosixPath(image).name)
    return match["camera"] if match else None
