"""What a teacher makes of a split, computed once and kept: views of its pictures with their seed, and its captions.

The name of a file is a digest of the teacher's fingerprint, the pictures or captions, the seed and the strengths of the
changes, so that a student can never learn from vectors of other pictures than those it sees.

Axes: V views, N pictures, C captions, E width of the teacher's vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from passerby.data.cache import cached_images
from passerby.data.records import Split
from passerby.errors import ConfigError
from passerby.retriever import Retriever
from passerby.training.kept_arrays import kept_array
from passerby.training.picture_views import shown, view_draws
from passerby.training.recipe import AugmentationConfig

_FORMAT = "teacher-v1"
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class TeacherVectors:
    """A teacher's answers.

    Attributes:
        draws: (V, N, 12) float32, which view each vector belongs to; see `passerby.training.picture_views`.
        images: (V, N, E) float16, rows of unit length.
        texts: (C, E) float16.
    """

    draws: np.ndarray
    images: np.ndarray
    texts: np.ndarray


def teacher_vectors(
    teacher: Retriever,
    split: Split,
    changes: AugmentationConfig,
    views: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> TeacherVectors:
    """Ask a teacher about a split; what it said before is read from the cache.

    Args:
        teacher: any model that reads pictures and sentences.
        split: the pictures and captions.
        changes: how the pictures are changed.
        views: V, how many changes of each picture, 1 or more.
        seed: decides the changes.
        progress: called with (pictures encoded, of all).

    Raises:
        ConfigError: the teacher reads no sentences.
        DataError: a picture cannot be read, or the cache is damaged or cannot be written.
    """
    if not teacher.reads_sentences:
        raise ConfigError(f"the teacher {teacher.name} reads no sentences; choose a model that reads both sides")
    draws = view_draws(len(split.images), views, seed)
    about = f"{_FORMAT}|{teacher.fingerprint}|{changes.model_dump_json()}|{views}|{seed}"
    pictures = "\n".join(f"{image.path.resolve()}|{image.path.stat().st_mtime_ns}" for image in split.images)
    captions = "\n".join(caption.text for caption in split.captions)
    images = kept_array(
        "teachers",
        _digest(about, pictures),
        (views, len(split.images), teacher.dim),
        np.float16,
        lambda: _of_pictures(teacher, split, draws, changes, progress),
    )
    texts = kept_array(
        "teachers",
        _digest(f"{_FORMAT}|{teacher.fingerprint}", captions),
        (len(split.captions), teacher.dim),
        np.float16,
        lambda: teacher.encode_texts([caption.text for caption in split.captions]),
    )
    return TeacherVectors(draws, images, texts)


def _of_pictures(
    teacher: Retriever,
    split: Split,
    draws: np.ndarray,
    changes: AugmentationConfig,
    progress: Callable[[int, int], None] | None,
) -> np.ndarray:
    wanted = teacher.preprocessing
    paths = [image.path for image in split.images]
    pixels = cached_images(paths, wanted.image_size, interpolation=wanted.interpolation)  # (N, H, W, 3)
    vectors = np.empty((*draws.shape[:2], teacher.dim), np.float16)
    for view, numbers in enumerate(draws):
        for first in range(0, len(paths), _BLOCK):
            block = slice(first, first + _BLOCK)
            images = shown(torch.from_numpy(np.array(pixels[block])), torch.from_numpy(numbers[block]), changes)
            seen = images.mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
            vectors[view, block] = teacher.encode_images(list(seen))
            if progress is not None:
                progress(view * len(paths) + first + len(seen), len(draws) * len(paths))
    return vectors


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", errors="replace")).hexdigest()[:32]
