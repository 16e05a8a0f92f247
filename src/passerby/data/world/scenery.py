"""The places behind the people and the things in front of them.

Each place is painted once per process, by a fixed seed, as a panorama and a pyramid of smaller copies; a picture
takes a stretch of it. Occluders are tubes on the same canvas as the people, so they cast the same shadows and get
their own mask label.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from passerby.data.world.canvas import Canvas, Fabric

#: Height and width of a panorama; the person is about 0.85 panorama heights tall.
PANORAMA = (512, 2048)
_HORIZON = 0.70

#: What can stand in front of a person.
OCCLUDERS = ("none", "pole", "car", "bench", "plant", "cart")


def _street(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int]) -> None:
    height, width = size
    floor = int(height * _HORIZON)
    draw.rectangle((0, 0, width, floor), fill=(186, 160, 138))
    for row in range(0, floor, 18):
        for column in range(-20 * ((row // 18) % 2), width, 40):
            tone = int(rng.integers(-10, 10))
            draw.rectangle((column, row, column + 38, row + 16), fill=(176 + tone, 148 + tone, 126 + tone))
    for column in range(140, width, 420):
        draw.rectangle((column, 60, column + 130, 240), fill=(96, 116, 130), outline=(228, 224, 214), width=8)
        draw.line((column + 65, 60, column + 65, 240), fill=(228, 224, 214), width=6)
        draw.rectangle((column + 220, 110, column + 320, floor), fill=(92, 66, 50), outline=(70, 50, 40), width=6)
    _pavement(draw, rng, size, (158, 156, 152))


def _pavement(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    height, width = size
    floor = int(height * _HORIZON)
    draw.rectangle((0, floor, width, height), fill=colour)
    dark = tuple(value - 18 for value in colour)
    for step in range(6):
        row = floor + int((height - floor) * (step / 6) ** 1.5)
        draw.line((0, row, width, row), fill=dark, width=2)
    for column in range(-width, 2 * width, 110):
        draw.line((column, floor, column + (column - width // 2) // 3, height), fill=dark, width=2)


def _shop(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int]) -> None:
    height, width = size
    floor = int(height * _HORIZON)
    draw.rectangle((0, 0, width, floor), fill=(64, 58, 60))
    for column in range(20, width, 330):
        glow = tuple(int(value) for value in rng.integers((200, 176, 130), (250, 220, 180)))
        draw.rectangle((column, 70, column + 280, floor - 24), fill=glow)
        for _ in range(9):
            x, tone = column + int(rng.integers(10, 240)), tuple(int(v) for v in rng.integers(70, 220, size=3))
            y = int(rng.integers(110, 250))
            draw.rounded_rectangle((x, y, x + 36, y + 70), 10, fill=tone)
        draw.rectangle((column - 10, 30, column + 290, 66), fill=tuple(int(v) for v in rng.integers(60, 170, size=3)))
    _pavement(draw, rng, size, (148, 140, 132))


def _park(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int]) -> None:
    height, width = size
    floor = int(height * _HORIZON)
    draw.rectangle((0, 0, width, floor), fill=(186, 208, 216))
    for _ in range(260):
        x, y, r = int(rng.integers(0, width)), int(rng.integers(20, floor)), int(rng.integers(20, 60))
        tone = int(rng.integers(-24, 24))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(88 + tone, 122 + tone, 74 + tone))
    for column in range(60, width, 260):
        draw.rectangle((column, 90, column + 22, floor), fill=(96, 76, 58))
    draw.rectangle((0, floor - 30, width, height), fill=(122, 148, 88))
    draw.polygon(((0, floor + 16), (width, floor + 6), (width, height), (0, height)), fill=(188, 172, 142))


def _station(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int]) -> None:
    height, width = size
    floor = int(height * _HORIZON)
    draw.rectangle((0, 0, width, floor), fill=(196, 204, 208))
    for column in range(0, width, 300):
        draw.rectangle((column, 0, column + 46, floor), fill=(150, 160, 168))
        draw.rectangle((column + 80, 40, column + 260, 100), fill=(36, 52, 82))
        draw.rectangle((column + 96, 58, column + 200, 66), fill=(230, 226, 160))
        draw.rectangle((column + 96, 76, column + 230, 84), fill=(230, 226, 160))
        draw.rectangle((column + 90, 150, column + 250, floor - 6), fill=(172, 188, 196))
    draw.rectangle((0, floor, width, height), fill=(170, 172, 172))
    for column in range(0, width, 64):
        draw.line((column, floor, column, height), fill=(152, 154, 156), width=2)
    draw.rectangle((0, floor + 20, width, floor + 34), fill=(214, 190, 70))


def _crossing(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int]) -> None:
    height, width = size
    floor = int(height * (_HORIZON - 0.12))
    draw.rectangle((0, 0, width, floor), fill=(176, 182, 190))
    for column in range(0, width, 240):
        tone = int(rng.integers(-24, 24))
        draw.rectangle(
            (column, int(rng.integers(0, 60)), column + 220, floor), fill=(150 + tone, 146 + tone, 144 + tone)
        )
        for x in range(column + 20, column + 200, 50):
            for y in range(80, floor - 40, 60):
                draw.rectangle((x, y, x + 28, y + 36), fill=(108, 122, 136))
    draw.rectangle((0, floor, width, height), fill=(104, 104, 108))
    for column in range(-100, width, 130):
        draw.polygon(
            ((column, floor + 60), (column + 60, floor + 60), (column + 30, height), (column - 50, height)),
            fill=(206, 206, 202),
        )


def _car_park(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int]) -> None:
    height, width = size
    floor = int(height * (_HORIZON - 0.1))
    draw.rectangle((0, 0, width, floor), fill=(132, 134, 130))
    draw.rectangle((0, 60, width, 96), fill=(112, 112, 110))
    for column in range(40, width, 340):
        tone = tuple(int(v) for v in rng.integers(60, 190, size=3))
        draw.rounded_rectangle((column, floor - 96, column + 260, floor + 6), 30, fill=tone)
        draw.rounded_rectangle((column + 44, floor - 150, column + 214, floor - 70), 34, fill=tone)
        draw.rounded_rectangle((column + 60, floor - 138, column + 198, floor - 90), 20, fill=(70, 82, 92))
        for x in (column + 36, column + 186):
            draw.ellipse((x, floor - 24, x + 44, floor + 20), fill=(34, 34, 36))
    draw.rectangle((0, floor + 20, width, height), fill=(120, 122, 118))
    for column in range(0, width, 170):
        draw.polygon(
            ((column, floor + 24), (column + 10, floor + 24), (column - 30, height), (column - 46, height)),
            fill=(206, 204, 190),
        )


def _arcade(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int]) -> None:
    height, width = size
    floor = int(height * _HORIZON)
    draw.rectangle((0, 0, width, floor), fill=(192, 190, 176))
    for column in range(0, width, 256):
        draw.rounded_rectangle((column + 50, 60, column + 206, floor + 90), 78, fill=(120, 104, 104))
        draw.rounded_rectangle((column + 74, 96, column + 182, floor + 90), 54, fill=(158, 148, 146))
    draw.rectangle((0, floor, width, height), fill=(176, 162, 150))
    for row in range(floor, height, 28):
        for column in range(56 * ((row // 28) % 2), width, 112):
            draw.rectangle((column, row, column + 56, row + 28), fill=(158, 142, 130))


#: Place name -> how it is painted.
PLACES: MappingProxyType[str, Callable[[ImageDraw.ImageDraw, np.random.Generator, tuple[int, int]], None]] = (
    MappingProxyType(
        {
            "street": _street,
            "shop": _shop,
            "park": _park,
            "station": _station,
            "crossing": _crossing,
            "car park": _car_park,
            "arcade": _arcade,
        }
    )
)


@cache
def _pyramid(place: str) -> tuple[Image.Image, ...]:
    """The panorama of a place at full, half, quarter and eighth size, softened as by distance."""
    height, width = PANORAMA
    picture = Image.new("RGB", (width, height))
    rng = np.random.default_rng(tuple(place.encode()))
    PLACES[place](ImageDraw.Draw(picture), rng, PANORAMA)
    picture = picture.filter(ImageFilter.GaussianBlur(3.0))
    grain = rng.normal(0, 3.0, size=(height, width, 1))
    slope = np.linspace(1.06, 0.94, height)[:, None, None]
    full = Image.fromarray(np.clip(np.asarray(picture) * slope + grain, 0, 255).astype(np.uint8))
    return full, full.reduce(2), full.reduce(4), full.reduce(8)


def background(place: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Cut a stretch of a place's panorama.

    Args:
        place: a key of PLACES.
        size: (H, W) of the crop.
        rng: decides which stretch.
    """
    height, width = size
    zoom, offset, lift = rng.random(3)
    rows = PANORAMA[0] * (0.86 + 0.14 * zoom)
    columns = min(rows * width / height, PANORAMA[1] - 1.0)
    left = offset * (PANORAMA[1] - columns)
    top = lift * (PANORAMA[0] - rows)
    level = 0
    while level < 3 and rows / (2 << level) >= height:
        level += 1
    share = 1 / (1 << level)
    box = (left * share, top * share, (left + columns) * share, (top + rows) * share)
    return _pyramid(place)[level].resize((width, height), Image.Resampling.BILINEAR, box=box)


def draw_occluder(
    canvas: Canvas, kind: str, scale: float, ground: tuple[float, float], rng: np.random.Generator
) -> None:
    """Draw what stands in front of the person.

    Args:
        canvas: the canvas of the picture.
        kind: one of OCCLUDERS but "none".
        scale: pixels per body height.
        ground: where the person stands, (x, y) in pixels.
        rng: decides place and colour.
    """
    x, y = ground
    side = float(rng.uniform(-0.16, 0.16)) * scale
    tone = [float(value) for value in rng.uniform(60, 190, size=3)]
    paint = Fabric((tone[0], tone[1], tone[2]), gloss=0.5, folds=0.0)
    dark = Fabric((44.0, 44.0, 48.0), folds=0.0)
    floor = y + 0.03 * scale

    def post(
        left: float, top: float, right: float, bottom: float, fabric: Fabric, caps: tuple[float, float] = (0.1, 0.1)
    ) -> None:
        half = (right - left) / 2 * scale
        middle = x + side + (left + right) / 2 * scale
        tube = canvas.tube(
            (middle, floor - top * scale),
            (middle, floor - bottom * scale),
            (half, half),
            length=top - bottom,
            radius=(right - left) / 2,
        )
        canvas.fill(tube, "occluder", fabric, 0.0, caps=caps)

    if kind == "pole":
        post(-0.026, 1.4, 0.026, -0.05, Fabric((112.0, 116.0, 118.0), gloss=0.5, folds=0.0))
    elif kind == "car":
        post(-0.9, 0.30, 0.25, 0.03, paint, (0.05, 0.05))
        post(-0.7, 0.46, 0.06, 0.28, paint, (0.1, 0.0))
        post(-0.62, 0.43, 0.00, 0.31, dark, (0.05, 0.0))
        post(-0.02, 0.13, 0.16, -0.03, dark, (0.5, 0.5))
    elif kind == "bench":
        for top in (0.30, 0.22, 0.14):
            post(-0.5, top, 0.3, top - 0.055, Fabric((134.0, 92.0, 58.0), folds=0.4), (0, 0))
        post(-0.30, 0.12, -0.26, -0.02, dark)
        post(0.16, 0.12, 0.20, -0.02, dark)
    elif kind == "plant":
        post(-0.10, 0.14, 0.10, -0.03, Fabric((150.0, 92.0, 66.0), folds=0.1), (0, 0.1))
        for lean, top in ((-0.11, 0.34), (0.10, 0.37), (-0.05, 0.43), (0.05, 0.41), (0.0, 0.30)):
            post(
                lean - 0.055,
                top,
                lean + 0.055,
                0.16,
                Fabric((62.0 + top * 60, 112.0 + top * 60, 58.0), weave="strands"),
                (0.9, 0.3),
            )
    else:
        post(-0.18, 0.36, 0.18, 0.10, Fabric((156.0, 160.0, 164.0), weave="rib", gloss=0.4, folds=0.0), (0.0, 0.1))
        post(-0.20, 0.385, 0.20, 0.355, paint)
        post(-0.15, 0.07, -0.10, -0.01, dark, (0.5, 0.5))
        post(0.10, 0.07, 0.15, -0.01, dark, (0.5, 0.5))
