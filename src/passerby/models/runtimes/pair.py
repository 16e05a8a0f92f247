"""Two engines as one: each function of a model where it is answered soonest.

A small text tower costs less to run than OpenVINO costs to start, so a search from the command line asks ONNX Runtime
and never imports the engine that the pictures would use.

Axes: B pictures or sentences, H rows, W columns, L token ids, D width of the shared space.
"""

from __future__ import annotations

import numpy as np

from passerby.models.runtimes import Runtime


class PairRuntime:
    """Pictures in one engine, sentences in another, both from the same checkpoint.

    Args:
        for_images: computes pictures; names the pair.
        for_texts: computes sentences.
    """

    def __init__(self, for_images: Runtime, for_texts: Runtime) -> None:
        self._images, self._texts = for_images, for_texts
        self.name = for_images.name
        self.detail = f"{for_images.detail}; sentences in {for_texts.name}"

    def images(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (B, H, W, 3) uint8 -> (B, D) float32."""
        return self._images.images(pixels)

    def texts(self, ids: np.ndarray) -> np.ndarray:
        """Token ids (B, L) int64 -> (B, D) float32."""
        return self._texts.texts(ids)
