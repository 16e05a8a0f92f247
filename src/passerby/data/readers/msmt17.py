"""MSMT17: 4,101 people from 15 cameras, in two versions: V1, and V2 with the faces masked.

Four lists name the pictures and their people; ids start again at 0 in the test, so those are moved behind the training
people's. Published figures train on `list_train.txt` alone or with `list_val.txt`, which shows the same people: both
are offered, under names of their own, and the split says which. Source: Wei et al., CVPR (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from passerby.data.readers.places import find_root, read_lines
from passerby.data.readers.source import STREET_FILE, Counts, Source, SourceRow, assemble
from passerby.data.records import Dataset
from passerby.errors import DataError

LISTS = ("list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt")

#: Version -> folders of the training and of the test pictures, and names that the version's own folder goes by.
VERSIONS = {1: ("train", "test"), 2: ("mask_train_v2", "mask_test_v2")}
_ARCHIVES = {1: ("MSMT17_V1", "MSMT17"), 2: ("MSMT17_V2",)}

_TEST = Counts(images=11_659 + 82_161, identities=3_060, queries=11_659)
PUBLISHED = {"train": Counts(images=32_621, identities=1_041), "test": _TEST}
PUBLISHED_TRAIN_ALONE = {"train": Counts(images=30_248, identities=1_041), "test": _TEST}


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a list: the picture's path below its folder, and its person as numbered there."""

    path: str
    person: int
    camera: str


def read(root: Path, *, version: int = 1, with_val: bool = True) -> Dataset:
    """Open MSMT17, or a street in its layout.

    Args:
        root: the folder with the four lists and the two folders of pictures, or the one above.
        version: 1, or 2 for masked faces.
        with_val: whether the pictures of `list_val.txt` train too.

    Raises:
        DataError: a list or a picture is missing, a line is damaged, or counts are not those of the published set.
    """
    return assemble(source(root, version=version, with_val=with_val))


def source(root: Path, *, version: int = 1, with_val: bool = True) -> Source:
    """What the lists of MSMT17 say, defects included.

    Raises:
        DataError: a list is missing or a line is damaged, or it is the other version.
    """
    name = "msmt17" + ("-v2" if version == 2 else "") + ("" if with_val else "-train")
    root = _root(root, version)
    train, val, query, gallery = (_lines(root / listed) for listed in LISTS)
    folder, test_folder = VERSIONS[version]
    behind = 1 + max((line.person for line in (*train, *val)), default=-1)
    chosen = [*train, *val] if with_val else train
    rows = (
        *_rows(chosen, folder, "train"),
        *_rows(query, test_folder, "test", behind=behind, asks=True),
        *_rows(gallery, test_folder, "test", behind=behind),
    )
    return Source(
        name=name,
        title=f"MSMT17 V{version}",
        root=root,
        pictures=root,
        listing=root,
        rows=rows,
        licence="MSMT17: research only, by agreement with its authors",
        published=PUBLISHED if with_val else PUBLISHED_TRAIN_ALONE,
        provenance={"train": "list_train.txt and list_val.txt" if with_val else "list_train.txt alone"},
        notes=(
            "Figures on V1 and on V2, and with or without list_val.txt, differ and are not comparable: name yours.",
            "RSTPReid and ICFG-PEDES show people of this set: training on them and testing here is not zero-shot.",
        ),
    )


def _root(root: Path, version: int) -> Path:
    """The folder with the lists, if it is of this version."""
    expected = f"the unpacked archive of MSMT17 V{version}"
    if version == 1:
        expected += ", or a street: passerby world make FOLDER --layout msmt17"
    root = find_root(root, LISTS, expected, inside=_ARCHIVES[version])
    folders = VERSIONS[version]
    for other, theirs in VERSIONS.items():
        if other != version and not (root / folders[0]).is_dir() and (root / theirs[0]).is_dir():
            name = "msmt17" if other == 1 else "msmt17-v2"
            raise DataError(f"{root} holds MSMT17 V{other}, not V{version}; open it as {name}")
    absent = [name for name in LISTS if not (root / name).is_file()]
    if not (root / STREET_FILE).is_file():  # a street may lack a split
        absent += [f"{folder}/" for folder in folders if not (root / folder).is_dir()]
    if absent:
        raise DataError(f"{root} has no {absent[0]}; expected {', '.join(LISTS)}, {folders[0]}/ and {folders[1]}/")
    return root


def _lines(path: Path) -> list[_Line]:
    lines = []
    for number, text in read_lines(path):
        image, _, person = text.strip().rpartition(" ")
        fields = PurePosixPath(image).name.split("_")
        if not image or not person.isdecimal():
            raise DataError(
                f"{path}, line {number} is {text!r:.80}; expected a path, a blank and a whole number from 0"
            )
        if len(fields) < 4 or not fields[2].isdecimal():
            raise DataError(
                f"{path}, line {number}: {image!r:.80} names no camera; expected PERSON_INDEX_CAMERA_TIME_FRAME_BOX.jpg"
            )
        lines.append(_Line(image, int(person), f"c{int(fields[2])}"))
    return lines


def _rows(lines: Sequence[_Line], folder: str, split: str, *, behind: int = 0, asks: bool = False) -> list[SourceRow]:
    return [
        SourceRow(f"{folder}/{line.path}", split, line.person + behind, camera_id=line.camera, asks=asks)
        for line in lines
    ]
