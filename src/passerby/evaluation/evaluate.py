"""From vectors or scores to a report, under a protocol.

`evaluate` encodes a split once and judges it; `evaluate_features` and `evaluate_scores` judge what is already there
(several protocols on one encoding, an oracle, a baseline), and `evaluate_chance` says what knowing nothing reaches.

Axes: Q queries, N images (the gallery), C captions.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

import passerby
from passerby.data.records import Split
from passerby.errors import DataError
from passerby.evaluation.features import Encoder, Features, Progress, encode_split
from passerby.evaluation.protocol import Protocol
from passerby.evaluation.report import FIGURES, Report
from passerby.metrics import (
    Relevance,
    TieGroups,
    Ties,
    average_precision,
    hits_at,
    identity_bootstrap,
    inverse_negative_penalty,
    mean_over_queries,
    rank_at_random,
    rank_features,
    rank_scores,
    relevance_from_labels,
)

Integers: TypeAlias = "NDArray[np.int64]"


@dataclass(frozen=True, slots=True)
class Task:
    """Queries and gallery of a split under a protocol.

    Attributes:
        split: the pictures and sentences.
        protocol: the rules.
        rows: (Q,) which captions, or which images, of the split ask.
        people: (Q,) the identity that each query asks for.
        relevance: hits and junk of each query; the gallery is all images of the split, in its order.
    """

    split: Split
    protocol: Protocol
    rows: Integers
    people: Integers
    relevance: Relevance


def set_up(split: Split, protocol: Protocol) -> Task:
    """Lay out who asks, who is searched and what is a hit.

    Captions and pictures of nobody known do not ask; a caption without an identity asks for the one of its picture.
    Junk pictures neither ask nor count.

    Raises:
        DataError: the split is another than the protocol reports, or no query with a hit is left.
    """
    if split.name != protocol.report_split:
        raise DataError(
            f"the protocol reports the split {protocol.report_split!r}, but was given the split {split.name!r}"
        )
    place = {image.image_id: number for number, image in enumerate(split.images)}
    owner = np.array([-1 if image.person_id is None else image.person_id for image in split.images], np.int64)
    junk = np.array([image.junk for image in split.images], bool)
    if protocol.query == "text":
        pictured = np.array([place[caption.image_id] for caption in split.captions], np.int64)
        named = [caption.person_id for caption in split.captions]
        wanted = np.array(
            [owner[at] if who is None else who for at, who in zip(pictured, named, strict=True)], np.int64
        )
        rows = np.flatnonzero(wanted >= 0)
    else:
        pictured, wanted = np.arange(len(owner)), owner
    rows = np.flatnonzero((wanted >= 0) & ~junk[pictured])
    cameras = _camera_numbers(split) if protocol.same_camera == "junk" else None
    relevance = relevance_from_labels(
        wanted[rows],
        owner,
        ignored=junk,
        itself=rows if protocol.query == "image" else None,
        query_cameras=None if cameras is None else cameras[pictured[rows]],
        gallery_cameras=cameras,
    )
    if not len(relevance.positives):
        raise DataError(
            f"split {split.name!r} has {len(split.images)} images and {len(split.captions)} captions, but no query "
            f"that has anything to find under the protocol: {protocol.describe()}"
        )
    return Task(split, protocol, rows, wanted[rows], relevance)


def evaluate(
    encoder: Encoder,
    split: Split,
    protocol: Protocol,
    *,
    name: str = "model",
    dataset: str = "",
    fingerprint: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Encode a split and report what the encoder finds in it.

    Args:
        encoder: what is evaluated.
        split: the split that the protocol reports.
        protocol: the rules.
        name: label of the report's row.
        dataset: name of the data set, for the report.
        fingerprint: of the checkpoint, for the report.
        seed: of the bootstrap.
        progress: called while encoding.

    Raises:
        DataError: the split has nothing to find, or a vector is not finite or not of unit length.
    """
    set_up(split, protocol)  # a split with nothing to find is refused before minutes are spent on it
    features = encode_split(encoder, split, with_captions=protocol.query == "text", progress=progress)
    return evaluate_features(features, split, protocol, name=name, dataset=dataset, fingerprint=fingerprint, seed=seed)


def evaluate_features(
    features: Features,
    split: Split,
    protocol: Protocol,
    *,
    name: str = "model",
    dataset: str = "",
    fingerprint: str | None = None,
    seed: int = 0,
) -> Report:
    """Report on a split that is already encoded.

    Args: as `evaluate`; `features` come from `encode_split` of the same split.

    Raises:
        DataError: the features are not those of the split, or the split has nothing to find.
    """
    task = set_up(split, protocol)
    groups = rank_features(query_vectors(features, task), features.images, task.relevance)
    return _report(groups, task, name, dataset, fingerprint, seed)


def evaluate_scores(
    scores: NDArray[np.floating], split: Split, protocol: Protocol, *, name: str, dataset: str = "", seed: int = 0
) -> Report:
    """Report on scores that something else gave: an oracle, a baseline, a re-ranking.

    Args: as `evaluate`; `scores` are higher for better matches, one row for each caption (or image, where images
        ask) of the split and one column for each image, in the split's order.

    Shape:
        scores: (C, N) or (N, N).

    Raises:
        DataError: another shape, a score that is not finite, or a split with nothing to find.
    """
    task = set_up(split, protocol)
    asking = len(split.captions) if protocol.query == "text" else len(split.images)
    if np.shape(scores) != (asking, len(split.images)):
        raise DataError(
            f"scores have shape {np.shape(scores)}; the split {split.name!r} needs {(asking, len(split.images))}"
        )
    rows = scores if len(task.rows) == asking else scores[task.rows]
    return _report(rank_scores(rows, task.relevance), task, name, dataset, None, seed)


def evaluate_chance(split: Split, protocol: Protocol, *, dataset: str = "") -> Report:
    """Report what random order reaches, as an exact expected value.

    Raises:
        DataError: the split has nothing to find.
    """
    task = set_up(split, protocol)
    return _report(rank_at_random(task.relevance), task, "chance", dataset, None, 0)


def query_vectors(features: Features, task: Task) -> NDArray[np.float32]:
    """The vectors of those that ask, (Q, D).

    Raises:
        DataError: the features hold no captions although captions ask, or are not those of the task's split.
    """
    split = task.split
    asking = features.captions if task.protocol.query == "text" else features.images
    if asking is None:
        raise DataError("the features hold no captions, but captions ask; encode the split with its captions")
    expected = len(split.captions) if task.protocol.query == "text" else len(split.images)
    if len(asking) != expected or len(features.images) != len(split.images):
        raise DataError(
            f"features of {len(features.images)} images and {len(asking)} queries; the split {split.name!r} has "
            f"{len(split.images)} and {expected}"
        )
    return asking[task.rows]


def _report(groups: TieGroups, task: Task, name: str, dataset: str, fingerprint: str | None, seed: int) -> Report:
    ties = task.protocol.ties
    values = _figures(groups, ties)
    worst, best = _figures(groups, "pessimistic"), _figures(groups, "optimistic")
    bounds = identity_bootstrap(np.stack(list(values.values()), axis=1), task.people, seed=seed)
    unknown = np.array([image.person_id is None for image in task.split.images], bool)
    hits = groups.positives
    return Report(
        name=name,
        figures={key: mean_over_queries(value) for key, value in values.items()},
        intervals={key: (float(low), float(high)) for key, (low, high) in zip(values, bounds, strict=True)},
        tie_bounds={key: (mean_over_queries(worst[key]), mean_over_queries(best[key])) for key in values},
        counts={
            "queries": len(task.rows),
            "queries_without_hit": int((hits == 0).sum()),
            "identities": len(np.unique(task.people)),
            "gallery": len(task.split.images),
            "hits_per_query": float(hits[hits > 0].mean()),
            "without_identity": int((unknown & ~task.relevance.ignored).sum()),
            "junk": int(task.relevance.ignored.sum()),
        },
        protocol=task.protocol,
        dataset=dataset,
        fingerprint=fingerprint,
        seed=seed,
        versions={"passerby": passerby.__version__, "python": platform.python_version(), "numpy": np.__version__},
    )


def _figures(groups: TieGroups, ties: Ties) -> dict[str, NDArray[np.float64]]:
    """(Q,) per figure, in percent."""
    values = {
        "r1": hits_at(groups, 1, ties),
        "r5": hits_at(groups, 5, ties),
        "r10": hits_at(groups, 10, ties),
        "map": average_precision(groups, ties),
        "minp": inverse_negative_penalty(groups, ties),
    }
    return {key: 100 * values[key] for key in FIGURES}


def _camera_numbers(split: Split) -> Integers:
    """A number per image; -1 where the camera is unknown, which equals no other."""
    names = {name: number for number, name in enumerate(sorted({i.camera_id for i in split.images if i.camera_id}))}
    return np.array([names[image.camera_id] if image.camera_id else -1 for image in split.images], np.int64)
