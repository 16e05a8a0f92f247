"""What a person image, a caption, an identity, a camera and a split are.

Every reader, the synthetic street and every evaluation speak in these records and in nothing else. They are small,
frozen and hold paths instead of pixels, so that a data set of a hundred thousand images opens in a moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from passerby.errors import DataError, nearest


@dataclass(frozen=True, slots=True)
class PersonImage:
    """One crop of one person.

    Attributes:
        image_id: unique inside its data set; stable across machines (usually the path below the data set's root).
        path: where the picture lies.
        person_id: the identity, or None where nobody knows it.
        camera_id: the camera, or None.
        time: seconds since the epoch, or None.
        junk: True for pictures that a protocol keeps in the gallery but counts neither as hit nor as miss.
    """

    image_id: str
    path: Path
    person_id: int | None = None
    camera_id: str | None = None
    time: float | None = None
    junk: bool = False


@dataclass(frozen=True, slots=True)
class Caption:
    """One sentence about one person image."""

    text: str
    image_id: str
    person_id: int | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """The images and captions of one split, in a fixed order.

    Attributes:
        name: of the split, such as "train".
        images: all its pictures, those that ask included.
        captions: all its sentences.
        query_ids: ids of the pictures that ask and are never searched, as in Market-1501's `query/`. Empty: a data set
            makes no such difference, and every picture may ask all others.
        provenance: where the split comes from when it is not the data set's own, such as "200 people held out of
            train, seed 0"; empty for the data set's own.

    Raises:
        DataError: an image id occurs twice, or a caption or a query id names an image that the split does not have.
    """

    name: str
    images: tuple[PersonImage, ...]
    captions: tuple[Caption, ...] = ()
    query_ids: tuple[str, ...] = ()
    provenance: str = ""

    def __post_init__(self) -> None:
        known = {image.image_id for image in self.images}
        if len(known) != len(self.images):
            raise DataError(f"split {self.name!r} lists {len(self.images)} images but only {len(known)} distinct ids")
        for caption in self.captions:
            if caption.image_id not in known:
                raise DataError(
                    f"split {self.name!r} has a caption for the image {caption.image_id!r}, which it does not list: "
                    f"{caption.text[:60]!r}"
                )
        strangers = [query for query in self.query_ids if query not in known]
        if strangers:
            raise DataError(f"split {self.name!r} asks with the image {strangers[0]!r}, which it does not list")

    @property
    def identities(self) -> tuple[int, ...]:
        """The distinct identities of the split, sorted."""
        return tuple(sorted({image.person_id for image in self.images if image.person_id is not None}))


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named data set: its splits, where it lies, and under which terms it may be used."""

    name: str
    root: Path
    splits: Mapping[str, Split] = field(repr=False)
    licence: str = "unknown"

    def split(self, name: str) -> Split:
        """Return one split by its name.

        Raises:
            DataError: the data set has no such split; the message lists those it has.
        """
        if name not in self.splits:
            raise DataError(
                f"data set {self.name!r} has no split {name!r}; it has {', '.join(self.splits)}."
                f"{nearest(name, self.splits)}"
            )
        return self.splits[name]
