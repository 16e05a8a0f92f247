"""Sets of pictures that resemble each other, for training a context encoder.

A neighbour list is only as good as the set it is made in: among a few thousand random pictures of many people, each
person is there once or twice, while a real gallery holds all of their pictures. So a set is drawn around a random
picture, from its nearest (Wang et al. 2022; the release of MagFormer does the same with 7,000).

Axes: N pictures, D width, V views of each.
"""

from __future__ import annotations

import numpy as np

from passerby.errors import ConfigError


def nearest_to_centre(features: np.ndarray, set_size: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of one set: of the ``set_size * (1 + u)`` nearest to a random row, u uniform in [0, 1), a random set_size.

    Args:
        features: vectors of any length; compared by their inner product with the centre after normalisation.
        set_size: rows of a set, at least 1; clamped to N where the data has fewer.
        rng: decides centre, u and the draw.

    Shape:
        features (N, D) -> (min(set_size, N),) int64, shuffled, no row twice.

    Raises:
        ConfigError: the size is below 1 or there is no row.
    """
    if set_size < 1 or len(features) == 0:
        raise ConfigError(f"a set of {set_size} of {len(features)} features; expected at least one of at least one")
    size = min(set_size, len(features))
    centre = int(rng.integers(len(features)))
    pool = min(len(features), int(size * (1 + rng.random())))
    lengths = np.maximum(np.linalg.norm(features, axis=1), 1e-12)
    closeness = features @ features[centre] / lengths
    near = np.argpartition(-closeness, pool - 1)[:pool]
    near.sort()  # the partition's order is not part of its promise
    return rng.permutation(near)[:size]
