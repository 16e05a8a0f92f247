"""What smaller vectors of a trained model with a local branch cost: projected, in eight bits, and both.

The projection is fitted on the vectors of the selection split, and its cost is measured on those of the test split, so
that what is reported is what a gallery of other people would lose.

Axes: R vectors, E width of the local branch, D width of a whole vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from passerby.data.records import Split
from passerby.evaluation import Features, find_protocol
from passerby.evaluation.task import gallery_vectors, query_vectors, set_up

#: Widths that the local branch is projected to, where it is wider.
WIDTHS = (64, 16)


def smaller_vectors(
    chosen_on: Features, features: Features, test: Split, columns: tuple[int, int]
) -> list[dict[str, Any]]:
    """Fields of `CompactLoss` for each smaller form, the whole one in eight bits first.

    Args:
        chosen_on: of the split that the projection is fitted on.
        features: of the test split.
        test: the test split.
        columns: the local branch's first column and the one after its last.
    """
    import torch

    from passerby.models.compact_local import compact_loss, fit_projection, from_int8, int8_rows

    task = set_up(test, find_protocol("text-to-image", report_split=test.name))
    whole = query_vectors(features, task), gallery_vectors(features, task)
    hits = task.people[:, None] == task.gallery_people
    first, stop = columns
    known = [chosen_on.images, *([] if chosen_on.captions is None else [chosen_on.captions])]
    local = torch.from_numpy(np.concatenate(known)[:, first:stop])
    forms = {"whole": whole}
    for width in WIDTHS:
        if width < min(local.shape):
            projection = fit_projection(local, width).numpy()
            forms[f"local branch projected to {width}"] = (
                projected(whole[0], projection, columns),
                projected(whole[1], projection, columns),
            )
    rows = []
    for name, (queries, gallery) in forms.items():
        eight = from_int8(*int8_rows(gallery))  # a sentence is asked as it is
        for words, smaller, bits in ((name, gallery, 32), (f"{name}, int8", eight, 8)):
            loss = compact_loss(whole, (queries, smaller), hits, bits)
            rows.append(
                {
                    "form": words,
                    "floats": loss.floats,
                    "bytes": loss.bytes,
                    "largest": loss.largest,
                    "mean": loss.mean,
                    "r1": loss.r1[1],
                }
            )
    return rows


def projected(vectors: np.ndarray, projection: np.ndarray, columns: tuple[int, int]) -> np.ndarray:
    """Vectors whose local branch is projected and keeps its share of the score, as `compacted` makes them.

    Args:
        vectors: (R, D).
        projection: (W, E), orthonormal rows.
        columns: the local branch's first column and the one after its last.

    Shape:
        (R, D) -> (R, D - E + W) float32.
    """
    first, stop = columns
    part = vectors[:, first:stop]
    length = np.linalg.norm(part, axis=1, keepdims=True)
    small = part @ projection.T
    small *= length / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-12)
    return np.concatenate([vectors[:, :first], small, vectors[:, stop:]], axis=1).astype(np.float32)


def over_seeds_of(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of several seeds as one: means, and the largest change; a seed without a local branch has none."""
    rows = zip(*(cell["smaller"] for cell in cells if cell["smaller"]), strict=True)
    return [
        {
            **seeds[0],
            "largest": max(one["largest"] for one in seeds),
            "mean": float(np.mean([one["mean"] for one in seeds])),
            "r1": float(np.mean([one["r1"] for one in seeds])),
        }
        for seeds in rows
    ]
