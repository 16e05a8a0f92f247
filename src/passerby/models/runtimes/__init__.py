"""Engines that compute the two functions of a dual encoder: torch, ONNX Runtime and OpenVINO, chosen per machine.

Every runtime is a pair of functions on arrays (`Runtime`), so nothing above this package knows which one it has. No
module here imports its engine before it is chosen.

Axes: B pictures or sentences, H rows, W columns, L token ids, D width of the shared space.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

__all__ = ["RUNTIMES", "Runtime"]

#: The names that `--runtime` takes, besides "auto".
RUNTIMES = ("torch", "onnxruntime", "openvino")


class Runtime(Protocol):
    """Pixels and token ids in, vectors out."""

    name: str
    """One of `RUNTIMES`."""
    detail: str
    """Device and number format, for people."""

    def images(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (B, H, W, 3) uint8 of the model's size -> (B, D) float32."""
        ...

    def texts(self, ids: np.ndarray) -> np.ndarray:
        """Token ids (B, L) int64, 0 = padding -> (B, D) float32."""
        ...
