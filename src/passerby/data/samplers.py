"""How a batch is put together: which pictures, which captions, in which order.

A sampler is a pure function of (pairs, epoch, seed): it returns the whole plan of an epoch as an array of rows, so
that an interrupted epoch resumes at any step and several processes can cut the same plan. A plan never holds one
picture twice in a batch, and every picture appears once an epoch (or one picture of each person does), up to the last
incomplete batch, which is dropped unless it is the only one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from passerby.errors import ConfigError, DataError, nearest


@dataclass(frozen=True, slots=True)
class Pairs:
    """Which caption describes which picture, and whom.

    Attributes:
        image_of: (C,) int64, index of the picture of each caption.
        person_of: (I,) int64, class index 0..P-1 of the person of each picture.
    """

    image_of: np.ndarray
    person_of: np.ndarray

    def __post_init__(self) -> None:
        if len(self.image_of) == 0:
            raise DataError("there is no caption to train on; every training picture needs at least one")
        if self.image_of.max() >= len(self.person_of):
            raise DataError(
                f"a caption points at picture {self.image_of.max()}, but there are only {len(self.person_of)}"
            )


def sample_epoch(
    name: str,
    pairs: Pairs,
    batch_size: int,
    rng: np.random.Generator,
    features: np.ndarray | None = None,
    group: int = 4,
    captions_of: str = "image",
    captions: int = 1,
    epoch_of: str = "image",
    turn: int = 0,
) -> np.ndarray:
    """Plan one epoch.

    Args:
        name: ``shuffled`` (any pictures together), ``identities`` (no person twice in a batch where it can be
            avoided), ``neighbours`` (like `identities`, with people that look or sound alike side by side: hard
            negatives, Xuan et al. 2020; falls back to `identities` while there are no features).
        pairs: the captions and their pictures.
        batch_size: pairs per batch.
        rng: decides everything; the same state gives the same plan.
        features: (P, D) unit vectors, one per person, for `neighbours`.
        group: size of the groups of neighbours.
        captions_of: ``image`` pairs a picture with one of its own captions, ``person`` with a caption of any picture
            of its person, so that words about one view ("seen from behind") are no way to win.
        captions: how many captions K go with each picture, drawn independently.
        epoch_of: ``image`` shows every picture once, ``person`` one picture of each person, the next one in the next
            epoch; hard negatives are then found anew as often.
        turn: number of the epoch, which says whose turn it is where an epoch is one of persons.

    Returns:
        (S, B, 1 + K) int64: for each of S steps, B rows of a picture and its K captions.

    Raises:
        ConfigError: unknown sampler, pairing or kind of epoch.
    """
    known = ("shuffled", "identities", "neighbours")
    if name not in known:
        raise ConfigError(f"no sampler is called {name!r}; known: {', '.join(known)}.{nearest(name, known)}")
    pairings = {"image": pairs.image_of, "person": pairs.person_of[pairs.image_of]}
    if captions_of not in pairings:
        raise ConfigError(f"captions_of is {captions_of!r}; expected {' or '.join(pairings)}")
    if epoch_of not in pairings:
        raise ConfigError(f"epoch_of is {epoch_of!r}; expected {' or '.join(pairings)}")
    images = np.unique(pairs.image_of)
    if epoch_of == "person":
        images = _one_of_each(images, pairs.person_of[images], turn)
    owners = images if captions_of == "image" else pairs.person_of[images]
    drawn = [_draw_captions(owners, pairings[captions_of], rng) for _ in range(captions)]
    if name == "shuffled":
        order = rng.permutation(len(images))
    elif name == "identities" or features is None:
        order = _spread(pairs.person_of[images], rng.permutation(pairs.person_of.max() + 1), rng)
    else:
        order = _spread(pairs.person_of[images], _group_neighbours(features, group, rng), rng)
    rows = np.stack([images, *drawn], axis=1)[order]  # (I, 1 + K)
    if len(rows) <= batch_size:
        return rows[None]
    steps = len(rows) // batch_size
    return rows[: steps * batch_size].reshape(steps, batch_size, 1 + captions)


def _one_of_each(images: np.ndarray, persons: np.ndarray, turn: int) -> np.ndarray:
    """The picture of each person whose turn it is: pictures (I,) and their persons (I,) -> (P,)."""
    _, first, count = np.unique(np.sort(persons), return_index=True, return_counts=True)
    # People begin at different places, so that a turn is no camera's where pictures are listed by camera.
    place = first + (turn + np.arange(len(first))) % count
    return np.sort(images[np.argsort(persons, kind="stable")[place]])


def _draw_captions(owners: np.ndarray, owner_of_caption: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one caption for each row from those of its owner (a picture or a person): (I,) and (C,) -> (I,)."""
    by_owner = np.argsort(owner_of_caption, kind="stable")
    first = np.searchsorted(owner_of_caption, owners, sorter=by_owner)
    last = np.searchsorted(owner_of_caption, owners, side="right", sorter=by_owner)
    return by_owner[first + rng.integers(0, last - first)]


def _spread(persons: np.ndarray, person_order: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Order pictures in rounds: each round takes one picture of each person, in the given order of persons."""
    shuffled = rng.permutation(len(persons))
    by_person = shuffled[np.argsort(persons[shuffled], kind="stable")]
    sorted_persons = persons[by_person]
    starts = np.searchsorted(sorted_persons, sorted_persons)
    rounds = np.arange(len(persons)) - starts  # the how-manieth picture of its person
    place = np.empty(len(person_order), dtype=np.int64)
    place[person_order] = np.arange(len(person_order))
    return by_person[np.lexsort((place[sorted_persons], rounds))]


def _group_neighbours(features: np.ndarray, group: int, rng: np.random.Generator) -> np.ndarray:
    """Order persons so that each block of `group` holds a random seed person and its nearest still free ones."""
    count = len(features)
    free = np.ones(count, dtype=bool)
    reach = min(count, 16 * group)
    blocks: list[np.ndarray] = []
    seeds = rng.permutation(count)
    for start in range(0, count, 1024):  # blocks of 1,024 rows keep the similarity matrix small
        chunk = seeds[start : start + 1024]
        scores = features[chunk] @ features.T  # (1024, P)
        near = np.argpartition(-scores, reach - 1, axis=1)[:, :reach]
        near = np.take_along_axis(near, np.argsort(-np.take_along_axis(scores, near, 1), axis=1, kind="stable"), 1)
        for seed, candidates in zip(chunk, near, strict=True):
            if not free[seed]:
                continue
            free[seed] = False
            others = candidates[free[candidates]][: group - 1]
            free[others] = False
            blocks.append(np.concatenate([[seed], others]))
    return np.concatenate([blocks[index] for index in rng.permutation(len(blocks))])
