"""CUHK03: 1,467 people, each seen by a pair of cameras; boxes labelled by hand or detected, two protocols.

The new protocol (767 people train, 700 test; one picture of each person and view asks) comes as three folders of
cropped pictures, or as a MATLAB list over the pictures that were extracted from `cuhk-03.mat`. The classic protocol is
20 draws of 100 test people, each of whose pictures asks and is searched; figures are means over the draws, and are not
comparable with the new protocol's. Sources: Li et al., CVPR (2014); Zhong et al., CVPR (2017).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from passerby.data.readers.matlab import read_matlab
from passerby.data.readers.places import find_root, list_images
from passerby.data.readers.reid_folders import FOLDERS, folder_rows
from passerby.data.readers.source import Counts, Source, SourceRow, assemble
from passerby.data.records import Dataset
from passerby.errors import DataError

#: Boxes -> counts of the new protocol, counted on its official lists.
PUBLISHED: Mapping[str, Mapping[str, Counts]] = MappingProxyType(
    {
        "labeled": {
            "train": Counts(images=7_368, identities=767),
            "test": Counts(images=1_400 + 5_328, identities=700, queries=1_400),
        },
        "detected": {
            "train": Counts(images=7_365, identities=767),
            "test": Counts(images=1_400 + 5_332, identities=700, queries=1_400),
        },
    }
)
#: Boxes -> pictures in all, and people in all and in each test of the classic protocol.
PICTURES: Mapping[str, int] = MappingProxyType({"labeled": 14_096, "detected": 14_097})
PEOPLE, CLASSIC_TEST, DRAWS = 1_467, 100, 20

#: Where the classic protocol's draws lie: the original archive, or its variable `testsets` saved by itself.
TESTSETS = ("cuhk03_testsets.mat", "testsets.mat", "cuhk-03.mat", "cuhk03_release/cuhk-03.mat")

_ARCHIVE = ("cuhk03-np", "CUHK03-NP", "cuhk03", "CUHK03")
_EXTRACTED = re.compile(r"^(?P<pair>\d+)_(?P<person>\d+)_(?P<view>[12])_\d+\.\w+$")
_NOTE = "Its two protocols, and labelled and detected boxes, give figures that are not comparable: name yours."


def read(root: Path, *, boxes: str, classic: bool = False) -> Dataset:
    """Open CUHK03, or a street in one of its layouts.

    Args:
        root: the folder with `labeled/` and `detected/` of cropped pictures; or the one with the protocol's `.mat`
            files and `images_labeled/`, `images_detected/`.
        boxes: "labeled" or "detected".
        classic: the classic protocol: splits train-01 and test-01 to train-20 and test-20.

    Raises:
        DataError: a folder, a list or a picture is missing or damaged, or counts are not those of the published set.
        MissingExtraError: a `.mat` file is to be read and no package for it is installed.
    """
    found = source(root, boxes=boxes, classic=classic)
    if classic and not found.is_street:
        _check_classic(found, boxes)
    return assemble(found)


def source(root: Path, *, boxes: str, classic: bool = False) -> Source:
    """What the files of CUHK03 say, defects included.

    Raises:
        DataError: a folder or a list is missing, or damaged.
        MissingExtraError: a `.mat` file is to be read and no package for it is installed.
    """
    cropped, listed = [f"{boxes}/{folder}" for folder in FOLDERS], f"cuhk03_new_protocol_config_{boxes}.mat"
    marks = (*TESTSETS, f"images_{boxes}") if classic else (*cropped, listed)
    layout = "cuhk03-mat" if classic else "cuhk03"
    root = find_root(
        root, marks, f"the files of CUHK03, or a street: passerby world make FOLDER --layout {layout}", inside=_ARCHIVE
    )
    found = Source(
        name=f"cuhk03-classic-{boxes}" if classic else f"cuhk03-{boxes}",
        title=f"CUHK03 ({boxes}, {'classic' if classic else 'new'} protocol)",
        root=root,
        pictures=root / boxes,
        listing=root / boxes,
        rows=(),
        licence="CUHK03: academic research",
        notes=(_NOTE,),
    )
    if classic:
        return _classic(found, boxes)
    found = replace(found, published=PUBLISHED[boxes])
    if any((root / folder).is_dir() for folder in cropped):
        return replace(found, rows=folder_rows(root / boxes, "cuhk03", street=found.is_street))
    path = root / listed
    return replace(found, pictures=_extracted(root, boxes), listing=path, rows=new_protocol(path))


def new_protocol(path: Path) -> tuple[SourceRow, ...]:
    """Read a list of the new protocol.

    Its variables are columns: `filelist`, `labels` and `camId` say what each picture is called, whom it shows and from
    which view; `train_idx`, `query_idx` and `gallery_idx` count the pictures from 1.

    Args:
        path: `cuhk03_new_protocol_config_labeled.mat` or `..._detected.mat`.

    Raises:
        DataError: a variable is missing, or they do not fit together.
        MissingExtraError: scipy is not installed.
    """
    roles = {"train_idx": ("train", False), "query_idx": ("test", True), "gallery_idx": ("test", False)}
    found = read_matlab(path, ("filelist", "labels", "camId", *roles))
    names = [_text(cell, path) for cell in np.ravel(found["filelist"])]
    labels, views = (_whole_numbers(found[key], key, path) for key in ("labels", "camId"))
    if not len(names) == len(labels) == len(views):
        raise DataError(
            f"{path}: filelist has {len(names)}, labels {len(labels)} and camId {len(views)} entries; expected as many"
        )
    rows: list[SourceRow] = []
    taken: dict[int, str] = {}
    for key, (split, asks) in roles.items():
        for place in _whole_numbers(found[key], key, path):
            if not 1 <= place <= len(names):
                raise DataError(f"{path}: {key} names picture {place}; expected 1 to {len(names)}")
            if place in taken:
                raise DataError(f"{path}: picture {place} is in {taken[place]} and in {key}; expected one of them")
            taken[place] = key
            row = place - 1
            rows.append(SourceRow(names[row], split, labels[row], camera_id=f"c{views[row]}", asks=asks))
    if len(taken) != len(names):
        raise DataError(f"{path}: {len(names) - len(taken)} of {len(names)} pictures train nobody and test nobody")
    return tuple(rows)


def _classic(found: Source, boxes: str) -> Source:
    """The 20 draws, each with a training and a test split; people are numbered through the pairs of cameras."""
    path = next((found.root / name for name in TESTSETS if (found.root / name).is_file()), None)
    if path is None:
        raise DataError(f"{found.root} has none of {', '.join(TESTSETS)}; the classic protocol's draws are in them")
    pictures = _extracted(found.root, boxes)
    people, named = _extracted_people(pictures)
    rows: list[SourceRow] = []
    for draw, tested in enumerate(draws(path), start=1):
        strangers = sorted(tested - set(people))
        if strangers:
            raise DataError(
                f"{path}, draw {draw} tests person {strangers[0][1]} of pair {strangers[0][0]}; expected somebody in "
                f"{pictures}"
            )
        for image, (person, view) in named.items():
            split = f"{'test' if person in tested else 'train'}-{draw:02d}"
            rows.append(SourceRow(image, split, people[person], camera_id=f"c{view}"))
    return replace(
        found,
        pictures=pictures,
        listing=path,
        rows=tuple(rows),
        groups={split: split[-2:] for split in {row.split for row in rows}},
    )


def draws(path: Path) -> list[set[tuple[int, int]]]:
    """Read the variable `testsets`: for each draw its test people as (pair of cameras, person in it), from 1.

    Raises:
        DataError: the variable is missing or of another form.
        MissingExtraError: the package that reads the file is not installed.
    """
    found = []
    for number, cell in enumerate(np.ravel(read_matlab(path, ("testsets",))["testsets"]), start=1):
        table = np.asarray(cell)
        if table.ndim != 2 or table.shape[1] != 2 or table.dtype.kind not in "fiu":
            raise DataError(
                f"{path}: draw {number} is an array of {table.shape}; expected a row (pair, person) for each"
            )
        found.append({(int(pair), int(person)) for pair, person in table})
    return found


def _check_classic(found: Source, boxes: str) -> None:
    """Refuse other pictures, or other draws, than those that were published."""
    splits = found.by_split()
    tests = [name for name in splits if name.startswith("test-")]
    if len(tests) != DRAWS:
        raise DataError(f"{found.listing} has {len(tests)} draws; CUHK03 as published has {DRAWS}")
    for name in tests:
        rows = splits[name]
        tested = {row.person_id for row in rows}
        pictures = len(rows) + len(splits.get(name.replace("test", "train"), ()))
        people = len(tested | {row.person_id for row in splits.get(name.replace("test", "train"), ())})
        for have, expected, noun in (
            (pictures, PICTURES[boxes], "pictures in all"),
            (people, PEOPLE, "people in all"),
            (len(tested), CLASSIC_TEST, "test people"),
        ):
            if have != expected:
                raise DataError(
                    f"{found.root}: {found.title}, {name} has {have} {noun} instead of {expected} as published; "
                    f"extract the pictures again"
                )


def _extracted(root: Path, boxes: str) -> Path:
    """The folder of extracted pictures."""
    names = (f"images_{boxes}", f"cuhk03_{boxes}", boxes)
    folder = next((root / name for name in names if (root / name).is_dir()), None)
    if folder is None:
        raise DataError(
            f"{root} has no folder {' or '.join(names)}; the pictures of cuhk-03.mat are extracted to it under names "
            f"such as 1_001_1_01.png"
        )
    return folder


def _extracted_people(folder: Path) -> tuple[dict[tuple[int, int], int], dict[str, tuple[tuple[int, int], str]]]:
    """(pair, person in it) -> the person's number from 1; and picture -> (pair, person in it) and view."""
    named = {}
    for image in list_images(folder):
        match = _EXTRACTED.match(image)
        if match is None:
            raise DataError(f"{folder / image} is not named PAIR_PERSON_VIEW_PICTURE, such as 1_001_1_01.png")
        named[image] = ((int(match["pair"]), int(match["person"])), match["view"])
    people = sorted({person for person, _ in named.values()})
    return {person: number for number, person in enumerate(people, start=1)}, named


def _text(cell: object, path: Path) -> str:
    """The one string of a cell of `filelist`."""
    inner = np.ravel(np.asarray(cell))
    if inner.size != 1 or not isinstance(inner[0], str) or not inner[0].strip():
        raise DataError(f"{path}: filelist holds {inner!r:.60}; expected a file name in each cell")
    return str(inner[0]).strip()


def _whole_numbers(values: np.ndarray, key: str, path: Path) -> list[int]:
    flat = np.ravel(values)
    if flat.dtype.kind not in "fiu" or not np.array_equal(flat, np.round(flat)):
        raise DataError(f"{path}: {key} holds {flat[:3]}; expected a column of whole numbers")
    return [int(value) for value in flat]
