"""What a model finds, to look at: one sheet each of its best, its middling and its worst queries.

A figure says how often a model is right; a sheet shows what its mistakes have in common. Queries are chosen by
average precision, one per person, and drawn with what was found for them: green where right, red where wrong, grey
where the protocol counts neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from passerby.data.images import decode_image
from passerby.data.records import PersonImage, Split
from passerby.data.sheets import RankedRow, Tile, ranked_sheet, save_sheet
from passerby.errors import ConfigError
from passerby.evaluation.evaluate import score_blocks
from passerby.evaluation.features import Features
from passerby.evaluation.protocol import Protocol
from passerby.evaluation.scoring import Scoring, dot_product
from passerby.evaluation.task import Task, gallery_vectors, query_vectors, set_up
from passerby.metrics import average_precision, first_rank, rank_blocks

_TILE_HW = (192, 96)


def write_ranked_sheets(
    features: Features,
    split: Split,
    protocol: Protocol,
    folder: Path,
    *,
    rows: int = 5,
    top: int = 10,
    seed: int = 0,
    scoring: Scoring | None = None,
) -> dict[str, Path]:
    """Write `good.png`, `median.png` and `bad.png` into a folder.

    The whole gallery is shown, also where the protocol draws one picture of each person. Pictures that are junk for
    every query have a place by the dot product only; another scoring is not shown them.

    Args:
        features: from `encode_split` of the same split.
        split: the pictures and sentences; its pictures are read again.
        protocol: the rules.
        folder: made if it is not there; sheets in it are replaced.
        rows: queries on each sheet, at least 1.
        top: pictures shown for each query, at least 1.
        seed: chooses among queries of equal average precision.
        scoring: how queries score the gallery; it is computed twice, once to choose and once to draw.

    Returns:
        name of the sheet -> where it lies.

    Raises:
        ConfigError: `rows` or `top` is below 1.
        DataError: a picture cannot be read, a sheet cannot be written, or the features are not those of the split.
    """
    if min(rows, top) < 1:
        raise ConfigError(f"sheets of {rows} queries with {top} pictures each; expected at least 1 of both")
    task = set_up(split, protocol)
    queries, gallery = query_vectors(features, task), gallery_vectors(features, task)
    groups = rank_blocks(score_blocks(queries, gallery, task, scoring or dot_product()), task.relevance)
    precision, first = average_precision(groups), first_rank(groups)
    chosen = choose_queries(precision, task.people, rows, seed)
    if scoring is None:
        scores = {query: queries[query] @ gallery.T for query in chain(*chosen.values())}
    else:
        shown = np.where(task.relevance.ignored, np.nan, 0)
        scores = _rows_of(chain(*chosen.values()), score_blocks(queries, gallery, task, scoring), shown)
    written: dict[str, Path] = {}
    for name, picked in chosen.items():
        drawn = [
            _row(task, query, scores[query], float(precision[query]), float(first[query]), top) for query in picked
        ]
        sheet = ranked_sheet(f"{name.capitalize()} queries", drawn, subtitle=protocol.describe(), tile_hw=_TILE_HW)
        written[name] = save_sheet(sheet, folder / f"{name}.png")
    return written


def _rows_of(wanted: Iterable[int], blocks: Iterable[NDArray], shown: NDArray) -> dict[int, NDArray[np.floating]]:
    """The scores of some queries out of blocks of all; `shown` is NaN for what has no score, else zero."""
    kept, first, found = set(wanted), 0, {}
    for block in blocks:
        found |= {query: block[query - first] + shown for query in kept if first <= query < first + len(block)}
        first += len(block)
    return found


def choose_queries(
    precision: NDArray[np.float64], people: NDArray[np.int64], rows: int, seed: int
) -> dict[str, list[int]]:
    """Queries of the highest, the middle and the lowest average precision, no person twice on one sheet.

    Args:
        precision: (Q,), NaN for queries that have nothing to find; those are never chosen.
        people: (Q,) whom each query asks for.
        rows: queries on each sheet.
        seed: chooses among queries of equal precision.
    """
    shuffled = np.random.default_rng(seed).permutation(len(precision))
    shuffled = shuffled[~np.isnan(precision[shuffled])]
    ranked = shuffled[np.argsort(-precision[shuffled], kind="stable")]
    distance = np.abs(np.arange(len(ranked)) - (len(ranked) - 1) / 2)
    median = _one_per_person(ranked[np.argsort(distance, kind="stable")], people, rows)
    return {
        "good": _one_per_person(ranked, people, rows),
        "median": sorted(median, key=lambda query: -precision[query]),
        "bad": _one_per_person(ranked[::-1], people, rows),
    }


def _one_per_person(candidates: NDArray[np.int64], people: NDArray[np.int64], rows: int) -> list[int]:
    chosen: dict[int, int] = {}
    for query in candidates.tolist():
        if len(chosen) == rows:
            break
        chosen.setdefault(int(people[query]), query)
    return list(chosen.values())


def _row(task: Task, query: int, scores: NDArray[np.floating], precision: float, first: float, top: int) -> RankedRow:
    """One query with its first `top` pictures; junk is shown in its place but has no rank."""
    relevance, split = task.relevance, task.split
    hits = set(relevance.positives[slice(*relevance.positive_start[query : query + 2])].tolist())
    junk = set(relevance.junk[slice(*relevance.junk_start[query : query + 2])].tolist())
    junk |= set(np.flatnonzero(relevance.ignored).tolist())
    asking = int(task.rows[query])
    tiles: list[Tile] = []
    rank = 0
    for item in np.argsort(-scores, kind="stable").tolist():  # NaN, which has no score, comes last
        if len(tiles) == top or np.isnan(scores[item]):
            break
        if item == task.itself[query]:
            continue
        verdict = "junk" if item in junk else "hit" if item in hits else "miss"
        rank += verdict != "junk"
        place = "-" if verdict == "junk" else str(rank)
        image, words = _searched(task, item)
        tiles.append(Tile(_picture(image), f"{place} · {scores[item]:.3f}{words}", verdict))
    note = f"AP {100 * precision:.1f} % · first hit at rank {first:.3g} · {len(hits)} to find"
    if task.protocol.query == "text":
        return RankedRow(split.captions[asking].text, tuple(tiles), note)
    image = split.images[asking]
    return RankedRow(image.image_id, tuple(tiles), note, query_picture=_picture(image))


def _searched(task: Task, item: int) -> tuple[PersonImage, str]:
    """The picture of a gallery item; where captions are searched, that of the caption, and its words."""
    split, row = task.split, int(task.columns[item])
    if task.protocol.gallery == "image":
        return split.images[row], ""
    caption = split.captions[row]
    return next(image for image in split.images if image.image_id == caption.image_id), f" · {caption.text}"


def _picture(image: PersonImage) -> NDArray[np.uint8]:
    return decode_image(image.path, at_least=_TILE_HW)
