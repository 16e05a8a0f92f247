"""Flickr30k: 31,783 photographs of anything, five sentences each; there are no identities, so a hit is the picture.

Two files go round: Karpathy's `dataset_flickr30k.json` with its splits (31,014 pictures), and Kaggle's `results.csv`
without any, separated by bars, with one row that lacks a bar. The latter is split as the attention report does: a
fifth of the pictures, drawn with NumPy's seed 42, is val. Source: Young et al., TACL (2014).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from passerby.data.readers.entries import Entry
from passerby.data.readers.places import find_root, read_json, read_lines
from passerby.data.readers.source import Counts, Source, SourceRow, assemble
from passerby.data.records import Dataset
from passerby.data.splitting import tutorial_split
from passerby.errors import DataError

KARPATHY = "dataset_flickr30k.json"
KAGGLE = "results.csv"
#: Folders that the pictures lie in, as archives spell them.
IMAGES = ("flickr30k-images", "flickr30k_images", "Images", "images")
SPLITS = ("train", "val", "test")
LICENCE = "Flickr30k: non-commercial research and education, under Flickr's terms; by request form"

PUBLISHED = {
    "train": Counts(images=29000, captions=145000),
    "val": Counts(images=1014, captions=5070),
    "test": Counts(images=1000, captions=5000),
}
PUBLISHED_8020 = {"train": Counts(images=25427, captions=127135), "val": Counts(images=6356, captions=31780)}

_TITLE = "Flickr30k"
_HEADING = ("image_name", "comment_number", "comment")
#: A number and its sentence in one cell: the bar between them is missing.
_JOINED = re.compile(r"^(?P<number>\d+)\s+(?P<comment>\S.*)$")
_NOTES = ("Two splits are called Flickr30k's test, Karpathy's and Entities'; they share 25 pictures: name yours.",)


def read(root: Path, *, kaggle: bool = False) -> Dataset:
    """Open Flickr30k, or a street in its layout.

    Args:
        root: the folder with the annotations and the folder of pictures.
        kaggle: read `results.csv`, split 80/20 by picture, instead of Karpathy's file.

    Raises:
        DataError: a file is missing, damaged or not what it should be; the message says what, where and what to do.
    """
    return assemble(source(root, kaggle=kaggle))


def source(root: Path, *, kaggle: bool = False) -> Source:
    """What the files of Flickr30k say, defects included.

    Raises:
        DataError: the annotations are missing or cannot be read.
    """
    if kaggle:
        return _kaggle(root)
    if (root / KAGGLE).is_file() and not (root / KARPATHY).is_file():
        raise DataError(
            f"{root} has {KAGGLE}, which has no splits, and no {KARPATHY}; open it as flickr30k-8020, or add "
            f"Karpathy's file"
        )
    root = find_root(root, (KARPATHY,), f"Karpathy's {KARPATHY} and the pictures of Flickr30k")
    path = root / KARPATHY
    rows = tuple(_karpathy_rows(read_json(path), path))
    return Source(
        name="flickr30k",
        title=_TITLE,
        root=root,
        pictures=folder_of_pictures(root, IMAGES, rows),
        listing=path,
        rows=rows,
        licence=LICENCE,
        published=PUBLISHED,
        captioned=True,
        notes=_NOTES,
    )


def _karpathy_rows(tree: Any, path: Path) -> list[SourceRow]:
    images = tree.get("images") if isinstance(tree, dict) else None
    if not isinstance(images, list) or not images:
        raise DataError(f"{path} has no list under 'images'; expected Karpathy's {{dataset, images: [...]}}")
    rows = []
    for number, value in enumerate(images):
        entry = Entry(value, path, f"picture {number}", ("filename", "split", "sentences"))
        name = entry.text("filename")
        entry.named(name)
        sentences = entry.value["sentences"]
        if not isinstance(sentences, list):
            raise DataError(f"{entry.where}: sentences is {sentences!r:.80}; expected a list of {{raw, tokens}}")
        captions = []
        for sentence in sentences:
            raw = sentence.get("raw") if isinstance(sentence, dict) else None
            if not isinstance(raw, str):
                raise DataError(f"{entry.where}: a sentence is {sentence!r:.80}; expected {{raw, tokens}}")
            captions.append(raw)
        rows.append(SourceRow(name, entry.choice("split", SPLITS), captions=tuple(captions)))
    return rows


def _kaggle(root: Path) -> Source:
    root = find_root(root, (KAGGLE,), f"Kaggle's {KAGGLE} and the pictures of Flickr30k")
    path = root / KAGGLE
    sentences, repaired = _kaggle_sentences(path)
    home = tutorial_split(sorted(sentences))
    rows = tuple(SourceRow(name, home[name], captions=tuple(texts)) for name, texts in sentences.items())
    origin = "a fifth of the pictures is val, drawn with NumPy's seed 42 (the attention report's split)"
    notes = [
        f"{path.name}, line {line}: the bar before the sentence is missing; read as {text!r}" for line, text in repaired
    ]
    return Source(
        name="flickr30k-8020",
        title=_TITLE,
        root=root,
        pictures=folder_of_pictures(root, IMAGES, rows),
        listing=path,
        rows=rows,
        licence=LICENCE,
        published=PUBLISHED_8020,
        captioned=True,
        provenance=dict.fromkeys(("train", "val"), origin),
        notes=(*_NOTES, *notes),
    )


def _kaggle_sentences(path: Path) -> tuple[dict[str, list[str]], list[tuple[int, str]]]:
    """Sentences of each picture, and the lines whose missing bar was put back.

    The bar is found by what the row looks like. To patch it by its index breaks on a file in another order, and to
    drop it leaves a picture with four sentences and shifts the ids of all that follow.
    """
    lines = read_lines(path)
    heading = tuple(name.strip() for name in lines[0][1].split("|")) if lines else ()
    if heading != _HEADING:
        raise DataError(f"{path} begins with {'|'.join(heading)[:80]!r}; expected {'| '.join(_HEADING)!r}")
    sentences: dict[str, list[str]] = {}
    repaired = []
    for number, line in lines[1:]:
        cells = [cell.strip() for cell in line.split("|", 2)]
        joined = _JOINED.match(cells[1]) if len(cells) == 2 or (len(cells) == 3 and not cells[2]) else None
        if joined:
            cells = [cells[0], joined["number"], joined["comment"]]
            repaired.append((number, cells[2]))
        if len(cells) != 3 or not cells[0] or not cells[1].isdecimal():
            raise DataError(f"{path}, line {number} is {line!r:.80}; expected a picture, a number and a sentence")
        sentences.setdefault(cells[0], []).append(cells[2])
    return sentences, repaired


def folder_of_pictures(root: Path, names: Sequence[str], rows: Sequence[SourceRow]) -> Path:
    """The first of some folders that is there and holds a listed picture; the root itself where none does so.

    Raises:
        DataError: there is no such folder, and the root holds no listed picture either.
    """
    some = [row.image for row in rows[:50]]
    present = [folder for folder in (*(root / name for name in names), root) if folder.is_dir()]
    for folder in present:
        if any((folder / image).is_file() for image in some):
            return folder
    if len(present) > 1:
        return present[0]
    raise DataError(f"{root} has no folder of pictures; expected one named {' or '.join(names)}")


def splits_of(lists: Mapping[str, Path]) -> dict[str, str]:
    """Picture -> split, out of files with a name on each line.

    Raises:
        DataError: a list is missing, or a picture is in two lists.
    """
    home: dict[str, str] = {}
    for split, path in lists.items():
        for number, line in read_lines(path):
            name = line.strip()
            if home.setdefault(name, split) != split:
                raise DataError(f"{path}, line {number}: {name} is in the list of {home[name]} too; expected one split")
    return home
