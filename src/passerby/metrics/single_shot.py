"""Single gallery shot: each query meets one picture of each person, drawn anew, as CUHK03 was first judged.

With one picture a person, R@K asks at which place the right person stands, not the right picture. The draw is random,
so it is repeated and the values are averaged; a seed makes it the same every time. Source: Li et al., "DeepReID",
CVPR 2014, section 5; the public evaluators draw ten times.

Axes: Q queries, G gallery items, I people of the gallery, B queries of one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from passerby.errors import ConfigError, DataError
from passerby.metrics.positions import Floats, TieGroups, rank_blocks
from passerby.metrics.relevance import Integers, Relevance


def rank_single_shot(
    blocks: Callable[[], Iterable[Floats]],
    relevance: Relevance,
    gallery_people: ArrayLike,
    *,
    draws: int = 10,
    seed: int = 0,
) -> list[TieGroups]:
    """Find the right person among one drawn picture of each, several times.

    Args:
        blocks: called once for each draw; gives the scores of all queries, some at a time, as for `rank_blocks`.
        relevance: hits and junk; all hits of a query are of one person, and what is junk for a query is never drawn.
        gallery_people: (G,) integers; items with a negative one are each a person of their own.
        draws: at least 1.
        seed: of the draws.

    Returns:
        one `TieGroups` for each draw, in which every query with a hit has exactly one.

    Raises:
        ConfigError: `draws` is below 1.
        DataError: shapes do not fit, or a score is NaN or infinite.
    """
    if draws < 1:
        raise ConfigError(f"{draws} draws of the gallery; expected at least 1")
    people = np.asarray(gallery_people)
    if people.shape != (relevance.gallery_size,) or not np.issubdtype(people.dtype, np.integer):
        raise DataError(
            f"gallery_people has shape {people.shape} and type {people.dtype}; expected "
            f"({relevance.gallery_size},) of integers"
        )
    person = _numbered(people)  # (G,) 0..I-1
    reduced = _of_people(relevance, person)
    return [
        rank_blocks(_drawn(blocks(), relevance, person, np.random.default_rng((seed, draw))), reduced)
        for draw in range(draws)
    ]


def _numbered(people: Integers) -> Integers:
    """(G,) a number for each person, and one for each item of nobody known."""
    alone = people < 0
    labels = people.astype(np.int64)
    labels[alone] = labels.max(initial=0) + 1 + np.arange(int(alone.sum()))
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def _of_people(relevance: Relevance, person: Integers) -> Relevance:
    """The relevance when people stand in the place of items: one hit a query; junk is who has only junk for it."""
    count = int(person.max(initial=-1)) + 1
    present = np.bincount(person[~relevance.ignored], minlength=count)  # (I,) items that can be drawn
    has_hit = np.diff(relevance.positive_start) > 0
    hits = person[relevance.positives[relevance.positive_start[:-1][has_hit]]]
    asking = np.repeat(np.arange(relevance.queries), np.diff(relevance.junk_start))
    pairs, times = np.unique(asking * count + person[relevance.junk], return_counts=True)
    rows, whose = np.divmod(pairs, max(count, 1))
    gone = times == present[whose]
    return Relevance(
        gallery_size=count,
        ignored=present == 0,
        positive_start=np.concatenate([[0], np.cumsum(has_hit)]).astype(np.int64),
        positives=hits,
        junk_start=np.searchsorted(rows[gone], np.arange(relevance.queries + 1)).astype(np.int64),
        junk=whose[gone],
    )


def _drawn(
    blocks: Iterable[Floats], relevance: Relevance, person: Integers, random: np.random.Generator
) -> Iterator[Floats]:
    """(B, I) scores of one drawn item of each person, for the queries of each block."""
    kept = np.flatnonzero(~relevance.ignored)
    kept = kept[np.argsort(person[kept], kind="stable")]
    size = np.bincount(person[kept], minlength=int(person.max(initial=-1)) + 1)  # (I,)
    first = np.minimum(np.cumsum(size) - size, max(len(kept) - 1, 0))  # people without items draw any, and are ignored
    query = 0
    for block in blocks:  # (B, G)
        chosen = kept[first + (random.random((len(block), len(size))) * size).astype(np.int64)]  # (B, I)
        for row in range(len(block)):
            hits = relevance.positives[slice(*relevance.positive_start[query : query + 2])]
            if len(hits):  # the person's other items may be junk for this query
                chosen[row, person[hits[0]]] = hits[random.integers(len(hits))]
            query += 1
        yield np.take_along_axis(block, chosen, axis=1)
