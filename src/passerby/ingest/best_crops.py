"""Which crops of a passage are kept: tall, sharp, whole and unhidden ones, spread over its time.

The quality of a crop is the product of four shares, so that a crop fails that fails in any of them. Crops are kept as
the JPEG they will be, because that is what a run writes down when it is interrupted.
"""

from __future__ import annotations

import base64
import io
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from passerby.data.images import resize_image
from passerby.errors import ConfigError
from passerby.ingest.boxes import cut_out

#: Height in pixels from which taller is no better: that of the crops that towers read.
_TALL_ENOUGH = 256.0
#: Rows and columns at which sharpness is compared, so that size does not count twice.
_COMPARED = (96, 48)
#: Mean square of the Laplacian, in grey levels, at which sharpness counts half.
_HALF_SHARP = 60.0
#: Distance from the frame's border, as a share of the box's width, from which a person counts as whole.
_CLEAR = 0.25
#: What is left of the quality of a box that touches the border.
_CUT_OFF = 0.25
_MARGIN = 0.06
_JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True)
class Crop:
    """One crop of a track.

    Attributes:
        time: seconds from the beginning of the source.
        quality: 0 to 1.
        score: the detector's.
        jpeg: the file's bytes.
        box: left, top, right, bottom of the person in the frame, in whole pixels.
    """

    time: float
    quality: float
    score: float
    jpeg: bytes
    box: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """The crop as JSON values, from which `from_dict` makes the same crop."""
        return {**asdict(self), "jpeg": base64.b64encode(self.jpeg).decode()}

    @classmethod
    def from_dict(cls, known: dict[str, Any]) -> Crop:
        """The crop that `to_dict` wrote."""
        return cls(**{**known, "jpeg": base64.b64decode(known["jpeg"]), "box": tuple(known["box"])})


class BestCrops:
    """The best crops of one track so far, at most one of each stretch of time."""

    def __init__(self, most: int, apart: float) -> None:
        """Begin with none.

        Args:
            most: crops that are kept, 1 or more.
            apart: length of a stretch in seconds.

        Raises:
            ConfigError: a number is out of range.
        """
        if most < 1 or not apart > 0:
            raise ConfigError(f"{most} crops, {apart} s apart; expected one or more crops and more than 0 s")
        self._most, self._apart = most, apart
        self.crops: list[Crop] = []

    def wants(self, time: float, quality: float) -> bool:
        """Whether a crop of this quality would be kept; asked before it is cut out and encoded."""
        rival = self._same_stretch(time)
        if quality <= 0:
            return False
        if rival is not None:
            return quality > rival.quality
        return len(self.crops) < self._most or quality > min(crop.quality for crop in self.crops)

    def offer(self, crop: Crop) -> None:
        """Keep the crop if it is among the best."""
        if not self.wants(crop.time, crop.quality):
            return
        rival = self._same_stretch(crop.time)
        if rival is None and len(self.crops) == self._most:
            rival = min(self.crops, key=lambda one: (one.quality, -one.time))
        self.crops = sorted([one for one in self.crops if one is not rival] + [crop], key=lambda one: one.time)

    def _same_stretch(self, time: float) -> Crop | None:
        number = int(time // self._apart)
        return next((crop for crop in self.crops if int(crop.time // self._apart) == number), None)


def qualities(frame: np.ndarray, boxes: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """How good a crop each box of a frame would give.

    The product of: height over 256 pixels, at most 1; sharpness s / (s + 60) with s the mean square of the Laplacian
    of the grey crop at 96 x 48 pixels; clearance, which falls from 1 to 0.25 as the box comes to the left, right or
    upper border of the frame; and the share of the box that no lower-standing, and so nearer, box covers.

    Args:
        frame: the picture.
        boxes: of its people.
        shared: for each pair (i, j) the share of box i that lies in box j.

    Shape:
        frame: (H, W, 3) uint8, boxes: (N, 4), shared: (N, N) -> (N,) 0 to 1.
    """
    found = np.zeros(len(boxes))
    for number, box in enumerate(boxes):
        nearer = [other for other in range(len(boxes)) if boxes[other][3] > box[3]]
        hidden = max((float(shared[number, other]) for other in nearer), default=0.0)
        tall = min((box[3] - box[1]) / _TALL_ENOUGH, 1.0)
        found[number] = tall * _sharpness(cut_out(frame, box, 0.0)) * _clearance(box, frame.shape[1]) * (1 - hidden)
    return found


def encode_crop(frame: np.ndarray, box: np.ndarray) -> bytes:
    """The JPEG of a box with a margin of 6 per cent round it."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(cut_out(frame, box, _MARGIN))).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _sharpness(crop: np.ndarray) -> float:
    grey = resize_image(np.ascontiguousarray(crop), _COMPARED).astype(np.float32).mean(axis=2)
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    strength = float((laplacian**2).mean())
    return strength / (strength + _HALF_SHARP)


def _clearance(box: np.ndarray, width: int) -> float:
    gap = min(box[0], width - box[2], box[1])
    share = min(max(gap / max(_CLEAR * (box[2] - box[0]), 1e-9), 0.0), 1.0)
    return _CUT_OFF + (1 - _CUT_OFF) * share
