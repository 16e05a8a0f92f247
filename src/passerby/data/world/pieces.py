"""A piece of a street: a few people of one split, drawn, described and written by one worker in one go.

What a piece writes depends on its plan alone. Its record is written last and is both the note that it is finished and
its part of the sidecar, from which the annotations are made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from passerby.data.world.attributes import Identity
from passerby.data.world.cameras import CAMERAS
from passerby.data.world.contact_sheet import PART_COLOURS
from passerby.data.world.layout import Entry, Layout, Sighting
from passerby.data.world.layouts import layout_of
from passerby.data.world.retakes import retake
from passerby.data.world.sidecar import image_record, person_record
from passerby.data.world.street import Picture, Street, take_picture

UNFINISHED = ".unfinished"
MASKS = "masks"
_PALETTE = [level for colour in PART_COLOURS for level in colour]
_SHARE_EVERY = 8  # with defects, every how many people one caption is another person's


@dataclass(frozen=True, slots=True)
class Piece:
    """Some people of one split.

    Attributes:
        street: the plan.
        layout: name of the layout.
        defects: whether defects are wanted.
        root: the street's folder.
        split: as the street calls it.
        first: the first person's place in the split.
        people: who they are.
    """

    street: Street
    layout: str
    defects: bool
    root: Path
    split: str
    first: int
    people: tuple[Identity, ...]

    @property
    def record(self) -> Path:
        """Where it is noted that the piece is finished, and with what."""
        return self.root / UNFINISHED / f"{self.split}_{self.first:06d}.jsonl"


def draw(piece: Piece) -> None:
    """Draw, describe and write some people, then note that they are finished."""
    layout = layout_of(piece.layout)
    lines: list[str] = []
    before: Picture | None = None
    for place, identity in enumerate(piece.people, start=piece.first):
        images: list[dict[str, Any]] = []
        for number in range(piece.street.views_in(piece.split)):
            picture = take_picture(piece.street, piece.split, place, identity, number, layout.captions)
            if number == 0:
                if piece.defects and before and place % _SHARE_EVERY == 1:
                    picture = replace(picture, descriptions=(before.descriptions[0], *picture.descriptions[1:]))
                before = picture
            images.append(image_record(picture, _write_picture(piece, layout, place, identity, number, picture)))
        numbered = replace(identity, person_id=identity.person_id + layout.first_person)
        lines.append(json.dumps(person_record(numbered, layout.splits[piece.split], images)))
    write_whole(piece.record, "\n".join(lines) + "\n")


def _write_picture(piece: Piece, layout: Layout, place: int, identity: Identity, number: int, picture: Picture) -> str:
    """Write a picture, its mask and what the layout has beside it; return its id."""
    camera, quality = picture.view.camera, CAMERAS[picture.view.camera].jpeg_quality
    sighting = Sighting(
        split=layout.splits[piece.split],
        person=identity.person_id + layout.first_person,
        place=place,
        camera=camera,
        number=number,
        views=piece.street.views_in(piece.split),
    )
    image_id = layout.image_id(sighting, picture.frame)
    save_picture(picture.rendering.image, piece.root / layout.images / image_id, quality)
    for extra in layout.extras(sighting, image_id, piece.defects):
        save_picture(retake(extra, picture, identity), piece.root / extra.path, quality)
    if piece.street.masks:
        labels = Image.fromarray(picture.rendering.mask)
        labels.putpalette(_PALETTE)
        target = (piece.root / MASKS / image_id).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        labels.save(target, "PNG", compress_level=3)
    return image_id


def save_picture(pixels: np.ndarray, path: Path, quality: int) -> None:
    """Write a picture as its camera compresses it; formats without loss keep those pixels, so that layouts agree."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    if path.suffix == ".jpg":
        try:
            path.write_bytes(stream.getbuffer())
        except FileNotFoundError:  # the first picture of a folder makes it; asking before each one costs more
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(stream.getbuffer())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(stream) as compressed:
        compressed.convert("RGB").save(path)


def entries_of(piece: Piece, layout: Layout) -> Iterator[Entry]:
    """The piece's pictures as annotation files list them."""
    for place, line in enumerate(piece.record.read_text("utf-8").splitlines(), start=piece.first):
        person = json.loads(line)
        for number, image in enumerate(person["images"]):
            sighting = Sighting(
                split=person["split"],
                person=person["person"]["person_id"],
                place=place,
                camera=image["view"]["camera"],
                number=number,
                views=len(person["images"]),
            )
            yield Entry(sighting, image["img_path"], tuple(caption["text"] for caption in image["captions"]))


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
