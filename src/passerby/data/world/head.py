"""The head: face, hair and headwear.

Hair and hats are domes over the skull and patches round it, placed in the person's own axes, so that a ponytail
hides behind the head, a fringe shows from the front and a peak points where the person looks.
"""

from __future__ import annotations

import math

from passerby.data.world.canvas import STATIONS, Fabric
from passerby.data.world.figure import Figure
from passerby.data.world.wardrobe import Wardrobe, shaded


def draw_head(figure: Figure, wardrobe: Wardrobe) -> None:
    """Draw the head: skull, face, hair and headwear."""
    canvas, person = figure.canvas, figure.identity
    tube = figure.head
    base = 0.30
    canvas.fill(_dome(figure, 0.0, 0.5, 0.98, 2.2), "skin", wardrobe.skin, base)
    canvas.fill(tube, "skin", wardrobe.skin, base, along=(0.2, 1.0), caps=(0.0, 0.8), shadow=0.45)
    face = figure.span(-88, 88)
    if face:
        canvas.fill(tube, "face", wardrobe.skin, base, along=(0.12, 1.0), across=face, caps=(0.0, 0.8))
        _features(figure, wardrobe, base)
    if person.hair != "bald":
        _hair(figure, wardrobe, base)
    if person.headwear != "none":
        _headwear(figure, wardrobe)


def _dome(figure: Figure, rise: float, low: float, wide: float, bulge: float) -> int:
    """A tube that closes over the skull: from `rise` above the crown to `low` (0 crown, 1 chin); 2 is a round bulge."""
    size = 0.068 * figure.head_size
    top = figure.bent((0, 0.932 + size * (1 + rise), 0.010))
    end = figure.bent((0, 0.932 + size * (1 - 2 * low), 0.012))
    half = math.hypot(0.049 * figure.turn[0], 0.060 * figure.turn[1]) * figure.head_size * figure.scale * wide
    half *= figure.zoom(top)
    profile = [half * (1 - (1 - index / (STATIONS - 1)) ** bulge) ** (1 / bulge) for index in range(STATIONS)]
    profile[0] = half * 0.12
    return figure.canvas.tube(
        figure.project(top), figure.project(end), profile, length=2 * size * low, radius=0.05, yaw=figure.yaw
    )


def _flat_oval(figure: Figure, centre: tuple[float, float], half: float, tall: float) -> int:
    """A lying oval: the brim of a hat, the peak of a cap."""
    x, y = centre
    inner = max(half - tall, 0.5)
    return figure.canvas.tube((x - inner, y), (x + inner, y), (tall, tall))


def _features(figure: Figure, wardrobe: Wardrobe, depth: float) -> None:
    """Eyes, brows, nose and mouth, where they face the camera."""
    canvas, tube, skin = figure.canvas, figure.head, wardrobe.skin.colour
    woman = figure.identity.gender == "woman"
    lips = (178.0, 54.0, 62.0) if woman else (skin[0] * 0.72, skin[1] * 0.58, skin[2] * 0.56)
    _eyes(figure, wardrobe, depth)
    nose = figure.span(-6, 6)
    if nose:
        shade = Fabric((skin[0] * 0.80, skin[1] * 0.74, skin[2] * 0.70), folds=0.0)
        canvas.fill(tube, "face", shade, depth, along=(0.52, 0.685), across=nose)
    mouth = figure.span(-18, 18)
    if mouth:
        canvas.fill(tube, "face", Fabric(lips, folds=0.0), depth, along=(0.775, 0.835), across=mouth)
    if figure.identity.age == "elderly":
        lines = Fabric((skin[0] * 0.82, skin[1] * 0.78, skin[2] * 0.76), folds=0.0)
        for level in (0.27, 0.33):
            seen = figure.span(-30, 30)
            if seen:
                canvas.fill(tube, "face", lines, depth, along=(level, level + 0.018), across=seen)


def _eyes(figure: Figure, wardrobe: Wardrobe, depth: float) -> None:
    """Both eyes with their brows."""
    canvas, tube = figure.canvas, figure.head
    white, dark = Fabric((236.0, 232.0, 226.0), folds=0.0), Fabric((38.0, 28.0, 26.0), folds=0.0)
    brow = Fabric(shaded(wardrobe.hair, 0.7), folds=0.0)
    low = 0.42 if figure.identity.gender == "woman" else 0.435
    for side in (-1, 1):
        eye = figure.span(side * 24 - 9, side * 24 + 9)
        if eye:
            canvas.fill(tube, "face", white, depth, along=(0.47, 0.54), across=eye)
        iris = figure.span(side * 24 - 5, side * 24 + 5)
        if iris:
            canvas.fill(tube, "face", dark, depth, along=(0.46, 0.545), across=iris)
        line = figure.span(side * 25 - 12, side * 25 + 12)
        if line:
            canvas.fill(tube, "face", brow, depth, along=(0.385, low), across=line)


def _hair(figure: Figure, wardrobe: Wardrobe, depth: float) -> None:
    """Draw the hair: a cap over the skull, then what hangs from it."""
    canvas, tube, style = figure.canvas, figure.head, figure.identity.hair
    locks = Fabric(wardrobe.hair, weave="strands", gloss=0.35, folds=0.0)
    tied = style in ("ponytail", "bun")
    line = 0.20 if tied else 0.26
    volume = 0.06 if tied else 0.14
    canvas.fill(_dome(figure, volume, line, 1.03 if tied else 1.09, 2.2), "hair", locks, depth)
    low = {"short": 0.62, "medium": 1.05, "long": 1.05, "ponytail": 0.72, "bun": 0.72}[style]
    edge = {"short": 82.0, "medium": 58.0, "long": 55.0, "ponytail": 80.0, "bun": 80.0}[style]
    for first, last in ((edge, 180.0), (-180.0, -edge)):
        seen = figure.span(first, last)
        if seen:
            seen = (min(seen[0], 0.86), max(seen[1], -0.86))  # a sliver beside the face still touches it
            canvas.fill(
                tube,
                "hair",
                locks,
                depth,
                along=(line - 0.03, low),
                across=seen,
                inflate=1.12 if not tied else 1.07,
                caps=(0, 0.5),
            )
    _loose_hair(figure, locks)


def _loose_hair(figure: Figure, locks: Fabric) -> None:
    """What falls, swings or is tied."""
    canvas, style = figure.canvas, figure.identity.hair
    behind = -0.12 if abs(figure.turned) < 80 else 0.31
    size = figure.head_size
    if style == "medium":
        bob = figure.limb(figure.bent((0, 0.95, -0.022)), figure.bent((0, 0.840, -0.022)), 0.058 * size, 0.066)
        canvas.fill(bob, "hair", locks, behind, caps=(0.8, 0.4), shadow=0.3)
        _strands(figure, locks, 0.850)
    if style == "long":
        fall = figure.limb(figure.bent((0, 0.95, -0.030)), figure.bent((0, 0.690, -0.070)), 0.056 * size, 0.066)
        canvas.fill(fall, "hair", locks, behind, caps=(0.8, 0.5), shadow=0.3)
        _strands(figure, locks, 0.730)
    if style == "ponytail":
        tail = figure.limb(figure.bent((0.018, 0.965, -0.056)), figure.bent((0.036, 0.800, -0.082)), 0.020, 0.022)
        canvas.fill(tail, "hair", locks, behind, caps=(1.0, 1.2), shadow=0.3)
    if style == "bun":
        place = ((0, 1.022, -0.035), (0, 0.990, -0.048))
        if figure.identity.headwear != "none":
            place = ((0, 0.925, -0.062), (0, 0.898, -0.060))  # tied low, so that a hat can sit
        knot = figure.limb(figure.bent(place[0]), figure.bent(place[1]), 0.030, 0.032)
        canvas.fill(knot, "hair", locks, behind, caps=(0.9, 0.9), shadow=0.3)


def _strands(figure: Figure, locks: Fabric, low: float) -> None:
    """Hair that falls in front of the shoulders."""
    for side in (-1.0, 1.0):
        top = (side * 0.047, 0.945, 0.006)
        end = (side * 0.050, low, 0.020) if low > 0.8 else (side * 0.058, low, 0.050)
        if figure.depth(top) > -0.01 and abs(figure.turned) < 110:
            lock = figure.limb(figure.bent(top), figure.bent(end), 0.015, 0.018)
            figure.canvas.fill(lock, "hair", locks, 0.31, caps=(0.6, 0.9), shadow=0.3)


def _headwear(figure: Figure, wardrobe: Wardrobe) -> None:
    """Draw a cap with its peak, a beanie with its band or a hat with its brim."""
    canvas, kind = figure.canvas, figure.identity.headwear
    cloth = Fabric(wardrobe.headwear, folds=0.5)
    dark = Fabric(shaded(wardrobe.headwear, 0.68), folds=0.2)
    size, top = figure.head_size, 0.45
    if kind == "beanie":
        dome = _dome(figure, 0.26, 0.38, 1.16, 2.0)
        canvas.fill(dome, "headwear", cloth._replace(weave="rib"), top, shadow=0.3)
        canvas.fill(dome, "headwear", dark._replace(weave="rib"), top, along=(0.66, 1.02), inflate=1.05, caps=(0, 0.08))
        tip = figure.limb(figure.bent((0, 1.028, 0)), figure.bent((0, 1.016, 0)), 0.018 * size, 0.018 * size)
        canvas.fill(tip, "headwear", dark, top, caps=(1, 1))
        return
    crown = _dome(figure, 0.16 if kind == "cap" else 0.36, 0.29, 1.13, 2.3 if kind == "cap" else 4.5)
    canvas.fill(crown, "headwear", cloth, top, shadow=0.3)
    cos, sin = figure.turn
    if kind == "cap":
        if cos > -0.35:
            centre = figure.project(figure.bent((0, 0.958, 0.078)))
            half = math.hypot(0.046 * cos, 0.046 * sin) * size * figure.scale
            peak = _flat_oval(figure, centre, half, (0.010 + 0.008 * max(cos, 0)) * figure.scale)
            canvas.fill(peak, "headwear", dark, top, caps=(0.9, 0.9), shadow=0.5)
        canvas.fill(crown, "headwear", dark, top, along=(0.0, 0.10))
        return
    canvas.fill(crown, "headwear", dark, top, along=(0.70, 0.94), inflate=1.03)
    brim = _flat_oval(
        figure, figure.project(figure.bent((0, 0.962, 0.01))), 0.102 * size * figure.scale, 0.017 * figure.scale
    )
    canvas.fill(brim, "headwear", cloth, top, caps=(1.0, 1.0), shadow=0.5)
