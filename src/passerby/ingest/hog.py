"""OpenCV's people detector: histograms of oriented gradients and a linear classifier that OpenCV carries with it.

Source: Dalal & Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005. It was trained on upright
people in windows of 64 x 128 pixels, needs no download, and misses many people whom a network finds.
"""

from __future__ import annotations

import numpy as np

from passerby.data.images import resize_image
from passerby.errors import MissingExtraError
from passerby.ingest.boxes import covered, inside, without_repeats
from passerby.ingest.detection import Detections
from passerby.ingest.opencv import load_opencv

#: The window's height in pixels, and the empty margins round the person in it, as shares of its width and height.
_WINDOW, _ASIDE, _ABOVE = 128, 0.19, 0.105
#: Frames are brought to this height at most; larger ones cost time and no smaller people than these are worth a crop.
_TALLEST = 720
#: Lowest score of a box, and how much of the smaller of two may lie in the other: it finds people inside people.
_THRESHOLD, _MOST_SHARED = 0.5, 0.65


class HogDetector:
    """OpenCV's built-in detector of upright people."""

    name = "hog"

    def __init__(self) -> None:
        """Prepare the classifier.

        Raises:
            MissingExtraError: OpenCV is not installed, or is version 5, which has no HOG any more.
        """
        cv2 = load_opencv("finding people with the detector hog")
        if not hasattr(cv2, "HOGDescriptor"):
            raise MissingExtraError(
                "opencv-python-headless<5", "video", f"the detector hog (OpenCV is {cv2.__version__})"
            )
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())

    def detect(self, frame: np.ndarray, /) -> Detections:
        """The upright people of one (H, W, 3) uint8 RGB frame who are at least about a hundred pixels tall."""
        height, width = frame.shape[:2]
        factor = min(1.0, _TALLEST / height)
        small = resize_image(frame, (max(1, round(height * factor)), max(1, round(width * factor))))
        if small.shape[0] < _WINDOW or small.shape[1] < _WINDOW // 2:
            return Detections(np.zeros((0, 4)), np.zeros(0))
        grey = np.ascontiguousarray(small[:, :, ::-1])  # OpenCV wants blue first
        windows, scores = self._hog.detectMultiScale(
            grey, winStride=(8, 8), padding=(16, 16), scale=1.05, groupThreshold=0
        )
        if not len(windows):
            return Detections(np.zeros((0, 4)), np.zeros(0))
        left, top, wide, tall = np.asarray(windows, dtype=np.float64).T
        boxes = np.stack(
            [left + _ASIDE * wide, top + _ABOVE * tall, left + (1 - _ASIDE) * wide, top + (1 - _ABOVE) * tall], axis=1
        )
        boxes, scores = inside(boxes / factor, (height, width)), np.ravel(scores).astype(np.float64)
        sure = scores >= _THRESHOLD
        boxes, scores = boxes[sure], scores[sure]
        share = covered(boxes)
        kept = without_repeats(np.maximum(share, share.T), scores, _MOST_SHARED)
        return Detections(boxes[kept], scores[kept])
