"""Market-1501: 1,501 people from six cameras, searched by picture; and every street in its layout.

Names carry person, camera, sequence and frame. In `bounding_box_test` the label -1 is junk, kept and flagged, and 0000
is a distractor, which nobody is looking for. `gt_bbox` has hand-drawn boxes, for asking with several pictures at once;
half a million further distractors are an archive of their own. Source: Zheng et al., ICCV (2015).
"""

from __future__ import annotations

from pathlib import Path

from passerby.data.readers.places import find_root, list_images
from passerby.data.readers.reid_folders import GALLERY, NAMINGS, QUERY, TRAIN, folder_rows, rows_of
from passerby.data.readers.source import STREET_FILE, Counts, Source, SourceRow, assemble
from passerby.data.records import Dataset
from passerby.errors import DataError

#: Boxes drawn by hand, and the split that they become.
HAND_BOXES, MULTI_QUERY = "gt_bbox", "multi_query"
#: Folders that the archive of distractors is unpacked to.
DISTRACTORS = ("images", "distractors", "distractors_500k")
HOW_MANY_DISTRACTORS = 500_000

#: Counted on the official lists: 3,368 ask; of 19,732 searched, 13,115 show somebody, 2,798 are 0000, 3,819 are -1.
PUBLISHED = {
    "train": Counts(images=12_936, identities=751),
    "test": Counts(images=3_368 + 19_732, identities=750, queries=3_368),
}

_ARCHIVE = ("Market-1501-v15.09.15", "market1501", "Market-1501")
_EXPECTED = "the unpacked archive Market-1501-v15.09.15, or a street: passerby world make FOLDER --layout market1501"


def read(root: Path, *, distractors: bool = False) -> Dataset:
    """Open Market-1501, or a street in its layout.

    Args:
        root: the folder with `bounding_box_train/`, `query/` and `bounding_box_test/`, or the one above.
        distractors: whether the 500,000 distractors, in `images/` beside these, are searched too.

    Raises:
        DataError: a folder is missing, a name says nothing, or counts are not those of the published set.
    """
    return assemble(source(root, distractors=distractors))


def source(root: Path, *, distractors: bool = False) -> Source:
    """What the folders of Market-1501 say, defects included.

    Raises:
        DataError: a folder is missing or empty, or a name says nothing.
    """
    root = find_root(root, (TRAIN, QUERY, GALLERY), _EXPECTED, inside=_ARCHIVE)
    rows = folder_rows(root, "market1501", street=(root / STREET_FILE).is_file())
    published, provenance = dict(PUBLISHED), {}
    if (root / HAND_BOXES).is_dir():
        rows += _hand_boxes(root, {row.person_id for row in rows if row.asks})
        provenance[MULTI_QUERY] = f"{HAND_BOXES}: boxes drawn by hand, of people whom the test asks for"
    if distractors:
        rows += _distractors(root)
        test = PUBLISHED["test"]
        published["test"] = Counts(test.images + HOW_MANY_DISTRACTORS, test.identities, queries=test.queries)
        provenance["test"] = "with the 500,000 distractors"
    return Source(
        name="market1501-500k" if distractors else "market1501",
        title="Market-1501",
        root=root,
        pictures=root,
        listing=root,
        rows=rows,
        licence="Market-1501: academic research",
        published=published,
        provenance=provenance,
        groups={MULTI_QUERY: MULTI_QUERY},
        notes=("CUHK-PEDES holds query pictures of this test: a model trained there has seen these people.",),
    )


def _hand_boxes(root: Path, asked: set[int | None]) -> tuple[SourceRow, ...]:
    """The hand-drawn boxes of people whom the test asks for; those of training people have no use."""
    return tuple(row for row in rows_of(root, HAND_BOXES, MULTI_QUERY, "market1501") if row.person_id in asked)


def _distractors(root: Path) -> tuple[SourceRow, ...]:
    """The half million: nobody in them is known, whatever their names say."""
    folder = next((name for name in DISTRACTORS if (root / name).is_dir()), None)
    if folder is None:
        raise DataError(
            f"{root} has no folder of the 500,000 distractors; unpack distractors_500k.zip to {root / DISTRACTORS[0]}, "
            f"or open it as market1501"
        )
    pattern = NAMINGS["market1501"].pattern
    found = ((name, pattern.match(name)) for name in list_images(root / folder, deep=True))
    return tuple(
        SourceRow(f"{folder}/{name}", "test", camera_id=f"c{match['camera']}" if match else None)
        for name, match in found
    )
