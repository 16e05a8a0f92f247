"""From vectors or scores to a report, under a protocol.

`evaluate` encodes a split once and judges it; `evaluate_features` and `evaluate_scores` judge what is already there
(several protocols on one encoding, an oracle, a baseline), and `evaluate_chance` says what knowing nothing reaches.

Axes: Q queries, G gallery items, N images, C captions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from passerby.data.records import Split
from passerby.errors import ConfigError, DataError
from passerby.evaluation.features import Encoder, Features, Progress, Vectors, encode_split
from passerby.evaluation.judging import Stamp, judge
from passerby.evaluation.leaks import duplicate_diagnosis, equal_rows
from passerby.evaluation.protocol import Protocol
from passerby.evaluation.report import Report
from passerby.evaluation.scoring import Scoring, dot_product
from passerby.evaluation.task import Task, gallery_vectors, query_vectors, set_up
from passerby.metrics import TieGroups, rank_at_random, rank_blocks, rank_scores, rank_single_shot

_LOGGER = logging.getLogger(__name__)


def evaluate(
    encoder: Encoder,
    split: Split,
    protocol: Protocol,
    *,
    name: str = "model",
    dataset: str = "",
    fingerprint: str | None = None,
    trained_on: str | None = None,
    seed: int = 0,
    scoring: Scoring | None = None,
    flip: bool = False,
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
        trained_on: what the checkpoint says it learned from, for the report's warnings.
        seed: of the bootstrap and of drawn galleries.
        scoring: how queries score the gallery; by the dot product where nothing is said.
        flip: True adds the vector of each picture's mirror to its own.
        progress: called while encoding.

    Raises:
        DataError: the split has nothing to find, or a vector is not finite or not of unit length.
        ConfigError: the protocol pools pictures of a query, which needs `pool_queries` and `evaluate_features`.
    """
    set_up(split, protocol)  # a split with nothing to find is refused before minutes are spent on it
    with_captions = "text" in (protocol.query, protocol.gallery)
    features = encode_split(encoder, split, with_captions=with_captions, flip=flip, progress=progress)
    return evaluate_features(
        features,
        split,
        protocol,
        name=name,
        dataset=dataset,
        fingerprint=fingerprint,
        trained_on=trained_on,
        seed=seed,
        scoring=scoring,
    )


def evaluate_features(
    features: Features,
    split: Split,
    protocol: Protocol,
    *,
    name: str = "model",
    dataset: str = "",
    fingerprint: str | None = None,
    trained_on: str | None = None,
    seed: int = 0,
    scoring: Scoring | None = None,
) -> Report:
    """Report on a split that is already encoded.

    Where rows of the gallery are equal and decide R@1, that is said in the log.

    Args: as `evaluate`; `features` come from `encode_split` of the same split.

    Raises:
        DataError: the features are not those of the split or not finite, or the split has nothing to find.
        ConfigError: the protocol pools pictures of a query, and the features hold no pooled vectors.
    """
    task, chosen = set_up(split, protocol), scoring or dot_product()
    stamp = Stamp(name, dataset, fingerprint, seed, trained_on, chosen.name, chosen.transductive, flip=features.flipped)
    report = judge(rank_task(features, task, chosen, seed=seed), task, stamp)
    for diagnosis in duplicate_diagnosis(report.r1 / 100, *equal_rows(gallery_vectors(features, task))):
        _LOGGER.warning("%s: %s", name, diagnosis)
    return report


def rank_task(features: Features, task: Task, scoring: Scoring, *, seed: int = 0) -> list[TieGroups]:
    """Rank the gallery of a task for all its queries; several groups are draws of the gallery.

    Args:
        features: of the task's split.
        task: from `set_up`.
        scoring: how queries score the gallery.
        seed: of drawn galleries.

    Raises:
        DataError: the features are not those of the split, or a score is not finite.
    """
    scores = partial(score_blocks, query_vectors(features, task), gallery_vectors(features, task), task, scoring)
    if task.protocol.shots == "all":
        return [rank_blocks(scores(), task.relevance)]
    return rank_single_shot(scores, task.relevance, task.gallery_people, draws=task.protocol.draws, seed=seed)


def score_blocks(queries: Vectors, gallery: Vectors, task: Task, scoring: Scoring) -> Iterator[Vectors]:
    """Scores of a task's queries, some at a time; what is junk for all of them is not shown to the scoring.

    Args:
        queries: (Q, D).
        gallery: (G, D).
        task: from `set_up`.
        scoring: how queries score the gallery.

    Yields:
        (B, G) scores, Q rows together; -1 in the columns of junk, which no ranking counts.
    """
    ignored = task.relevance.ignored
    if not ignored.any():
        yield from scoring.blocks(queries, gallery, task.itself)
        return
    kept = np.flatnonzero(~ignored)
    place = np.full(len(ignored) + 1, -1)  # the last entry is where -1 points
    place[kept] = np.arange(len(kept))
    for part in scoring.blocks(queries, gallery[kept], place[task.itself]):
        block = np.full((len(part), len(ignored)), -1, part.dtype)
        block[:, kept] = part
        yield block


def evaluate_scores(
    scores: NDArray[np.floating], split: Split, protocol: Protocol, *, name: str, dataset: str = "", seed: int = 0
) -> Report:
    """Report on scores that something else gave: an oracle, a baseline.

    Args: as `evaluate`; `scores` are higher for better matches, one row for each caption (or image, where images
        ask) of the split and one column for each image (or caption, where captions are searched), in its order.

    Shape:
        scores: (C, N), (N, N) or (N, C).

    Raises:
        DataError: another shape, a score that is not finite, or a split with nothing to find.
        ConfigError: the protocol pools pictures of a query; scores are past pooling.
    """
    if protocol.multi_query:
        raise ConfigError(f"protocol {protocol.name!r} pools vectors, but scores were given; use evaluate_features")
    task = set_up(split, protocol)
    sizes = {"text": len(split.captions), "image": len(split.images)}
    expected = (sizes[protocol.query], sizes[protocol.gallery])
    if np.shape(scores) != expected:
        raise DataError(f"scores have shape {np.shape(scores)}; the split {split.name!r} needs {expected}")
    asked = scores if len(task.rows) == expected[0] else scores[task.rows]
    asked = asked if len(task.columns) == expected[1] else asked[:, task.columns]
    if protocol.shots == "all":
        groups = [rank_scores(asked, task.relevance)]
    else:
        whole = np.asarray(asked, np.float64)
        groups = rank_single_shot(lambda: [whole], task.relevance, task.gallery_people, draws=protocol.draws, seed=seed)
    return judge(groups, task, Stamp(name, dataset, seed=seed, scoring="given"))


def evaluate_chance(split: Split, protocol: Protocol, *, dataset: str = "") -> Report:
    """Report what random order reaches, as an exact expected value.

    Raises:
        DataError: the split has nothing to find.
    """
    task = set_up(split, protocol)
    if protocol.shots == "all":
        groups = [rank_at_random(task.relevance)]
    else:
        nothing = np.zeros((len(task.rows), len(task.columns)), np.float32)
        groups = rank_single_shot(lambda: [nothing], task.relevance, task.gallery_people, draws=1)
    return judge(groups, task, Stamp("chance", dataset, scoring="random order"))
