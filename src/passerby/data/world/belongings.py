"""Bags and carried things, placed in the person's own axes.

A backpack shows its straps from the front and its pockets from behind, a shoulder bag hangs at the left hip, a
suitcase rolls behind the right hand. What is on the far side of the body is drawn behind it.
"""

from __future__ import annotations

from collections.abc import Callable

from passerby.data.world.canvas import RGB, Fabric
from passerby.data.world.figure import Figure, Point, beyond
from passerby.data.world.wardrobe import Wardrobe, shaded

#: Outline of an upright box with soft corners, STATIONS values from top to bottom.
_ROUND = (0.45, 0.75, 0.90, 0.97, 1.0, 1.0, 1.0, 1.0, 0.98, 0.95, 0.88, 0.70)


def draw_bag(figure: Figure, wardrobe: Wardrobe) -> None:
    """Draw the bag where it is worn."""
    if figure.identity.bag != "none":
        _BAGS[figure.identity.bag](figure, wardrobe)


def _cloths(wardrobe: Wardrobe) -> tuple[Fabric, Fabric]:
    """The fabric of a bag and a darker one for its flap and straps."""
    colour = wardrobe.bag
    shade = shaded(colour, 0.62)
    return Fabric(colour, gloss=0.1, folds=0.5, round=0.7), Fabric(shade, folds=0.1, round=0.7)


def _box(figure: Figure, top: Point, bottom: Point, broad: float, deep: float) -> int:
    """A tube whose width is that of an upright box at the figure's yaw."""
    cos, sin = abs(figure.turn[0]), abs(figure.turn[1])
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
    back = abs(figure.turned)
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
    hand = beyond(elbow, wrist, 0.25)
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


_BAGS: dict[str, Callable[[Figure, Wardrobe], None]] = {
    "backpack": _backpack,
    "handbag": _handbag,
    "shoulder bag": _shoulder_bag,
    "suitcase": _suitcase,
}


def draw_carried(figure: Figure, wardrobe: Wardrobe) -> None:
    """Draw what the right hand carries (an umbrella is held open overhead)."""
    kind = figure.identity.carried
    if kind == "none":
        return
    top, elbow, wrist = figure.arms[1]
    hand = beyond(elbow, wrist, 0.22)
    # behind the body: at the far side, or before the chest of a person who is seen from the back
    hidden = figure.depth(top) <= -0.06 or (abs(figure.turned) > 90 and figure.depth(hand) < -0.06)
    _CARRIED[kind](figure, wardrobe.carried, hand, -0.45 if hidden else 0.07)


def _shopping_bag(figure: Figure, colour: RGB, hand: Point, depth: float) -> None:
    canvas, (x, y, z) = figure.canvas, hand
    for shift in (-0.03, 0.03):
        strap = figure.limb(hand, (x, y - 0.07, z + shift), 0.005, 0.005)
        canvas.fill(strap, "carried", Fabric(shaded(colour, 0.6), folds=0.0), depth)
    bag = _box(figure, (x - 0.012, y - 0.060, z), (x - 0.012, y - 0.245, z), 0.050, 0.092)
    label = Fabric((244.0, 244.0, 240.0), folds=0.0)
    canvas.fill(bag, "carried", Fabric(colour, gloss=0.15, folds=0.4, round=0.8), depth, shadow=0.5)
    canvas.fill(bag, "carried", label, depth, along=(0.42, 0.66), across=(-0.5, 0.5))


def _bottle(figure: Figure, colour: RGB, hand: Point, depth: float) -> None:
    canvas, (x, y, z) = figure.canvas, hand
    bottle = figure.limb((x, y + 0.075, z + 0.02), (x, y - 0.060, z + 0.02), 0.025, 0.027)
    cap = figure.limb((x, y + 0.100, z + 0.02), (x, y + 0.075, z + 0.02), 0.012, 0.013)
    glass = Fabric(colour, gloss=0.9, folds=0.0, round=0.8)
    canvas.fill(cap, "carried", Fabric(shaded(colour, 0.6), folds=0.0), depth, caps=(0.3, 0))
    canvas.fill(bottle, "carried", glass, depth, caps=(0.6, 0.15), shadow=0.3)
    canvas.fill(bottle, "carried", Fabric((240.0, 240.0, 240.0), folds=0.0), depth, along=(0.42, 0.62))


def _phone(figure: Figure, colour: RGB, hand: Point, depth: float) -> None:
    canvas, (x, y, z) = figure.canvas, hand
    phone = figure.limb((x, y + 0.070, z + 0.01), (x, y - 0.030, z + 0.02), 0.030, 0.030)
    shell = Fabric(colour, gloss=0.5, folds=0.0, round=0.8)
    canvas.fill(phone, "carried", shell, depth, caps=(0.1, 0.1), shadow=0.3)
    if abs(figure.turned) > 90:  # the screen looks at its owner
        screen = Fabric((206.0, 232.0, 246.0), folds=0.0)
        canvas.fill(phone, "carried", screen, depth, along=(0.12, 0.86), across=(-0.68, 0.68))
    else:
        lens = Fabric((30.0, 30.0, 34.0), folds=0.0)
        canvas.fill(phone, "carried", lens, depth, along=(0.08, 0.30), across=(0.10, 0.75))


def _book(figure: Figure, colour: RGB, hand: Point, depth: float) -> None:
    canvas, (x, y, z) = figure.canvas, hand
    book = _box(figure, (x, y + 0.090, z), (x, y - 0.055, z + 0.01), 0.052, 0.046)
    pages = Fabric((244.0, 240.0, 226.0), folds=0.0)
    canvas.fill(book, "carried", Fabric(colour, gloss=0.15, folds=0.0, round=0.8), depth, shadow=0.4)
    canvas.fill(book, "carried", pages, depth, along=(0.03, 0.97), across=(0.80, 0.96))


def _umbrella(figure: Figure, colour: RGB, hand: Point, depth: float) -> None:
    canvas, scale = figure.canvas, figure.scale
    cloth, dark = Fabric(colour, gloss=0.15, folds=0.4, round=0.8), Fabric(shaded(colour, 0.6), folds=0.0)
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


_CARRIED: dict[str, Callable[[Figure, RGB, Point, float], None]] = {
    "umbrella": _umbrella,
    "phone": _phone,
    "bottle": _bottle,
    "shopping bag": _shopping_bag,
    "book": _book,
}
