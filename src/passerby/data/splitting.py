"""Who goes into which split: seeded, by whole people, so that nobody is trained on and tested on.

A figure measured on people whose other pictures were trained on measures memory. Where there are no identities, each
picture stands for itself. What is decided here depends on the people and the seed alone, never on the order of files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from passerby.data.records import Dataset, PersonImage, Split
from passerby.errors import ConfigError, DataError

#: Share and seed of the tutorial code that the attention report is built on.
TUTORIAL_SHARE, TUTORIAL_SEED = 0.2, 42

Key = TypeVar("Key", int, str)


def tutorial_split(names: Sequence[str]) -> dict[str, str]:
    """Split pictures into train and val as a widespread CLIP tutorial does, and with it the attention report.

    A fifth, rounded down, is drawn for val by `choice` of NumPy's legacy generator, whose stream is frozen.

    Args:
        names: the pictures, sorted by name as Kaggle's `results.csv` lists them.
    """
    # The legacy generator is the point: another would draw another split.
    drawn = np.random.RandomState(TUTORIAL_SEED).choice(len(names), int(TUTORIAL_SHARE * len(names)), replace=False)
    chosen = set(drawn.tolist())
    return {name: "val" if position in chosen else "train" for position, name in enumerate(names)}


def assign(people: Sequence[Key], shares: Mapping[str, float], seed: int) -> dict[Key, str]:
    """Deal people out to splits by their shares.

    Args:
        people: distinct ids, in any order.
        shares: split -> its share, positive; they are divided by their sum.
        seed: decides who goes where, from 0.

    Returns:
        Person -> split. Sizes are within one person of the exact shares, except that no split stays empty.

    Raises:
        ConfigError: no shares, or one that is not positive.
        DataError: fewer people than splits.
    """
    if not shares or any(not math.isfinite(share) or share <= 0 for share in shares.values()):
        raise ConfigError(f"shares are {dict(shares)}; expected a positive share for each split, such as train=0.8")
    if len(people) < len(shares):
        raise DataError(
            f"{len(people)} people cannot fill {len(shares)} splits ({', '.join(shares)}); give more people"
        )
    order = np.random.default_rng(seed).permutation(len(people))
    known = sorted(people)
    home: dict[Key, str] = {}
    start = 0
    for name, size in _sizes(len(people), shares).items():
        home |= {known[position]: name for position in order[start : start + size].tolist()}
        start += size
    return home


def _sizes(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers that add up to the total, by largest remainder; an empty split takes one from the largest."""
    exact = {name: total * share / sum(shares.values()) for name, share in shares.items()}
    sizes = {name: math.floor(size) for name, size in exact.items()}
    by_remainder = sorted(shares, key=lambda name: (sizes[name] - exact[name], name))
    for name in by_remainder[: total - sum(sizes.values())]:
        sizes[name] += 1
    for name in shares:
        if not sizes[name]:
            sizes[max(sizes, key=lambda other: sizes[other])] -= 1
            sizes[name] = 1
    return sizes


def hold_out(dataset: Dataset, name: str, people: int, seed: int = 0) -> Dataset:
    """Move some people of train to a val split, for a data set that has none.

    Args:
        dataset: with a split train and none called val.
        name: of the data set that comes out, since it is another one.
        people: how many move, from 1 to one less than train has.
        seed: decides who, from 0.

    Raises:
        DataError: there is a val split already, or train has too few people.
    """
    train = dataset.split("train")
    if "val" in dataset.splits:
        raise DataError(f"{dataset.name} has a val split of its own; open it as {dataset.name}, without holding out")
    if not 0 < people < len(train.identities):
        raise DataError(
            f"{people} of {len(train.identities)} people of train cannot be held out; expected fewer, from 1"
        )
    drawn = np.random.default_rng(seed).choice(np.array(train.identities), people, replace=False)
    chosen = set(drawn.tolist())
    origin = f"{people} people of train held out as val, seed {seed}"
    home = {image.image_id: "val" if image.person_id in chosen else "train" for image in train.images}
    parts = _dealt([train], home, ("train", "val"), origin)
    others = {key: split for key, split in dataset.splits.items() if key != "train"}
    return replace(dataset, name=name, splits={**parts, **others})


def split_by_identity(dataset: Dataset, shares: Mapping[str, float], seed: int = 0) -> Dataset:
    """Split all of a data set anew, whatever splits it had, with each person in one split only.

    A picture of nobody known is dealt out by itself.

    Args:
        dataset: any.
        shares: split -> its share of the people, positive; divided by their sum.
        seed: decides who goes where, from 0.

    Raises:
        ConfigError: no shares, or one that is not positive.
        DataError: fewer people than splits, or a picture is in two splits.
    """
    everything = [image for split in dataset.splits.values() for image in split.images]
    units = {image.image_id: _unit(image) for image in everything}
    if len(units) != len(everything):
        raise DataError(f"{dataset.name} lists a picture in two splits; expected each once to split it anew")
    place = assign(sorted(set(units.values())), shares, seed)
    home = {image_id: place[unit] for image_id, unit in units.items()}
    of = ", ".join(f"{name} {share:g}" for name, share in shares.items())
    origin = f"split by identity, shares {of}, seed {seed}"
    return replace(dataset, splits=_dealt(list(dataset.splits.values()), home, tuple(shares), origin))


def _unit(image: PersonImage) -> str:
    """What stays together: the person, or a picture of nobody known."""
    return f"picture {image.image_id}" if image.person_id is None else f"person {image.person_id:012d}"


def _dealt(splits: Sequence[Split], home: Mapping[str, str], names: Sequence[str], provenance: str) -> dict[str, Split]:
    """Pictures, sentences and queries of some splits, dealt out to new ones in the order they had."""
    parts = {}
    for name in names:
        images = tuple(image for split in splits for image in split.images if home[image.image_id] == name)
        captions = tuple(caption for split in splits for caption in split.captions if home[caption.image_id] == name)
        queries = tuple(query for split in splits for query in split.query_ids if home[query] == name)
        parts[name] = Split(name, images, captions, queries, provenance)
    return parts
