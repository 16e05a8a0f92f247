"""A sheet of a data set's pictures with their captions: what one should look at before training on it.

People are drawn by a seed and stand together, a few pictures each, so that wrong identities show; pictures of nobody
known stand alone. What cannot be decoded is left out and counted in the heading.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from passerby.data.images import decode_image
from passerby.data.readers.source import Source, SourceRow
from passerby.data.sheets import Tile, tile_sheet
from passerby.errors import DataError, nearest

_TILE_HW = (240, 168)
_COLUMNS = 6
_CAPTION_LINES = 24


def sample_sheet(source: Source, *, split: str | None, people: int, views: int, seed: int) -> Image.Image:
    """Draw some people of a data set with their captions.

    Args:
        source: the data set; it may have defects.
        split: only of this split, or None.
        people: how many people, or pictures where nobody is known.
        views: most pictures of each.
        seed: decides who.

    Raises:
        DataError: there is no such split, or none of the pictures drawn can be decoded.
    """
    rows = _rows_of(source, split)
    chosen = _chosen(rows, people, views, np.random.default_rng(seed))
    tiles, lost = [], 0
    for row in chosen:
        try:
            pixels = decode_image(source.pictures / row.image, at_least=_TILE_HW, name=row.image)
        except DataError:
            lost += 1
            continue
        tiles.append(Tile(pixels, _caption(row, with_split=split is None)))
    if not tiles:
        raise DataError(
            f"none of the {lost} pictures drawn from {source.root} can be read; `passerby data check` says why"
        )
    heading = f"{len(tiles)} of {len(rows):,} pictures, {split or 'all splits'}, seed {seed}"
    if lost:
        heading += f"; {lost} more were drawn and cannot be read"
    # With as many pictures of everybody, each person gets a row.
    columns = views if not lost and views > 2 and len(tiles) == people * views else _COLUMNS
    return tile_sheet(
        f"{source.title}, a street" if source.is_street else source.title,
        tiles,
        subtitle=heading,
        columns=columns,
        tile_hw=_TILE_HW,
        caption_lines=_CAPTION_LINES,
    )


def _rows_of(source: Source, split: str | None) -> list[SourceRow]:
    by_split = source.by_split()
    if split is None:
        return [row for rows in by_split.values() for row in rows]
    if split not in by_split:
        raise DataError(
            f"{source.title} in {source.root} has no split {split!r}; it has {', '.join(by_split)}."
            f"{nearest(split, by_split)}"
        )
    return by_split[split]


def _chosen(rows: Sequence[SourceRow], people: int, views: int, generator: np.random.Generator) -> list[SourceRow]:
    """Some pictures of some people; a picture of nobody known is somebody by itself."""
    owned: dict[tuple[str, int | str], list[SourceRow]] = {}
    for row in rows:
        owned.setdefault((row.split, row.image if row.person_id is None else row.person_id), []).append(row)
    owners = list(owned.values())
    drawn = generator.choice(len(owners), min(people, len(owners)), replace=False) if owners else np.array([], int)
    chosen: list[SourceRow] = []
    for position in sorted(drawn.tolist()):
        mine = owners[position]
        seen = generator.choice(len(mine), min(views, len(mine)), replace=False)
        chosen += (mine[view] for view in sorted(seen.tolist()))
    return chosen


def _caption(row: SourceRow, *, with_split: bool) -> str:
    """Who it is and where it was seen, then the sentences, each on a line of its own."""
    who = "nobody known" if row.person_id is None else f"person {row.person_id}"
    where = [who, row.camera_id, row.split if with_split else None, "junk" if row.junk else None]
    return "\n".join([" · ".join(filter(None, [*where, "query" if row.asks else None])), *row.captions])
