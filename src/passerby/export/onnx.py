"""The towers of a checkpoint as two ONNX files, checked against the original before they take their place.

Pixels go in as bytes, the normalisation is part of the graph, batch and sentence length are free, and the metadata
says what the files are and which weights they came from. The folder is changed as a whole or not at all.

Axes: B pictures or sentences, H rows, W columns, L token ids, D width of the shared space.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from passerby.data.images import ImageSource
from passerby.errors import CheckpointError, ConfigError
from passerby.export.original import (
    ExportReport,
    Original,
    need,
    open_original,
    picture_batches,
    place,
    sentence_batches,
    size_of,
)
from passerby.export.parity import Parity, compare
from passerby.models.checkpoint import IMAGE_ONNX, TEXT_ONNX, Checkpoint
from passerby.models.runtimes.choice import installed, usable_cores
from passerby.models.runtimes.onnx_files import (
    EXPORT_VERSION,
    IDS,
    META_CONTEXT,
    META_FINGERPRINT,
    META_FORMAT,
    META_PRECISION,
    META_PREPROCESSING,
    META_TOWER,
    PIXELS,
    VECTORS,
)

if TYPE_CHECKING:
    import onnx

_OPSET = 18
_LARGEST_BATCH = 65_536


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
    need_onnx()
    if weights_dtype not in ("float32", "float16"):
        raise ConfigError(f"weights_dtype is {weights_dtype!r}; expected 'float32' or 'float16'")
    original = open_original(model)
    names = (IMAGE_ONNX, TEXT_ONNX)
    with place(original, out, names) as folder:
        for tower, name in zip(("image", "text"), names, strict=True):
            proto = tower_graph(original, tower)
            if weights_dtype == "float16":
                from passerby.export.half_storage import halve_weights

                halve_weights(proto)
            write_graph(proto, metadata(original, tower), folder / name)
        image, text = _check(original, folder, pictures)
        size = size_of(folder, names)
    return ExportReport(original.folder if out is None else out, image, text, size)


def need_onnx() -> None:
    """Refuse to begin where a package is missing that traces towers into ONNX.

    Raises:
        MissingExtraError: for the first that is missing.
    """
    packages = (("torch", "train"), ("onnx", "export"), ("onnxscript", "export"))
    need(*packages, purpose="exporting to ONNX", is_installed=installed)


def tower_graph(original: Original, tower: str) -> onnx.ModelProto:
    """Trace one tower with a batch of two, so that no size of one is taken for a constant.

    Args:
        original: the model.
        tower: "image" or "text".

    Raises:
        CheckpointError: torch exports nothing.
    """
    import torch

    from passerby.models.graphs import ImageGraph, TextGraph

    batch = torch.export.Dim("batch", min=1, max=_LARGEST_BATCH)
    if tower == "image":
        graph, name = ImageGraph(original.model), PIXELS
        example = torch.zeros((2, *original.config.pictures.image_size, 3), dtype=torch.uint8)
        shapes = {0: batch}
    else:
        longest = original.config.tokens
        graph, name = TextGraph(original.model), IDS
        example = torch.ones((2, min(9, longest)), dtype=torch.int64)
        shapes = {0: batch, 1: torch.export.Dim("length", min=1, max=longest)}
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
    return proto


def metadata(
    original: Original, tower: str, precision: str = "float32", fingerprint: str | None = None
) -> dict[str, str]:
    """What an exported tower says about itself.

    Args:
        original: where it comes from.
        tower: "image" or "text".
        precision: number format of its arithmetic, "float32" or "int8".
        fingerprint: of the exported model where its vectors are not the original's.
    """
    return {
        META_FORMAT: str(EXPORT_VERSION),
        META_TOWER: tower,
        META_FINGERPRINT: fingerprint or original.config.fingerprint,
        META_PREPROCESSING: json.dumps(original.config.pictures.to_dict()),
        META_CONTEXT: str(original.config.tokens),
        META_PRECISION: precision,
    }


def write_graph(proto: onnx.ModelProto, entries: dict[str, str], path: Path) -> None:
    """Save a graph with its metadata."""
    for key, value in entries.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(proto.SerializeToString())


def _strip(proto: onnx.ModelProto) -> None:
    """Remove the traces of the exporting machine: stack traces with its paths, names of its modules."""
    del proto.metadata_props[:]
    parts = [*proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.value_info]
    for part in [proto.graph, *parts, *proto.graph.initializer]:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _check(original: Original, folder: Path, pictures: Sequence[ImageSource]) -> tuple[Parity, Parity]:
    """Run both towers of a folder beside the original."""
    from passerby.models.runtimes.onnxruntime_engine import OnnxRuntime
    from passerby.models.runtimes.torch_engine import TorchRuntime

    reference = TorchRuntime(original.model, "cpu")
    exported = OnnxRuntime(Checkpoint(folder, original.config, {}), usable_cores())
    return (
        compare("image", reference.images, exported.images, picture_batches(original, pictures)),
        compare("text", reference.texts, exported.texts, sentence_batches(original)),
    )
