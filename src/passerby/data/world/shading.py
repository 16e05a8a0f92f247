"""Light and cloth: turns the map of piece numbers into colours, for the person's pixels only.

For each pixel the shader looks up its piece, finds where on the tube it lies (u across in [-1, 1], v along in
[0, 1]), reads the surface normal off the round cross-section, and adds the pattern, the weave, creases and contact
shadows. Patterns live in body coordinates (angle and length), so they turn with the person.

Axes: N drawn pixels, P pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from passerby.data.world.canvas import TABLE, Canvas, Geometry

#: A pattern or weave: (angle in degrees, length along, unit-less u, v, per-pixel radius) -> (N,) float32.
Texture = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _wrap(value: np.ndarray, period: float) -> np.ndarray:
    """The rest of a division, an order of magnitude faster than numpy.mod."""
    return value - np.float32(period) * np.floor(value * np.float32(1.0 / period))


def _stripes(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return (_wrap(along, 0.068) < 0.030).astype(np.float32)


def _pinstripes(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return (_wrap(angle * radius * 0.01745, 0.034) < 0.013).astype(np.float32)


def _checks(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    one = _wrap(along, 0.062) < 0.028
    other = _wrap(angle * radius * 0.01745 + 0.2, 0.062) < 0.028
    return (one.astype(np.float32) + other) * 0.5


def _dots(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    row = np.floor(along / 0.036)
    down = _wrap(along, 0.036) - 0.018
    side = _wrap(angle * radius * 0.01745 + 0.018 * _wrap(row, 2), 0.036) - 0.018
    return (down * down + side * side < 0.0095**2).astype(np.float32)


def _logo(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    front = np.abs(_wrap(angle + 90, 180) - 90)  # the print is on the chest and on the back
    side, down = front / 36.0, (along - 0.130) / 0.056
    far, turn = np.hypot(side, down), np.arctan2(side, -down)
    return ((far < 0.78 + 0.26 * np.cos(5 * turn)) & (far > 0.24)).astype(np.float32)


def _two_tone(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return (along < 0.155).astype(np.float32)


#: Patterns: share of the fabric's second colour at a place on the body.
PATTERNS: dict[str, Texture | None] = {
    "plain": None,
    "striped": _stripes,
    "pinstripe": _pinstripes,
    "checked": _checks,
    "dotted": _dots,
    "logo": _logo,
    "two-tone": _two_tone,
}


def _knit(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return 0.10 * np.sin(angle * radius * 7.5) + 0.05 * np.sin(along * 700)


def _rib(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return 0.16 * np.sin(angle * radius * 6.0)


def _denim(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    twill = 0.07 * np.sin(angle * radius * 9 + along * 500)
    worn = 0.22 * np.exp(-(((_wrap(angle + 180, 360) - 180) / 34.0) ** 2))
    return 1.3 * twill + 1.5 * worn - 0.10


def _quilt(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return 0.34 * np.abs(np.sin(along * 62.0)) ** 0.6 - 0.24


def _pleats(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return 0.10 * np.sin(angle * 0.21) * np.minimum(along * 6, 1.0)


def _felt(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return 0.03 * np.sin(angle * 1.7 + along * 900)


def _locks(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return 0.13 * np.sin(angle * 0.33 + 2 * np.sin(along * 20))


#: Weaves: change of brightness at a place on the body.
WEAVES: dict[str, Texture | None] = {
    "smooth": None,
    "knit": _knit,
    "rib": _rib,
    "denim": _denim,
    "quilt": _quilt,
    "pleats": _pleats,
    "felt": _felt,
    "strands": _locks,
}
_PATTERN_ID = {name: index for index, name in enumerate(PATTERNS)}
_WEAVE_ID = {name: index for index, name in enumerate(WEAVES)}


@cache
def _creases() -> np.ndarray:
    """A tile of soft diagonal creases, 256 x 256 flattened, float32 about -1..1."""
    rng = np.random.default_rng(11)
    spectrum = np.fft.rfft2(rng.normal(size=(256, 256)))
    fy, fx = np.fft.fftfreq(256)[:, None] * 256, np.fft.rfftfreq(256)[None, :] * 256
    slanted = fx * 0.9 + fy * 0.45
    radius2 = (slanted / 9) ** 2 + ((fy - 0.4 * fx) / 4.5) ** 2
    tile = np.fft.irfft2(spectrum * np.exp(-radius2), s=(256, 256))
    return (tile / tile.std() * 0.6).clip(-1.5, 1.5).astype(np.float32).ravel()


def shade(
    canvas: Canvas,
    geometry: Geometry,
    numbers: np.ndarray,
    shadow: np.ndarray,
    light: tuple[float, float, float, float],
    scale: float,
    seed: int,
) -> np.ndarray:
    """Colour everything that was drawn.

    Args:
        canvas: the pieces.
        geometry: their tubes.
        numbers: (H, W) uint8 as `rasterise` returned them, H and W even.
        shadow: (H / 2, W / 2) uint8 contact shadow.
        light: direction it comes from (right, down, towards the viewer) and share of ambient light.
        scale: pixels per body height, which scales the creases.
        seed: shifts the creases.

    Returns:
        (H, W, 4) uint8: sRGB and coverage, which is 255 where something was drawn and 0 elsewhere, as is the colour.
    """
    width = canvas.width
    layer = np.zeros(numbers.size, dtype=np.uint32)
    drawn = np.flatnonzero(numbers.ravel() != 0)
    index = np.take(numbers.ravel(), drawn).astype(np.intp)  # (N,)
    index -= 1
    place = drawn.astype(np.uint32)
    row = place // np.uint32(width)
    column = place - row * np.uint32(width)
    tube, table = _piece_table(canvas, geometry, light)
    lookup = np.take(table, index, axis=1, mode="clip")  # (13, N)
    x, y = column.astype(np.float32), row.astype(np.float32)
    u = lookup[0] * x + lookup[1] * y - lookup[2]
    v = lookup[3] * x + lookup[4] * y - lookup[5]
    entry = (np.clip(v, 0.0, 1.0) * (TABLE - 1) + 0.5).astype(np.intp)
    entry += np.take(tube * (2 * TABLE), index, mode="clip")
    entry += (u > 0) * np.intp(TABLE)
    u *= lookup[7] / np.take(geometry.widths.reshape(-1), entry, mode="clip")
    np.clip(u, -0.985, 0.985, out=u)
    lit = np.maximum(np.sqrt(1.0 - u * u) * light[2] + u * lookup[6], 0.0)
    bright = lit * np.float32((1.0 - light[3]) * 1.12) + np.float32(light[3])
    tile, zoom = _creases(), 300.0 / scale
    down = ((np.arange(canvas.height) * zoom).astype(np.intp) + seed & 255) * 256
    right = (np.arange(width) * zoom).astype(np.intp) + (seed >> 8) & 255
    bright += 0.085 * lookup[9] * np.take(tile, np.take(down, row) + np.take(right, column), mode="clip")
    colour = lookup[10:13]  # (3, N)
    _textures(canvas, tube, index, u, v, colour, bright)
    dark = np.take(shadow.ravel(), (row >> 1) * (width >> 1) + (column >> 1), mode="clip")
    bright *= 1.0 - dark * np.float32(0.75 / 255)
    lit *= lit  # to the twelfth power: the narrow highlight of leather and plastic
    lit *= lit
    colour *= bright
    colour += lookup[8] * 95.0 * lit * lit * lit
    np.clip(colour, 0, 255, out=colour)
    red, green, blue = colour.astype(np.uint32)
    layer[drawn] = red | green << 8 | blue << 16 | 0xFF000000
    return layer.astype("<u4", copy=False).view(np.uint8).reshape(*numbers.shape, 4)


def _piece_table(
    canvas: Canvas, geometry: Geometry, light: tuple[float, float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Per piece: its tube (P,), and (13, P) what maps a pixel to u and v and how its fabric looks."""
    pieces = canvas.pieces
    tube = np.array([piece.tube for piece in pieces], dtype=np.intp)
    start, along, across = geometry.start[tube], geometry.along[tube], geometry.across[tube]
    inverse = 1.0 / geometry.size[tube]
    table = np.empty((13, len(pieces)), dtype=np.float32)
    table[0:2] = across.T
    table[2] = (start * across).sum(axis=1)
    table[3:5] = along.T * inverse
    table[5] = (start * along).sum(axis=1) * inverse
    table[6] = across[:, 0] * light[0] + across[:, 1] * light[1]
    table[7:13] = np.array(
        [
            (piece.fabric.round / piece.inflate, piece.fabric.gloss, piece.fabric.folds, *piece.fabric.colour)
            for piece in pieces
        ]
    ).T
    return tube, table


def _textures(
    canvas: Canvas,
    tube: np.ndarray,
    index: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    colour: np.ndarray,
    bright: np.ndarray,
) -> None:
    """Lay patterns into `colour` and weaves into `bright`, on the pixels that have them."""
    pieces = canvas.pieces
    pattern = np.array([_PATTERN_ID[piece.fabric.pattern] for piece in pieces])
    weave = np.array([_WEAVE_ID[piece.fabric.weave] for piece in pieces])
    if not (pattern.any() or weave.any()):
        return
    shape = np.array([(t.yaw, t.length, t.radius) for t in canvas.tubes], dtype=np.float32)[tube]
    second = np.array([piece.fabric.second for piece in pieces], dtype=np.float32).T  # (3, P)
    where = np.flatnonzero(np.take(pattern + weave > 0, index))
    chosen = np.take(index, where)
    body = np.take(shape.T, chosen, axis=1)  # (3, M)
    angle = np.degrees(np.arcsin(np.take(u, where))) + body[0]
    length, radius = np.take(v, where) * body[1], body[2]
    for kinds, textures in ((pattern, PATTERNS), (weave, WEAVES)):
        worn, here_kinds = set(kinds.tolist()), np.take(kinds, chosen)
        for number, texture in enumerate(textures.values()):
            if texture is None or number not in worn:
                continue
            here = np.flatnonzero(here_kinds == number)
            value = texture(np.take(angle, here), np.take(length, here), np.take(radius, here))
            pixels = np.take(where, here)
            if textures is WEAVES:
                bright[pixels] += value
                continue
            piece = np.take(chosen, here)
            for channel, other in zip(colour, second, strict=True):  # a third faster than all three in one assignment
                under = np.take(channel, pixels)
                channel[pixels] = under + (np.take(other, piece) - under) * value
