"""What a finished dual encoder makes of a split, computed once and kept: tokens and vectors of pictures and captions.

Tokens are kept in half precision and memory-mapped below the cache. The name of a folder there is a digest of the
model's fingerprint and of what it read, so tokens of other pictures or of another model are never met.

Axes: V versions of a picture, N pictures, T tokens of a picture, P channels of one, C captions, S words of all captions
together, E channels of one, D embedding width, B captions of a part, L words of the longest.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from passerby.data.cache import cache_root
from passerby.data.records import Split
from passerby.errors import DataError
from passerby.models.attended import token_shape
from passerby.models.dual_encoder import DualEncoder, unit_rows
from passerby.models.folder import replacing
from passerby.training.picture_views import shown, view_draws
from passerby.training.precision import Precision
from passerby.training.recipe import AugmentationConfig
from passerby.training.tasks.pair_data import Prepared, normalise, unchanged

_FORMAT = "tokens-v1"
_CHUNK = 256  # pictures or captions that are encoded at a time
_UNCHANGED = AugmentationConfig(flip=0, shift=0, colour=0)


@dataclass(frozen=True, slots=True)
class FirstStage:
    """Tokens and vectors of a split.

    Attributes:
        pictures: (V, N, T, P) float16; version 0 is the picture as it is.
        images: (N, D) float32, unit vectors of the pictures as they are.
        words: (S, E) float16, the tokens of all captions one after another.
        counted: (S,) bool, which of them are words.
        starts: (C + 1,) int64, where each caption begins.
        texts: (C, D) float32, unit vectors of the captions.
    """

    pictures: np.ndarray
    images: np.ndarray
    words: np.ndarray
    counted: np.ndarray
    starts: np.ndarray
    texts: np.ndarray

    def sentences(self, captions: np.ndarray, groups: int = 1) -> tuple[np.ndarray, list[tuple[Tensor, Tensor]]]:
        """Tokens and masks of some captions, the shortest first, in groups that are each padded for themselves.

        Args:
            captions: which, (Q,).
            groups: how many groups at most.

        Returns:
            The order in which they come, (Q,), and of each group (B, L, E) float16 and (B, L) bool.
        """
        lengths = self.starts[captions + 1] - self.starts[captions]
        order = np.argsort(lengths, kind="stable")
        return order, [self._padded(captions[part]) for part in np.array_split(order, min(groups, len(order)))]

    def _padded(self, captions: np.ndarray) -> tuple[Tensor, Tensor]:
        starts, ends = self.starts[captions], self.starts[captions + 1]
        longest = int((ends - starts).max())
        words = np.zeros((len(captions), longest, self.words.shape[1]), np.float16)
        mask = np.zeros((len(captions), longest), bool)
        for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
            words[row, : end - start], mask[row, : end - start] = self.words[start:end], self.counted[start:end]
        return torch.from_numpy(words), torch.from_numpy(mask)


def first_stage(
    model: DualEncoder,
    fingerprint: str,
    split: Split,
    prepared: Prepared,
    *,
    views: int = 1,
    changes: AugmentationConfig = _UNCHANGED,
    seed: int = 0,
    precision: Precision = "no",
    progress: Callable[[int, int], None] | None = None,
) -> FirstStage:
    """Ask a model about a split; what it made of it before is read from the cache.

    Args:
        model: in evaluation mode.
        fingerprint: of its checkpoint.
        split: the pictures and captions.
        prepared: the same, decoded and tokenised for this model.
        views: V, 1 or more.
        changes: how the versions beyond the first are changed.
        seed: decides the changes.
        precision: the format that the model computes in; tokens are kept in half precision whatever it is.
        progress: called with (pictures encoded, of all).

    Raises:
        DataError: a token is beyond half precision.
        CheckpointError: the cache cannot be written.
    """
    about = f"{_FORMAT}|{fingerprint}|{precision}"
    files = "\n".join(f"{image.path.resolve()}|{image.path.stat().st_mtime_ns}" for image in split.images)
    changed = f"{views}|{seed}|{changes.model_dump_json()}" if views > 1 else "1"
    versions = _versions(model, prepared, views, changes, seed)
    with _computing_in(precision, next(model.parameters()).device):
        pictures = _kept(
            _digest(about, changed, files), lambda folder: _see(folder, model, prepared, versions, views, progress)
        )
        captions = _kept(_digest(about, prepared.token_ids.tobytes()), lambda folder: _read(folder, model, prepared))
    return FirstStage(**pictures, **captions)


def _versions(
    model: DualEncoder, prepared: Prepared, views: int, changes: AugmentationConfig, seed: int
) -> Iterator[Tensor]:
    """All versions of all pictures as the model reads them, some at a time, version by version."""
    device = next(model.parameters()).device
    blocks = [slice(start, start + _CHUNK) for start in range(0, len(prepared.pixels), _CHUNK)]
    for block in blocks:
        yield unchanged(prepared.pixels[block], model.preprocessing, device)
    if views > 1:
        for draws in view_draws(len(prepared.pixels), views - 1, seed):
            for block in blocks:
                pixels = torch.from_numpy(np.array(prepared.pixels[block])).to(device)
                yield normalise(shown(pixels, torch.from_numpy(draws[block]), changes), model.preprocessing)


@torch.inference_mode()
def _see(
    folder: Path,
    model: DualEncoder,
    prepared: Prepared,
    versions: Iterator[Tensor],
    views: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    count, vectors, done = len(prepared.pixels), [], 0
    with (folder / "pictures.npy").open("wb") as stream:
        _head(stream, (views, count, *token_shape(model.image_tower)))
        for images in versions:
            projected, tokens = model.project_images(images)
            stream.write(_half(tokens).tobytes())
            if done < count:
                vectors.append(unit_rows(projected).cpu().numpy())
            done += len(images)
            if progress is not None:
                progress(done, views * count)
    np.save(folder / "images.npy", np.concatenate(vectors))


@torch.inference_mode()
def _read(folder: Path, model: DualEncoder, prepared: Prepared) -> None:
    ids, device = torch.from_numpy(prepared.token_ids), next(model.parameters()).device
    masks = model.text_tower.mask(ids.to(device)).cpu().numpy()  # (C, L)
    lengths = np.where(masks.any(axis=1), masks.shape[1] - masks[:, ::-1].argmax(axis=1), 1)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    vectors = []
    with (folder / "words.npy").open("wb") as stream:
        _head(stream, (int(starts[-1]), token_shape(model.text_tower)[1]))
        for start in range(0, len(ids), _CHUNK):
            block = slice(start, start + _CHUNK)
            longest = int(lengths[block].max())
            projected, tokens, _ = model.project_texts(ids[block, :longest].to(device))
            stream.write(_half(tokens)[np.arange(longest) < lengths[block, None]].tobytes())
            vectors.append(unit_rows(projected).cpu().numpy())
    np.save(folder / "counted.npy", masks[np.arange(masks.shape[1]) < lengths[:, None]])
    np.save(folder / "starts.npy", starts)
    np.save(folder / "texts.npy", np.concatenate(vectors))


def _computing_in(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    if precision == "no":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def _half(tokens: Tensor) -> np.ndarray:
    half = tokens.half()
    if not bool(half.isfinite().all()):
        raise DataError("the first stage gives tokens beyond the range of half precision; train it anew with decay")
    return half.cpu().numpy()


def _head(stream: IO[bytes], shape: tuple[int, ...]) -> None:
    """Begin an array file of half precision whose rows are then written one block after another."""
    about = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, about)


def _kept(digest: str, fill: Callable[[Path], None]) -> dict[str, np.ndarray]:
    folder = cache_root() / "first-stages" / digest
    if not folder.is_dir():
        with replacing(folder) as temporary:
            fill(temporary)
    try:
        return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(folder.glob("*.npy"))}
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"the tokens kept in {folder} cannot be read: {error}; remove the folder") from error


def _digest(*parts: str | bytes) -> str:
    joined = b"\0".join(part if isinstance(part, bytes) else part.encode(errors="replace") for part in parts)
    return hashlib.sha256(joined).hexdigest()[:32]
