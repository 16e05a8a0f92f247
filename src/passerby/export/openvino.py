"""The towers of a checkpoint in OpenVINO's own form: a graph in XML and its weights beside it.

OpenVINO reads the ONNX files too; its own form opens faster and is where its int8 graphs can be kept. The comparison is
made in float32, so that it judges the export and not the number format that the engine uses later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from passerby.data.images import ImageSource
from passerby.export.onnx import metadata, need_onnx, tower_graph
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
from passerby.models.checkpoint import EXPORTED, Checkpoint
from passerby.models.runtimes.choice import installed, usable_cores

FILES = EXPORTED["openvino"]


def export_openvino(
    model: str | Path, out: Path | None = None, pictures: Sequence[ImageSource] = (), weights_dtype: str = "float32"
) -> ExportReport:
    """Write the towers of a model in OpenVINO's form.

    Args:
        model: what `passerby.load` takes.
        out: a new folder with the exported towers alone; by default they are added to the model's own folder.
        pictures: real pictures for the comparison, beside random ones.
        weights_dtype: "float32", or "float16" to store weights in half; they are widened when opened.

    Raises:
        CheckpointError: there is no such model, or an exported tower differs from the original.
        ConfigError: the model's own folder is not ours to change.
        DataError: one of the pictures cannot be read.
        MissingExtraError: the exporter is not installed.
    """
    need_onnx()
    need(("openvino", "export"), purpose="exporting to OpenVINO", is_installed=installed)
    original = open_original(model)
    with place(original, out, FILES) as folder:
        for tower, name in zip(("image", "text"), FILES, strict=False):
            graph = openvino_graph(original, tower)
            save_graph(graph, metadata(original, tower), folder / name, half=weights_dtype == "float16")
        image, text = _check(original, folder, pictures)
        size = size_of(folder, FILES)
    return ExportReport(original.folder if out is None else out, image, text, size)


def openvino_graph(original: Original, tower: str) -> Any:
    """One tower as an OpenVINO model in memory.

    Args:
        original: the model.
        tower: "image" or "text".

    Raises:
        CheckpointError: torch exports nothing.
    """
    import openvino

    return openvino.Core().read_model(tower_graph(original, tower).SerializeToString())


def save_graph(graph: Any, entries: Mapping[str, str], path: Path, half: bool = False) -> None:
    """Save an OpenVINO model with its metadata, its weights in half precision if so wished."""
    import openvino

    path.parent.mkdir(exist_ok=True)
    for key, value in entries.items():
        graph.set_rt_info(value, ["passerby", key])
    openvino.save_model(graph, path, compress_to_fp16=half)


def _check(original: Original, folder: Path, pictures: Sequence[ImageSource]) -> tuple[Parity, Parity]:
    from passerby.models.runtimes.openvino_engine import OpenVinoRuntime
    from passerby.models.runtimes.torch_engine import TorchRuntime

    reference = TorchRuntime(original.model, "cpu")
    checkpoint = Checkpoint(folder, original.config, dict.fromkeys(FILES, ""))
    exported = OpenVinoRuntime(checkpoint, usable_cores(), precision="f32")
    return (
        compare("image", reference.images, exported.images, picture_batches(original, pictures)),
        compare("text", reference.texts, exported.texts, sentence_batches(original)),
    )
