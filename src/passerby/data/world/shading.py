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


def _stripes(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return (np.mod(along, 0.068) < 0.030).astype(np.float32)


def _pinstripes(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    return (np.mod(angle * radius * 0.01745, 0.034) < 0.013).astype(np.float32)


def _checks(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    one = np.mod(along, 0.062) < 0.028
    other = np.mod(angle * radius * 0.01745 + 0.2, 0.062) < 0.028
    return (one.astype(np.float32) + other) * 0.5


def _dots(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    row = np.floor(along / 0.036)
    down = np.mod(along, 0.036) - 0.018
    side = np.mod(angle * radius * 0.01745 + 0.018 * np.mod(row, 2), 0.036) - 0.018
    return (down * down + side * side < 0.0095**2).astype(np.float32)


def _logo(angle: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    front = np.abs(np.mod(angle + 90, 180) - 90)  # the print is on the chest and on the back
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
    worn = 0.22 * np.exp(-(((np.mod(angle + 180, 360) - 180) / 34.0) ** 2))
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
    """A tile of soft diagonal creases, (256, 256) float32 about -1..1."""
    rng = np.random.default_rng(11)
    spectrum = np.fft.rfft2(rng.normal(size=(256, 256)))
    fy, fx = np.fft.fftfreq(256)[:, None] * 256, np.fft.rfftfreq(256)[None, :] * 256
    slanted = fx * 0.9 + fy * 0.45
    radius2 = (slanted / 9) ** 2 + ((fy - 0.4 * fx) / 4.5) ** 2
    tile = np.fft.irfft2(spectrum * np.exp(-radius2), s=(256, 256))
    return (tile / tile.std() * 0.6).clip(-1.5, 1.5).astype(np.float32)


def shade(
    canvas: Canvas,
    geometry: Geometry,
    numbers: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    shadow: np.ndarray,
    light: tuple[float, float, float, float],
    scale: float,
    seed: int,
) -> np.ndarray:
    """Colour pixels.

    Args:
        canvas: the pieces.
        geometry: their tubes.
        numbers: (N,) piece number plus one of each pixel.
        rows: (N,) its row.
        columns: (N,) its column.
        shadow: (N,) contact shadow, 0..255.
        light: direction (right, down, towards the viewer) and share of ambient light.
        scale: pixels per body height, which scales the creases.
        seed: shifts the creases.

    Returns:
        (N, 3) float32 sRGB, 0..255.
    """
    pieces = canvas.pieces
    tube = np.array([piece.tube for piece in pieces], dtype=np.int64)
    colour = np.array([piece.fabric.colour for piece in pieces], dtype=np.float32)  # (P, 3)
    start, along, across = geometry.start[tube], geometry.along[tube], geometry.across[tube]
    inverse = 1.0 / geometry.size[tube]
    right, down, towards, ambient = light
    fabric = np.array(
        [(p.inflate / max(p.fabric.round, 0.05), p.fabric.gloss, p.fabric.folds) for p in pieces], dtype=np.float32
    )
    table = np.empty((len(pieces), 10), dtype=np.float32)
    table[:, 0:2] = across
    table[:, 2] = (start * across).sum(axis=1)
    table[:, 3:5] = along * inverse[:, None]
    table[:, 5] = (start * along).sum(axis=1) * inverse
    table[:, 6] = across[:, 0] * right + across[:, 1] * down
    table[:, 7] = 1.0 / fabric[:, 0]
    table[:, 8] = fabric[:, 1]
    table[:, 9] = fabric[:, 2]

    index = numbers.astype(np.int64) - 1
    row = table[index].T  # (10, N)
    x, y = columns.astype(np.float32), rows.astype(np.float32)
    u = row[0] * x + row[1] * y - row[2]
    v = row[3] * x + row[4] * y - row[5]
    entry = (np.clip(v, 0.0, 1.0) * (TABLE - 1) + 0.5).astype(np.int64)
    entry += (tube[index] * 2 + (u > 0)) * TABLE
    u *= row[7] / geometry.widths.reshape(-1)[entry]
    np.clip(u, -0.985, 0.985, out=u)
    facing = np.sqrt(1.0 - u * u)
    lit = np.maximum(facing * towards + u * row[6], 0.0)
    bright = ambient + (1.0 - ambient) * 1.12 * lit
    wrinkle = _creases()[
        (y * (150.0 / scale * 2) + seed).astype(np.int64) & 255,
        (x * (150.0 / scale * 2) + seed // 256).astype(np.int64) & 255,
    ]
    bright += 0.085 * row[9] * wrinkle
    base = colour[index]  # (N, 3)
    bright = _textures(canvas, tube, index, u, v, base, bright)
    bright *= 1.0 - shadow.astype(np.float32) * (0.75 / 255)
    base *= bright[:, None]
    base += (row[8] * 95.0 * lit**12)[:, None]
    return base


def _textures(
    canvas: Canvas,
    tube: np.ndarray,
    index: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    base: np.ndarray,
    bright: np.ndarray,
) -> np.ndarray:
    """Lay patterns into `base` and weaves into `bright`, on the pixels that have them."""
    pieces = canvas.pieces
    pattern = np.array([_PATTERN_ID[piece.fabric.pattern] for piece in pieces])
    weave = np.array([_WEAVE_ID[piece.fabric.weave] for piece in pieces])
    if not (pattern.any() or weave.any()):
        return bright
    shape = np.array([(t.yaw, t.length, t.radius) for t in canvas.tubes], dtype=np.float32)[tube]
    second = np.array([piece.fabric.second for piece in pieces], dtype=np.float32)
    where = np.flatnonzero((pattern + weave > 0)[index])
    chosen = index[where]
    body = shape[chosen]
    angle = np.degrees(np.arcsin(u[where])) + body[:, 0]
    length, radius = v[where] * body[:, 1], body[:, 2]
    kinds = pattern[chosen]
    for name, number in _PATTERN_ID.items():
        texture = PATTERNS[name]
        if texture is not None and number in pattern:
            here = np.flatnonzero(kinds == number)
            share = texture(angle[here], length[here], radius[here])[:, None]
            base[where[here]] += (second[chosen[here]] - base[where[here]]) * share
    kinds = weave[chosen]
    for name, number in _WEAVE_ID.items():
        texture = WEAVES[name]
        if texture is not None and number in weave:
            here = np.flatnonzero(kinds == number)
            bright[where[here]] += texture(angle[here], length[here], radius[here])
    return bright
