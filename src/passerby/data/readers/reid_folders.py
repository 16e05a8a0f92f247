"""What Market-1501, DukeMTMC-reID and CUHK03's cropped form share: three folders, and names that say who and where.

`bounding_box_train` trains, `query` asks, `bounding_box_test` is searched. A name that is another set's is recognised,
because all of these look alike from outside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from passerby.data.readers.places import list_images
from passerby.data.readers.source import SourceRow
from passerby.errors import DataError

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
FOLDERS = (TRAIN, QUERY, GALLERY)

#: Labels of Market-1501 that are nobody: a box that is neither right nor wrong, and a box of somebody else or nothing.
JUNK, DISTRACTOR = -1, 0


@dataclass(frozen=True, slots=True)
class Naming:
    """How a set names its pictures.

    Attributes:
        example: one name, for messages.
        pattern: with the groups "person" and "camera".
        nobody: whether the labels -1 and 0000 have Market-1501's meaning.
    """

    example: str
    pattern: re.Pattern[str]
    nobody: bool = False


#: Name of a data set -> how its pictures are named.
NAMINGS: Mapping[str, Naming] = MappingProxyType(
    {
        "market1501": Naming(
            "0002_c1s1_000451_03.jpg", re.compile(r"^(?P<person>-1|\d+)_c(?P<camera>\d)s\d+_\d+_\d+\.\w+"), nobody=True
        ),
        "dukemtmc": Naming("0005_c2_f0046985.jpg", re.compile(r"^(?P<person>\d+)_c(?P<camera>\d)_f\d+\.\w+$")),
        "cuhk03": Naming("0003_c1_21.png", re.compile(r"^(?P<person>\d+)_c(?P<camera>\d)_\d+\.\w+$")),
    }
)


def folder_rows(root: Path, naming: str, *, street: bool = False) -> tuple[SourceRow, ...]:
    """Read the three folders.

    Args:
        root: the folder that holds them; ids of pictures start from here.
        naming: a key of `NAMINGS`.
        street: whether this is a street, which may lack a split and its folder.

    Raises:
        DataError: a folder is missing or empty, a name says nothing, or a picture asks for nobody.
    """
    return tuple(
        row
        for folder, split in ((TRAIN, "train"), (QUERY, "test"), (GALLERY, "test"))
        if not street or (root / folder).is_dir()
        for row in rows_of(root, folder, split, naming, asks=folder == QUERY)
    )


def rows_of(root: Path, folder: str, split: str, naming: str, *, asks: bool = False) -> list[SourceRow]:
    """Read one folder.

    Args:
        root: where ids of pictures start from.
        folder: below the root.
        split: that its pictures belong to.
        naming: a key of `NAMINGS`.
        asks: whether its pictures are queries.

    Raises:
        DataError: the folder is missing or empty, a name says nothing, or a picture asks for nobody.
    """
    place = root / folder
    if not place.is_dir():
        raise DataError(f"no such folder: {place}; expected {', '.join(FOLDERS)} in {root}: unpack the archive again")
    names = list_images(place)
    if not names:
        raise DataError(f"{place} holds no pictures; expected some like {NAMINGS[naming].example}")
    return [_row(place, name, f"{folder}/{name}", split, naming, asks) for name in names]


def _row(place: Path, name: str, image: str, split: str, naming: str, asks: bool) -> SourceRow:
    form = NAMINGS[naming]
    match = form.pattern.match(name)
    if match is None:
        others = [other for other, one in NAMINGS.items() if one.pattern.match(name)]
        advice = f"it is named as in {others[0]}: open it as that" if others else "move it elsewhere"
        raise DataError(f"{place / name} is not named as in {naming}, such as {form.example}; {advice}")
    person, camera = int(match["person"]), f"c{match['camera']}"
    nobody = form.nobody and person in (JUNK, DISTRACTOR)
    if nobody and asks:
        raise DataError(f"{place / name} asks for label {match['person']}, which is nobody; move it elsewhere")
    return SourceRow(
        image=image,
        split=split,
        person_id=None if nobody else person,
        camera_id=camera,
        junk=form.nobody and person == JUNK,
        asks=asks,
    )
