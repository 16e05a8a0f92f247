"""Exported towers in OpenVINO, from its own files or from ONNX; in bf16 where the processor multiplies it.

A tower is compiled when it is first needed. No compiled model is cached on disk: compiling takes a tenth of a second
here, and a cache would have to be invalidated by hand.

Axes: B pictures or sentences, H rows, W columns, L token ids, D width of the shared space.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

import numpy as np

from passerby.models.checkpoint import Checkpoint
from passerby.models.runtimes.choice import has_bf16
from passerby.models.runtimes.onnx_files import check_metadata, tower_file, unreadable


class OpenVinoRuntime:
    """A checkpoint's exported towers in OpenVINO.

    Args:
        checkpoint: a checkpoint whose towers were exported.
        threads: threads for batches; a single picture or sentence always runs on one.
        precision: "bf16" or "f32"; by default bf16 where the processor multiplies it.

    Raises:
        CheckpointError: a tower cannot be opened or belongs to another model; raised when it is first used.
    """

    name = "openvino"

    def __init__(self, checkpoint: Checkpoint, threads: int, precision: str | None = None) -> None:
        self._checkpoint, self._threads = checkpoint, threads
        self._form = "openvino" if "openvino" in checkpoint.forms else "onnx"
        self._precision = precision or ("bf16" if has_bf16() else "f32")
        self._lock = threading.Lock()
        self.detail = f"cpu, {'bfloat16' if self._precision == 'bf16' else 'float32'}, {threads} threads"

    def images(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (B, H, W, 3) uint8 -> (B, D) float32."""
        return self._run(self._picture if len(pixels) == 1 else self._image, pixels)

    def texts(self, ids: np.ndarray) -> np.ndarray:
        """Token ids (B, L) int64 -> (B, D) float32."""
        return self._run(self._sentence if len(ids) == 1 else self._text, ids)

    def _run(self, request: Any, batch: np.ndarray) -> np.ndarray:
        # One request holds one computation; the copy keeps the result when the next one overwrites its memory.
        with self._lock:
            return np.array(next(iter(request.infer([batch]).values())), dtype=np.float32)

    @cached_property
    def _image(self) -> Any:
        return self._open("image", self._threads)

    @cached_property
    def _picture(self) -> Any:
        return self._image if self._threads == 1 else self._open("image", 1)

    @cached_property
    def _text(self) -> Any:
        return self._sentence if self._threads == 1 else self._open("text", self._threads)

    @cached_property
    def _sentence(self) -> Any:
        return self._open("text", 1)

    def _open(self, tower: str, threads: int) -> Any:
        import openvino  # here, as a search that only asks the other engine of a pair should not wait for it

        path = tower_file(self._checkpoint, tower, self._form)
        settings = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            core = openvino.Core()
            model = core.read_model(path)
            metadata = _metadata(model)
            request = core.compile_model(model, "CPU", settings).create_infer_request()
        except Exception as error:  # the engine raises bare RuntimeErrors
            raise unreadable(path, error) from error
        check_metadata(metadata, tower, path, self._checkpoint.config.fingerprint)
        return request


def _metadata(model: Any) -> dict[str, str]:
    """What the file says about itself: OpenVINO keeps what an ONNX file says under "framework"."""
    for place in ("passerby", "framework"):
        if model.has_rt_info(place):
            return {key: model.get_rt_info([place, key]).astype(str) for key in model.get_rt_info(place).value}
    return {}
