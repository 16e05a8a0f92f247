"""The checkpoint folder: weights, configuration, tokenizer, exported towers, a model card, and a manifest over all.

``manifest.json`` holds the SHA-256 of every other file, so a flipped byte is found before anything is computed with
it. Folders are written as a whole under a temporary name and renamed, so there is never half a checkpoint. Reading
needs no torch; a configuration can name registry keys and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from passerby import __version__
from passerby.errors import CheckpointError, ConfigError, nearest
from passerby.models.folder import checked_files, dump_json, replacing, write_manifest
from passerby.models.kinds import KINDS
from passerby.models.model_card import model_card
from passerby.models.preprocessing import Preprocessing
from passerby.models.tokenizer import Tokenizer

#: Raised when the folder changes in a way that an older passerby cannot read.
FORMAT_VERSION = 1
WEIGHTS, CONFIG, TOKENIZER, CARD = "model.safetensors", "config.json", "tokenizer.json", "README.md"
IMAGE_ONNX, TEXT_ONNX = "onnx/image.onnx", "onnx/text.onnx"
#: Form of exported towers -> its files: picture tower, sentence tower, and what belongs to them.
EXPORTED: Mapping[str, tuple[str, ...]] = {
    "onnx": (IMAGE_ONNX, TEXT_ONNX),
    "openvino": ("openvino/image.xml", "openvino/text.xml", "openvino/image.bin", "openvino/text.bin"),
}

_PICKLES = frozenset({".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib"})
_LARGEST_HALF = 65504.0


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """The content of ``config.json``.

    Attributes:
        kind: what the folder holds; a key of `passerby.models.kinds.KINDS`.
        name: what the model is called.
        model: registry keys and options, as the kind's builder takes them; ``embedding_dim`` is always there.
        preprocessing: what the pictures must look like; None for a kind that reads none.
        context_length: most tokens of a sentence; None for a kind that reads none.
        licence: SPDX identifier or a sentence; of the weights, not of the code.
        trained_on: the data set, in words.
        metrics: what the model reached, name -> value; percentages where the name says nothing else.
        about: a paragraph for the model card.
        fingerprint: set when the folder is written; galleries are bound to it.
        passerby_version: the version that wrote the folder.
    """

    model: Mapping[str, Any]
    preprocessing: Preprocessing | None
    context_length: int | None
    name: str
    kind: str = "dual_encoder"
    licence: str = "unknown"
    trained_on: str = "unknown"
    metrics: Mapping[str, float] = field(default_factory=dict)
    about: str = ""
    fingerprint: str = ""
    passerby_version: str = __version__

    @property
    def pictures(self) -> Preprocessing:
        """What the pictures must look like.

        Raises:
            CheckpointError: the model reads none.
        """
        if self.preprocessing is None:
            raise CheckpointError(f"{self.name} is a {self.kind} model, which reads no pictures")
        return self.preprocessing

    @property
    def tokens(self) -> int:
        """Most tokens of a sentence.

        Raises:
            CheckpointError: the model reads none.
        """
        if self.context_length is None:
            raise CheckpointError(f"{self.name} is a {self.kind} model, which reads no sentences")
        return self.context_length

    @property
    def embedding_dim(self) -> int:
        """D, the width of the vectors."""
        return int(self.model["embedding_dim"])

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "model": dict(self.model),
            "preprocessing": self.preprocessing.to_dict() if self.preprocessing else None,
            "text": {"context_length": self.context_length} if self.context_length else None,
            "licence": self.licence,
            "trained_on": self.trained_on,
            "metrics": dict(self.metrics),
            "about": self.about,
            "passerby_version": self.passerby_version,
        }


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that was read and found whole."""

    folder: Path
    config: CheckpointConfig
    files: Mapping[str, str] = field(repr=False)
    """Path below the folder -> SHA-256."""

    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the folder.

        Raises:
            CheckpointError: the model reads no sentences.
        """
        return Tokenizer.from_file(self.folder / TOKENIZER, self.config.tokens)

    def tensors(self) -> dict[str, np.ndarray]:
        """All weights; those stored in half precision come back as float32.

        Raises:
            CheckpointError: the folder has no weights, or they cannot be read.
        """
        if not self.has_weights:
            raise CheckpointError(f"{self.folder} has no {WEIGHTS}; it can only be used through its exported towers")
        try:
            stored = safetensors.numpy.load_file(self.folder / WEIGHTS)
        except Exception as error:  # the backend raises an error type of its own
            raise CheckpointError(f"{self.folder / WEIGHTS} cannot be read: {error}; restore the folder") from error
        return {name: _widened(tensor) for name, tensor in stored.items()}

    @property
    def has_weights(self) -> bool:
        """Whether the torch runtime can use it."""
        return WEIGHTS in self.files

    @property
    def exported(self) -> bool:
        """Whether both exported towers are there, in any form."""
        return bool(self.forms)

    @property
    def forms(self) -> tuple[str, ...]:
        """Forms of `EXPORTED` in which both towers are there."""
        return tuple(form for form, names in EXPORTED.items() if all(name in self.files for name in names))


def write_checkpoint(
    folder: Path,
    config: CheckpointConfig,
    tensors: Mapping[str, np.ndarray],
    tokenizer: Tokenizer | None,
    weights_dtype: str = "float32",
) -> Checkpoint:
    """Write a checkpoint folder as a whole; one that is already there is replaced.

    Args:
        folder: where to.
        config: everything but the fingerprint, which is computed here.
        tensors: the weights.
        tokenizer: goes into ``tokenizer.json``; None for a kind that reads no sentences.
        weights_dtype: "float32", or "float16" to store the floating tensors of two or more axes in half precision;
            biases, norms and running statistics are small and stay as they are.

    Raises:
        CheckpointError: a weight is not finite or too large for half precision, or the folder is something else.
        ConfigError: `weights_dtype` is neither of the two.
    """
    folder = Path(folder)
    stored = _narrowed(tensors, weights_dtype)
    tokenizer_json = tokenizer.to_json() if tokenizer else ""
    mark = fingerprint(stored, config.model, config.preprocessing, tokenizer_json)
    complete = replace(config, fingerprint=mark)
    if folder.exists() and not (folder / CONFIG).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder} is there and is no checkpoint; choose another place or remove it")
    with replacing(folder) as temporary:
        (temporary / WEIGHTS).write_bytes(safetensors.numpy.save(stored, metadata={"format": "pt"}))
        write_description(temporary, complete, tokenizer_json, sum(tensor.size for tensor in stored.values()))
        write_manifest(temporary)
    return read_checkpoint(folder)


def write_description(folder: Path, config: CheckpointConfig, tokenizer_json: str, parameters: int) -> None:
    """Write what a checkpoint holds beside its weights: configuration, tokenizer and model card."""
    if tokenizer_json:
        (folder / TOKENIZER).write_text(tokenizer_json, encoding="utf-8")
    (folder / CONFIG).write_text(dump_json(config.to_dict()), encoding="utf-8")
    (folder / CARD).write_text(model_card(config.to_dict(), parameters), encoding="utf-8")


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint folder and check every byte of it.

    Raises:
        CheckpointError: the folder is missing, incomplete, damaged, too new, of an unknown kind, or holds a pickle.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"no checkpoint folder at {folder}")
    for path in sorted([*folder.glob("*"), *folder.glob("onnx/*")]):
        if path.suffix.lower() in _PICKLES:
            raise CheckpointError(
                f"{path} may hold a pickle, which can run code when it is opened; passerby reads safetensors only. "
                "Remove the file, or convert the model and train or export it again"
            )
    files = checked_files(folder)
    if CONFIG not in files:
        raise CheckpointError(f"{folder} has no {CONFIG}; it is no checkpoint, or not a whole one")
    config = _read_config(folder / CONFIG)
    if KINDS[config.kind].sentences and TOKENIZER not in files:
        raise CheckpointError(f"{folder} has no {TOKENIZER}, which a {config.kind} model needs; restore the folder")
    return Checkpoint(folder, config, files)


def fingerprint(
    tensors: Mapping[str, np.ndarray],
    model: Mapping[str, Any],
    preprocessing: Preprocessing | None,
    tokenizer_json: str,
) -> str:
    """A SHA-256 over everything that decides a vector: weights as stored, model, preprocessing and tokenizer."""
    digest = hashlib.sha256()
    settled = {"model": model, "preprocessing": preprocessing.to_dict() if preprocessing else None}
    for text in (json.dumps(settled, sort_keys=True), tokenizer_json):
        digest.update(hashlib.sha256(text.encode()).digest())
    for name in sorted(tensors):
        tensor = np.asarray(tensors[name], order="C")
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def _read_config(path: Path) -> CheckpointConfig:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        version = int(tree["format_version"])
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{path} has format version {version}, this passerby {__version__} reads up to {FORMAT_VERSION}; "
                f"it was written by passerby {tree.get('passerby_version', 'of a later version')}: upgrade passerby"
            )
        kind = str(tree["kind"])
        if kind not in KINDS:
            raise CheckpointError(f"{path}: unknown kind {kind!r}; known: {', '.join(KINDS)}.{nearest(kind, KINDS)}")
        reads = KINDS[kind]
        if not isinstance(tree["model"].get("embedding_dim"), int):
            raise CheckpointError(f"{path}: model.embedding_dim is missing")
        return CheckpointConfig(
            model=tree["model"],
            preprocessing=Preprocessing.from_dict(tree["preprocessing"]) if reads.pictures else None,
            context_length=int(tree["text"]["context_length"]) if reads.sentences else None,
            name=str(tree["name"]),
            kind=kind,
            licence=str(tree["licence"]),
            trained_on=str(tree["trained_on"]),
            metrics=dict(tree["metrics"]),
            about=str(tree["about"]),
            fingerprint=str(tree["fingerprint"]),
            passerby_version=str(tree["passerby_version"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OSError, ConfigError) as error:
        raise CheckpointError(f"{path} cannot be read as a configuration: {error!r}") from error


def _narrowed(tensors: Mapping[str, np.ndarray], weights_dtype: str) -> dict[str, np.ndarray]:
    if weights_dtype not in ("float32", "float16"):
        raise ConfigError(f"weights_dtype is {weights_dtype!r}; expected 'float32' or 'float16'")
    stored: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        kept = np.asarray(tensor, order="C")  # ascontiguousarray would give scalars an axis
        if kept.dtype.kind == "f":
            if not np.isfinite(kept).all():
                raise CheckpointError(f"the weight {name!r} holds NaN or infinity; the model was not saved")
            if weights_dtype == "float16" and kept.ndim >= 2:
                if np.abs(kept).max(initial=0) > _LARGEST_HALF:
                    raise CheckpointError(f"the weight {name!r} is too large for float16; save it as float32")
                kept = kept.astype(np.float16)
        stored[name] = kept
    return stored


def _widened(tensor: np.ndarray) -> np.ndarray:
    return tensor.astype(np.float32) if tensor.dtype == np.float16 else tensor
