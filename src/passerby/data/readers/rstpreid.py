"""RSTPReid: 20,505 pictures of 4,101 people from 15 cameras, two sentences each; and every street in its layout.

`data_captions.json` is one list of {id, img_path, captions, split}; pictures lie flat in `imgs/` and carry person,
camera and frame in their names. Source: Zhu et al., DSSL (2021). Captions are kept as they are,
missing blanks included.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from passerby.data.records import Caption, Dataset, PersonImage, Split
from passerby.errors import DataError, nearest

ANNOTATIONS = "data_captions.json"
IMAGES = "imgs"
SPLITS = ("train", "val", "test")

#: Pictures and people of each split as published.
PUBLISHED = {"train": (18505, 3701), "val": (1000, 200), "test": (1000, 200)}

_LICENCE = "RSTPReid: images under the MSMT17 research agreement"
_STREET_LICENCE = "Apache-2.0 (synthetic street of passerby)"
_STREET_FILE = "street.json"  # lies beside the annotations of a street, never of the real set
_NAME = re.compile(r"^\d+_(?P<camera>c\d+)_\d+\.\w+$")


def read(root: Path) -> Dataset:
    """Open RSTPReid, or a street in its layout.

    Images come in the order of person and file name, captions in the order of their images.

    Args:
        root: the folder with `data_captions.json` and `imgs/`.

    Raises:
        DataError: a file is missing, damaged or not what it should be; the message says what, where and what to do.
    """
    rows = _rows(root)
    present = _listed(root / IMAGES)
    for number, row in enumerate(rows):
        _check(row, number, root / ANNOTATIONS)
    _check_paths(rows, present, root)
    _check_disjoint(rows, root / ANNOTATIONS)
    splits = {name: _split(name, [row for row in rows if row["split"] == name], root) for name in SPLITS}
    is_street = (root / _STREET_FILE).exists()
    if not is_street:
        _check_counts(splits, root)
    kept = {name: split for name, split in splits.items() if split.images}
    return Dataset("rstpreid", root, kept, _STREET_LICENCE if is_street else _LICENCE)


def _rows(root: Path) -> list[Any]:
    """The annotation file as parsed."""
    path = root / ANNOTATIONS
    if not path.is_file():
        raise DataError(f"{root} has no {ANNOTATIONS}{_where_else(root)}")
    try:
        rows = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON in UTF-8 ({error}); download it again") from error
    if not isinstance(rows, list) or not rows:
        found = "an empty list" if rows == [] else type(rows).__name__
        raise DataError(f"{path} holds {found}; expected a list of {{id, img_path, captions, split}}")
    return rows


def _where_else(root: Path) -> str:
    """Where the annotations are when somebody named the folder above or below."""
    if (root.parent / ANNOTATIONS).is_file():
        return f"; it is one folder up: give {root.parent}"
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        if (folder / ANNOTATIONS).is_file():
            return f"; it is one folder down: give {folder}"
    if (root / ".unfinished").is_dir():
        return ": it is a street that was never finished; run the same `passerby world make` again"
    return "; expected the unpacked archive of RSTPReid, or a street: passerby world make FOLDER --layout rstpreid"


def _listed(folder: Path) -> set[str]:
    """The names in the folder of pictures."""
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}; the pictures belong in {IMAGES}/ beside {ANNOTATIONS}")
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries}


def _check(row: Any, number: int, path: Path) -> None:
    """Refuse a row that is not {id: int, img_path: str, captions: [str, ...], split: train, val or test}."""
    where = f"{path}, entry {number}"
    if not isinstance(row, dict):
        raise DataError(f"{where} is {type(row).__name__}; expected {{id, img_path, captions, split}}")
    missing = [key for key in ("id", "img_path", "captions", "split") if key not in row]
    if missing:
        raise DataError(f"{where} has no {missing[0]!r}; it has {', '.join(map(repr, row))}.{nearest(missing[0], row)}")
    if not isinstance(row["img_path"], str) or not row["img_path"]:
        raise DataError(f"{where}: img_path is {row['img_path']!r}; expected a file name below {IMAGES}/")
    where = f"{where} ({row['img_path']})"
    if isinstance(row["id"], bool) or not isinstance(row["id"], int) or row["id"] < 0:
        raise DataError(f"{where}: id is {row['id']!r} ({type(row['id']).__name__}); expected a whole number from 0")
    if row["split"] not in SPLITS:
        raise DataError(
            f"{where}: split is {row['split']!r}; expected {', '.join(SPLITS)}.{nearest(str(row['split']), SPLITS)}"
        )
    captions = row["captions"]
    if not isinstance(captions, list) or not captions:
        raise DataError(f"{where}: captions is {captions!r:.80}; expected a list of at least one sentence")
    for caption in captions:
        if not isinstance(caption, str) or not caption.strip():
            raise DataError(f"{where}: a caption is {caption!r:.80}; expected a sentence")


def _check_paths(rows: Sequence[dict[str, Any]], present: set[str], root: Path) -> None:
    """Refuse pictures that are listed twice, lie outside, or are not there."""
    names = [row["img_path"] for row in rows]
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise DataError(f"{root / ANNOTATIONS} lists {name} {times} times; expected every picture once")
    outside = [name for name in names if Path(name).is_absolute() or ".." in Path(name).parts]
    if outside:
        raise DataError(f"{root / ANNOTATIONS}: img_path {outside[0]!r} leads out of {IMAGES}/")
    missing = [name for name in names if name not in present and not (root / IMAGES / name).is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(names)} pictures are not in {root / IMAGES}, the first being {missing[0]}; "
            f"unpack the archive again"
        )


def _check_disjoint(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Refuse a person who is in two splits: testing on people seen in training measures nothing."""
    home: dict[int, str] = {}
    for row in rows:
        if home.setdefault(row["id"], row["split"]) != row["split"]:
            raise DataError(f"{path}: person {row['id']} is in {home[row['id']]} and in {row['split']}; expected one")


def _split(name: str, rows: list[dict[str, Any]], root: Path) -> Split:
    rows = sorted(rows, key=lambda row: (row["id"], row["img_path"]))
    images = tuple(
        PersonImage(
            image_id=row["img_path"],
            path=root / IMAGES / row["img_path"],
            person_id=row["id"],
            camera_id=_camera(row["img_path"]),
        )
        for row in rows
    )
    captions = tuple(Caption(text, row["img_path"], row["id"]) for row in rows for text in row["captions"])
    return Split(name, images, captions)


def _camera(image_path: str) -> str | None:
    match = _NAME.match(Path(image_path).name)
    return match["camera"] if match else None


def _check_counts(splits: dict[str, Split], root: Path) -> None:
    """Refuse another release of the real set, so that figures stay comparable."""
    for name, (images, people) in PUBLISHED.items():
        found = (len(splits[name].images), len(splits[name].identities))
        if found != (images, people):
            raise DataError(
                f"{root}: split {name} has {found[0]} pictures of {found[1]} people; RSTPReid as published has "
                f"{images} of {people}. An older archive had other splits: download it again"
            )
