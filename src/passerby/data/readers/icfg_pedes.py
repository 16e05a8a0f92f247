"""ICFG-PEDES: 54,522 pictures of 4,102 people from MSMT17, one long sentence each; it has no val split.

`ICFG-PEDES.json` is one list of {split, captions, file_path, id, processed_tokens}. The folder `train/` or `test/` in
file_path is MSMT17's and says nothing about the split here. Source: Ding et al., SSAN (2021).
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from passerby.data.readers.entries import Entry
from passerby.data.readers.places import find_root, read_entries
from passerby.data.readers.source import Counts, Source, SourceRow, assemble
from passerby.data.records import Dataset

#: Names under which the file goes round.
ANNOTATIONS = ("ICFG-PEDES.json", "ICFG_PEDES.json", "ICFG-PDES.json")
IMAGES = "imgs"
SPLITS = ("train", "val", "test")

PUBLISHED = {
    "train": Counts(images=34674, identities=3102, captions=34674),
    "test": Counts(images=19848, identities=1000, captions=19848),
}

_EXPECTED = "the unpacked archive of ICFG-PEDES with ICFG-PEDES.json and imgs/"
_FIELDS = ("split", "captions", "file_path", "id")
#: person_index_camera_time_frame_box, as MSMT17 names its pictures.
_NAME = re.compile(r"^\d+_\d+_(?P<camera>\d+)_")


def read(root: Path) -> Dataset:
    """Open ICFG-PEDES, or a street in its layout; `icfg-pedes-val` holds people of train out to choose models on.

    Args:
        root: the folder with `ICFG-PEDES.json` and `imgs/`.

    Raises:
        DataError: a file is missing, damaged or not what it should be; the message says what, where and what to do.
    """
    return assemble(source(root))


def source(root: Path) -> Source:
    """What the files of ICFG-PEDES say, defects included.

    Raises:
        DataError: the annotations are missing or cannot be read.
    """
    root = find_root(root, ANNOTATIONS, _EXPECTED)
    path = next(root / name for name in ANNOTATIONS if (root / name).is_file())
    entries = read_entries(path, "{split, captions, file_path, id}")
    return Source(
        name="icfg-pedes",
        title="ICFG-PEDES",
        root=root,
        pictures=root / IMAGES,
        listing=path,
        rows=tuple(_row(entry, number, path) for number, entry in enumerate(entries)),
        licence="ICFG-PEDES: on request from its authors; images under the MSMT17 research agreement",
        published=PUBLISHED,
        captioned=True,
        notes=(
            "It has no val split: choose models on icfg-pedes-val, which holds people of train out, never on test.",
            "Its people are also in RSTPReid and MSMT17 under other ids: training there and testing here is not "
            "zero-shot.",
        ),
    )


def _row(value: Any, number: int, path: Path) -> SourceRow:
    entry = Entry(value, path, f"entry {number}", _FIELDS)
    image = entry.text("file_path")
    entry.named(image)
    return SourceRow(
        image=image,
        split=entry.choice("split", SPLITS, any_case=True),
        person_id=entry.whole_number("id"),
        captions=entry.captions("captions"),
        camera_id=_camera(image),
    )


def _camera(image: str) -> str | None:
    match = _NAME.match(PurePosixPath(image).name)
    return f"c{int(match['camera'])}" if match else None
