"""Towers in int8: smaller and, on processors with int8 instructions, faster; another model as far as vectors go.

OpenVINO's towers are quantized by nncf, after training, with ranges from the smallest to the largest value seen: with
its default, the mean of such ranges, a few pictures came out with a cosine below 0.7 where this gives 0.999. ONNX
Runtime's get a static picture tower and a dynamic sentence tower by its own tools. An int8 model has a fingerprint of
its own, so a gallery never mixes its vectors with those of the original.

Axes: N pictures, M sentences, B of them in a batch, L token ids, D width of the shared space.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from importlib import metadata as packages
from io import StringIO
from pathlib import Path
from typing import Any, cast

import numpy as np

from passerby.errors import CheckpointError, ConfigError
from passerby.export.calibration import Calibration, read_calibration
from passerby.export.onnx import metadata, need_onnx, tower_graph, write_graph
from passerby.export.openvino import openvino_graph, save_graph
from passerby.export.original import (
    ExportReport,
    Original,
    cut,
    describe,
    need,
    open_original,
    picture_batches,
    place,
    sentence_batches,
    size_of,
)
from passerby.export.parity import compare
from passerby.models.checkpoint import EXPORTED, Checkpoint
from passerby.models.runtimes import Runtime
from passerby.models.runtimes.choice import cpu_features, has_int8, installed, usable_cores

#: Lowest cosine that an int8 tower may have with the original.
LOWEST_COSINE = 0.98
#: Points of R@1 that an int8 model must lose less than.
MOST_LOST = 1.0

_BATCH = 32
_TOWERS = ("image", "text")


def export_int8(
    model: str | Path, to: str = "openvino", out: Path | None = None, calibrate: str | Path | None = None
) -> ExportReport:
    """Write the towers of a model in int8, into a folder of their own.

    Args:
        model: what `passerby.load` takes.
        to: "openvino" or "onnx".
        out: a new folder; by default the model's own with ``-int8`` behind its name.
        calibrate: a folder of pictures or ``NAME:ROOT`` of a data set; the drawn street by default.

    Raises:
        CheckpointError: a tower's cosine is below `LOWEST_COSINE`, R@1 falls by `MOST_LOST` or more, or this processor
            cannot run int8, so that nothing could be compared.
        ConfigError: `to` is unknown, or the model's own folder is not ours and `out` is not given.
        DataError: the calibration pictures cannot be read.
        MissingExtraError: a package is not installed.
    """
    if to not in EXPORTED:
        raise ConfigError(f"the format is {to!r}; expected one of {', '.join(EXPORTED)}")
    need_onnx()
    if to == "openvino":
        need(("openvino", "export"), ("nncf", "export"), purpose="quantizing to int8", is_installed=installed)
    if cpu_features() and not has_int8():
        raise CheckpointError(
            "this processor has no int8 instructions (AVX-512 VNNI, AVX-VNNI or AMX), so an int8 model could not be "
            "compared with its original; export it on a machine that has them"
        )
    original = open_original(model)
    if out is None:
        if not original.ours:
            raise ConfigError(f"the folder of {original.name} is not ours to extend; name a new one with --out")
        out = original.folder.with_name(f"{original.folder.name}-int8")
    calibration = read_calibration(calibrate, original)
    mark = _fingerprint(original, to, calibration)
    with place(original, out, ()) as folder:
        describe(original, folder, mark, f"Towers in int8 ({to}), calibrated on {calibration.about}.")
        for tower, name in zip(_TOWERS, EXPORTED[to], strict=False):
            entries = metadata(original, tower, "int8", mark)
            _WRITERS[to](original, tower, calibration, folder / name, entries)
        report = _judged(original, folder, to, mark, calibration)
    return replace(report, folder=out)


def _fingerprint(original: Original, to: str, calibration: Calibration) -> str:
    """Decided by what decides the vectors: the original, the way, the calibration and the program that quantizes."""
    program = "nncf" if to == "openvino" else "onnxruntime"
    parts = (original.config.fingerprint, "int8", to, calibration.digest, packages.version(program))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _write_openvino(
    original: Original, tower: str, calibration: Calibration, path: Path, entries: dict[str, str]
) -> None:
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # nncf looks for CUDA's compiler, aloud
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    logging.getLogger("nncf").setLevel(logging.ERROR)
    inputs = list(_rows(calibration, tower))
    with redirect_stdout(StringIO()):  # its bars would stand in the middle of our results
        quantized = nncf.quantize(
            openvino_graph(original, tower),
            nncf.Dataset(inputs, lambda batch: [batch]),
            subset_size=len(inputs),
            model_type=nncf.ModelType.TRANSFORMER if _has_attention(original, tower) else None,
            advanced_parameters=AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
            ),
        )
    save_graph(quantized, entries, path)


def _write_onnx(original: Original, tower: str, calibration: Calibration, path: Path, entries: dict[str, str]) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static

    graph = tower_graph(original, tower)
    del graph.graph.value_info[:]  # shapes of weights that the tools transpose, and then find contradicted
    path.parent.mkdir(exist_ok=True)
    logging.getLogger().addFilter(_quiet)
    try:
        if tower == "image":
            reader = _Reader(graph.graph.input[0].name, _rows(calibration, tower))
            quantize_static(graph, path, cast(Any, reader), per_channel=True, weight_type=QuantType.QInt8)
        else:
            kinds = ["MatMul", "Gemm"]
            quantize_dynamic(graph, path, kinds, per_channel=True, weight_type=QuantType.QInt8)
    finally:
        logging.getLogger().removeFilter(_quiet)
    quantized = onnx.load(path)
    del quantized.metadata_props[:]
    write_graph(quantized, entries, path)


_WRITERS: dict[str, Callable[[Original, str, Calibration, Path, dict[str, str]], None]] = {
    "openvino": _write_openvino,
    "onnx": _write_onnx,
}


class _Reader:
    """What ONNX Runtime's tools draw calibration inputs from."""

    def __init__(self, name: str, rows: Iterator[np.ndarray]) -> None:
        self._name, self._rows = name, rows

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._rows, None)
        return None if batch is None else {self._name: batch}


def _quiet(record: logging.LogRecord) -> bool:
    return record.levelno > logging.WARNING  # the tools recommend a step to the user that is done here already


def _rows(calibration: Calibration, tower: str) -> Iterator[np.ndarray]:
    """One input after the other, sentences without the padding that longer ones need."""
    if tower == "image":
        yield from (calibration.pixels[row : row + 1] for row in range(len(calibration.pixels)))
        return
    for row in (*calibration.ids, *calibration.short):
        yield row[None, : max(1, int(np.flatnonzero(row)[-1]) + 1)]


def _has_attention(original: Original, tower: str) -> bool:
    part = original.model.image_tower if tower == "image" else original.model.text_tower
    return any("attention" in type(module).__name__.lower() for module in part.modules())


def _judged(original: Original, folder: Path, to: str, mark: str, calibration: Calibration) -> ExportReport:
    from passerby.models.runtimes.torch_engine import TorchRuntime

    reference = TorchRuntime(original.model, "cpu")
    exported = _engine(original, folder, to, mark)
    pictures = [*picture_batches(original, ()), *cut(calibration.pixels)]
    sentences = [*sentence_batches(original), *cut(calibration.ids), *cut(calibration.short)]
    image = compare("image", reference.images, exported.images, pictures, LOWEST_COSINE)
    text = compare("text", reference.texts, exported.texts, sentences, LOWEST_COSINE)
    before, after = (100 * first_hits(runtime, calibration) for runtime in (reference, exported))
    if before - after >= MOST_LOST:
        raise CheckpointError(
            f"the int8 model finds less: R@1 {after:.1f} instead of {before:.1f} on {calibration.about}, and it may "
            f"lose less than {MOST_LOST:g} point; calibrate on pictures like yours with --calibrate. Nothing was kept"
        )
    return ExportReport(folder, image, text, size_of(folder, EXPORTED[to]), (before, after), calibration.about)


def _engine(original: Original, folder: Path, to: str, mark: str) -> Runtime:
    config = replace(original.config, fingerprint=mark)
    checkpoint = Checkpoint(folder, config, dict.fromkeys(EXPORTED[to], ""))
    if to == "openvino":
        from passerby.models.runtimes.openvino_engine import OpenVinoRuntime

        return OpenVinoRuntime(checkpoint, usable_cores())
    from passerby.models.runtimes.onnxruntime_engine import OnnxRuntime

    return OnnxRuntime(checkpoint, usable_cores())


def first_hits(runtime: Runtime, calibration: Calibration) -> float:
    """R@1 on the calibration pictures: how often the best picture shows the person asked for, 0 to 1.

    Sentences ask where they belong to the pictures. Otherwise each picture is asked for by its own mirror image, which
    is no test of a model, but of whether quantization moved its vectors past each other.

    Args:
        runtime: the model.
        calibration: what is asked and searched.
    """
    gallery = _encoded(runtime.images, calibration.pixels)  # (N, D)
    if len(calibration.asked):
        queries, wanted = _encoded(runtime.texts, calibration.ids), calibration.asked  # (M, D), (M,)
    else:
        mirrored = np.ascontiguousarray(calibration.pixels[:, :, ::-1])
        queries, wanted = _encoded(runtime.images, mirrored), calibration.people
    best = (queries @ gallery.T).argmax(axis=1)  # (M,)
    return float((calibration.people[best] == wanted).mean())


def _encoded(encode: Callable[[np.ndarray], np.ndarray], inputs: Any) -> np.ndarray:
    """(N, ...) -> (N, D)."""
    vectors = np.concatenate([encode(inputs[start : start + _BATCH]) for start in range(0, len(inputs), _BATCH)])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
