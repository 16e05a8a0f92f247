"""What every sheet is drawn with: the palette, text that fits its box, pictures that fit theirs.

Texts are hostile by nature (captions and file names of strangers): whatever they hold, they are measured in the font
they are drawn in, broken where they must be and cut with an ellipsis. Sizes are pixels.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from passerby.errors import DataError

#: What can be put on a sheet: a Pillow image, or an array (H, W, 3) of uint8.
Picture: TypeAlias = "Image.Image | np.ndarray"
Font: TypeAlias = "ImageFont.FreeTypeFont | ImageFont.ImageFont"

PAPER = (246, 246, 243)
CARD = (255, 255, 255)
EDGE = (226, 226, 221)
MAT = (238, 238, 234)
INK = (32, 35, 40)
FAINT = (112, 117, 125)

TITLE, BODY, SMALL = 24, 15, 13
_LINE_HEIGHT = 1.35
#: Longer texts are cut before they are measured, so that a caption of a megabyte costs nothing.
_LONGEST_TEXT = 2000


def wrap(text: str, size: int, width: int, most_lines: int) -> list[str]:
    """Break a text into lines that fit a width, as measured in the sheet's own font.

    A line break of the text is kept, other control characters become spaces, words wider than a line are broken, and
    what does not fit into the last line is cut with an ellipsis.

    Args:
        text: any text at all.
        size: font size in pixels.
        width: width of a line in pixels.
        most_lines: the most lines to return.
    """
    font = load_font(size)
    lines: list[str] = []
    for paragraph in text[:_LONGEST_TEXT].splitlines():
        words = _clean(paragraph).split()
        while words and len(lines) <= most_lines:
            lines.append(_take_line(words, font, width))
    if len(lines) > most_lines:
        lines[most_lines - 1 :] = [_longest_prefix(lines[most_lines - 1], font, width, "…") + "…"]
    return lines


def _take_line(words: list[str], font: Font, width: int) -> str:
    """Take as many words off the front as fit on a line; of a word wider than a line, its beginning."""
    line = ""
    while words:
        candidate = f"{line} {words[0]}" if line else words[0]
        if font.getlength(candidate) > width:
            break
        line = candidate
        del words[0]
    if not line:
        line = _longest_prefix(words[0], font, width)
        words[0] = words[0][len(line) :]
    return line


def fit_picture(picture: Picture, box_hw: tuple[int, int]) -> Image.Image:
    """Scale a picture into a box, whole and undistorted, centred on a mat where the shapes differ.

    Raises:
        DataError: an array is not (H, W, 3) of uint8, or a picture has no pixels.
    """
    height, width = box_hw
    if isinstance(picture, np.ndarray):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
            raise DataError(
                f"a picture for a sheet is an array of shape {picture.shape} and type {picture.dtype}; "
                "expected (height, width, 3) of uint8"
            )
        picture = Image.fromarray(picture)
    if not picture.width * picture.height:
        raise DataError(f"a picture for a sheet is {picture.width} x {picture.height} pixels; expected at least one")
    scale = min(width / picture.width, height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    mat = Image.new("RGB", (width, height), MAT)
    scaled = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    mat.paste(scaled, ((width - size[0]) // 2, (height - size[1]) // 2))
    return mat


def draw_text(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], line: str, size: int, colour: tuple[int, int, int]
) -> None:
    """Draw one line at a corner (left, top)."""
    draw.text(corner, line, font=load_font(size), fill=colour)


def leading(size: int) -> int:
    """Distance between the baselines of a size."""
    return round(size * _LINE_HEIGHT)


@lru_cache(maxsize=8)
def load_font(size: int) -> Font:
    """The font that Pillow brings along, the same on every machine."""
    return ImageFont.load_default(size)


def _clean(text: str) -> str:
    """Only characters that a font can be asked for: controls, lone surrogates and unassigned ones become spaces."""
    return "".join(" " if unicodedata.category(letter)[0] == "C" else letter for letter in text)


def _longest_prefix(word: str, font: Font, width: int, tail: str = "") -> str:
    """The longest beginning of a word that fits together with a tail, at least one character."""
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(word[:middle] + tail) <= width else (low, middle - 1)
    return word[:low].rstrip()
