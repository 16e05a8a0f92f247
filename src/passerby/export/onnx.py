"""The towers of a checkpoint as two ONNX files, checked against the original before they take their place.

Pixels go in as bytes, the normalisation is part of the graph, batch and sentence length are free, and the metadata
says what the files are and which weights they came from. The folder is changed as a whole or not at all.

Axes: B pictures or sentences, H rows, W columns, L token ids, D width of the shared space.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from passerby.data.images import ImageSource, decode_image, resize_image
from passerby.errors import CheckpointError, ConfigError, MissingExtraError
from passerby.export.parity import BATCHES, Parity, compare
from passerby.models.checkpoint import (
    CONFIG,
    IMAGE_ONNX,
    TEXT_ONNX,
    Checkpoint,
    CheckpointConfig,
    read_checkpoint,
    write_description,
)
from passerby.models.folder import extended, replacing, write_manifest
from passerby.models.runtimes.choice import installed, usable_cores
from passerby.models.runtimes.onnx_files import (
    EXPORT_VERSION,
    IDS,
    META_CONTEXT,
    META_FINGERPRINT,
    META_FORMAT,
    META_PREPROCESSING,
    META_TOWER,
    PIXELS,
    VECTORS,
)
from passerby.models.sources import is_clip_folder, locate, shipped_models
from passerby.models.tokenizer import Tokenizer

if TYPE_CHECKING:
    import onnx

    from passerby.models.dual_encoder import DualEncoder

_OPSET = 18
_SENTENCES = (
    "a woman in a red coat with a black backpack",
    "a man",
    "an elderly person with short grey hair, a striped shirt and dark trousers, seen from behind at night",
)
_LARGEST_BATCH = 65_536


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written and how close it is to the original."""

    folder: Path
    image: Parity
    text: Parity
    bytes: int
    """Size of both files together."""


def export_onnx(
    model: str | Path,
    out: Path | None = None,
    pictures: Sequence[ImageSource] = (),
    weights_dtype: str = "float32",
) -> ExportReport:
    """Write the towers of a model as ONNX.

    Args:
        model: what `passerby.load` takes.
        out: a new folder with the exported towers alone; by default they are added to the model's own folder, which
            must then be a checkpoint of passerby.
        pictures: real pictures for the comparison, beside random ones.
        weights_dtype: "float32", or "float16" to store large weights in half; they are widened when opened.

    Raises:
        CheckpointError: there is no such model, or an exported tower differs from the original.
        ConfigError: `weights_dtype` is unknown, or the model's own folder is not ours to change.
        DataError: one of the pictures cannot be read.
        MissingExtraError: the exporter is not installed.
    """
    for package, extra in (("torch", "train"), ("onnx", "export"), ("onnxscript", "export")):
        if not installed(package):
            raise MissingExtraError(package, extra, "exporting to ONNX")
    if weights_dtype not in ("float32", "float16"):
        raise ConfigError(f"weights_dtype is {weights_dtype!r}; expected 'float32' or 'float16'")
    source = locate(model)
    encoder, tokenizer, config = _open(source.folder)
    if out is None:
        if source.name in shipped_models() or source.name.startswith("hf:") or is_clip_folder(source.folder):
            raise ConfigError(f"the folder of {source.name} is not ours to change; name a new one with --out")
        place = extended(source.folder, without=(IMAGE_ONNX, TEXT_ONNX))
    else:
        if out.exists() and not (out / CONFIG).is_file() and (not out.is_dir() or any(out.iterdir())):
            raise CheckpointError(f"{out} is there and is no checkpoint; choose another place or remove it")
        place = replacing(out)
    with place as folder:
        if out is not None:
            write_description(folder, config, tokenizer.to_json(), encoder.parameter_count)
        _write_tower(encoder, config, "image", folder / IMAGE_ONNX, weights_dtype)
        _write_tower(encoder, config, "text", folder / TEXT_ONNX, weights_dtype)
        image, text = _check(encoder, tokenizer, config, folder, pictures)
        size = sum((folder / name).stat().st_size for name in (IMAGE_ONNX, TEXT_ONNX))
        if out is not None:
            write_manifest(folder)
    return ExportReport(source.folder if out is None else out, image, text, size)


def _open(folder: Path) -> tuple[DualEncoder, Tokenizer, CheckpointConfig]:
    if is_clip_folder(folder):
        from passerby.models.clip_folder import read_clip

        clip = read_clip(folder)
        return clip.model, clip.tokenizer, clip.config
    from passerby.models.restore import restore_dual_encoder

    checkpoint = read_checkpoint(folder)
    return restore_dual_encoder(checkpoint), checkpoint.tokenizer(), checkpoint.config


def _write_tower(model: DualEncoder, config: CheckpointConfig, tower: str, path: Path, weights_dtype: str) -> None:
    """Trace one tower with a batch of two, so that no size of one is taken for a constant, and save it."""
    import torch

    from passerby.export.half_storage import halve_weights
    from passerby.models.graphs import ImageGraph, TextGraph

    batch = torch.export.Dim("batch", min=1, max=_LARGEST_BATCH)
    if tower == "image":
        graph, name = ImageGraph(model), PIXELS
        example = torch.zeros((2, *config.pictures.image_size, 3), dtype=torch.uint8)
        shapes = {0: batch}
    else:
        graph, name = TextGraph(model), IDS
        example = torch.ones((2, min(9, config.tokens)), dtype=torch.int64)
        shapes = {0: batch, 1: torch.export.Dim("length", min=1, max=config.tokens)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        program = torch.onnx.export(
            graph.eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=(shapes,),
            input_names=[name],
            output_names=[VECTORS],
            opset_version=_OPSET,
            verbose=False,
        )
    if program is None:
        raise CheckpointError(f"torch exported no {tower} tower")
    proto = program.model_proto
    _strip(proto)
    for key, value in _metadata(config, tower).items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    if weights_dtype == "float16":
        halve_weights(proto)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(proto.SerializeToString())


def _metadata(config: CheckpointConfig, tower: str) -> dict[str, str]:
    return {
        META_FORMAT: str(EXPORT_VERSION),
        META_TOWER: tower,
        META_FINGERPRINT: config.fingerprint,
        META_PREPROCESSING: json.dumps(config.pictures.to_dict()),
        META_CONTEXT: str(config.tokens),
    }


def _strip(proto: onnx.ModelProto) -> None:
    """Remove the traces of the exporting machine: stack traces with its paths, names of its modules."""
    del proto.metadata_props[:]
    parts = [*proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.value_info]
    for part in [proto.graph, *parts, *proto.graph.initializer]:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _check(
    model: DualEncoder,
    tokenizer: Tokenizer,
    config: CheckpointConfig,
    folder: Path,
    pictures: Sequence[ImageSource],
) -> tuple[Parity, Parity]:
    """Run both towers of a folder beside the original."""
    from passerby.models.runtimes.onnxruntime_engine import OnnxRuntime
    from passerby.models.runtimes.torch_engine import TorchRuntime

    original, exported = TorchRuntime(model, "cpu"), OnnxRuntime(Checkpoint(folder, config, {}), usable_cores())
    rng = np.random.default_rng(0)
    size = config.pictures.image_size
    images = [rng.integers(0, 256, (count, *size, 3), dtype=np.uint8) for count in BATCHES]
    if pictures:
        way = config.pictures.interpolation
        images.append(np.stack([resize_image(decode_image(picture, at_least=size), size, way) for picture in pictures]))
    texts = [_random_ids(rng, count, tokenizer.vocabulary_size, config.tokens) for count in BATCHES]
    texts.append(tokenizer.encode_batch(_SENTENCES).ids)
    return (
        compare("image", original.images, exported.images, images),
        compare("text", original.texts, exported.texts, texts),
    )


def _random_ids(rng: np.random.Generator, count: int, vocabulary: int, context_length: int) -> np.ndarray:
    """Rows of random words and unlike lengths, (B, L)."""
    lengths = rng.integers(1, context_length + 1, size=count)
    ids = rng.integers(1, vocabulary, size=(count, lengths.max()))
    ids[np.arange(lengths.max())[None, :] >= lengths[:, None]] = 0
    return ids
