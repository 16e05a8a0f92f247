"""A split made ready for training on pairs: pictures decoded and captions tokenised once, and as a model reads them.

Axes: I pictures, C captions, B pictures of a part, H rows, W columns, L token ids, D embedding width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from passerby.data.cache import cached_images
from passerby.data.records import Split
from passerby.data.samplers import Pairs
from passerby.errors import DataError
from passerby.models.dual_encoder import DualEncoder, unit_rows
from passerby.models.preprocessing import Preprocessing
from passerby.models.tokenizer import Tokenizer

_CHUNK = 256  # pictures or captions that are encoded at a time


@dataclass(frozen=True, slots=True)
class Prepared:
    """A split ready for training: every picture decoded, every caption tokenised.

    Attributes:
        pixels: (I, H, W, 3) uint8, memory-mapped.
        token_ids: (C, L) int64, 0 is padding.
        pairs: which caption describes which picture, and whom.
    """

    pixels: np.ndarray
    token_ids: np.ndarray
    pairs: Pairs


def prepare(
    split: Split,
    tokenizer: Tokenizer,
    preprocessing: Preprocessing,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Decode and tokenise a split once, the pictures resized as the image tower wants them.

    Where no picture has an identity, each is one of its own.

    Raises:
        DataError: some pictures have an identity and one has none, or there are no captions.
    """
    persons = [image.person_id for image in split.images if image.person_id is not None]
    if not persons:  # photographs of anything: each shows something of its own
        persons = list(range(len(split.images)))
    if len(persons) < len(split.images):
        unknown = next(image.image_id for image in split.images if image.person_id is None)
        raise DataError(f"the picture {unknown!r} of split {split.name!r} has no identity to train on")
    place = {image.image_id: index for index, image in enumerate(split.images)}
    _, person_of = np.unique(persons, return_inverse=True)
    image_of = np.array([place[caption.image_id] for caption in split.captions], dtype=np.int64)
    pairs = Pairs(image_of, person_of.astype(np.int64))
    paths = [image.path for image in split.images]
    pixels = cached_images(
        paths, preprocessing.image_size, progress=progress, interpolation=preprocessing.interpolation
    )
    return Prepared(pixels, tokenizer.encode([caption.text for caption in split.captions]), pairs)


def data_mark(split: Split) -> Tensor:
    """Thirty-two bytes that change with the pictures, people and captions of a split."""
    digest = hashlib.sha256()
    for image in split.images:
        digest.update(f"{image.image_id}|{image.person_id}\n".encode())
    for caption in split.captions:
        digest.update(f"{caption.image_id}|{caption.text}\n".encode("utf-8", errors="replace"))
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Pictures in [0, 1] as a tower reads them, ``(x - mean) / std`` per channel: (B, 3, H, W) -> (B, 3, H, W)."""
    width = images.shape[3]
    lines = images.permute(0, 2, 3, 1).flatten(2)  # (B, H, W * 3): ten times as fast as along three channels
    # A copy that blocks would wait for all that the device still has to do of the step before.
    mean, std = (
        torch.tensor(three).to(images.device, non_blocking=True).repeat(width)
        for three in (preprocessing.mean, preprocessing.std)
    )
    return (lines - mean).div_(std).unflatten(2, (width, 3)).permute(0, 3, 1, 2)


def unchanged(pixels: np.ndarray, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """Pictures without random changes as a model reads them: (B, H, W, 3) uint8 -> (B, 3, H, W) normalised."""
    images = torch.from_numpy(np.array(pixels)).to(device).permute(0, 3, 1, 2).float().div_(255)
    return normalise(images, preprocessing)


def encode(model: DualEncoder, split: Prepared, unit: bool = True) -> tuple[Tensor, Tensor]:
    """Vectors of a split's pictures (I, D) and captions (C, D); without `unit` of the length the projection gives."""
    device = next(model.parameters()).device
    shape = unit_rows if unit else Tensor.float
    images = [
        shape(model.project_images(unchanged(split.pixels[start : start + _CHUNK], model.preprocessing, device))[0])
        for start in range(0, len(split.pixels), _CHUNK)
    ]
    texts = [
        shape(model.project_texts(torch.from_numpy(split.token_ids[start : start + _CHUNK]).to(device))[0])
        for start in range(0, len(split.token_ids), _CHUNK)
    ]
    return torch.cat(images), torch.cat(texts)
