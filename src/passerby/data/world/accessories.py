"""Head and hands: hair, face, headwear, bags and carried things.

Everything is placed in the person's own axes, so a ponytail hides behind the head, a backpack shows its straps from
the front and its pockets from behind, and a suitcase rolls where the hand is.
"""

from __future__ import annotations

import math

from passerby.data.world.canvas import STATIONS, Fabric
from passerby.data.world.figure import Figure
from passerby.data.world.garments import Wardrobe

_ROUND = (0.45, 0.75, 0.90, 0.97, 1.0, 1.0, 1.0, 1.0, 0.98, 0.95, 0.88, 0.70)


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
        _headwear(figure, wardrobe, base)


def _dome(figure: Figure, rise: float, low: float, wide: float, bulge: float) -> int:
    """A tube that closes over the skull: from `rise` above the crown to `low` (0 crown, 1 chin), rounder for small bulge."""
    size = 0.068 * figure.head_size
    top = figure.bent((0, 0.932 + size * (1 + rise), 0.010))
    end = figure.bent((0, 0.932 + size * (1 - 2 * low), 0.012))
    half = math.hypot(0.049 * figure._turn[0], 0.060 * figure._turn[1]) * figure.head_size * figure.scale * wide
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
    dark = Fabric((38.0, 28.0, 26.0), folds=0.0)
    brow = Fabric((wardrobe.hair[0] * 0.7, wardrobe.hair[1] * 0.7, wardrobe.hair[2] * 0.7), folds=0.0)
    woman = figure.identity.gender == "woman"
    lips = (178.0, 54.0, 62.0) if woman else (skin[0] * 0.72, skin[1] * 0.58, skin[2] * 0.56)
    for side in (-1, 1):
        eye = figure.span(side * 24 - 9, side * 24 + 9)
        if eye:
            canvas.fill(tube, "face", Fabric((236.0, 232.0, 226.0), folds=0.0), depth, along=(0.47, 0.54), across=eye)
        iris = figure.span(side * 24 - 5, side * 24 + 5)
        if iris:
            canvas.fill(tube, "face", dark, depth, along=(0.46, 0.545), across=iris)
        line = figure.span(side * 25 - 12, side * 25 + 12)
        if line:
            canvas.fill(tube, "face", brow, depth, along=(0.385, 0.42 if woman else 0.435), across=line)
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


def _hair(figure: Figure, wardrobe: Wardrobe, depth: float) -> None:
    """Draw the hair: a cap over the skull, and what falls, swings or is tied."""
    canvas, tube, style = figure.canvas, figure.head, figure.identity.hair
    locks = Fabric(
        wardrobe.hair,
        (wardrobe.hair[0] * 1.35, wardrobe.hair[1] * 1.3, wardrobe.hair[2] * 1.25),
        "plain",
        "strands",
        0.35,
        0.0,
    )
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
    behind = -0.12 if abs((figure.yaw + 180) % 360 - 180) < 80 else 0.31
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
        top, end = (
            (side * 0.047, 0.945, 0.006),
            (side * (0.050 if low > 0.8 else 0.058), low, 0.020 if low > 0.8 else 0.050),
        )
        if figure.depth(top) > -0.01 and abs(figure.turned) < 110:
            lock = figure.limb(figure.bent(top), figure.bent(end), 0.015, 0.018)
            figure.canvas.fill(lock, "hair", locks, 0.31, caps=(0.6, 0.9), shadow=0.3)


def _headwear(figure: Figure, wardrobe: Wardrobe, depth: float) -> None:
    """Draw a cap with its peak, a beanie with its band or a hat with its brim."""
    canvas, tube, kind = figure.canvas, figure.head, figure.identity.headwear
    cloth = Fabric(wardrobe.headwear_colour, folds=0.5)
    dark = Fabric(tuple(value * 0.68 for value in wardrobe.headwear_colour), folds=0.2)  # type: ignore[arg-type]
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
    cos, sin = figure._turn
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


def draw_bag(figure: Figure, wardrobe: Wardrobe) -> None:
    """Draw the bag where it is worn."""
    kind = figure.identity.bag
    if kind == "backpack":
        _backpack(figure, wardrobe)
    elif kind == "handbag":
        _handbag(figure, wardrobe)
    elif kind == "shoulder bag":
        _shoulder_bag(figure, wardrobe)
    elif kind == "suitcase":
        _suitcase(figure, wardrobe)


def _cloths(wardrobe: Wardrobe) -> tuple[Fabric, Fabric]:
    """The fabric of a bag and a darker one for its flap and straps."""
    colour = wardrobe.bag_colour
    shade = (colour[0] * 0.62, colour[1] * 0.62, colour[2] * 0.62)
    return Fabric(colour, gloss=0.1, folds=0.5, round=0.7), Fabric(shade, folds=0.1, round=0.7)


def _box(figure: Figure, top: tuple, bottom: tuple, broad: float, deep: float) -> int:
    """A tube whose width is that of an upright box at the figure's yaw."""
    cos, sin = abs(figure._turn[0]), abs(figure._turn[1])
    half = (broad * cos + deep * sin) * figure.scale
    return figure.canvas.tube(
        figure.project(top),
        figure.project(bottom),
        [half * (0.86 + 0.14 * share) for share in _ROUND],
        length=top[1] - bottom[1],
        radius=max(broad, deep),
        yaw=figure.yaw,
    )


def _backpack(figure: Figure, wardrobe: Wardrobe) -> None:
    cloth, dark = _cloths(wardrobe)
    canvas = figure.canvas
    back = abs((figure.yaw + 180) % 360 - 180)
    girth = 0.072 + 0.035 * (figure.bulk - 1)
    depth = 0.20 if back > 100 else (0.045 if back > 50 else -0.16)
    pack = _box(figure, figure.bent((0, 0.815, -girth - 0.052)), figure.bent((0, 0.545, -girth - 0.060)), 0.094, 0.056)
    canvas.fill(pack, "bag", cloth, depth, caps=(0.25, 0.22), shadow=0.5)
    if back > 60:
        canvas.fill(pack, "bag", dark, depth, along=(0.24, 0.275), across=(-0.9, 0.9))
        canvas.fill(pack, "bag", dark, depth, along=(0.52, 0.96), across=(-0.66, 0.66), caps=(0.1, 0.15))
        canvas.fill(pack, "bag", cloth, depth, along=(0.56, 0.92), across=(-0.58, 0.58), caps=(0.08, 0.12))
    loose = {"none": 1.09, "jacket": 1.12, "coat": 1.14, "hoodie": 1.15, "vest": 1.19}[figure.identity.outer]
    for first, last in ((-42.0, -26.0), (26.0, 42.0)):
        seen = figure.span(first, last)
        if seen:
            canvas.fill(figure.torso, "bag", cloth, 0.04, along=(0.02, 0.52), across=seen, inflate=loose, shadow=0.4)


def _handbag(figure: Figure, wardrobe: Wardrobe) -> None:
    cloth, dark = _cloths(wardrobe)
    _, elbow, wrist = figure.arms[0]
    hand = tuple(w + (w - e) * 0.25 for e, w in zip(elbow, wrist, strict=True))
    depth = 0.06 if figure.depth(figure.arms[0][0]) > -0.06 else -0.14
    body = _box(
        figure, (hand[0] + 0.012, hand[1] - 0.060, hand[2]), (hand[0] + 0.012, hand[1] - 0.175, hand[2]), 0.045, 0.082
    )
    for shift in (-0.034, 0.034):
        strap = figure.limb(hand, (hand[0] + 0.012, hand[1] - 0.075, hand[2] + shift), 0.006, 0.006)
        figure.canvas.fill(strap, "bag", dark, depth, caps=(1, 0))
    figure.canvas.fill(body, "bag", cloth, depth, caps=(0.1, 0.1), shadow=0.5)
    figure.canvas.fill(body, "bag", dark, depth, along=(0.0, 0.32), caps=(0.1, 0.15))
    figure.canvas.fill(
        body, "bag", Fabric((214.0, 184.0, 96.0), gloss=0.8, folds=0.0), depth, along=(0.30, 0.42), across=(-0.14, 0.14)
    )


def _shoulder_bag(figure: Figure, wardrobe: Wardrobe) -> None:
    cloth, dark = _cloths(wardrobe)
    canvas, bulk = figure.canvas, figure.bulk
    for forward in (0.095 * bulk, -0.085 * bulk):  # front and back run of the strap, right shoulder to left hip
        if figure.depth((0, 0, forward)) > -0.02:
            strap = figure.limb(
                figure.bent((-0.075 * bulk, 0.822, forward * 0.3)),
                figure.bent((0.105 * bulk, 0.520, forward)),
                0.012,
                0.012,
            )
            canvas.fill(strap, "bag", dark, 0.045, shadow=0.4)
    top, bottom = (0.128 * bulk, 0.545, 0.0), (0.132 * bulk, 0.405, 0.0)
    depth = 0.12 if figure.depth(top) > -0.03 else -0.16
    body = _box(figure, top, bottom, 0.040, 0.090)
    canvas.fill(body, "bag", cloth, depth, caps=(0.1, 0.15), shadow=0.5)
    canvas.fill(body, "bag", dark, depth, along=(0.0, 0.50), caps=(0.1, 0.12), inflate=1.03)


def _suitcase(figure: Figure, wardrobe: Wardrobe) -> None:
    cloth, dark = _cloths(wardrobe)
    canvas = figure.canvas
    where = (-0.195, 0.0, -0.105)
    depth = 0.09 if figure.depth(where) > 0 else -0.34
    handle = figure.limb((-0.150, 0.480, -0.04), (where[0], 0.300, where[2]), 0.008, 0.008)
    canvas.fill(handle, "bag", Fabric((96.0, 98.0, 102.0), gloss=0.5, folds=0.0), depth, caps=(1, 0))
    for shift in (-0.045, 0.045):
        wheel = figure.limb((where[0] + shift, 0.030, where[2]), (where[0] + shift, 0.014, where[2]), 0.014, 0.014)
        canvas.fill(wheel, "bag", Fabric((34.0, 34.0, 36.0), folds=0.0), depth, caps=(0.8, 0.8))
    body = _box(figure, (where[0], 0.320, where[2]), (where[0], 0.036, where[2]), 0.088, 0.055)
    canvas.fill(body, "bag", cloth._replace(gloss=0.5, folds=0.0), depth, caps=(0.12, 0.12), shadow=0.5)
    for across in (-0.5, -0.05, 0.4):
        canvas.fill(body, "bag", dark, depth, along=(0.08, 0.92), across=(across, across + 0.10))


def draw_carried(figure: Figure, wardrobe: Wardrobe) -> None:
    """Draw what the right hand carries (an umbrella is held open overhead)."""
    kind = figure.identity.carried
    if kind == "none":
        return
    _, elbow, wrist = figure.arms[1]
    hand = tuple(w + (w - e) * 0.22 for e, w in zip(elbow, wrist, strict=True))
    front = figure.depth(figure.arms[1][0]) > -0.06
    depth = 0.07 if front else -0.45
    if abs(figure.turned) > 90 and figure.depth(hand) < -0.06:
        depth = -0.45  # held in front of a person who is seen from behind
    colour = wardrobe.carried_colour
    cloth = Fabric(colour, gloss=0.15, folds=0.4, round=0.8)
    dark = Fabric((colour[0] * 0.6, colour[1] * 0.6, colour[2] * 0.6), folds=0.0)
    canvas = figure.canvas
    if kind == "umbrella":
        _umbrella(figure, cloth, dark, hand, depth)
    elif kind == "shopping bag":
        for shift in (-0.03, 0.03):
            strap = figure.limb(hand, (hand[0], hand[1] - 0.07, hand[2] + shift), 0.005, 0.005)
            canvas.fill(strap, "carried", dark, depth)
        bag = _box(
            figure,
            (hand[0] - 0.012, hand[1] - 0.060, hand[2]),
            (hand[0] - 0.012, hand[1] - 0.245, hand[2]),
            0.050,
            0.092,
        )
        canvas.fill(bag, "carried", cloth._replace(second=(244.0, 244.0, 240.0)), depth, shadow=0.5)
        canvas.fill(
            bag, "carried", Fabric((244.0, 244.0, 240.0), folds=0.0), depth, along=(0.42, 0.66), across=(-0.5, 0.5)
        )
    elif kind == "bottle":
        bottle = figure.limb(
            (hand[0], hand[1] + 0.075, hand[2] + 0.02), (hand[0], hand[1] - 0.060, hand[2] + 0.02), 0.025, 0.027
        )
        cap = figure.limb(
            (hand[0], hand[1] + 0.100, hand[2] + 0.02), (hand[0], hand[1] + 0.075, hand[2] + 0.02), 0.012, 0.013
        )
        canvas.fill(cap, "carried", dark, depth, caps=(0.3, 0))
        canvas.fill(bottle, "carried", cloth._replace(gloss=0.9, folds=0.0), depth, caps=(0.6, 0.15), shadow=0.3)
        canvas.fill(bottle, "carried", Fabric((240.0, 240.0, 240.0), folds=0.0), depth, along=(0.42, 0.62))
    elif kind == "phone":
        phone = figure.limb(
            (hand[0], hand[1] + 0.070, hand[2] + 0.01), (hand[0], hand[1] - 0.030, hand[2] + 0.02), 0.030, 0.030
        )
        canvas.fill(phone, "carried", cloth._replace(gloss=0.5, folds=0.0), depth, caps=(0.1, 0.1), shadow=0.3)
        if abs(figure.turned) > 90:
            screen = Fabric((206.0, 232.0, 246.0), folds=0.0)
            canvas.fill(phone, "carried", screen, depth, along=(0.12, 0.86), across=(-0.68, 0.68))
        else:
            lens = Fabric((30.0, 30.0, 34.0), folds=0.0)
            canvas.fill(phone, "carried", lens, depth, along=(0.08, 0.30), across=(0.10, 0.75))
    else:
        book = _box(
            figure, (hand[0], hand[1] + 0.090, hand[2]), (hand[0], hand[1] - 0.055, hand[2] + 0.01), 0.052, 0.046
        )
        canvas.fill(book, "carried", cloth._replace(folds=0.0), depth, shadow=0.4)
        canvas.fill(
            book, "carried", Fabric((244.0, 240.0, 226.0), folds=0.0), depth, along=(0.03, 0.97), across=(0.80, 0.96)
        )


def _umbrella(figure: Figure, cloth: Fabric, dark: Fabric, hand: tuple, depth: float) -> None:
    """An open umbrella held over the head."""
    canvas, scale = figure.canvas, figure.scale
    shaft = figure.limb(hand, (-0.055, 1.12, 0.05), 0.006, 0.006)
    canvas.fill(shaft, "carried", dark, depth)
    x, y = figure.project((-0.050, 1.030, 0.045))
    half, rise = 0.225 * scale, 0.125 * scale
    profile = [half * share for share in (0.03, 0.30, 0.45, 0.56, 0.66, 0.74, 0.81, 0.87, 0.92, 0.96, 0.985, 1.0)]
    dome = canvas.tube((x, y - rise), (x, y), profile, length=0.12, radius=0.24, yaw=figure.yaw)
    canvas.fill(dome, "carried", cloth, 0.60, caps=(0, 0.07), shadow=0.3)
    for low, high in ((-0.62, -0.34), (0.05, 0.34), (0.70, 0.92)):
        canvas.fill(dome, "carried", dark, 0.60, across=(low, high), along=(0.03, 1.0), caps=(0, 0.07))
    tip = canvas.tube((x, y - rise - 0.03 * scale), (x, y - rise + 2), (0.006 * scale, 0.008 * scale))
    canvas.fill(tip, "carried", dark, 0.60)


if len(_ROUND) != STATIONS:
    raise RuntimeError("a rounded profile needs one value per station")
