"""CUHK-PEDES: 40,206 pictures of 13,003 people from five older sets, two sentences each (rarely four or ten).

`reid_raw.json` is one list of {split, captions, file_path, id, processed_tokens}; pictures lie in folders below
`imgs/`. The three `*_reid.json` files of later projects hold the same by split. `caption_all.json` of the mailed
archive has the sentences proof-read but no splits, and its ids are another numbering: it is joined by path, and
nothing but its sentences is taken. Source: Li et al., Person Search with Natural Language Description (2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from passerby.data.readers.entries import Entry
from passerby.data.readers.places import find_root, read_entries
from passerby.data.readers.source import Counts, Source, SourceRow, assemble
from passerby.data.records import Dataset
from passerby.errors import DataError

ANNOTATIONS = "reid_raw.json"
PROOFREAD = "caption_all.json"
BY_SPLIT: Mapping[str, str] = {split: f"{split}_reid.json" for split in ("train", "val", "test")}
IMAGES = "imgs"

#: As published; the captions are the file's own sum, papers also print 68,108 for train.
PUBLISHED = {
    "train": Counts(images=34054, identities=11003, captions=68126),
    "val": Counts(images=3078, identities=1000, captions=6158),
    "test": Counts(images=3074, identities=1000, captions=6156),
}

_EXPECTED = "the unpacked archive of CUHK-PEDES with reid_raw.json of its project page"
_FIELDS = ("split", "captions", "file_path", "id")
_NOTES = (
    "Its part from Market-1501 shows people of Market-1501's test split: a model trained here is no fair guest there.",
    "51 sentences of val and test describe different people alike, so R@1 of 100 is out of reach.",
)


def read(root: Path, *, proofread: bool = False) -> Dataset:
    """Open CUHK-PEDES, or a street in its layout.

    Args:
        root: the folder with `reid_raw.json`, or the three `*_reid.json`, and `imgs/`.
        proofread: take the sentences of `caption_all.json` instead; published figures use those of `reid_raw.json`.

    Raises:
        DataError: a file is missing, damaged or not what it should be; the message says what, where and what to do.
    """
    return assemble(source(root, proofread=proofread))


def source(root: Path, *, proofread: bool = False) -> Source:
    """What the files of CUHK-PEDES say, defects included.

    Raises:
        DataError: the annotations are missing or cannot be read.
    """
    root = find_root(root, (ANNOTATIONS, *BY_SPLIT.values(), PROOFREAD), _EXPECTED)
    listing, rows = _annotated(root)
    found = Source(
        name="cuhk-pedes",
        title="CUHK-PEDES",
        root=root,
        pictures=root / IMAGES,
        listing=listing,
        rows=rows,
        licence="CUHK-PEDES: academic use only, by request to its authors; no redistribution",
        published=PUBLISHED,
        captioned=True,
        notes=_NOTES,
    )
    return _with_proofread_captions(found) if proofread else found


def _annotated(root: Path) -> tuple[Path, tuple[SourceRow, ...]]:
    """The rows of `reid_raw.json`, or of the three files that later projects made of it."""
    path = root / ANNOTATIONS
    if path.is_file():
        entries = read_entries(path, "{split, captions, file_path, id}")
        _refuse_renamed(entries, path)
        return path, tuple(_row(entry, number, path) for number, entry in enumerate(entries))
    absent = [name for name in BY_SPLIT.values() if not (root / name).is_file()]
    if absent:
        found = f"only {PROOFREAD}, which has no splits" if len(absent) == len(BY_SPLIT) else f"no {absent[0]}"
        raise DataError(f"{root} has no {ANNOTATIONS} and {found}; expected {_EXPECTED}")
    rows: list[SourceRow] = []
    for split, name in BY_SPLIT.items():
        path = root / name
        entries = read_entries(path, "{captions, file_path, id}")
        rows += (_row(entry, number, path, split) for number, entry in enumerate(entries))
    return root, tuple(rows)


def _refuse_renamed(entries: list[Any], path: Path) -> None:
    """`caption_all.json` under the name of `reid_raw.json` is a frequent mistake."""
    if (
        isinstance(entries[0], dict)
        and "split" not in entries[0]
        and {"id", "file_path", "captions"} <= set(entries[0])
    ):
        raise DataError(
            f"{path} has no splits: it is {PROOFREAD} under another name, whose ids are another numbering too; "
            f"get {ANNOTATIONS} from the project page and keep this file as {PROOFREAD}"
        )


def _row(value: Any, number: int, path: Path, split: str | None = None) -> SourceRow:
    """One entry; `split` is what the file's name says, where it says one."""
    entry = Entry(value, path, f"entry {number}", _FIELDS if split is None else _FIELDS[1:])
    image = entry.text("file_path")
    entry.named(image)
    if split is None or "split" in entry.value:
        split = entry.choice("split", tuple(BY_SPLIT) if split is None else (split,))
    return SourceRow(image, split, entry.whole_number("id"), entry.captions("captions"))


def _with_proofread_captions(source: Source) -> Source:
    """Sentences of `caption_all.json`, joined by path; a picture it does not have keeps its own."""
    path = source.root / PROOFREAD
    if not path.is_file():
        raise DataError(
            f"{source.root} has no {PROOFREAD}; it is in the archive that the authors mail; or open cuhk-pedes"
        )
    sentences: dict[str, tuple[str, ...]] = {}
    for number, value in enumerate(read_entries(path, "{id, file_path, captions}")):
        entry = Entry(value, path, f"entry {number}", ("file_path", "captions"))
        image = entry.text("file_path")
        entry.named(image)
        sentences[image] = entry.captions("captions")
    rows = tuple(replace(row, captions=sentences.get(row.image, row.captions)) for row in source.rows)
    if not any(row.image in sentences for row in rows):
        raise DataError(f"{path} names none of the pictures of {source.listing}; expected the same file_path in both")
    provenance = {}
    for split, members in source.by_split().items():
        joined = sum(row.image in sentences for row in members)
        provenance[split] = f"captions of {PROOFREAD} for {joined:,} of {len(members):,} pictures"
    published = {split: replace(counts, captions=None) for split, counts in PUBLISHED.items()}
    return replace(source, name="cuhk-pedes-proofread", rows=rows, published=published, provenance=provenance)
