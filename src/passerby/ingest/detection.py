"""Finding people in a frame: what every detector answers, and which detectors there are by name.

A detector of one's own is any object with a name and a method `detect`. Those that come with passerby are OpenCV's
HOG, which needs no download and misses many, and torchvision's networks, whose weights a user names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from passerby.errors import ConfigError, DataError, nearest

#: What `open_detector` knows.
DETECTORS = ("hog", "torchvision")


@dataclass(frozen=True, slots=True)
class Detections:
    """People of one frame: boxes (N, 4) float, left, top, right, bottom in pixels; scores (N,), larger is surer."""

    boxes: np.ndarray
    scores: np.ndarray


class Detector(Protocol):
    """Anything that finds people in frames."""

    @property
    def name(self) -> str:
        """Which detector with which weights; kept with each crop, and a change of it begins a video anew."""
        ...

    def detect(self, frame: np.ndarray, /) -> Detections:
        """The people of one (H, W, 3) uint8 RGB frame."""
        ...


def open_detector(detector: str = "hog", weights: str | None = None) -> Detector:
    """Make a detector from what a user typed.

    Args:
        detector: "hog", "torchvision", or "torchvision:MODEL" with the name of a torchvision detection model.
        weights: for torchvision: the name of its weights, such as "COCO_V1", which are downloaded once, or a local
            file (``.pth``, ``.safetensors``). Left out: torchvision's best for the model.

    Raises:
        ConfigError: there is no such detector, model or weights.
        CheckpointError: the weights cannot be read or downloaded, or do not fit the model.
        MissingExtraError: OpenCV or torchvision is not installed.
    """
    kind, _, model = detector.partition(":")
    if kind not in DETECTORS:
        raise ConfigError(
            f"there is no detector {detector!r}; known: hog, torchvision, torchvision:MODEL.{nearest(kind, DETECTORS)}"
        )
    if kind == "hog":
        if model or weights is not None:
            raise ConfigError("the detector hog takes neither model nor weights; choose torchvision for those")
        from passerby.ingest.hog import HogDetector

        return HogDetector()
    from passerby.ingest.torchvision_detector import TorchvisionDetector

    return TorchvisionDetector.open(model or None, weights)


def checked(found: Detections, name: str) -> Detections:
    """Detections as arrays of float64, after a look at what the detector returned.

    Raises:
        DataError: shapes do not fit, or a number is not finite.
    """
    boxes = np.asarray(found.boxes, dtype=np.float64)
    scores = np.asarray(found.scores, dtype=np.float64)
    if not boxes.size:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise DataError(
            f"the detector {name} returned boxes of shape {boxes.shape} and scores of shape {scores.shape}; "
            "expected (N, 4) and (N,)"
        )
    if not (np.isfinite(boxes).all() and all(math.isfinite(score) for score in scores)):
        raise DataError(f"the detector {name} returned a box or a score that is not finite; its weights are damaged")
    real = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
    return Detections(boxes[real], scores[real])
