"""The drawing board of the street: tapered tubes and patches on them, rasterised into one map of piece numbers.

Everything that is drawn (a thigh, a collar, a car wheel) is a *tube*, a straight axis with a half-width profile on
each side, or a *patch*, a part of a tube's surface. Outlines of all pieces are computed in one batch, Pillow fills
them back to front, and the shader later finds for each pixel where on its tube it lies, so cloth patterns and light
wrap round the body.

Axes: G tubes, P pieces, K profile stations, T table entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from passerby.data.world.attributes import PART_LABEL
from passerby.errors import DataError

#: Stations at which the half-widths of a tube are given, evenly spaced from start (0) to end (1) of its axis.
STATIONS = 12
#: Entries per side of the width table that the shader looks up.
TABLE = 32

_SIN = np.array([0.0, 0.5, 0.866], dtype=np.float32)  # a round end is drawn with three points on each side
_COS = np.array([1.0, 0.866, 0.5], dtype=np.float32)
_STEPS = np.linspace(0.0, 1.0, STATIONS, dtype=np.float32)
_TO_TABLE = np.maximum(
    0.0, 1.0 - np.abs(np.linspace(0, STATIONS - 1, TABLE)[None, :] - np.arange(STATIONS)[:, None])
).astype(np.float32)  # (K, T): linear interpolation from stations to table entries

RGB = tuple[float, float, float]
Profile = list[float] | tuple[float, ...]


class Fabric(NamedTuple):
    """What a piece is made of.

    Attributes:
        colour: sRGB in 0..255.
        second: the other colour of a pattern.
        pattern: a key of `shading.PATTERNS`.
        weave: a key of `shading.WEAVES`: relief that darkens and lightens without a second colour.
        gloss: strength of the highlight, 0 (cloth) to 1 (patent leather).
        folds: strength of the creases, 0 (skin) to 1.
        round: 1 shades a piece like a cylinder, 0 like a board.
    """

    colour: RGB
    second: RGB = (255.0, 255.0, 255.0)
    pattern: str = "plain"
    weave: str = "smooth"
    gloss: float = 0.0
    folds: float = 1.0
    round: float = 1.0


class Tube(NamedTuple):
    """The geometry of one tube in canvas pixels, as the shader needs it."""

    start: tuple[float, float]
    end: tuple[float, float]
    left: Profile
    right: Profile
    length: float
    radius: float
    yaw: float


class Piece(NamedTuple):
    """One filled outline: a stretch of a tube, `along` its axis and `across` it."""

    tube: int
    label: int
    fabric: Fabric
    depth: float
    along: tuple[float, float]
    across: tuple[float, float, float, float]
    inflate: float
    caps: tuple[float, float]
    shadow: float


@dataclass(slots=True)
class Canvas:
    """Collects tubes and pieces; `rasterise` turns them into a map of piece numbers.

    Attributes:
        height: canvas height in (supersampled) pixels.
        width: canvas width in (supersampled) pixels.
    """

    height: int
    width: int
    tubes: list[Tube] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)

    def tube(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        left: Profile,
        right: Profile | None = None,
        *,
        length: float = 1.0,
        radius: float = 0.1,
        yaw: float = 0.0,
    ) -> int:
        """Add the geometry of a tube and return its number.

        Args:
            start: first end of the axis, (x, y) in pixels.
            end: other end.
            left: half-widths in pixels on the left of somebody looking from start to end in an upside-down
                picture, that is at smaller x for an axis that points down; STATIONS values, or 2 (a linear taper).
            right: the same for the other side; None makes the tube symmetric.
            length: length of the axis in body units, which scales patterns.
            radius: radius in body units, which scales patterns round the tube.
            yaw: direction in degrees in which the body faces; 0 is towards the camera.
        """
        self.tubes.append(Tube(start, end, left, left if right is None else right, length, radius, yaw))
        return len(self.tubes) - 1

    def fill(
        self,
        tube: int,
        part: str,
        fabric: Fabric,
        depth: float,
        *,
        along: tuple[float, float] = (0.0, 1.0),
        across: tuple[float, float] | tuple[float, float, float, float] = (-1.0, 1.0),
        inflate: float = 1.0,
        caps: tuple[float, float] = (0.0, 0.0),
        shadow: float = 0.0,
    ) -> None:
        """Add a piece: all of a tube or a patch of it.

        Args:
            tube: number that `tube` returned.
            part: a name of `attributes.PARTS`.
            fabric: what it is made of.
            depth: larger is nearer to the camera; equal depths are drawn in the order of adding.
            along: the stretch of the axis that the piece covers, 0..1.
            across: the stretch across, -1 (left edge) to 1 (right edge); four values give the stretch at the
                start and at the end of the piece.
            inflate: factor on the width.
            caps: how far the ends bulge, in half-widths; 1 is a half circle.
            shadow: strength of the contact shadow that the piece throws on what lies behind it.
        """
        spread = across if len(across) == 4 else (across[0], across[1], across[0], across[1])
        self.pieces.append(Piece(tube, PART_LABEL[part], fabric, depth, along, spread, inflate, caps, shadow))

    def sort_from(self, first: int) -> None:
        """Sort the pieces added since `first` back to front (stable, so equal depths keep their order)."""
        self.pieces[first:] = sorted(self.pieces[first:], key=lambda piece: piece.depth)


class Geometry(NamedTuple):
    """Per-tube arrays: axis, direction across, inverse length and the width table."""

    start: np.ndarray  # (G, 2)
    along: np.ndarray  # (G, 2) unit vector
    across: np.ndarray  # (G, 2) unit vector
    size: np.ndarray  # (G,) axis length in pixels
    widths: np.ndarray  # (G, 2, T) left, right


def measure(canvas: Canvas) -> Geometry:
    """Compute the arrays of all tubes of a canvas in one batch."""
    start = np.array([tube.start for tube in canvas.tubes], dtype=np.float32)
    end = np.array([tube.end for tube in canvas.tubes], dtype=np.float32)
    axis = end - start
    size = np.maximum(np.sqrt((axis * axis).sum(axis=1)), 1e-3)
    along = axis / size[:, None]
    across = np.stack([along[:, 1], -along[:, 0]], axis=1)
    profiles = _stations([side for tube in canvas.tubes for side in (tube.left, tube.right)])
    return Geometry(start, along, across, size, np.maximum(profiles.reshape(-1, 2, STATIONS) @ _TO_TABLE, 0.3))


def outlines(canvas: Canvas, geometry: Geometry) -> np.ndarray:
    """Compute the outline of every piece.

    Returns:
        (P, 2 * (K + 6), 2) float32 pixels: down the left side and up the right side, round ends included.
    """
    pieces = canvas.pieces
    tube = np.array([piece.tube for piece in pieces])
    shape = np.array(
        [(*piece.along, *piece.across, piece.inflate, *piece.caps) for piece in pieces], dtype=np.float32
    )  # (P, 9)
    v0, v1, across, inflate, caps = shape[:, 0:1], shape[:, 1:2], shape[:, 2:6], shape[:, 6:7], shape[:, 7:9]
    v = v0 + (v1 - v0) * _STEPS  # (P, K)
    place = np.clip(v * (TABLE - 1), 0, TABLE - 1.001)
    entry = place.astype(np.int32)
    share = place - entry
    widths, entry = geometry.widths.ravel(), entry + tube[:, None] * (2 * TABLE)
    left_width = widths[entry] * (1 - share) + widths[entry + 1] * share  # (P, K)
    entry += TABLE
    right_width = widths[entry] * (1 - share) + widths[entry + 1] * share
    mix = _STEPS[None, :]
    low = across[:, 0:1] * (1 - mix) + across[:, 2:3] * mix
    high = across[:, 1:2] * (1 - mix) + across[:, 3:4] * mix
    size = geometry.size[tube][:, None]
    low = low * np.where(low < 0, left_width, right_width) * inflate
    high = high * np.where(high < 0, left_width, right_width) * inflate
    reach = v * size
    bulge = (caps * (high[:, [0, -1]] - low[:, [0, -1]]) / 2)[:, :, None]  # (P, 2, 1)
    centre = (high + low)[:, [0, -1]][:, :, None] / 2
    half = (high - low)[:, [0, -1]][:, :, None] / 2
    reach = np.concatenate([reach[:, :1] - bulge[:, 0] * _COS, reach, reach[:, -1:] + bulge[:, 1] * _COS[::-1]], axis=1)
    low = np.concatenate([centre[:, 0] - half[:, 0] * _SIN, low, centre[:, 1] - half[:, 1] * _SIN[::-1]], axis=1)
    high = np.concatenate([centre[:, 0] + half[:, 0] * _SIN, high, centre[:, 1] + half[:, 1] * _SIN[::-1]], axis=1)
    start, along, perp = geometry.start[tube], geometry.along[tube], geometry.across[tube]
    spine = start[:, None, :] + reach[:, :, None] * along[:, None, :]
    one = spine + low[:, :, None] * perp[:, None, :]
    other = spine + high[:, :, None] * perp[:, None, :]
    return np.concatenate([one, other[:, ::-1]], axis=1)


def rasterise(canvas: Canvas, geometry: Geometry, person: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fill all pieces in their order.

    Args:
        canvas: the pieces; at most 255.
        geometry: what `measure` returned for it.
        person: which pieces belong to the person; those before lie behind, those after in front.

    Returns:
        numbers: (H, W) uint8, the index of the piece plus one, 0 where there is none.
        unhidden: (H, W) uint8, the same before anything was drawn in front of the person.
        shadow: (H / 2, W / 2) uint8, contact shadow from 0 (none) to 255.

    Raises:
        DataError: there are more pieces than a byte can number.
    """
    pieces = canvas.pieces
    if len(pieces) > 255:
        raise DataError(f"the canvas has {len(pieces)} pieces; 255 is the most that can be drawn in one picture")
    numbers = Image.new("L", (canvas.width, canvas.height))
    shadow = Image.new("L", (canvas.width // 2, canvas.height // 2))
    ink, dark = ImageDraw.Draw(numbers), ImageDraw.Draw(shadow)
    outline = outlines(canvas, geometry)
    fall = np.array([0.006, 0.012], dtype=np.float32) * canvas.height
    casts = [piece.shadow > 0 for piece in pieces]
    tubes = [-1, *(piece.tube for piece in pieces)]
    # a patch keeps the shadows that lie on the piece below it
    clears = [cast or tubes[number] != tubes[number + 1] for number, cast in enumerate(casts)]
    flat = outline.shape[1] * 2
    paths = outline.reshape(-1, flat).tolist()
    thrown = iter(((outline[casts] + fall) * 0.5).reshape(-1, flat).tolist())
    cleared = iter((outline[clears] * 0.5).reshape(-1, flat).tolist())
    unhidden = None
    for number, piece in enumerate(pieces):
        if number == person.stop:
            unhidden = np.array(numbers)
        if casts[number]:
            dark.polygon(next(thrown), fill=int(255 * piece.shadow))
        if clears[number]:
            dark.polygon(next(cleared), fill=0)
        ink.polygon(paths[number], fill=number + 1)
    result = np.asarray(numbers)
    return result, result if unhidden is None else unhidden, np.asarray(shadow)


def _stations(profiles: list[Profile]) -> np.ndarray:
    """All profiles at STATIONS places, two-value tapers stretched: (number of profiles, K) float32."""
    table = np.empty((len(profiles), STATIONS), dtype=np.float32)
    tapers = [place for place, profile in enumerate(profiles) if len(profile) != STATIONS]
    if tapers:
        first, last = np.array([profiles[place] for place in tapers], dtype=np.float64).T[:, :, None]
        table[tapers] = first + (last - first) / (STATIONS - 1) * np.arange(STATIONS)
    full = [place for place, profile in enumerate(profiles) if len(profile) == STATIONS]
    if full:
        table[full] = [profiles[place] for place in full]
    return table
