"""DukeMTMC-reID: 1,812 people from eight cameras; for those who hold it already.

Its authors took it back in 2019: people were filmed outdoors, outside of what the review board had approved, and the
pictures were published. It is read so that older figures can be checked, it is not offered for download, every opening
says why, and tables of all data sets leave it out. Source: Zheng et al., ICCV (2017).
"""

from __future__ import annotations

import warnings
from pathlib import Path

from passerby.data.readers.places import find_root
from passerby.data.readers.reid_folders import GALLERY, QUERY, TRAIN, folder_rows
from passerby.data.readers.source import STREET_FILE, Counts, Source, assemble
from passerby.data.records import Dataset

#: 408 of the people who are searched were seen by one camera only; nobody asks for them.
PUBLISHED = {
    "train": Counts(images=16_522, identities=702),
    "test": Counts(images=2_228 + 17_661, identities=702 + 408, queries=2_228),
}
NOTICE = (
    "DukeMTMC-reID was withdrawn by its authors in 2019: people were filmed without the consent that such pictures "
    "need. Use it to check older figures only, do not pass it on, and prefer another data set"
)

_ARCHIVE = ("DukeMTMC-reID", "dukemtmc-reid", "dukemtmcreid", "dukemtmc-reid/DukeMTMC-reID")
_EXPECTED = (
    "the folder DukeMTMC-reID of somebody who holds it, or a street: passerby world make FOLDER --layout dukemtmc"
)


def read(root: Path) -> Dataset:
    """Open DukeMTMC-reID with a warning, or a street in its layout without one.

    Args:
        root: the folder with `bounding_box_train/`, `query/` and `bounding_box_test/`, or the one above.

    Raises:
        DataError: a folder is missing, a name says nothing, or counts are not those of the published set.
    """
    return assemble(source(root))


def source(root: Path) -> Source:
    """What the folders of DukeMTMC-reID say, defects included.

    Raises:
        DataError: a folder is missing or empty, or a name says nothing.
    """
    root = find_root(root, (TRAIN, QUERY, GALLERY), _EXPECTED, inside=_ARCHIVE)
    street = (root / STREET_FILE).is_file()
    if not street:
        warnings.warn(NOTICE, UserWarning, stacklevel=2)
    return Source(
        name="dukemtmc",
        title="DukeMTMC-reID",
        root=root,
        pictures=root,
        listing=root,
        rows=folder_rows(root, "dukemtmc", street=street),
        licence="DukeMTMC-reID: withdrawn by its authors in 2019; not for new work",
        published=PUBLISHED,
        notes=(NOTICE,),
    )
