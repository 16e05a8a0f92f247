"""Exported towers in ONNX Runtime, in float32: the engine of the base install.

A tower is opened when it is first needed, so a text search never loads the image tower.

Axes: B pictures or sentences, H rows, W columns, L token ids, D width of the shared space.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import onnxruntime

from passerby.models.checkpoint import Checkpoint
from passerby.models.runtimes.onnx_files import IDS, PIXELS, check_metadata, tower_file, unreadable


class OnnxRuntime:
    """A checkpoint's exported towers in ONNX Runtime.

    Args:
        checkpoint: a checkpoint whose towers were exported.
        threads: threads for batches; a single picture or sentence always runs on one, where more only wait
            for each other.

    Raises:
        CheckpointError: a tower cannot be opened or belongs to another model; raised when it is first used.
    """

    name = "onnxruntime"

    def __init__(self, checkpoint: Checkpoint, threads: int) -> None:
        self._checkpoint, self._threads = checkpoint, threads
        self.detail = f"cpu, float32, {threads} threads"

    def images(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (B, H, W, 3) uint8 -> (B, D) float32."""
        return np.asarray((self._picture if len(pixels) == 1 else self._image).run(None, {PIXELS: pixels})[0])

    def texts(self, ids: np.ndarray) -> np.ndarray:
        """Token ids (B, L) int64 -> (B, D) float32."""
        return np.asarray((self._sentence if len(ids) == 1 else self._text).run(None, {IDS: ids})[0])

    @cached_property
    def _image(self) -> onnxruntime.InferenceSession:
        return self._open("image", self._threads)

    @cached_property
    def _picture(self) -> onnxruntime.InferenceSession:
        return self._image if self._threads == 1 else self._open("image", 1)

    @cached_property
    def _text(self) -> onnxruntime.InferenceSession:
        return self._sentence if self._threads == 1 else self._open("text", self._threads)

    @cached_property
    def _sentence(self) -> onnxruntime.InferenceSession:
        return self._open("text", 1)

    def _open(self, tower: str, threads: int) -> onnxruntime.InferenceSession:
        path = tower_file(self._checkpoint, tower)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Spinning threads make a shared core ten times slower and a free one hardly faster.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the engine raises a dozen types of its own
            raise unreadable(path, error) from error
        metadata = session.get_modelmeta().custom_metadata_map
        check_metadata(metadata, tower, path, self._checkpoint.config.fingerprint)
        return session
