"""One picture of one person: figure, clothes, scenery, light and camera put together.

`render` is a pure function: the same identity, view and size give the same bytes in every process. The part-label
mask falls out of drawing, so it costs nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from passerby.data.world.attributes import PART_LABEL, PARTS, VALUES, Identity
from passerby.data.world.belongings import draw_bag, draw_carried
from passerby.data.world.cameras import CAMERAS, LIGHTS, expose
from passerby.data.world.canvas import Canvas, Geometry, measure, rasterise
from passerby.data.world.figure import Figure
from passerby.data.world.garments import dress_arms, dress_legs, dress_torso
from passerby.data.world.head import draw_head
from passerby.data.world.scenery import OCCLUDERS, background, draw_occluder
from passerby.data.world.shading import shade
from passerby.data.world.wardrobe import wardrobe_of
from passerby.errors import DataError, nearest


@dataclass(frozen=True, slots=True)
class View:
    """Everything that decides one picture except the person.

    Attributes:
        camera: index into `cameras.CAMERAS`.
        yaw: degrees; 0 faces the camera, 90 shows the person's left side, 180 the back.
        phase: walking phase in [0, 1).
        light: a key of `cameras.LIGHTS`.
        occluder: one of `scenery.OCCLUDERS`.
        bystanders: other people in the crop, 0 to 2.
        crop: by how much the box is too large (positive) or cuts into the person (negative) at the top, right,
            bottom and left, as fractions of the box.
        seed: decides noise, the stretch of background, who the bystanders are and where the occluder stands.
    """

    camera: int
    yaw: float
    phase: float = 0.0
    light: str = "day"
    occluder: str = "none"
    bystanders: int = 0
    crop: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.camera < len(CAMERAS):
            raise DataError(f"camera {self.camera} does not exist; there are cameras 0 to {len(CAMERAS) - 1}")
        if self.light not in LIGHTS:
            raise DataError(
                f"light {self.light!r} is unknown; known: {', '.join(LIGHTS)}.{nearest(self.light, LIGHTS)}"
            )
        if self.occluder not in OCCLUDERS:
            raise DataError(
                f"occluder {self.occluder!r} is unknown; known: {', '.join(OCCLUDERS)}."
                f"{nearest(self.occluder, OCCLUDERS)}"
            )
        if not 0 <= self.bystanders <= 2:
            raise DataError(f"bystanders is {self.bystanders}; a crop holds 0, 1 or 2 other people")
        if len(self.crop) != 4 or any(not -0.4 <= edge <= 0.4 for edge in self.crop):
            raise DataError(f"crop is {self.crop}; expected four fractions (top, right, bottom, left) within -0.4..0.4")
        if not np.isfinite((self.yaw, self.phase)).all():
            raise DataError(f"yaw {self.yaw} and phase {self.phase} must be finite numbers")


@dataclass(frozen=True, slots=True)
class Rendering:
    """A picture and what is known about it.

    Attributes:
        image: (H, W, 3) uint8 sRGB as the camera gives it.
        mask: (H, W) uint8 labels of `attributes.PARTS`.
        visible: (len(PARTS),) float32, share of the crop's pixels in which the person shows each part; 0 for
            background, occluder and bystander.
        full: the same without occluder and bystanders, so visible / full is the unhidden share.
        facing: "front", "side" or "back".
    """

    image: np.ndarray
    mask: np.ndarray
    visible: np.ndarray
    full: np.ndarray
    facing: str


def sample_view(rng: np.random.Generator, camera: int | None = None) -> View:
    """Draw a view as a street gives it: mostly unhidden people, seen from all sides, by day.

    Args:
        rng: the source of chance.
        camera: fixes the camera; None draws one.
    """
    if camera is None:
        camera = int(rng.integers(len(CAMERAS)))
    heading = _HEADINGS[_draw(rng, _HEADING_EDGES)]
    jitter = rng.normal(0.0, 0.022, size=4)
    return View(
        camera=camera,
        yaw=round(heading + float(rng.uniform(-38.0, 38.0)), 2),
        phase=round(float(rng.random()), 4),
        light=_LIGHTS[_draw(rng, _LIGHT_EDGES)],
        occluder=OCCLUDERS[_draw(rng, _OCCLUDER_EDGES)],
        bystanders=_draw(rng, _BYSTANDER_EDGES),
        crop=tuple(round(float(min(max(value, -0.06), 0.06)), 4) for value in jitter),  # type: ignore[arg-type]
        seed=int(rng.integers(2**31)),
    )


def _edges(*shares: float) -> list[float]:
    """Where each choice ends on 0..1, with numpy's own rounding, so that it chooses what `Generator.choice` would."""
    sums = np.cumsum(shares)
    return (sums / sums[-1]).tolist()


_HEADINGS, _HEADING_EDGES = (0.0, 180.0, 90.0, -90.0), _edges(0.36, 0.28, 0.18, 0.18)
_LIGHTS, _LIGHT_EDGES = ("day", "shade", "night"), _edges(0.56, 0.29, 0.15)
_OCCLUDER_EDGES = _edges(0.80, 0.04, 0.04, 0.04, 0.04, 0.04)
_BYSTANDER_EDGES = _edges(0.80, 0.16, 0.04)


def _draw(rng: np.random.Generator, edges: Sequence[float]) -> int:
    """`Generator.choice` by shares, without its checks of them for each number drawn."""
    return bisect_right(edges, rng.random())


def facing(yaw: float) -> str:
    """Name the side that a yaw shows: "front" within 50 degrees of the camera, "back" beyond 130, else "side"."""
    turned = abs((yaw + 180.0) % 360.0 - 180.0)
    return "front" if turned <= 50 else ("back" if turned >= 130 else "side")


def crop_size(view: View) -> tuple[int, int]:
    """The natural (H, W) of this crop as a real set would have it, 100 x 40 to 384 x 128."""
    rng = np.random.default_rng((view.seed, 3))
    low, high = CAMERAS[view.camera].crop_rows
    height = round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
    return height, int(min(128, max(40, round(height / rng.uniform(2.4, 3.0)))))


def render(identity: Identity, view: View, size: tuple[int, int]) -> Rendering:
    """Draw a person as a camera sees them.

    Args:
        identity: who.
        view: how.
        size: (H, W) of the picture, each 16 to 1024.

    Raises:
        DataError: the size is out of range.
    """
    height, width = size
    if not (16 <= height <= 1024 and 16 <= width <= 1024):
        raise DataError(f"size is {height} x {width} (H x W); each side must be 16 to 1024 pixels")
    rng = np.random.default_rng((view.seed, identity.person_id & 0x7FFFFFFF, 1))
    canvas = Canvas(2 * height, 2 * width)
    scale, ground = _frame(identity, view, canvas)
    behind = [bool(rng.random() < 0.6) for _ in range(view.bystanders)]
    for index, back in enumerate(behind):
        if back:
            _bystander(canvas, view, scale, ground, rng, index, back)
    first = len(canvas.pieces)
    draw_person(Figure(canvas, identity, view.yaw, view.phase, CAMERAS[view.camera].tilt, scale, ground))
    person = slice(first, len(canvas.pieces))
    for index, back in enumerate(behind):
        if not back:
            _bystander(canvas, view, scale, ground, rng, index, back)
    if view.occluder != "none":
        draw_occluder(canvas, view.occluder, scale, ground, rng)
    geometry = measure(canvas)
    numbers, unhidden, shadow = rasterise(canvas, geometry, person)
    labels = np.zeros(256, dtype=np.uint8)
    labels[1 : len(canvas.pieces) + 1] = [piece.label for piece in canvas.pieces]
    mask = labels[numbers[::2, ::2]]
    scene = _compose(canvas, geometry, numbers, shadow, view, scale, ground, rng)
    return Rendering(
        image=expose(scene, view.camera, view.light, rng),
        mask=mask,
        visible=_shares(mask),
        full=_shares(labels[unhidden[::2, ::2]]),
        facing=facing(view.yaw),
    )


def draw_person(figure: Figure) -> None:
    """Draw a dressed person onto the figure's canvas, back to front."""
    first = len(figure.canvas.pieces)
    wardrobe = wardrobe_of(figure.identity)
    dress_legs(figure, wardrobe)
    dress_torso(figure, wardrobe)
    dress_arms(figure, wardrobe)
    draw_head(figure, wardrobe)
    draw_bag(figure, wardrobe)
    draw_carried(figure, wardrobe)
    figure.canvas.sort_from(first)


def _frame(identity: Identity, view: View, canvas: Canvas) -> tuple[float, tuple[float, float]]:
    """Scale and place of the person so that the crop holds them with the view's jitter."""
    top, right, bottom, left = view.crop
    tall = 1.17 if identity.carried == "umbrella" else (1.06 if identity.headwear == "hat" else 1.03)
    wide = 0.50 if identity.carried == "umbrella" or identity.bag == "suitcase" else 0.44
    rows, columns = canvas.height, canvas.width
    inner = rows * (1 - 0.05 - top - bottom)
    scale = min(inner / tall, columns * (1 - left - right) / (wide * 0.92))
    lean = 0.05 if identity.age == "elderly" else 0.01  # keeps a stooping body in the middle
    turn = np.radians(view.yaw)
    aside = 0.045 if identity.bag == "suitcase" else 0.0
    middle = columns * (0.5 + (left - right) / 2) + scale * float(aside * np.cos(turn) + lean * np.sin(turn))
    return scale, (middle, rows * (1 - 0.035 - bottom) - 0.01 * scale)


def _shares(mask: np.ndarray) -> np.ndarray:
    """Share of the crop's pixels per part of the person."""
    counts = np.bincount(mask.ravel(), minlength=len(PARTS)).astype(np.float32) / mask.size
    counts[[PART_LABEL["background"], PART_LABEL["occluder"], PART_LABEL["bystander"]]] = 0.0
    return counts


def _bystander(
    canvas: Canvas,
    view: View,
    scale: float,
    ground: tuple[float, float],
    rng: np.random.Generator,
    index: int,
    behind: bool,
) -> None:
    """Draw somebody else partly inside the crop."""
    look: dict[str, Any] = {name: values[int(rng.integers(len(values)))] for name, values in VALUES.items()}
    look.update(bag="none", carried="none", headwear="none")
    identity = Identity(
        person_id=-1 - index, family_id=-1, skin=int(rng.integers(5)), tint=int(rng.integers(1 << 30)), **look
    )
    side = 1.0 if (index + view.seed) % 2 else -1.0
    distance = float(rng.uniform(0.20, 0.30) if behind else rng.uniform(0.27, 0.36))
    factor = float(rng.uniform(0.80, 0.94) if behind else rng.uniform(1.0, 1.1))
    place = (ground[0] + side * distance * scale, ground[1] + (-0.03 if behind else 0.03) * scale)
    first = len(canvas.pieces)
    yaw, phase = float(rng.uniform(0, 360)), float(rng.random())
    draw_person(Figure(canvas, identity, yaw, phase, CAMERAS[view.camera].tilt, scale * factor, place))
    label = PART_LABEL["bystander"]
    canvas.pieces[first:] = [piece._replace(label=label) for piece in canvas.pieces[first:]]


def _compose(
    canvas: Canvas,
    geometry: Geometry,
    numbers: np.ndarray,
    shadow: np.ndarray,
    view: View,
    scale: float,
    ground: tuple[float, float],
    rng: np.random.Generator,
) -> Image.Image:
    """Shade what is drawn and lay it over the background with the shadow on the ground."""
    height, width = canvas.height // 2, canvas.width // 2
    sky = LIGHTS[view.light]
    scene = background(CAMERAS[view.camera].scenery, (height, width), rng)
    _ground_shadow(scene, scale, ground, sky.ground_shadow)
    soft = np.asarray(Image.fromarray(shadow).filter(ImageFilter.BoxBlur(max(scale * 0.004, 0.4))))
    layer = shade(canvas, geometry, numbers, soft, sky.direction, scale, view.seed & 0xFFFF)
    small = Image.fromarray(layer, "RGBX").reduce(2)
    uncovered = ImageChops.invert(small.getchannel("X"))
    return ImageChops.add(
        ImageChops.multiply(scene, Image.merge("RGB", (uncovered, uncovered, uncovered))), small.convert("RGB")
    )


def _ground_shadow(scene: Image.Image, scale: float, ground: tuple[float, float], strength: float) -> None:
    """Darken the ground under the feet."""
    half, flat = max(int(scale * 0.11), 2), max(int(scale * 0.026), 1)
    blob = _blob(strength).resize((2 * half, 2 * flat))
    scene.paste((24, 24, 30), (int(ground[0] / 2) - half, int(ground[1] / 2 - 0.01 * scale) - flat), blob)


@cache
def _blob(strength: float) -> Image.Image:
    """A soft round spot, 64 x 64, as dark in its middle as `strength` (0..1)."""
    axis = np.linspace(-1, 1, 64)
    far = axis[:, None] ** 2 + axis[None, :] ** 2
    return Image.fromarray((255 * strength * np.clip(1 - far, 0, 1)).astype(np.uint8))
