"""Queries, gallery and hits of a split under a protocol, and the vectors that belong to them.

Everything that a protocol says about who asks, who is searched and what counts is settled here, once; what ranks and
what counts comes after it and knows nothing of captions, cameras or splits.

Axes: Q queries, G gallery items, N images of the split, C captions of the split, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from passerby.data.records import Split
from passerby.errors import ConfigError, DataError
from passerby.evaluation.features import Features, Vectors
from passerby.evaluation.leaks import refuse_repeated_pictures
from passerby.evaluation.protocol import Protocol
from passerby.metrics import Relevance, relevance_from_labels

Integers: TypeAlias = "NDArray[np.int64]"


@dataclass(frozen=True, slots=True)
class Task:
    """Queries and gallery of a split under a protocol.

    Attributes:
        split: the pictures and sentences.
        protocol: the rules.
        rows: (Q,) which captions, or which images, of the split ask.
        columns: (G,) which captions, or which images, of the split are searched.
        people: (Q,) the identity that each query asks for; a negative number of its own where that is unknown.
        gallery_people: (G,) the identity of each gallery item, -1 where that is unknown.
        itself: (Q,) the gallery row that is the query's own picture, -1 where it is not searched.
        relevance: hits and junk of each query.
    """

    split: Split
    protocol: Protocol
    rows: Integers
    columns: Integers
    people: Integers
    gallery_people: Integers
    itself: Integers
    relevance: Relevance


def set_up(split: Split, protocol: Protocol) -> Task:
    """Lay out who asks, who is searched and what is a hit.

    At identity level captions and pictures of nobody known do not ask; a caption without an identity asks for the one
    of its picture. Junk pictures and their captions neither ask nor count. Pictures that the split keeps for asking
    are not searched.

    Raises:
        DataError: the split is another than the protocol reports, lists a picture twice, or no query with a hit is
            left.
    """
    if split.name != protocol.report_split:
        raise DataError(
            f"the protocol reports the split {protocol.report_split!r}, but was given the split {split.name!r}"
        )
    refuse_repeated_pictures(split)
    kept_for_asking = set(split.query_ids)
    asks = np.array([image.image_id in kept_for_asking for image in split.images], bool)  # (N,)
    junk = np.array([image.junk for image in split.images], bool)
    pictured, owner = {"image": _images(split), "text": _captions(split)}, _owners(split)

    candidates = np.flatnonzero(asks) if protocol.query == "image" and asks.any() else np.arange(len(split.images))
    if protocol.query == "text":
        candidates = np.arange(len(split.captions))
    columns = np.flatnonzero(~asks) if protocol.gallery == "image" else np.arange(len(split.captions))
    of_query, of_gallery = pictured[protocol.query], pictured[protocol.gallery][columns]
    by_picture = protocol.relevance == "picture"
    wanted = of_query if by_picture else owner[protocol.query]
    rows = candidates[(wanted[candidates] >= 0) & ~junk[of_query[candidates]]]
    itself = np.full(len(rows), -1)
    if protocol.query == protocol.gallery:
        place = np.full(len(split.images), -1)
        place[columns] = np.arange(len(columns))
        itself = place[rows]
    cameras = _camera_numbers(split) if protocol.same_camera == "junk" else None
    relevance = relevance_from_labels(
        wanted[rows],
        of_gallery if by_picture else owner[protocol.gallery][columns],
        ignored=junk[of_gallery],
        itself=itself,
        query_cameras=None if cameras is None else cameras[of_query[rows]],
        gallery_cameras=None if cameras is None else cameras[of_gallery],
    )
    if not len(relevance.positives):
        raise DataError(
            f"split {split.name!r} has {len(split.images)} images and {len(split.captions)} captions, but no query "
            f"that has anything to find under the protocol: {protocol.describe()}"
        )
    known = owner[protocol.query][rows]
    people = np.where(known >= 0, known, -1 - of_query[rows])
    return Task(split, protocol, rows, columns, people, owner[protocol.gallery][columns], itself, relevance)


def query_vectors(features: Features, task: Task) -> Vectors:
    """The vectors of those that ask, (Q, D).

    Raises:
        DataError: the features hold no captions although captions ask, are not those of the task's split, or are not
            finite; the message names the picture or caption.
        ConfigError: the protocol asks for pooled queries, and the features hold none.
    """
    if task.protocol.query == "text":
        return _chosen(features.captions, task, "text", task.rows)
    if not task.protocol.multi_query:
        return _chosen(features.images, task, "image", task.rows)
    if features.pooled is None:
        raise ConfigError(
            f"protocol {task.protocol.name!r} asks with several pictures at once; make the features with pool_queries"
        )
    return _chosen(features.pooled, task, "image", task.rows)


def gallery_vectors(features: Features, task: Task) -> Vectors:
    """The vectors of those that are searched, (G, D).

    Raises:
        DataError: as `query_vectors`.
    """
    side = features.captions if task.protocol.gallery == "text" else features.images
    return _chosen(side, task, task.protocol.gallery, task.columns)


def _chosen(vectors: Vectors | None, task: Task, kind: str, rows: Integers) -> Vectors:
    split = task.split
    if vectors is None:
        raise DataError(
            "the features hold no captions, but the protocol needs them; encode the split with its captions"
        )
    names: Sequence[str] = (
        [caption.text for caption in split.captions] if kind == "text" else [image.image_id for image in split.images]
    )
    if len(vectors) != len(names):
        raise DataError(
            f"features of {len(vectors)} {'captions' if kind == 'text' else 'images'}; the split {split.name!r} has "
            f"{len(names)}"
        )
    # A row's sum is finite only where all of it is; what only overflows is looked at again.
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = np.flatnonzero(~np.isfinite(vectors.sum(axis=1)))
    bad = [row for row in suspicious.tolist() if not np.isfinite(vectors[row]).all()]
    if bad:
        raise DataError(
            f"{len(bad)} of {len(names)} vectors hold NaN or infinite values; the first is that of "
            f"{names[bad[0]][:120]!r}"
        )
    return vectors if len(rows) == len(vectors) else vectors[rows]


def _images(split: Split) -> Integers:
    return np.arange(len(split.images))


def _captions(split: Split) -> Integers:
    """(C,) the picture that each caption belongs to."""
    place = {image.image_id: number for number, image in enumerate(split.images)}
    return np.array([place[caption.image_id] for caption in split.captions], np.int64)


def _owners(split: Split) -> dict[str, Integers]:
    """(N,) and (C,) identities, -1 where nobody knows."""
    images = np.array([-1 if image.person_id is None else image.person_id for image in split.images], np.int64)
    said = np.array([-1 if caption.person_id is None else caption.person_id for caption in split.captions], np.int64)
    return {"image": images, "text": np.where(said >= 0, said, images[_captions(split)])}


def _camera_numbers(split: Split) -> Integers:
    """A number per image; -1 where the camera is unknown, which equals no other."""
    names = {name: number for number, name in enumerate(sorted({i.camera_id for i in split.images if i.camera_id}))}
    return np.array([names[image.camera_id] if image.camera_id else -1 for image in split.images], np.int64)
