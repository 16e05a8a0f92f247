"""One's own pictures in folders: one folder for each person, or all in one.

`ROOT/PERSON/picture.jpg` is one split named "all"; `ROOT/train/PERSON/picture.jpg` and the like are splits, and
`query/` with `gallery/` together are the test split whose queries are never searched.
"""

from __future__ import annotations

from pathlib import Path

from passerby.data.readers.own_list import UNSPLIT, is_whole
from passerby.data.readers.places import list_images
from passerby.data.readers.source import Source, SourceRow, assemble
from passerby.data.records import Dataset
from passerby.errors import DataError

#: Folder of a split -> (its split, whether its pictures ask).
SPLIT_FOLDERS = {
    "train": ("train", False),
    "val": ("val", False),
    "test": ("test", False),
    "query": ("test", True),
    "gallery": ("test", False),
}


def read(root: Path, *, people: bool = True) -> Dataset:
    """Open folders of one's own pictures.

    Args:
        root: the folder of the people's folders, or of the splits' folders.
        people: False: all pictures below the folder are of nobody known, whatever folders they lie in.

    Raises:
        DataError: there are no pictures, or a person is in two splits.
    """
    return assemble(source(root, people=people))


def source(root: Path, *, people: bool = True) -> Source:
    """What folders of one's own pictures hold, defects included.

    Raises:
        DataError: there are no pictures, or a folder cannot be read.
    """
    images = list_images(root, deep=True)
    if not images:
        raise DataError(f"{root} holds no pictures (.jpg, .png, .webp or .bmp), nor do the folders in it")
    notes: list[str] = []
    rows = _rows_of_people(images, root, notes) if people else [SourceRow(image, UNSPLIT) for image in images]
    return Source(
        name="folders" if people else "flat",
        title="your folders",
        root=root,
        pictures=root,
        listing=root,
        rows=tuple(rows),
        licence="your own data",
        own=True,
        notes=tuple(notes),
    )


def _rows_of_people(images: list[str], root: Path, notes: list[str]) -> list[SourceRow]:
    parts = [image.split("/") for image in images]
    has_splits = {found[0] for found in parts if len(found) > 1} <= set(SPLIT_FOLDERS)
    depth = 1 if has_splits else 0
    names = sorted({found[depth] for found in parts if len(found) > depth + 1})
    if not names:
        raise DataError(
            f"{root} has no folders of people; expected ROOT/PERSON/picture.jpg. Pictures without "
            f" people are opened as flat:{root}"
        )
    numbers = _numbers(names)
    if any(not is_whole(name) or int(name) != number for name, number in numbers.items()):
        notes.append("Folders have names instead of numbers; people are numbered in the order of their names.")
    rows = []
    strangers = 0
    for image, found in zip(images, parts, strict=True):
        split, asks = SPLIT_FOLDERS[found[0]] if has_splits and len(found) > 1 else (UNSPLIT, False)
        person = numbers[found[depth]] if len(found) > depth + 1 else None
        strangers += person is None
        rows.append(SourceRow(image, split, person, asks=asks))
    if strangers:
        notes.append(f"{strangers} pictures lie in no person's folder and are read as pictures of nobody known.")
    return rows


def _numbers(names: list[str]) -> dict[str, int]:
    """Folder -> number: its own where all are distinct whole numbers, else by the order of the names."""
    if all(map(is_whole, names)) and len({int(name) for name in names}) == len(names):
        return {name: int(name) for name in names}
    return {name: number for number, name in enumerate(names)}
