"""What is exported, where it goes, and the comparison that decides whether it is kept.

A model is opened with its weights; the exported towers are added to its own folder or written into a new one, and in
both cases the folder is changed as a whole or not at all.

Axes: B pictures or sentences, L token ids.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from passerby.data.images import ImageSource, decode_image, resize_image
from passerby.errors import CheckpointError, ConfigError, MissingExtraError
from passerby.export.parity import BATCHES, Parity
from passerby.models.checkpoint import CONFIG, CheckpointConfig, read_checkpoint, write_description
from passerby.models.folder import extended, replacing, write_manifest
from passerby.models.runtimes.choice import installed
from passerby.models.sources import is_clip_folder, locate, shipped_models
from passerby.models.tokenizer import Tokenizer

if TYPE_CHECKING:
    from passerby.models.dual_encoder import DualEncoder

_BATCH = 32
_SENTENCES = (
    "a woman in a red coat with a black backpack",
    "a man",
    "an elderly person with short grey hair, a striped shirt and dark trousers, seen from behind at night",
)


@dataclass(frozen=True, slots=True)
class Original:
    """A model with its weights, as it is compared with what is exported from it.

    Attributes:
        folder: where it lies.
        name: what it was asked for by.
        model: in evaluation mode.
        tokenizer: of its sentences.
        config: what is known about it.
        ours: whether its folder may be changed.
    """

    folder: Path
    name: str
    model: DualEncoder
    tokenizer: Tokenizer
    config: CheckpointConfig
    ours: bool


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written and how close it is to the original."""

    folder: Path
    image: Parity
    text: Parity
    bytes: int
    """Size of both towers together."""
    r1: tuple[float, float] | None = None
    """R@1 of the original and of the exported model on the calibration pictures, per cent; None where not measured."""
    calibrated_on: str = ""
    """What the ranges of an int8 model were measured on, in words."""


def need(*packages: tuple[str, str], purpose: str, is_installed: Callable[[str], bool] = installed) -> None:
    """Refuse to begin where a package is missing.

    Args:
        *packages: (package, extra that brings it).
        purpose: what they are needed for.
        is_installed: tells whether a package can be imported.

    Raises:
        MissingExtraError: for the first that is missing.
    """
    for package, extra in packages:
        if not is_installed(package):
            raise MissingExtraError(package, extra, purpose)


def open_original(model: str | Path) -> Original:
    """Open a model with its weights; needs torch.

    Raises:
        CheckpointError: there is no such model, or it has no weights.
        ConfigError: it has a local branch.
    """
    source = locate(model)
    if is_clip_folder(source.folder):
        from passerby.models.clip_folder import read_clip

        clip = read_clip(source.folder)
        return Original(source.folder, source.name, clip.model, clip.tokenizer, clip.config, ours=False)
    from passerby.models.restore import restore_dual_encoder

    checkpoint = read_checkpoint(source.folder)
    ours = source.name not in shipped_models() and not source.name.startswith("hf:")
    encoder = restore_dual_encoder(checkpoint)
    if checkpoint.config.kind == "itself":
        raise ConfigError(
            f"{source.name} has a local branch, which is not exported: which tokens it takes is found from the "
            "attention inside the tower; search with its weights (runtime torch), or train without model.local"
        )
    return Original(source.folder, source.name, encoder, checkpoint.tokenizer(), checkpoint.config, ours)


@contextmanager
def place(original: Original, out: Path | None, without: Collection[str]) -> Iterator[Path]:
    """A folder to write exported towers into, which takes its place when the block ends well.

    Args:
        original: the model.
        out: a new folder with the towers and the description alone, without weights; None for the model's own.
        without: files of an earlier export that are written anew.

    Raises:
        ConfigError: the model's own folder is not ours to change.
        CheckpointError: `out` is something else than a checkpoint.
    """
    if out is None:
        if not original.ours:
            raise ConfigError(f"the folder of {original.name} is not ours to change; name a new one with --out")
        with extended(original.folder, without=without) as folder:
            yield folder
        return
    if out.exists() and not (out / CONFIG).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out} is there and is no checkpoint; choose another place or remove it")
    with replacing(out) as folder:
        describe(original, folder)
        yield folder
        write_manifest(folder)


def describe(original: Original, folder: Path, fingerprint: str | None = None, about: str = "") -> None:
    """Write configuration, tokenizer and card of the original, with another fingerprint where the vectors differ."""
    config = original.config
    if fingerprint is not None:
        config = replace(config, fingerprint=fingerprint, about=f"{config.about} {about}".strip())
    write_description(folder, config, original.tokenizer.to_json(), original.model.parameter_count)


def size_of(folder: Path, names: Collection[str]) -> int:
    """Bytes of some files of a folder together."""
    return sum((folder / name).stat().st_size for name in names)


def picture_batches(original: Original, pictures: Sequence[ImageSource]) -> list[np.ndarray]:
    """What the picture towers are compared on: random pixels and the real pictures, at every batch size.

    Raises:
        DataError: a picture cannot be read.
    """
    rng = np.random.default_rng(0)
    preprocessing = original.config.pictures
    size, way = preprocessing.image_size, preprocessing.interpolation
    batches = [rng.integers(0, 256, (count, *size, 3), dtype=np.uint8) for count in BATCHES]
    if pictures:
        real = np.stack([resize_image(decode_image(one, at_least=size), size, way) for one in pictures])
        batches += cut(real)
    return batches


def sentence_batches(original: Original) -> list[np.ndarray]:
    """What the sentence towers are compared on: random words at every batch size and length, and sentences."""
    rng = np.random.default_rng(1)
    vocabulary, longest = original.tokenizer.vocabulary_size, original.config.tokens
    batches = [_random_ids(rng, count, vocabulary, longest) for count in BATCHES]
    return [*batches, original.tokenizer.encode_batch(_SENTENCES).ids]


def cut(rows: np.ndarray) -> list[np.ndarray]:
    """Rows in batches of each size that is tried, and the rest in batches of 32."""
    starts = list(np.cumsum([0, *BATCHES]))
    starts += list(range(int(starts[-1]) + _BATCH, len(rows), _BATCH))
    return [part for part in np.split(rows, starts[1:]) if len(part)]


def _random_ids(rng: np.random.Generator, count: int, vocabulary: int, context_length: int) -> np.ndarray:
    """Rows of random words and unlike lengths, (B, L)."""
    lengths = rng.integers(1, context_length + 1, size=count)
    ids = rng.integers(1, vocabulary, size=(count, lengths.max()))
    ids[np.arange(lengths.max())[None, :] >= lengths[:, None]] = 0
    return ids
