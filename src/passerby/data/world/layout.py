"""What a layout is: where the pictures of a street lie, what its annotation files say, and who asks.

A layout is a real data set's own form, so that one reader serves both. Each is a record of pure functions; the tables
are in `text_layouts.py` and `reid_layouts.py`, the choice by name in `layouts.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from passerby.data.world.street import CAPTIONS_PER_IMAGE, SPLITS

#: Street's split -> the same split in a layout that has all three.
OWN_SPLITS: Mapping[str, str] = MappingProxyType({split: split for split in SPLITS})
#: For layouts without a validation split: those people train.
TWO_SPLITS: Mapping[str, str] = MappingProxyType({"train": "train", "val": "train", "test": "test"})
#: For layouts whose files know no splits.
ONE_SPLIT: Mapping[str, str] = MappingProxyType(dict.fromkeys(SPLITS, "all"))


@dataclass(frozen=True, slots=True)
class Sighting:
    """One picture of one person.

    Attributes:
        split: as the layout calls it.
        person: the person's number as the layout's reader gives it.
        place: the person's place in the street's split, from 0.
        camera: from 0.
        number: which of the person's pictures, from 0; consecutive ones come from different cameras.
        views: how many pictures of the person there are.
    """

    split: str
    person: int
    place: int
    camera: int
    number: int
    views: int

    def asks(self, cameras: int) -> bool:
        """Whether the picture is a query: in the test, at most one of each camera, and half of a person's pictures.

        Args:
            cameras: how many cameras the layout tells apart.
        """
        return self.split == "test" and self.number < min(self.views // 2, cameras)


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture with its captions, as annotation files list it."""

    sighting: Sighting
    image_id: str
    captions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Extra:
    """A picture that a layout has beside the street's own.

    Attributes:
        path: below the root.
        kind: "exact" is the same person in a box that fits, "junk" a box that misses most of the person, "nobody" the
            place without the person.
        later: for "exact", how many moments after the street's picture; 0 is the same moment.
    """

    path: str
    kind: Literal["exact", "junk", "nobody"]
    later: int = 0


def no_extras(sighting: Sighting, image_id: str, defects: bool) -> tuple[Extra, ...]:
    """The extras of a layout that has none."""
    del sighting, image_id, defects
    return ()


@dataclass(frozen=True, slots=True)
class Layout:
    """A data set's layout.

    Attributes:
        reader: name under which the written street is opened.
        images: folder below the root that image ids start from; "" is the root itself.
        image_id: a sighting and the number of its video frame to the picture's id, which is its path below `images`.
        annotate: all entries in the order of the people, and whether defects are wanted, to files below the root.
        splits: the street's split to the layout's.
        first_person: number of the street's first person in the layout.
        captions: sentences of each picture.
        extras: a sighting, its picture's id and whether defects are wanted, to pictures beside the street's own.
        thumbs: folders below the root into which defects put a Thumbs.db.
        needs: package that `annotate` imports, or None.
    """

    reader: str
    images: str
    image_id: Callable[[Sighting, int], str]
    annotate: Callable[[Sequence[Entry], bool], Mapping[str, str | bytes]]
    splits: Mapping[str, str] = field(default_factory=lambda: OWN_SPLITS)
    first_person: int = 0
    captions: int = CAPTIONS_PER_IMAGE
    extras: Callable[[Sighting, str, bool], tuple[Extra, ...]] = no_extras
    thumbs: tuple[str, ...] = ()
    needs: str | None = None
