"""Whole frames of the street: people walk past one camera, and where each of them is in every frame is known.

A scene is a pure function of its seed, so a film of it can be made anywhere and compared with what a detector and a
tracker made of it. Each walker is drawn on a canvas of their own and laid over the place behind, the farthest first.

Axes: H, W rows and columns of a frame; h, w those of a walker's layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from passerby.data.world.attributes import Identity
from passerby.data.world.cameras import CAMERAS, LIGHTS, expose
from passerby.data.world.canvas import Canvas, measure, rasterise
from passerby.data.world.figure import Figure
from passerby.data.world.identities import FAMILY_SIZE, people
from passerby.data.world.render import draw_person
from passerby.data.world.scenery import background
from passerby.data.world.shading import shade
from passerby.errors import DataError, nearest

#: Strides per second, and body heights that one stride covers.
_CADENCE, _STRIDE = 0.95, 0.75
#: Room round a body on its canvas, in body heights: umbrellas above, suitcases and bags beside.
_ABOVE, _BESIDE, _BELOW = 0.25, 0.40, 0.06


@dataclass(frozen=True, slots=True)
class Walk:
    """One passage of one person.

    Attributes:
        number: of the walk in its scene.
        identity: who walks.
        start: seconds from the beginning of the film at which the body's middle crosses the edge of the frame.
        rightwards: the direction.
        height: of the body in pixels.
        ground: row on which the feet stand.
        speed: pixels per second.
    """

    number: int
    identity: Identity
    start: float
    rightwards: bool
    height: float
    ground: float
    speed: float


@dataclass(frozen=True, slots=True)
class Presence:
    """Where a walker is in one frame.

    Attributes:
        walk: number of the walk.
        person: the walker's `person_id`.
        box: left, top, right, bottom of what lies inside the frame, in pixels.
        visible: share of the whole body that is inside the frame and not hidden by somebody nearer, 0 to 1.
    """

    walk: int
    person: int
    box: tuple[float, float, float, float]
    visible: float


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a film: its (H, W, 3) uint8 pixels, its time in seconds, and who is where in it."""

    image: np.ndarray
    time: float
    people: tuple[Presence, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """What is filmed.

    Attributes:
        walkers: number of passages.
        seconds: length of the film.
        fps: frames per second.
        size: (H, W) of a frame.
        camera: index into `cameras.CAMERAS`.
        light: a key of `cameras.LIGHTS`.
        seed: decides who walks when and where.
    """

    walkers: int = 6
    seconds: float = 20.0
    fps: float = 10.0
    size: tuple[int, int] = (360, 640)
    camera: int = 0
    light: str = "day"
    seed: int = 0

    def __post_init__(self) -> None:
        height, width = self.size
        if not (64 <= height <= 1080 and 64 <= width <= 1920):
            raise DataError(f"size is {height}x{width} (H x W); expected 64x64 to 1080x1920")
        if not 0 <= self.camera < len(CAMERAS):
            raise DataError(f"camera {self.camera} does not exist; there are cameras 0 to {len(CAMERAS) - 1}")
        if self.light not in LIGHTS:
            known = ", ".join(LIGHTS)
            raise DataError(f"light {self.light!r} is unknown; known: {known}.{nearest(self.light, LIGHTS)}")
        if not (0.1 <= self.seconds <= 3600 and 1 <= self.fps <= 60):
            raise DataError(
                f"a film of {self.seconds} s with {self.fps} frames/s; expected 0.1 to 3600 s and 1 to 60 frames/s"
            )
        if not 0 <= self.walkers <= 500:
            raise DataError(f"walkers is {self.walkers}; expected 0 to 500")

    @property
    def frames(self) -> int:
        """Number of frames."""
        return max(1, round(self.seconds * self.fps))


def walks_of(scene: Scene) -> tuple[Walk, ...]:
    """Who walks when and where: people of different families, evenly over the film's time."""
    rng = np.random.default_rng((scene.seed, 11))
    height = scene.size[0]
    identities = people((scene.seed, 12), max(2, scene.walkers * FAMILY_SIZE))[::FAMILY_SIZE]
    walks = []
    for number in range(scene.walkers):
        share = float(rng.uniform(0.45, 0.72))  # of the frame's height; the nearer, the taller and the lower
        tall = share * height
        start = scene.seconds * (number + float(rng.uniform(0.0, 0.6))) / max(scene.walkers, 1) - 0.5
        walks.append(
            Walk(
                number=number,
                identity=identities[number],
                start=round(start, 3),
                rightwards=bool(rng.random() < 0.5),
                height=tall,
                ground=height * (0.70 + 0.27 * (share - 0.45) / 0.27),
                speed=tall * _CADENCE * _STRIDE * float(rng.uniform(0.85, 1.15)),
            )
        )
    return tuple(walks)


def film(scene: Scene) -> Iterator[Frame]:
    """Draw the frames of a scene one after the other."""
    walks = sorted(walks_of(scene), key=lambda walk: walk.ground)  # the nearest last
    place = background(CAMERAS[scene.camera].scenery, scene.size, np.random.default_rng((scene.seed, 13)))
    for number in range(scene.frames):
        time = number / scene.fps
        picture = place.copy()
        seen: list[tuple[Walk, np.ndarray, tuple[int, int]]] = []
        for walk in walks:
            layer = _layer(walk, time, scene)
            if layer is not None:
                _lay(picture, *layer, walk, LIGHTS[scene.light].ground_shadow)
                seen.append((walk, *layer))
        rng = np.random.default_rng((scene.seed, 14, number))
        yield Frame(expose(picture, scene.camera, scene.light, rng), time, _presences(seen, scene.size))


def _layer(walk: Walk, time: float, scene: Scene) -> tuple[np.ndarray, tuple[int, int]] | None:
    """Colours and coverage (h, w, 4) of a walker, and the (left, top) of the layer in the frame; None off the scene."""
    wide, tall = round((2 * _BESIDE) * walk.height), round((1 + _ABOVE + _BELOW) * walk.height)
    gone = walk.speed * (time - walk.start)
    middle = gone if walk.rightwards else scene.size[1] - gone
    left, top = round(middle - wide / 2), round(walk.ground - (1 + _ABOVE) * walk.height)
    if not -wide < left < scene.size[1]:
        return None
    canvas = Canvas(2 * tall, 2 * wide)
    scale = 2 * walk.height
    ground = (2 * (middle - left), 2 * (walk.ground - top))
    phase = (time - walk.start) * _CADENCE % 1.0
    yaw = -90.0 if walk.rightwards else 90.0
    draw_person(Figure(canvas, walk.identity, yaw, phase, CAMERAS[scene.camera].tilt, scale, ground))
    geometry = measure(canvas)
    numbers, _, shadow = rasterise(canvas, geometry, slice(0, len(canvas.pieces)))
    soft = np.asarray(Image.fromarray(shadow).filter(ImageFilter.BoxBlur(max(scale * 0.004, 0.4))))
    layer = shade(canvas, geometry, numbers, soft, LIGHTS[scene.light].direction, scale, walk.number)
    return np.asarray(Image.fromarray(layer, "RGBX").reduce(2)), (left, top)


def _lay(picture: Image.Image, layer: np.ndarray, corner: tuple[int, int], walk: Walk, strength: float) -> None:
    """Lay a walker and the shadow at their feet over the picture."""
    half, flat = max(round(walk.height * 0.14), 2), max(round(walk.height * 0.03), 1)
    across, down = np.linspace(-1, 1, 2 * half), np.linspace(-1, 1, 2 * flat)
    dark = np.clip(1 - (across[None, :] ** 2 + down[:, None] ** 2), 0, 1)
    middle = corner[0] + layer.shape[1] // 2
    spot = Image.fromarray((255 * strength * dark).astype(np.uint8))
    picture.paste((24, 24, 30), (middle - half, round(walk.ground) - flat), spot)
    cover = layer[:, :, 3:].astype(np.float32) / 255
    colours = np.where(cover > 0, layer[:, :, :3] / np.maximum(cover, 1e-3), 0)  # coverage is multiplied in already
    body = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
    picture.paste(body, corner, Image.fromarray(np.ascontiguousarray(layer[:, :, 3])))


def _presences(seen: list[tuple[Walk, np.ndarray, tuple[int, int]]], size: tuple[int, int]) -> tuple[Presence, ...]:
    """Boxes and visible shares, the nearest walker first taking the pixels that they cover."""
    height, width = size
    taken = np.zeros(size, dtype=bool)
    found = []
    for walk, layer, (left, top) in reversed(seen):
        solid = layer[:, :, 3] > 127
        first, last = max(top, 0), min(top + solid.shape[0], height)
        begin, end = max(left, 0), min(left + solid.shape[1], width)
        inside = solid[first - top : last - top, begin - left : end - left]
        if not inside.any():
            continue
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        window = taken[first:last, begin:end]
        shown = int((inside & ~window).sum()) / int(solid.sum())
        window |= inside
        box = (begin + columns[0], first + rows[0], begin + columns[-1] + 1, first + rows[-1] + 1)
        found.append(
            Presence(walk.number, walk.identity.person_id, tuple(float(edge) for edge in box), round(shown, 4))  # type: ignore[arg-type]
        )
    return tuple(sorted(found, key=lambda one: one.walk))
