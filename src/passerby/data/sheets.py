"""Sheets of pictures: grids of search results and ranked lists, drawn with Pillow alone.

A sheet is how people judge a retrieval model, so it is meant to be a pleasure to look at: light paper, white cards,
measured and wrapped text, one colour per verdict. `sheet_drawing` holds what they are drawn with.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from passerby.data.sheet_drawing import (
    BODY,
    CARD,
    EDGE,
    FAINT,
    INK,
    PAPER,
    SMALL,
    TITLE,
    Picture,
    draw_text,
    fit_picture,
    leading,
    wrap,
)
from passerby.errors import ConfigError, DataError, nearest

#: Verdict on a picture of a ranked list -> colour of its frame.
VERDICTS: dict[str, tuple[int, int, int]] = {"hit": (38, 153, 84), "miss": (214, 64, 64), "junk": (154, 160, 168)}

_MARGIN, _GAP, _PADDING, _RADIUS, _FRAME = 28, 14, 14, 8, 4


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of a sheet with the lines under it; `verdict` is a key of `VERDICTS`, or None for no frame."""

    picture: Picture
    caption: str = ""
    verdict: str | None = None


@dataclass(frozen=True, slots=True)
class RankedRow:
    """One query of a ranked sheet: its words or its picture on the left, what was found on the right, best first."""

    query: str
    tiles: tuple[Tile, ...]
    note: str = ""
    query_picture: Picture | None = None


def result_grid(
    title: str,
    pictures: Sequence[tuple[Picture, str]],
    *,
    subtitle: str = "",
    query_picture: Picture | None = None,
    columns: int = 5,
    tile_hw: tuple[int, int] = (256, 128),
) -> Image.Image:
    """Draw what a search found: the query on top, the pictures below in reading order, best first.

    Args:
        title: the query's words, or what the sheet shows.
        pictures: picture and caption of each result; an empty sequence draws a sheet that says so.
        subtitle: a fainter line under the title.
        query_picture: drawn at the left of the title when the query was a picture.
        columns: most pictures in a row, at least 1.
        tile_hw: height and width of the box that each picture is fitted into, in pixels.

    Raises:
        ConfigError: `columns` or `tile_hw` is not positive.
        DataError: an array is not (H, W, 3) of uint8.
    """
    tiles = [Tile(picture, caption) for picture, caption in pictures]
    return tile_sheet(
        title, tiles, subtitle=subtitle, query_picture=query_picture, columns=columns, tile_hw=tile_hw, caption_lines=3
    )


def tile_sheet(
    title: str,
    tiles: Sequence[Tile],
    *,
    subtitle: str = "",
    query_picture: Picture | None = None,
    columns: int = 5,
    tile_hw: tuple[int, int] = (256, 128),
    caption_lines: int = 2,
) -> Image.Image:
    """Draw tiles in a grid, each on its card with its caption and, where it has a verdict, its frame.

    Args: as `result_grid`; `caption_lines` is the most lines that a caption may take.

    Raises:
        ConfigError: `columns` or `tile_hw` is not positive, or a verdict is unknown.
        DataError: an array is not (H, W, 3) of uint8.
    """
    _check_layout(columns, tile_hw)
    height, width = tile_hw
    columns = max(1, min(columns, len(tiles)))
    card_w = width + 2 * _PADDING
    lines = max((len(wrap(tile.caption, SMALL, width, caption_lines)) for tile in tiles), default=0)
    card_h = height + 2 * _PADDING + (leading(SMALL) * lines + 8 if lines else 0)
    inner_w = max(columns * card_w + (columns - 1) * _GAP, 420)
    head = _Heading(title, subtitle, inner_w, query_picture)
    rows = -(-len(tiles) // columns)
    body_h = rows * card_h + (rows - 1) * _GAP if tiles else 2 * leading(BODY)
    sheet = Image.new("RGB", (inner_w + 2 * _MARGIN, head.height + body_h + 2 * _MARGIN + _GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    head.paint(sheet, draw, (_MARGIN, _MARGIN))
    top = _MARGIN + head.height + _GAP
    if not tiles:
        draw_text(draw, (_MARGIN, top), "No pictures to show.", BODY, FAINT)
    for number, tile in enumerate(tiles):
        left = _MARGIN + (number % columns) * (card_w + _GAP)
        y = top + (number // columns) * (card_h + _GAP)
        draw.rounded_rectangle((left, y, left + card_w - 1, y + card_h - 1), _RADIUS, fill=CARD, outline=EDGE)
        _paint_tile(sheet, draw, (left + _PADDING, y + _PADDING), tile, tile_hw, caption_lines)
    return sheet


def ranked_sheet(
    title: str, rows: Sequence[RankedRow], *, subtitle: str = "", tile_hw: tuple[int, int] = (192, 96)
) -> Image.Image:
    """Draw ranked lists: one card per query, its words at the left and what was found at the right.

    Args:
        title: what the sheet shows.
        rows: the queries, in the order to be drawn.
        subtitle: a fainter line under the title, usually the protocol.
        tile_hw: height and width of the box that each picture is fitted into, in pixels.

    Raises:
        ConfigError: `tile_hw` is not positive, or a verdict is unknown.
        DataError: an array is not (H, W, 3) of uint8.
    """
    _check_layout(1, tile_hw)
    height, width = tile_hw
    most = max((len(row.tiles) for row in rows), default=0)
    query_w = 300
    card_h = height + 2 * _PADDING + leading(SMALL) + 8
    inner_w = query_w + 3 * _PADDING + most * (width + _GAP)
    head = _Heading(title, subtitle, inner_w, None, legend=True)
    body_h = len(rows) * (card_h + _GAP) if rows else 2 * leading(BODY)
    sheet = Image.new("RGB", (inner_w + 2 * _MARGIN, head.height + body_h + 2 * _MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    head.paint(sheet, draw, (_MARGIN, _MARGIN))
    y = _MARGIN + head.height + _GAP
    if not rows:
        draw_text(draw, (_MARGIN, y), "No queries to show.", BODY, FAINT)
    for row in rows:
        right = _MARGIN + inner_w - 1
        draw.rounded_rectangle((_MARGIN, y, right, y + card_h - 1), _RADIUS, fill=CARD, outline=EDGE)
        _paint_query(sheet, draw, (_MARGIN + _PADDING, y + _PADDING), row, (card_h - 2 * _PADDING, query_w), tile_hw)
        for number, tile in enumerate(row.tiles):
            left = _MARGIN + 2 * _PADDING + query_w + number * (width + _GAP)
            _paint_tile(sheet, draw, (left, y + _PADDING), tile, tile_hw, 1)
        y += card_h + _GAP
    return sheet


class _Heading:
    """Title, subtitle, and either the query's picture or the legend of the verdicts."""

    def __init__(self, title: str, subtitle: str, width: int, picture: Picture | None, *, legend: bool = False) -> None:
        self.width, self.legend = width, legend
        self.picture = None if picture is None else fit_picture(picture, (112, 64))
        text_w = width - (64 + _GAP if self.picture else 0)
        self.title = wrap(title, TITLE, text_w, 3)
        self.subtitle = wrap(subtitle, BODY, text_w - (250 if legend else 0), 3)
        text_h = leading(TITLE) * len(self.title) + leading(BODY) * max(len(self.subtitle), int(legend))
        self.height = max(text_h, 112 if self.picture else 0)

    def paint(self, sheet: Image.Image, draw: ImageDraw.ImageDraw, corner: tuple[int, int]) -> None:
        """Draw at a corner (left, top)."""
        left, y = corner
        right = left + self.width
        if self.picture:
            sheet.paste(self.picture, (left, y))
            left += 64 + _GAP
        for line in self.title:
            draw_text(draw, (left, y), line, TITLE, INK)
            y += leading(TITLE)
        if self.legend:
            x = right - 232
            for name, colour in VERDICTS.items():
                draw.rounded_rectangle((x, y + 3, x + 12, y + 15), 3, outline=colour, width=_FRAME)
                draw_text(draw, (x + 20, y), name, BODY, FAINT)
                x += 80
        for line in self.subtitle:
            draw_text(draw, (left, y), line, BODY, FAINT)
            y += leading(BODY)


def _paint_query(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    row: RankedRow,
    box_hw: tuple[int, int],
    tile_hw: tuple[int, int],
) -> None:
    left, y = corner
    bottom = y + box_hw[0]
    width = box_hw[1]
    if row.query_picture is not None:
        sheet.paste(fit_picture(row.query_picture, tile_hw), (left, y))
        left, width = left + tile_hw[1] + _GAP, width - tile_hw[1] - _GAP
    note = wrap(row.note, SMALL, width, 2)
    note_h = leading(SMALL) * len(note)
    for line in wrap(row.query, BODY, width, max(1, (box_hw[0] - note_h - 4) // leading(BODY))):
        draw_text(draw, (left, y), line, BODY, INK)
        y += leading(BODY)
    for number, line in enumerate(note):
        draw_text(draw, (left, bottom - note_h + number * leading(SMALL)), line, SMALL, FAINT)


def _paint_tile(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    tile: Tile,
    tile_hw: tuple[int, int],
    caption_lines: int,
) -> None:
    left, top = corner
    height, width = tile_hw
    sheet.paste(fit_picture(tile.picture, tile_hw), corner)
    if tile.verdict is not None:
        if tile.verdict not in VERDICTS:
            raise ConfigError(
                f"a tile's verdict is {tile.verdict!r}; expected one of {', '.join(VERDICTS)} or None."
                f"{nearest(tile.verdict, VERDICTS)}"
            )
        box = (left - _FRAME, top - _FRAME, left + width + _FRAME - 1, top + height + _FRAME - 1)
        draw.rounded_rectangle(box, 6, outline=VERDICTS[tile.verdict], width=_FRAME)
    y = top + height + 8
    for line in wrap(tile.caption, SMALL, width, caption_lines):
        draw_text(draw, (left, y), line, SMALL, FAINT)
        y += leading(SMALL)


def save_sheet(sheet: Image.Image, path: Path) -> Path:
    """Write a sheet as PNG, whole or not at all; an existing file is replaced, missing folders are made.

    Returns:
        the path written.

    Raises:
        DataError: the path does not end in .png, or cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise DataError(f"a sheet is to be written to {path}; expected a name that ends in .png")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(unfinished, "PNG")
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written: {error.strerror or error}; choose another place") from error
    return path


def _check_layout(columns: int, tile_hw: tuple[int, int]) -> None:
    if columns < 1 or min(tile_hw) < 16:
        raise ConfigError(f"a sheet of {columns} columns of {tile_hw} pixels; expected at least 1 and (16, 16)")
