"""The plan of a street: who walks it, how often each person is seen, and what everything is drawn from.

A `Street` is a frozen list of numbers. People, views, captions and file names follow from it alone, whatever the
machine and the number of workers; the same seed gives the same test people under every size of training split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from passerby.data.records import Split
from passerby.data.world.attributes import Identity
from passerby.data.world.cameras import CAMERAS
from passerby.data.world.identities import people
from passerby.data.world.mistakes import ERROR_RATE
from passerby.data.world.narrators import DETAIL, NARRATORS, Description, describe
from passerby.data.world.render import Rendering, View, crop_size, render, sample_view
from passerby.errors import ConfigError, nearest

#: Counts up whenever the same plan would give other pictures or captions.
WORLD_VERSION = 1

SPLITS = ("train", "val", "test")
CAPTIONS_PER_IMAGE = 2

#: How many captions of a split are the queries of the standard test.
STANDARD_QUERIES = 500

_PEOPLE, _VIEWS, _WORDS, _QUERIES = range(4)  # independent sources of chance drawn from one seed
_FRAMES_PER_VIEW = 1000


@dataclass(frozen=True, slots=True)
class Street:
    """Everything that decides a street.

    Attributes:
        seed: 0 or above.
        train: people in the training split; 0 leaves the split out.
        val: people in the validation split; 0 leaves it out.
        test: people in the test split; 0 leaves it out.
        train_views: pictures of each training person.
        test_views: pictures of each validation and test person.
        size: (H, W) of all pictures, or "natural" for crops of varying size like a real camera's.
        masks: whether part masks are written beside the pictures.
        detail: how little narrators leave out; see `narrators.describe`.
        error_rate: share of facts that narrators get wrong.

    Raises:
        ConfigError: a number is out of range.
    """

    seed: int = 0
    train: int = 12_000
    val: int = 100
    test: int = 250
    train_views: int = 2
    test_views: int = 4
    size: tuple[int, int] | str = (128, 64)
    masks: bool = False
    detail: float = DETAIL
    error_rate: float = ERROR_RATE

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; expected 0 or above")
        counts = {split: self.people_in(split) for split in SPLITS}
        for split, count in counts.items():
            if count < 0 or count == 1:
                raise ConfigError(f"{split} is {count} people; expected 0, or at least 2 so that everybody has a twin")
        if not any(counts.values()):
            raise ConfigError("a street without people in any split cannot be made; give at least one split 2 people")
        if not (1 <= self.train_views <= 100 and 1 <= self.test_views <= 100):
            raise ConfigError(f"views are {self.train_views} and {self.test_views}; expected 1 to 100 of each person")
        if isinstance(self.size, str):
            if self.size != "natural":
                raise ConfigError(f'size is {self.size!r}; expected (H, W) or "natural"')
        elif len(self.size) != 2 or not all(16 <= side <= 1024 for side in self.size):
            raise ConfigError(f"size is {self.size}; expected (H, W) with sides of 16 to 1024 pixels")
        if not 0 <= self.error_rate < 1 or not self.detail > 0:
            raise ConfigError(f"error rate {self.error_rate} must be in [0, 1) and detail {self.detail} above 0")

    def people_in(self, split: str) -> int:
        """How many people a split has."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]

    def views_in(self, split: str) -> int:
        """How many pictures of each of its people a split has."""
        return self.train_views if split == "train" else self.test_views

    @property
    def images(self) -> int:
        """How many pictures the street has."""
        return sum(self.people_in(split) * self.views_in(split) for split in SPLITS)


#: The named sizes: for a look, for the two-core demo, for a GPU.
SIZES: Mapping[str, Street] = MappingProxyType(
    {
        "small": Street(train=2_000, val=50),
        "medium": Street(),
        "large": Street(train=20_000, val=250, test=1000, train_views=4, size="natural"),
    }
)


def street_of_size(name: str) -> Street:
    """A named street.

    Raises:
        ConfigError: no such name.
    """
    if name not in SIZES:
        raise ConfigError(f"no street of size {name!r}; there are {', '.join(SIZES)}.{nearest(name, SIZES)}")
    return SIZES[name]


def inhabitants(street: Street) -> dict[str, list[Identity]]:
    """The people of every split, all different; numbered from 0 through train, val and test."""
    taken: set[tuple[object, ...]] = set()
    drawn: dict[str, list[Identity]] = {}
    for split in reversed(SPLITS):  # the test comes first, so that no size of training split changes it
        count = street.people_in(split)
        seed = (street.seed, _PEOPLE, SPLITS.index(split))
        drawn[split] = people(seed, count, taken=taken) if count else []
    person, family = 0, 0
    for split in SPLITS:
        if person:  # the first split's people, most of all, are numbered already
            drawn[split] = [
                replace(one, person_id=one.person_id + person, family_id=one.family_id + family) for one in drawn[split]
            ]
        if drawn[split]:
            person, family = drawn[split][-1].person_id + 1, drawn[split][-1].family_id + 1
    return {split: drawn[split] for split in SPLITS if drawn[split]}


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the street with its view, its frame number and what narrators say about it."""

    view: View
    frame: int
    rendering: Rendering
    descriptions: tuple[Description, ...]


def take_picture(
    street: Street, split: str, place: int, identity: Identity, number: int, captions: int = CAPTIONS_PER_IMAGE
) -> Picture:
    """Draw and describe one picture.

    Args:
        street: the plan.
        split: the person's split.
        place: the person's place in the split, from 0.
        identity: the person.
        number: which of the person's pictures, from 0; consecutive ones come from different cameras.
        captions: how many narrators describe it, at most eight.
    """
    where = (street.seed, SPLITS.index(split), place)
    rng = np.random.default_rng((*where, _VIEWS, number))
    view = sample_view(rng, camera=_camera_order(where)[number % len(CAMERAS)])
    frame = number * _FRAMES_PER_VIEW + int(rng.integers(_FRAMES_PER_VIEW))
    size = crop_size(view) if isinstance(street.size, str) else street.size
    rendering = render(identity, view, size)
    words = np.random.default_rng((*where, _WORDS, number))
    names = tuple(NARRATORS)
    chosen = words.choice(len(names), size=captions, replace=False)
    descriptions = tuple(
        describe(
            identity,
            rendering.visible,
            rendering.facing,
            words,
            narrator=names[int(one)],
            error_rate=street.error_rate,
            detail=street.detail,
            full=rendering.full,
        )
        for one in chosen
    )
    return Picture(view, frame, rendering, descriptions)


@lru_cache(maxsize=1)  # a person's pictures are taken one after the other
def _camera_order(where: tuple[int, int, int]) -> list[int]:
    """In which order the cameras see a person: by the seed, the split and the place in it."""
    return np.random.default_rng((*where, _VIEWS)).permutation(len(CAMERAS)).tolist()


def queries(split: Split, count: int = STANDARD_QUERIES, seed: int = 0) -> Split:
    """The split with only the captions that are queries of the standard test.

    One caption of each of `count` images, both drawn with the seed; one of every image where there are no more. The
    gallery stays whole: the standard test has 500 queries and 1,000 images.

    Args:
        split: any split whose images have captions.
        count: how many queries, at least 1.
        seed: decides which; the published figures use 0.

    Raises:
        ConfigError: fewer than one query is asked for.
    """
    if count < 1:
        raise ConfigError(f"{count} queries cannot be asked; expected at least 1")
    rng = np.random.default_rng((seed, _QUERIES))
    of_image: dict[str, list[int]] = {}
    for row, caption in enumerate(split.captions):
        of_image.setdefault(caption.image_id, []).append(row)
    described = list(of_image)
    drawn = sorted(int(one) for one in rng.permutation(len(described))[:count])
    rows = [of_image[described[one]] for one in drawn]
    return replace(split, captions=tuple(split.captions[choice[int(rng.integers(len(choice)))]] for choice in rows))
