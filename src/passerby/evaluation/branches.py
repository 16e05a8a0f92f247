"""A row for each branch of a model that has several, from one encoding pass.

A model with a global and a local branch answers with one vector that holds both side by side; each part, brought back
to unit length, is what that branch alone would answer.

Axes: N images, C captions, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from passerby.errors import ConfigError
from passerby.evaluation.features import Features, Vectors


def split_branches(features: Features, branches: Mapping[str, tuple[int, int]]) -> dict[str, Features]:
    """Cut features into those of each branch.

    Args:
        features: of the whole model.
        branches: name -> first column and the column after the last, within 0..D.

    Returns:
        name -> features of that branch, rows of unit length.

    Raises:
        ConfigError: a branch lies outside the vectors, is empty, or is zero for some picture or caption.
    """
    found: dict[str, Features] = {}
    for name, (first, stop) in branches.items():
        if not 0 <= first < stop <= features.images.shape[1]:
            raise ConfigError(
                f"branch {name!r} takes the columns {first} to {stop}; the vectors have {features.images.shape[1]}"
            )
        images = _part(features.images, first, stop, name)
        captions = None if features.captions is None else _part(features.captions, first, stop, name)
        pooled = None if features.pooled is None else _part(features.pooled, first, stop, name)
        found[name] = replace(features, images=images, captions=captions, pooled=pooled)
    return found


def _part(vectors: Vectors, first: int, stop: int, name: str) -> Vectors:
    part = vectors[:, first:stop]
    length = np.linalg.norm(part, axis=1, keepdims=True)
    if not (length > 0).all():
        row = int(np.flatnonzero(~(length[:, 0] > 0))[0])
        raise ConfigError(
            f"branch {name!r} is zero or not a number in row {row}; its columns are not those of a branch"
        )
    return part / length
