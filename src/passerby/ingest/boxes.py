"""Boxes round people, as arrays: how much two of them share, which repeat one another, and what is cut out.

Axes: N and M boxes; a box is left, top, right, bottom in pixels, right and bottom exclusive.
"""

from __future__ import annotations

import numpy as np


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of each pair of boxes; 0 where both are empty.

    Shape:
        one: (N, 4), other: (M, 4) -> (N, M) float64, 0 to 1.
    """
    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    low = np.maximum(one[:, None, :2], other[None, :, :2])  # (N, M, 2)
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)  # (N, M)
    total = _areas(one)[:, None] + _areas(other)[None, :] - shared
    return np.where(total > 0, shared / np.where(total > 0, total, 1.0), 0.0)


def without_repeats(shared: np.ndarray, scores: np.ndarray, most: float) -> np.ndarray:
    """Greedy non-maximum suppression: the best box stays, those that share more than `most` with it go, and so on.

    Args:
        shared: how much each pair of boxes shares, by whatever measure, such as `overlaps`; symmetric.
        scores: larger is surer; of equals the first is kept.
        most: in the measure's own terms.

    Shape:
        shared: (N, N), scores: (N,) -> positions of the kept boxes, best first.
    """
    kept: list[int] = []
    for position in np.argsort(-np.asarray(scores), kind="stable"):
        if all(shared[position, other] <= most for other in kept):
            kept.append(int(position))
    return np.array(kept, dtype=np.intp)


def covered(boxes: np.ndarray) -> np.ndarray:
    """Share of each box that lies in each other box: (N, 4) -> (N, N), 0 to 1, zeros on the diagonal."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0.0), axis=2)
    share = common / np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-9)[:, None]
    np.fill_diagonal(share, 0.0)
    return share


def inside(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes (N, 4) cut at the borders of a frame of `size` (H, W)."""
    height, width = size
    return np.clip(boxes, 0, np.array([width, height, width, height]))


def cut_out(frame: np.ndarray, box: np.ndarray, margin: float) -> np.ndarray:
    """The pixels of a box and a margin round it, in shares of the box's sides.

    Shape:
        frame: (H, W, 3), box: (4,) -> (h, w, 3), a view into the frame, never empty for a box that touches it.
    """
    height, width = frame.shape[:2]
    left, top, right, bottom = (float(edge) for edge in box)
    aside, above = margin * (right - left), margin * (bottom - top)
    first, begin = max(int(top - above), 0), max(int(left - aside), 0)
    last, end = min(round(bottom + above), height), min(round(right + aside), width)
    first, begin = min(first, height - 1), min(begin, width - 1)
    return frame[first : max(last, first + 1), begin : max(end, begin + 1)]


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
