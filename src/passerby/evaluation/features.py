"""A split turned into vectors, once, for any number of protocols, metrics and sheets.

Anything with `encode_images` and `encode_texts` can be evaluated: a `Retriever`, a model in training, a stub in a
test. Its vectors are checked on the way in, because one NaN or one unnormalised row silently changes every figure.

Axes: N images, C captions, D dimensions.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from passerby.data.images import ImageSource, decode_image
from passerby.data.records import Split
from passerby.errors import DataError

Vectors: TypeAlias = "NDArray[np.float32]"
#: Called with what is being encoded ("images" or "captions"), how many are done, and how many there are.
Progress: TypeAlias = Callable[[str, int, int], None]
Item = TypeVar("Item", Path, str)

#: How far from 1 the length of a vector may be; half precision stays well inside.
_LENGTH_TOLERANCE = 0.02
#: Items handed to the encoder at a time; it batches inside as it likes.
_CHUNK = 512
#: Mirrored pictures that are in memory at a time.
_MIRRORS = 64


class Encoder(typing.Protocol):
    """What can be evaluated: pictures and sentences in, unit vectors of one space out."""

    def encode_images(self, images: Sequence[ImageSource], /) -> Vectors:
        """(N, D) float32 of unit length, in the order given."""
        ...

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        """(C, D) float32 of unit length, in the order given."""
        ...


@dataclass(frozen=True, slots=True)
class Features:
    """The vectors of a split, in the split's own order.

    Attributes:
        images: (N, D).
        captions: (C, D), or None where the captions were not asked for.
        pooled: (N, D) what each picture asks with where several pictures ask at once (`pool_queries`), or None.
        flipped: whether `images` hold picture and mirror together.
    """

    images: Vectors
    captions: Vectors | None = None
    pooled: Vectors | None = None
    flipped: bool = False


def encode_split(
    encoder: Encoder,
    split: Split,
    *,
    with_captions: bool = True,
    flip: bool = False,
    progress: Progress | None = None,
) -> Features:
    """Encode every image and every caption of a split exactly once.

    Args:
        encoder: what is evaluated.
        split: the pictures and sentences.
        with_captions: False for encoders that know no text.
        flip: True encodes each picture and its mirror and takes the sum of both, brought back to unit length; it
            doubles the work and usually helps a little.
        progress: called after every few hundred items.

    Raises:
        DataError: a vector is missing, not finite or not of unit length; the message names the image or caption.
    """
    images = _encode(
        partial(_with_mirror, encoder) if flip else encoder.encode_images,
        [image.path for image in split.images],
        "images",
        [image.image_id for image in split.images],
        progress,
    )
    if not with_captions:
        return Features(images, flipped=flip)
    texts = [caption.text for caption in split.captions]
    captions = _encode(encoder.encode_texts, texts, "captions", texts, progress)
    return Features(images, captions, flipped=flip)


def _with_mirror(encoder: Encoder, paths: Sequence[Path]) -> Vectors:
    """(N, D) sums of the vectors of picture and mirror, of unit length."""
    mirrored: list[Vectors] = []
    for first in range(0, len(paths), _MIRRORS):  # decoded pictures of a whole chunk could fill the memory
        pixels = [np.ascontiguousarray(decode_image(path)[:, ::-1]) for path in paths[first : first + _MIRRORS]]
        mirrored.append(np.asarray(encoder.encode_images(pixels)))
    both = np.asarray(encoder.encode_images(paths)) + np.concatenate(mirrored)
    with np.errstate(invalid="ignore", divide="ignore"):  # a vector that is not finite is refused with its name
        return both / np.linalg.norm(both, axis=1, keepdims=True)


def _encode(
    encode: Callable[[Sequence[Item]], Vectors],
    items: list[Item],
    kind: str,
    names: list[str],
    progress: Progress | None,
) -> Vectors:
    parts: list[Vectors] = []
    for first in range(0, len(items), _CHUNK):
        chunk = items[first : first + _CHUNK]
        parts.append(_checked(np.asarray(encode(chunk)), kind, names[first : first + _CHUNK]))
        if progress is not None:
            progress(kind, first + len(chunk), len(items))
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def _checked(vectors: NDArray, kind: str, names: list[str]) -> Vectors:
    if vectors.ndim != 2 or len(vectors) != len(names) or not np.issubdtype(vectors.dtype, np.floating):
        raise DataError(
            f"the encoder answered {len(names)} {kind} with an array of shape {vectors.shape} and type "
            f"{vectors.dtype}; expected ({len(names)}, D) of floats"
        )
    length = np.linalg.norm(vectors.astype(np.float32), axis=1)
    bad = np.flatnonzero(~(np.abs(length - 1) <= _LENGTH_TOLERANCE))
    if bad.size:
        worst = bad[~np.isfinite(length[bad])]
        first = int(worst[0] if worst.size else bad[0])
        what = f"of length {length[first]:.3g}" if np.isfinite(length[first]) else "with NaN or infinite values"
        raise DataError(
            f"the encoder gave {bad.size} of {len(names)} {kind} a vector that is not of unit length; the first is "
            f"{names[first][:120]!r}, {what}"
        )
    return vectors.astype(np.float32, copy=False)
