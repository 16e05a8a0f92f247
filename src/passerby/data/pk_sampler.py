"""Batches of P people with K pictures each, as triplet losses need them (Hermans et al. 2017, section 2).

The plan of an epoch is a pure function of people, cameras and random state. Its length is known beforehand, which the
usual sampler's is not: that one draws people until too few are left, and skips a tenth of Market-1501 each epoch. Here
each person's pictures are cut into groups of K and the groups are dealt to the steps in turn, so that nobody is twice
in a batch. A process that takes whole rows of P has whole people.

Axes: N pictures, I people, S steps, P people of a batch, K pictures of each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from passerby.errors import ConfigError

Integers = NDArray[np.int64]


def pk_steps(pictures: Integers, people_each: int, pictures_each: int, cover_all: bool = True) -> int:
    """S, the steps of an epoch.

    Args:
        pictures: how many pictures each person has, at least one.
        people_each: P.
        pictures_each: K.
        cover_all: as in `plan_pk_epoch`.

    Shape:
        pictures (I,).

    Raises:
        ConfigError: P or K is below one, or there are fewer than P people.
    """
    _check(len(pictures), people_each, pictures_each)
    groups = _groups(pictures, pictures_each, cover_all)
    if cover_all:
        return int(max(-(-groups.sum() // people_each), groups.max()))
    low, high = 1, int(groups.sum() // people_each)  # the most steps that can all be filled with different people
    while low < high:
        middle = (low + high + 1) // 2
        if np.minimum(groups, middle).sum() >= middle * people_each:
            low = middle
        else:
            high = middle - 1
    return low


def plan_pk_epoch(
    person_of: Integers,
    people_each: int,
    pictures_each: int,
    rng: np.random.Generator,
    cover_all: bool = True,
    cameras: Integers | None = None,
) -> Integers:
    """Plan one epoch: every batch holds exactly P different people with K pictures each.

    A person with fewer than K pictures is there with copies of them; one with a single picture is its own only
    positive, so the triplet loss learns from it what augmentation makes of it, and no more.

    Args:
        person_of: whom each picture shows, 0..I-1, each at least once.
        people_each: P.
        pictures_each: K.
        rng: decides everything; the same state gives the same plan.
        cover_all: every picture comes at least once: a last short group is filled up with others of the person, and
            the last batches with people who come once more. False drops what does not fill a group or a batch; a
            person with fewer than K pictures is still filled up.
        cameras: the camera of each picture; a group then holds as many different ones as the person was seen by.

    Shape:
        person_of (N,), cameras (N,) -> (S, P, K) rows of pictures.

    Raises:
        ConfigError: P or K is below one, or there are fewer than P people.
    """
    pictures = np.bincount(person_of)
    steps = pk_steps(pictures, people_each, pictures_each, cover_all)
    own = np.minimum(_groups(pictures, pictures_each, cover_all), steps)  # (I,)
    order = rng.permutation(len(pictures))
    missing = steps * people_each - int(own.sum())
    groups = own + _extra(steps - own, missing, order) if missing > 0 else own
    # Groups of one person stand side by side; dealt to the steps in turn, no step gets two of them.
    dealt = np.repeat(order, groups[order])[: steps * people_each]
    rows = _pictures_of(dealt, person_of, pictures_each, rng, cameras)  # (S * P, K)
    plan = rows.reshape(people_each, steps, pictures_each).transpose(1, 0, 2)
    return np.ascontiguousarray(plan[rng.permutation(steps)])


def _check(people: int, people_each: int, pictures_each: int) -> None:
    if people_each < 1 or pictures_each < 1:
        raise ConfigError(
            f"batches of {people_each} people with {pictures_each} pictures each; expected one or more of both"
        )
    if people < people_each:
        raise ConfigError(
            f"a batch of {people_each} people was asked for, and the data show {people}; lower the batch size to at "
            f"most {people} x {pictures_each} = {people * pictures_each} pictures"
        )


def _groups(pictures: Integers, size: int, cover_all: bool) -> Integers:
    """How many groups each person's pictures fill, one at least: (I,) -> (I,)."""
    return np.maximum(-(-pictures // size) if cover_all else pictures // size, 1)


def _extra(room: Integers, missing: int, order: Integers) -> Integers:
    """Spread groups that are missing over people who have room for more, as evenly as can be: (I,) -> (I,)."""
    extra = np.zeros_like(room)
    while missing > 0:
        chosen = order[room[order] > extra[order]][:missing]
        extra[chosen] += 1
        missing -= len(chosen)
    return extra


def _pictures_of(
    dealt: Integers, person_of: Integers, size: int, rng: np.random.Generator, cameras: Integers | None
) -> Integers:
    """K pictures for each group, a person's groups side by side: its shuffled pictures in a ring: (G,) -> (G, K)."""
    shuffled = rng.permutation(len(person_of))
    if cameras is not None:
        shuffled = shuffled[np.argsort(_turns(shuffled, person_of, cameras, rng), kind="stable")]
    by_person = shuffled[np.argsort(person_of[shuffled], kind="stable")]
    pictures = np.bincount(person_of)
    first = np.cumsum(pictures) - pictures  # (I,) where each person begins in by_person
    starts = np.flatnonzero(np.diff(dealt, prepend=-1))  # where each person begins in dealt
    numbers = np.arange(len(dealt)) - np.repeat(starts, np.diff(np.append(starts, len(dealt))))  # (G,)
    slots = numbers[:, None] * size + np.arange(size)  # (G, K)
    return by_person[first[dealt][:, None] + slots % pictures[dealt][:, None]]


def _turns(shuffled: Integers, person_of: Integers, cameras: Integers, rng: np.random.Generator) -> NDArray[np.float64]:
    """When the turn of each picture comes if a person's cameras take turns in an order of their own: (N,) -> (N,)."""
    _, pair = np.unique(np.stack([person_of, cameras]), axis=1, return_inverse=True)
    pair = pair.reshape(-1)[shuffled]
    sorted_pairs = np.sort(pair)
    turn = np.empty(len(pair), np.int64)
    turn[np.argsort(pair, kind="stable")] = np.arange(len(pair)) - np.searchsorted(sorted_pairs, sorted_pairs)
    return turn + rng.random(pair.max() + 1)[pair]
