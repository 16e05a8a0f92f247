"""Which places and which words decided a score, found by taking each away: works with any engine, without gradients.

A window of the picture is covered with the picture's mean colour and the picture encoded anew; what its vector loses is
what the window added (occlusion, Zeiler and Fergus 2014, section 4.2). Windows overlap, three places wide and high, so
that a part of the body which lies between two of them is covered by one.

Axes: H, W pixels, R rows and S columns of places, P = R S of them, M words, D width of the shared space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from passerby.models.explained import Explanation, without, words_of

#: Roughly how many places a picture has; each of them is one more picture to encode.
PLACES = 128
#: Places that a window reaches to each side of its middle.
_REACH = 1


class Towers(Protocol):
    """The two functions of a model that are needed."""

    def encode_images(self, images: Sequence[np.ndarray], /) -> np.ndarray:
        """(H, W, 3) uint8 arrays in, (N, D) unit vectors out."""
        ...

    def encode_texts(self, texts: list[str], /) -> np.ndarray:
        """Sentences in, (N, D) unit vectors out."""
        ...


def explain_by_occlusion(model: Towers, pixels: np.ndarray, sentence: str, places: int = PLACES) -> Explanation:
    """Explain the score of a picture and a sentence.

    Args:
        model: both towers, in whatever engine.
        pixels: (H, W, 3) uint8, as large as the model reads it, which saves resizing it once for each place.
        sentence: not empty.
        places: roughly how many, 4 or more.
    """
    rows, columns = grid_of(pixels.shape[0], pixels.shape[1], places)
    words = words_of(sentence)
    texts = np.asarray(
        model.encode_texts([sentence, *(without(sentence, word.start, word.stop) for word in words)]), np.float32
    )  # (1 + M, D)
    pictures = np.asarray(model.encode_images([pixels, *covered(pixels, rows, columns)]), np.float32)  # (1 + P, D)
    whole, lost = texts[0], texts[0] - texts[1:]
    fallen = pictures[0] - pictures[1:]  # (P, D)
    heat = (np.concatenate([whole[None], lost]) @ fallen.T).reshape(-1, rows, columns)  # (1 + M, R, S)
    return Explanation(
        sentence, float(pictures[0] @ whole), heat[0], words, lost @ pictures[0], heat[1:], how="occlusion"
    )


def grid_of(height: int, width: int, places: int = PLACES) -> tuple[int, int]:
    """Rows and columns of nearly square places, not more than there are pixels, about so many in all."""
    rows = max(1, min(height, round((places * height / width) ** 0.5)))
    columns = max(1, min(width, round(places / rows)))
    return min(rows, max(1, round(places / columns))), columns


def covered(pixels: np.ndarray, rows: int, columns: int) -> list[np.ndarray]:
    """A picture (H, W, 3) with the window around each place covered, row by row."""
    height, width = pixels.shape[:2]
    mean = pixels.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    tops = np.linspace(0, height, rows + 1).round().astype(int)
    lefts = np.linspace(0, width, columns + 1).round().astype(int)
    found = []
    for row in range(rows):
        for column in range(columns):
            one = pixels.copy()
            upper, lower = tops[max(0, row - _REACH)], tops[min(rows, row + 1 + _REACH)]
            left, right = lefts[max(0, column - _REACH)], lefts[min(columns, column + 1 + _REACH)]
            one[upper:lower, left:right] = mean
            found.append(one)
    return found
