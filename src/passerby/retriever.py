"""A trained model in use: pictures or sentences in, unit vectors out, whatever engine computes them.

Nothing here imports torch; it is loaded only when a model has no exported towers or when it is asked for. Pictures
are decoded by threads while the previous batch is computed.

Axes: N pictures or sentences, B of them in a batch, H rows, W columns, L token ids, D width of the shared space.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from passerby.data.images import ImageSource, decode_image, resize_image
from passerby.errors import ConfigError, DataError, MissingExtraError, nearest
from passerby.models.checkpoint import Checkpoint, read_checkpoint
from passerby.models.occlusion import explain_by_occlusion
from passerby.models.preprocessing import Preprocessing
from passerby.models.runtimes import Runtime
from passerby.models.runtimes.choice import choose, installed, usable_cores
from passerby.models.runtimes.measured import remembered
from passerby.models.runtimes.onnx_files import tower_file
from passerby.models.runtimes.pair import PairRuntime
from passerby.models.sources import Source, is_clip_folder, locate
from passerby.models.tokenizer import Encoding, Tokenizer

if TYPE_CHECKING:
    from passerby.models.explained import Explanation
    from passerby.models.explainer import Explainer

_LOGGER = logging.getLogger(__name__)
_TEXT_BATCH = 256
_EXPLAINED = ("gradient", "occlusion")
_SMALL_TEXT_TOWER = 32_000_000  # bytes; below it starting OpenVINO takes longer than it saves on any one sentence

#: Called with the position of a picture and what is wrong with it.
OnError = Callable[[int, DataError], None]


class Retriever:
    """Turns pictures and sentences into vectors whose dot product is the score. Made by `load`.

    Args:
        name: what `load` was given; loading it again gives the same model.
        fingerprint: SHA-256 of everything that decides the vectors; galleries are bound to it.
        dim: D.
        preprocessing: what pictures are made into.
        tokenizer: turns sentences into ids; None for a model that reads pictures alone.
        runtime: the engine.
        threads: threads that decode pictures.
        trained_on: what the model learned from, in the words of its checkpoint.
        branches: columns of each branch of the vectors (first, after the last) where the model has several.
        has_weights: whether there are weights beside exported towers, so that torch can open the model.
    """

    def __init__(
        self,
        name: str,
        fingerprint: str,
        dim: int,
        preprocessing: Preprocessing,
        tokenizer: Tokenizer | None,
        runtime: Runtime,
        threads: int,
        trained_on: str = "unknown",
        branches: Mapping[str, tuple[int, int]] = MappingProxyType({}),
        has_weights: bool = True,
    ) -> None:
        self.trained_on, self.branches, self._has_weights = trained_on, branches, has_weights
        self.name = name
        self.fingerprint = fingerprint
        self.dim = dim
        self.preprocessing = preprocessing
        self.runtime = runtime
        self._tokenizer = tokenizer
        self._threads = threads
        self._explainer: Explainer | None = None

    def __repr__(self) -> str:
        """Name, engine and width."""
        return f"Retriever({self.name!r}, {self.runtime.name} on {self.runtime.detail}, {self.dim} dimensions)"

    def encode_images(
        self, images: Sequence[ImageSource], batch_size: int = 64, on_error: OnError | None = None
    ) -> np.ndarray:
        """Encode pictures.

        Args:
            images: paths, bytes of picture files, Pillow images, or arrays (H, W, 3) uint8, mixed as they come.
            batch_size: pictures computed at a time.
            on_error: called with (position, error) for a picture that cannot be read, whose row is then all zeros;
                without it the first such picture raises.

        Shape:
            (N, D) float32, rows of unit length, in the order given.

        Raises:
            DataError: a picture cannot be read, or its vector is not finite; the message names it.
            ConfigError: `batch_size` is below one.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; expected one or more")
        vectors = np.zeros((len(images), self.dim), dtype=np.float32)  # (N, D)
        for rows, pixels in self._batches(images, batch_size, on_error):
            encoded = _unit(self.runtime.images(pixels))
            broken = np.flatnonzero(~np.isfinite(encoded).all(axis=1))
            if broken.size:
                position = int(rows[broken[0]])
                raise DataError(
                    f"{_label(images[position], position)}: the model {self.name} gave a vector that is "
                    "not finite; the model or its export is damaged, export it again or use another"
                )
            vectors[rows] = encoded
        return vectors

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Encode sentences; what is cut or not understood goes to the log, and `tokenize` tells it exactly.

        Shape:
            (N, D) float32, rows of unit length, in the order given.

        Raises:
            DataError: a sentence is empty or no string, or its vector is not finite.
            ConfigError: the model reads pictures alone.
        """
        encoding = self.tokenize(texts)
        _report(encoding, self._reader.context_length)
        lengths = (encoding.ids != 0).sum(axis=1)  # (N,)
        order = np.argsort(lengths, kind="stable")  # sentences of like length together waste least on padding
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)  # (N, D)
        for start in range(0, len(texts), _TEXT_BATCH):
            rows = order[start : start + _TEXT_BATCH]
            ids = np.ascontiguousarray(encoding.ids[rows, : max(1, _longest(encoding.ids[rows]))])  # (B, L)
            vectors[rows] = _unit(self.runtime.texts(ids))
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if broken.size:
            raise DataError(f"the model {self.name} gave a vector that is not finite for {texts[broken[0]][:80]!r}")
        return vectors

    def explain(self, image: ImageSource, text: str, how: str = "auto") -> Explanation:
        """Say which places of a picture and which words of a sentence decided their score.

        Args:
            image: a path, the bytes of a picture file, a Pillow image, or an array (H, W, 3) uint8.
            text: one sentence.
            how: "gradient" asks the model's weights, which needs torch; "occlusion" covers places of the picture and
                leaves words out, which needs no more than the engine; "auto" takes the first where it can be had.

        Raises:
            DataError: the picture cannot be read, or the sentence is empty.
            ConfigError: the model reads pictures alone, or there is no such way; by gradients also where the model's
                tokens have no places on the picture.
            CheckpointError: the model has no weights beside its exported towers, for gradients.
            MissingExtraError: torch is not installed, for gradients.
        """
        if how not in ("auto", *_EXPLAINED):
            raise ConfigError(f"how is {how!r}; expected auto, {' or '.join(_EXPLAINED)}.{nearest(how, _EXPLAINED)}")
        pixels, sentence = _read(image, self.preprocessing), _one_sentence(text)
        if how == "occlusion" or (how == "auto" and not (self._has_weights and installed("torch"))):
            return explain_by_occlusion(self, pixels, sentence)
        return self.explainer.explain(pixels, sentence)

    @property
    def explainer(self) -> Explainer:
        """The model opened with its weights, once.

        Raises: as `explain`.
        """
        if self._explainer is None:
            if not installed("torch"):
                raise MissingExtraError("torch", "train", "explaining an answer")
            from passerby.models.explainer import open_explainer

            self._explainer = open_explainer(self.name, self.fingerprint)
        return self._explainer

    def tokenize(self, texts: Sequence[str]) -> Encoding:
        """Token ids of sentences, with which of them were cut and how much was not understood.

        Raises:
            DataError: a sentence is empty or no string.
            ConfigError: the model reads pictures alone.
        """
        reader = self._reader
        if isinstance(texts, str):
            raise DataError(f"expected a list of sentences, found one string: {texts[:80]!r}; write [text]")
        for position, text in enumerate(texts):
            if isinstance(text, str) and not text.strip():
                raise DataError(f"the sentence at position {position} is empty; describe the person in a few words")
        return reader.encode_batch(texts)

    @property
    def reads_sentences(self) -> bool:
        """Whether `encode_texts` works."""
        return self._tokenizer is not None

    @property
    def _reader(self) -> Tokenizer:
        if self._tokenizer is None:
            raise ConfigError(
                f"the model {self.name} reads pictures alone, and was given sentences; search with a picture, or take "
                "a dual encoder"
            )
        return self._tokenizer

    def _batches(
        self, images: Sequence[ImageSource], batch_size: int, on_error: OnError | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Positions (B,) and pixels (B, H, W, 3) of the readable pictures, the next batch being decoded meanwhile."""
        read = partial(_read, preprocessing=self.preprocessing)
        with ThreadPoolExecutor(self._threads) as pool:

            def submit(start: int) -> dict[int, Future[np.ndarray]]:
                stop = min(start + batch_size, len(images))
                return {position: pool.submit(read, images[position]) for position in range(start, stop)}

            ahead = submit(0)
            for start in range(0, len(images), batch_size):
                current, ahead = ahead, submit(start + batch_size)
                kept = _collect(current, on_error)
                if kept:
                    yield np.array(list(kept)), np.stack(list(kept.values()))


def load(model: str | Path, runtime: str = "auto", device: str = "auto", threads: int | None = None) -> Retriever:
    """Load a model for searching and indexing.

    Args:
        model: a checkpoint folder, ``hf:org/name@rev``, a shipped model's name, or a CLIP folder in transformers or
            open_clip form (used as it is, zero-shot).
        runtime: "torch", "onnxruntime", "openvino", or "auto" for the fastest that this machine has.
        device: "auto", "cpu" or "cuda".
        threads: threads for batches and for decoding; every usable core by default.

    Raises:
        CheckpointError: there is no such model, or it is damaged.
        ConfigError: an argument is wrong.
        MissingExtraError: the runtime is not installed; the message says what to install.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"threads is {threads}; expected one or more")
    threads = threads or usable_cores()
    source = locate(model)
    if is_clip_folder(source.folder):
        return _load_clip(source, runtime, device, threads)
    checkpoint = read_checkpoint(source.folder)
    config = checkpoint.config
    engine = _engine(checkpoint, source.name, runtime, device, threads)
    tokenizer = checkpoint.tokenizer() if config.context_length is not None else None
    return Retriever(
        source.name,
        config.fingerprint,
        config.embedding_dim,
        config.pictures,
        tokenizer,
        engine,
        threads,
        config.trained_on,
        _branches(config.model),
        checkpoint.has_weights,
    )


def _branches(model: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Columns of the whole and of its parts in the vectors of a model with a local branch."""
    if "local" not in model:
        return {}
    from passerby.models.itself_options import LocalOptions, branch_columns

    return branch_columns(model["global_dim"], LocalOptions.from_dict(model["local"]))


def _engine(checkpoint: Checkpoint, name: str, runtime: str, device: str, threads: int) -> Runtime:
    times = remembered(checkpoint.config.fingerprint)
    choice = choose(runtime, device, checkpoint.forms, checkpoint.has_weights, name, times)
    _LOGGER.debug("%s runs on %s (%s)", name, choice.runtime, choice.why)
    if choice.runtime in ("openvino", "onnxruntime"):
        return _exported_engine(checkpoint, runtime, choice.runtime, threads)
    from passerby.models.restore import restore_encoder
    from passerby.models.runtimes.torch_engine import TorchRuntime

    return TorchRuntime(restore_encoder(checkpoint), choice.device)


def _exported_engine(checkpoint: Checkpoint, asked: str, chosen: str, threads: int) -> Runtime:
    if chosen == "onnxruntime":
        return _onnxruntime(checkpoint, threads)
    from passerby.models.runtimes.openvino_engine import OpenVinoRuntime

    engine = OpenVinoRuntime(checkpoint, threads)
    if asked == "auto" and "onnx" in checkpoint.forms and installed("onnxruntime") and _small_text(checkpoint):
        return PairRuntime(engine, _onnxruntime(checkpoint, threads))
    return engine


def _small_text(checkpoint: Checkpoint) -> bool:
    return tower_file(checkpoint, "text").stat().st_size < _SMALL_TEXT_TOWER


def _onnxruntime(checkpoint: Checkpoint, threads: int) -> Runtime:
    from passerby.models.runtimes.onnxruntime_engine import OnnxRuntime

    return OnnxRuntime(checkpoint, threads)


def _load_clip(source: Source, runtime: str, device: str, threads: int) -> Retriever:
    choice = choose(runtime, device, forms=(), has_weights=True, origin=source.name)
    from passerby.models.clip_folder import read_clip
    from passerby.models.runtimes.torch_engine import TorchRuntime

    clip = read_clip(source.folder)
    engine = TorchRuntime(clip.model, choice.device)
    config = clip.config
    return Retriever(
        source.name,
        config.fingerprint,
        config.embedding_dim,
        config.pictures,
        clip.tokenizer,
        engine,
        threads,
        config.trained_on,
    )


def _read(image: ImageSource, preprocessing: Preprocessing) -> np.ndarray:
    size = preprocessing.image_size
    return resize_image(decode_image(image, at_least=size), size, preprocessing.interpolation)


def _collect(futures: dict[int, Future[np.ndarray]], on_error: OnError | None) -> dict[int, np.ndarray]:
    """Wait for the pictures of a batch; those that cannot be read are told or raised."""
    kept: dict[int, np.ndarray] = {}
    for position, future in futures.items():
        try:
            kept[position] = future.result()
        except DataError as error:
            if on_error is None:
                raise
            on_error(position, error)
    return kept


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of unit length (B, D); bf16 engines leave them a thousandth off. A zero row becomes NaN and is refused."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _one_sentence(text: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"expected one sentence, found {text!r}; describe the person in a few words")
    return text


def _longest(ids: np.ndarray) -> int:
    """Position after the last token of the longest row: (B, L) -> L'."""
    used = np.flatnonzero((ids != 0).any(axis=0))
    return int(used[-1]) + 1 if used.size else 0


def _label(image: ImageSource, position: int) -> str:
    return str(image) if isinstance(image, str | Path) else f"the picture at position {position}"


def _report(encoding: Encoding, context_length: int) -> None:
    count = len(encoding.ids)
    if encoding.truncated:
        _LOGGER.warning(
            "%d of %d sentences were cut to the first %d tokens", len(encoding.truncated), count, context_length
        )
    strange = int((encoding.unknown > 0).sum())
    if strange:
        _LOGGER.warning("%d of %d sentences have characters that the model's vocabulary lacks", strange, count)
