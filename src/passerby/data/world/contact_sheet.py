"""The contact sheet: people in rows, one column per camera, and beside them what the masks say.

It is the first thing to look at after making a street: whether colours survive the cameras, whether look-alikes
can be told apart, and whether every mask sits on its garment.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from passerby.data.world.attributes import PARTS, Identity
from passerby.data.world.cameras import CAMERAS
from passerby.data.world.render import Rendering, View, render
from passerby.errors import DataError

#: sRGB of each part in the order of PARTS.
PART_COLOURS: tuple[tuple[int, int, int], ...] = (
    (236, 233, 226),
    (236, 188, 152),
    (250, 214, 184),
    (122, 84, 60),
    (226, 94, 80),
    (88, 150, 206),
    (46, 92, 150),
    (92, 156, 124),
    (150, 112, 178),
    (240, 178, 66),
    (222, 118, 164),
    (138, 140, 144),
    (186, 190, 194),
)

_PAPER, _INK, _FAINT = (251, 249, 245), (44, 46, 52), (138, 136, 130)
_MARGIN, _GAP, _HEAD, _FOOT, _GUTTER = 36, 8, 104, 64, 34


def sheet_views(person: int, seed: int = 0) -> tuple[View, ...]:
    """One view per camera for a row of the sheet: a turn round the person, most of it unhidden and by day."""
    rng = np.random.default_rng((seed, person, 17))
    start = float(rng.uniform(0, 360))
    occluded = int(rng.integers(len(CAMERAS)))
    accompanied = int(rng.integers(len(CAMERAS)))
    occluder = str(rng.choice(("pole", "car", "bench", "plant", "cart")))
    return tuple(
        View(
            camera=camera,
            yaw=(start + camera * 360.0 / len(CAMERAS) * 3) % 360,
            phase=float(rng.random()),
            light=str(rng.choice(("day", "day", "shade", "night"))),
            occluder=occluder if camera == occluded else "none",
            bystanders=int(camera == accompanied),
            seed=int(rng.integers(2**31)),
        )
        for camera in range(len(CAMERAS))
    )


def paint_mask(rendering: Rendering) -> np.ndarray:
    """Colour a mask by part, with the picture's light and dark faintly under it.

    Returns:
        (H, W, 3) uint8.
    """
    flat = np.array(PART_COLOURS, dtype=np.float32)[rendering.mask]
    grey = rendering.image.mean(axis=2, keepdims=True)
    return np.clip(flat * (0.82 + 0.18 * (grey / 128.0)), 0, 255).astype(np.uint8)


def contact_sheet(
    identities: Sequence[Identity], seed: int = 0, size: tuple[int, int] = (240, 92), title: str = "The street"
) -> Image.Image:
    """Draw people as all cameras see them, with their masks.

    Args:
        identities: one row each.
        seed: decides the views.
        size: (H, W) of each picture.
        title: the heading.

    Raises:
        DataError: there is nobody to draw.
    """
    if not identities:
        raise DataError("a contact sheet needs at least one identity; none was given")
    height, width = size
    block = len(CAMERAS) * (width + _GAP) - _GAP
    sheet = Image.new(
        "RGB",
        (2 * _MARGIN + 2 * block + _GUTTER, _HEAD + len(identities) * (height + _GAP + 4) + _FOOT),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 24), title, fill=_INK, font=ImageFont.load_default(26))
    draw.text((_MARGIN, 58), _subtitle(len(identities)), fill=_FAINT, font=ImageFont.load_default(13))
    corners = _rounded(size)
    for row, identity in enumerate(identities):
        top = _HEAD + row * (height + _GAP + 4)
        for view in sheet_views(row, seed):
            rendering = render(identity, view, size)
            left = _MARGIN + view.camera * (width + _GAP)
            sheet.paste(Image.fromarray(rendering.image), (left, top), corners)
            sheet.paste(Image.fromarray(paint_mask(rendering)), (left + block + _GUTTER, top), corners)
    for index, camera in enumerate(CAMERAS):
        for left in (_MARGIN, _MARGIN + block + _GUTTER):
            middle = left + index * (width + _GAP) + width // 2
            label = f"{camera.name} {camera.scenery}"
            draw.text((middle, _HEAD - 12), label, fill=_FAINT, font=ImageFont.load_default(11), anchor="ms")
    _legend(draw, sheet.height - _FOOT + 24)
    return sheet


def _subtitle(people: int) -> str:
    who = "one person" if people == 1 else f"{people} people"
    return f"{who}, {len(CAMERAS)} cameras; left the pictures, right their part masks"


def _rounded(size: tuple[int, int]) -> Image.Image:
    """A paste mask with round corners."""
    height, width = size
    corners = Image.new("L", (width * 2, height * 2), 0)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, width * 2 - 1, height * 2 - 1), 14, fill=255)
    return corners.reduce(2)


def _legend(draw: ImageDraw.ImageDraw, top: int) -> None:
    """A chip and a name for each part."""
    font = ImageFont.load_default(13)
    left = _MARGIN
    for name, colour in zip(PARTS, PART_COLOURS, strict=True):
        draw.rounded_rectangle((left, top, left + 16, top + 16), 4, fill=colour, outline=(214, 210, 202))
        draw.text((left + 23, top + 13), name, fill=_INK, font=font, anchor="ls")
        left += 23 + round(font.getlength(name)) + 22
