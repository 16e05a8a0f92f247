"""What a data set's own files say, before anybody judges it, and the one way from there to records.

A reader parses its files into a `Source`: damage that leaves nothing to read is refused there, defects are kept, so
that `passerby data check` can list them all. `assemble` is the strict end: it refuses whatever would make a figure
wrong, and gives the same sorted records for every data set.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from passerby.data.records import Caption, Dataset, PersonImage, Split
from passerby.errors import DataError

#: Lies in the root of a street, never of a real data set; spares a miniature the published counts.
STREET_FILE = "street.json"
STREET_LICENCE = "Apache-2.0 (synthetic street of passerby)"

_USUAL_ORDER = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a split holds; None: not published, so not compared.

    Attributes:
        images: pictures, those that ask and junk included.
        identities: people; pictures of nobody known and junk are not counted.
        captions: sentences.
        queries: of the pictures, those that ask and are never searched.
    """

    images: int
    identities: int | None = None
    captions: int | None = None
    queries: int | None = None


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One picture as the data set's files list it, defects included.

    Attributes:
        image: path below the folder of pictures, with forward slashes; the picture's id in the records.
        split: name of its split.
        person_id: the identity, or None where nobody knows it.
        captions: its sentences, as they are written; may be empty.
        camera_id: the camera, or None.
        time: seconds since the epoch, or None.
        junk: kept in the gallery, counted neither as hit nor as miss.
        asks: a query of a data set that tells queries from gallery.
    """

    image: str
    split: str
    person_id: int | None = None
    captions: tuple[str, ...] = ()
    camera_id: str | None = None
    time: float | None = None
    junk: bool = False
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A data set as its files describe it.

    Attributes:
        name: under which it is opened; variants have names of their own.
        title: what people call it.
        root: the folder, or the file, that was opened.
        pictures: the folder that the rows' paths start from.
        listing: the file, or the folder, that lists the pictures: what messages point at.
        rows: all pictures, in any order.
        licence: the terms of use, in one line.
        published: counts of each split as published; empty: nothing to compare with.
        captioned: True where each picture must have a sentence.
        own: True for a user's own list, which may name pictures anywhere.
        provenance: split -> where it comes from, for splits that are not the files' own.
        groups: split -> the group of splits in which a person, and a picture, belongs to one; splits that are not
            named are one group. Several draws of train and test are a group each.
        notes: what a user of this data set should know, a line each.
    """

    name: str
    title: str
    root: Path
    pictures: Path
    listing: Path
    rows: tuple[SourceRow, ...] = field(repr=False)
    licence: str = "unknown"
    published: Mapping[str, Counts] = field(default_factory=dict)
    captioned: bool = False
    own: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def is_street(self) -> bool:
        """Whether this is a synthetic street in the data set's layout."""
        return (self.root / STREET_FILE).is_file()

    def by_split(self) -> dict[str, list[SourceRow]]:
        """Rows of each split in the order train, val, test, then the others by name; sorted by person and path."""
        found: dict[str, list[SourceRow]] = {}
        for row in self.rows:
            found.setdefault(row.split, []).append(row)
        usual = [name for name in _USUAL_ORDER if name in found]
        return {name: sorted(found[name], key=_person_and_path) for name in usual + sorted(set(found) - set(usual))}


def _person_and_path(row: SourceRow) -> tuple[bool, int, str]:
    return (row.person_id is None, row.person_id or 0, row.image)


def assemble(source: Source) -> Dataset:
    """Turn what the files say into records, or refuse it.

    Raises:
        DataError: a picture is listed twice, lies outside or is missing; a sentence is empty or missing where each
            picture must have one; a person is in two splits; or a split differs from what was published.
    """
    if not source.rows:
        raise DataError(f"{source.listing} lists no pictures; expected those of {source.title}; download it again")
    if not source.pictures.is_dir():
        raise DataError(f"no such folder: {source.pictures}; the pictures of {source.title} belong there")
    _refuse_repeated(source)
    _refuse_outside(source)
    _refuse_missing(source)
    _refuse_silent(source)
    _refuse_crossing(source)
    if not source.is_street:
        _refuse_other_counts(source)
    splits = {name: _split(name, rows, source) for name, rows in source.by_split().items()}
    return Dataset(source.name, source.root, splits, STREET_LICENCE if source.is_street else source.licence)


def in_one_split(source: Source, name: str = "all") -> Source:
    """The same pictures as one split, to be dealt out anew; published counts are those of other splits and go."""
    rows = tuple(replace(row, split=name) for row in source.rows)
    return replace(source, rows=rows, published={}, provenance={}, groups={})


def _split(name: str, rows: Sequence[SourceRow], source: Source) -> Split:
    images = tuple(
        PersonImage(row.image, source.pictures / row.image, row.person_id, row.camera_id, row.time, row.junk)
        for row in rows
    )
    captions = tuple(Caption(text, row.image, row.person_id) for row in rows for text in row.captions)
    queries = tuple(row.image for row in rows if row.asks)
    return Split(name, images, captions, queries, source.provenance.get(name, ""))


def count(rows: Sequence[SourceRow]) -> Counts:
    """Count a split's rows."""
    return Counts(
        images=len(rows),
        identities=len({row.person_id for row in rows if row.person_id is not None and not row.junk}),
        captions=sum(len(row.captions) for row in rows),
        queries=sum(row.asks for row in rows),
    )


def repeated(source: Source) -> dict[str, int]:
    """Pictures that are listed more than once, and how often."""
    times = Counter((source.groups.get(row.split), row.image) for row in source.rows)
    return {image: number for (_, image), number in times.items() if number > 1}


def outside(source: Source) -> list[str]:
    """Paths of a downloaded list that lead out of the folder of pictures."""
    return [] if source.own else [row.image for row in source.rows if leads_out(row.image)]


def leads_out(image: str) -> bool:
    """Whether a listed path is absolute, climbs up or holds a NUL: it is followed by nobody."""
    path = PurePosixPath(image.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or "\0" in image or Path(image).is_absolute()


def missing(source: Source) -> list[str]:
    """Listed pictures that are not on the disk; each folder is read once instead of asking for each file."""
    wanted: dict[Path, list[str]] = {}
    for image in {row.image for row in source.rows}:
        if source.own or not leads_out(image):
            wanted.setdefault((source.pictures / image).parent, []).append(image)
    absent = []
    for folder, images in wanted.items():
        present = _names_in(folder)
        for image in images:
            path = source.pictures / image
            # A file system that ignores case knows names that its listing spells otherwise.
            if path.name not in present and not path.is_file():
                absent.append(image)
    return sorted(absent)


def _names_in(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except OSError:
        return set()


def crossing(source: Source) -> dict[int, list[str]]:
    """People who are in more than one split, and in which; junk and pictures of nobody known belong to no one."""
    homes: dict[tuple[int, str], set[str]] = {}
    for row in source.rows:
        if row.person_id is not None and not row.junk:
            homes.setdefault((row.person_id, source.groups.get(row.split, "")), set()).add(row.split)
    return {person: sorted(splits) for (person, _), splits in sorted(homes.items()) if len(splits) > 1}


def silent(source: Source) -> list[SourceRow]:
    """Rows with an empty sentence, or with none where each picture must have one."""
    return [
        row
        for row in source.rows
        if (source.captioned and not row.captions) or any(not text.strip() for text in row.captions)
    ]


def differences(found: Counts, published: Counts) -> list[str]:
    """Which counts are off, each as "4 pictures instead of 18505"; empty when all agree."""
    pairs = [
        ("pictures", found.images, published.images),
        ("people", found.identities, published.identities),
        ("captions", found.captions, published.captions),
        ("queries", found.queries, published.queries),
    ]
    return [f"{have} {noun} instead of {expected}" for noun, have, expected in pairs if expected not in (None, have)]


def _refuse_repeated(source: Source) -> None:
    for image, times in repeated(source).items():
        raise DataError(f"{source.listing} lists {image} {times} times; expected every picture once")


def _refuse_outside(source: Source) -> None:
    for image in outside(source):
        raise DataError(f"{source.listing}: the path {image!r} leads out of {source.pictures}; do not use this file")


def _refuse_missing(source: Source) -> None:
    absent = missing(source)
    if absent:
        raise DataError(
            f"{len(absent)} of {len(source.rows)} pictures are not in {source.pictures}, the first being {absent[0]}; "
            f"unpack the archive again. `passerby data check` lists what is missing"
        )


def _refuse_silent(source: Source) -> None:
    for row in silent(source):
        found = "an empty caption" if row.captions else "no caption"
        raise DataError(f"{source.listing}: {row.image} has {found}; expected a sentence")


def _refuse_crossing(source: Source) -> None:
    """A person in two splits: testing on people seen in training measures nothing."""
    for person, splits in crossing(source).items():
        raise DataError(
            f"{source.listing}: person {person} is in {' and in '.join(splits)}; expected one split for each person"
        )


def _refuse_other_counts(source: Source) -> None:
    """Another release, or part of one, would give figures that look comparable and are not."""
    rows = source.by_split()
    for name, published in source.published.items():
        off = differences(count(rows.get(name, [])), published)
        if off:
            raise DataError(
                f"{source.root}: split {name} of {source.title} has {', '.join(off)} as published; this is another "
                f"release or part of one: download it again. `passerby data check` shows all counts"
            )
