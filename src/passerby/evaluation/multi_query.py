"""Asking with several pictures at once, as Market-1501's multi-query protocol does.

A query stands for one person before one camera; where more pictures of that moment are known, their mean asks instead.
Source: Zheng et al., "Scalable person re-identification: a benchmark", ICCV 2015, section 3.2.

Axes: N images of the split, M pictures to pool, D dimensions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from passerby.data.records import Split
from passerby.errors import DataError
from passerby.evaluation.features import Features, Vectors


def pool_queries(features: Features, split: Split, more: Vectors, pictures: Split) -> Features:
    """Give each picture that asks the mean vector of its person's pictures by its camera.

    Args:
        features: of `split`.
        split: the one that is judged; of its pictures those in `query_ids` ask, or all where it names none.
        more: vectors of `pictures`, finite and of unit length.
        pictures: what is pooled, such as Market-1501's hand-drawn boxes; the query itself is not added to them.

    Shape:
        more: (M, D); the features' `pooled` is (N, D), rows of unit length.

    Returns:
        the features with `pooled`; a picture that has no such pictures keeps its own vector.

    Raises:
        DataError: the vectors are not those of the pictures, no query has anything to pool, or a mean is zero.
    """
    if more.shape != (len(pictures.images), features.images.shape[1]):
        raise DataError(
            f"vectors of shape {more.shape} for the {len(pictures.images)} pictures of the split {pictures.name!r}; "
            f"expected ({len(pictures.images)}, {features.images.shape[1]})"
        )
    rows: dict[tuple[int, str], list[int]] = {}
    for row, image in enumerate(pictures.images):
        if image.person_id is not None and image.camera_id is not None and not image.junk:
            rows.setdefault((image.person_id, image.camera_id), []).append(row)
    asks = set(split.query_ids)
    pooled = features.images.copy()
    found = 0
    for row, image in enumerate(split.images):
        if image.person_id is None or image.camera_id is None or (asks and image.image_id not in asks):
            continue
        if group := rows.get((image.person_id, image.camera_id)):
            mean = more[group].mean(axis=0)
            length = float(np.linalg.norm(mean))
            if not length > 0:  # NaN as well
                raise DataError(f"the pictures of person {image.person_id} by camera {image.camera_id} have no mean")
            pooled[row] = mean / length
            found += 1
    if not found:
        raise DataError(
            f"the split {pictures.name!r} has no picture of any query's person by its camera; expected pictures such "
            "as Market-1501's gt_bbox"
        )
    return replace(features, pooled=pooled)
