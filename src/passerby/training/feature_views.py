"""Vectors of a split's pictures, computed once for a second stage: as they are, and as augmentation changes them.

An encoder knows the pictures that it learned from better than any others, so a second stage that is trained on their
plain vectors alone meets neighbours that are too good. Augmented views are closer to what it will be used on.

Axes: V views, N pictures, D width, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from passerby.data.cache import cached_images
from passerby.data.records import Split
from passerby.errors import ConfigError, DataError
from passerby.retriever import Retriever
from passerby.training.augment import augment, padded_crop
from passerby.training.tasks.reid_recipe import ReidAugmentationConfig

_BLOCK = 256


def encoded_views(
    model: Retriever,
    split: Split,
    views: int = 1,
    changes: ReidAugmentationConfig | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Encode every picture of a split `views` times.

    Args:
        model: any encoder of pictures.
        split: the pictures.
        views: V; the first is the plain picture, every other one a random change of it.
        changes: what is changed; the defaults of the recipe's section unless given.
        seed: decides the changes.
        progress: called with (pictures encoded, of all views).

    Shape:
        (V, N, D) float32, rows of unit length.

    Raises:
        ConfigError: `views` is below one.
        DataError: a picture cannot be read.
    """
    if views < 1:
        raise ConfigError(f"views is {views}; expected one or more, the first being the picture as it is")
    changes, wanted = changes or ReidAugmentationConfig(), model.preprocessing
    paths = [image.path for image in split.images]
    pixels = cached_images(paths, wanted.image_size, interpolation=wanted.interpolation)  # (N, H, W, 3)
    vectors = np.empty((views, len(paths), model.dim), np.float32)
    for view in range(views):
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, view]).generate_state(1)[0]))
        for first in range(0, len(paths), _BLOCK):
            block = np.array(pixels[first : first + _BLOCK])
            if view:
                moved = padded_crop(torch.from_numpy(block), changes.crop, generator)
                images = augment(moved, changes, generator, changes.largest_erased)  # (B, 3, H, W)
                block = images.mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
            vectors[view, first : first + len(block)] = model.encode_images(list(block))
            if progress is not None:
                progress(view * len(paths) + first + len(block), views * len(paths))
    return vectors


def read_features(path: Path, pictures: int) -> np.ndarray:
    """Read vectors that something else computed.

    Args:
        path: a ``.npy`` file of floats.
        pictures: N, as many as the split has.

    Shape:
        the file (N, D) or (V, N, D) -> (V, N, D).

    Raises:
        DataError: there is no such file, it is no array of numbers, or it has another number of rows.
    """
    try:
        features = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"the features {path} cannot be read: {error}; expected a .npy file of floats") from error
    if not isinstance(features, np.ndarray) or features.dtype.kind != "f" or features.ndim not in (2, 3):
        raise DataError(f"{path} holds no vectors; expected floats of shape (N, D) or (V, N, D)")
    features = features[None] if features.ndim == 2 else features
    if features.shape[1] != pictures:
        raise DataError(f"{path} holds vectors of {features.shape[1]} pictures; the split has {pictures}, in its order")
    return features
