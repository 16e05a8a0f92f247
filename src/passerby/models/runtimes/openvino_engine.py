"""Exported towers in OpenVINO, from its own files or from ONNX; in bf16 where the processor multiplies it.

A tower is compiled when it is first needed, for the shape it will see: pictures in batches of one fixed size, which
were up to 1.4 times as fast as a free one, single pictures and sentences for a batch of one. What is left of a batch
goes to a tower with a free batch. No compiled model is cached on disk: compiling takes a tenth of a second here, and a
cache would have to be invalidated by hand.

Axes: B pictures or sentences, F of them in a batch of fixed size, H rows, W columns, L token ids, D width of the
shared space.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

import numpy as np

from passerby.models.checkpoint import Checkpoint
from passerby.models.runtimes.choice import has_bf16
from passerby.models.runtimes.onnx_files import check_metadata, tower_file, unreadable

#: Most pixels that are computed together: eight pictures of 224x224. Between two layers they then stay in the
#: processor's own cache; 32 of them did not, and MobileNetV3-Large took 1.4 times as long for each.
_PIXELS_TOGETHER = 8 * 224 * 224
_MOST_TOGETHER = 32
#: The free size of an axis, in OpenVINO's words.
_FREE = -1


def pictures_together(height: int, width: int) -> int:
    """F, the power of two from 1 to 32 whose pictures have no more pixels than eight of 224x224.

    Args:
        height: H in pixels.
        width: W in pixels.
    """
    most = min(_MOST_TOGETHER, max(1, _PIXELS_TOGETHER // (height * width)))
    return 1 << (most.bit_length() - 1)


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
        if len(pixels) == 1:
            return self._run(self._picture, pixels)
        whole = len(pixels) - len(pixels) % self._together
        parts = [
            self._run(self._pictures, pixels[start : start + self._together])
            for start in range(0, whole, self._together)
        ]
        if whole < len(pixels):
            parts.append(self._run(self._rest, pixels[whole:]))
        return np.concatenate(parts)

    def texts(self, ids: np.ndarray) -> np.ndarray:
        """Token ids (B, L) int64 -> (B, D) float32."""
        return self._run(self._sentence if len(ids) == 1 else self._text, ids)

    def _run(self, request: Any, batch: np.ndarray) -> np.ndarray:
        # One request holds one computation and writes into its own memory; the copy outlives the next one.
        with self._lock:
            found = request.infer([batch], share_inputs=True, share_outputs=True)
            return np.array(next(iter(found.values())), dtype=np.float32)

    @cached_property
    def _together(self) -> int:
        return pictures_together(*self._checkpoint.config.pictures.image_size)

    @cached_property
    def _pictures(self) -> Any:
        return self._open("image", self._together, self._threads)

    @cached_property
    def _picture(self) -> Any:
        return self._open("image", 1, 1)

    @cached_property
    def _rest(self) -> Any:
        return self._open("image", _FREE, self._threads)

    @cached_property
    def _text(self) -> Any:
        return self._open("text", _FREE, self._threads)

    @cached_property
    def _sentence(self) -> Any:
        return self._open("text", 1, 1)

    def _open(self, tower: str, batch: int, threads: int) -> Any:
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
            entry = model.inputs[0]
            model.reshape({entry: openvino.PartialShape([batch, *list(entry.partial_shape)[1:]])})
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
