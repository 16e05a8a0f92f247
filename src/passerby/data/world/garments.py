"""How tops, outer garments, bottoms and shoes are cut to a figure.

Each garment is a handful of tubes and patches. What tells two values of an attribute apart (a collar, a hem, ribbed
cuffs, a row of buttons, the length of a sleeve) is drawn large enough to be seen at 128 x 64.
"""

from __future__ import annotations

from passerby.data.world.canvas import STATIONS, Fabric
from passerby.data.world.figure import Figure, Point, beyond
from passerby.data.world.wardrobe import Wardrobe, lightened, shaded

_SNUG = [1.0] * STATIONS


def dress_legs(figure: Figure, wardrobe: Wardrobe) -> None:
    """Draw legs, shoes and the lower garment."""
    person = figure.identity
    long = person.bottom in ("trousers", "jeans")
    far_first = sorted((0, 1), key=lambda side: figure.depth(figure.legs[side][0]))
    for rank, side in enumerate(far_first):
        _leg(figure, wardrobe, side, -0.30 + 0.04 * rank)
        _shoe(figure, wardrobe, side, -0.295 + 0.04 * rank)
    seat = Fabric(*wardrobe.bottom[:3], wardrobe.bottom.weave)
    if long or person.bottom == "shorts":
        figure.canvas.fill(figure.torso, "bottom", seat, -0.20, along=(0.80, 1.0), caps=(0, 0.25), inflate=1.0)
    if person.bottom in ("skirt", "long skirt"):
        bottom = 0.315 if person.bottom == "skirt" else 0.085
        tube = figure.shell(bottom, _SNUG, flare=0.030 if person.bottom == "skirt" else 0.045)
        start = 0.362 / (0.845 - bottom)
        figure.canvas.fill(
            tube,
            "bottom",
            wardrobe.bottom._replace(weave="pleats"),
            -0.18,
            along=(start, 1.0),
            caps=(0, 0.10),
            inflate=1.03,
            shadow=0.5,
        )


def _leg(figure: Figure, wardrobe: Wardrobe, side: int, depth: float) -> None:
    """One leg: skin or trouser leg, thigh over shin."""
    hip, knee, ankle = figure.legs[side]
    bulk = 0.5 + 0.5 * figure.bulk
    bottom = figure.identity.bottom
    if bottom in ("trousers", "jeans"):
        slim = 1.0 if bottom == "trousers" else 0.92
        shin = figure.limb(knee, (ankle[0], ankle[1] - 0.012, ankle[2]), 0.046 * bulk, 0.036 * slim * bulk)
        thigh = figure.limb(hip, knee, 0.060 * bulk, 0.047 * bulk)
        figure.canvas.fill(shin, "bottom", wardrobe.bottom, depth, caps=(0.8, 0.1), shadow=0.35)
        figure.canvas.fill(thigh, "bottom", wardrobe.bottom, depth, caps=(0.1, 0.6))
        if bottom == "jeans":
            hem = wardrobe.bottom._replace(colour=lightened(wardrobe.bottom.colour), weave="smooth", pattern="plain")
            stitch = Fabric(wardrobe.bottom.second, folds=0.0)
            for leg in (thigh, shin):
                figure.canvas.fill(leg, "bottom", stitch, depth, across=(0.58, 0.68))
            figure.canvas.fill(shin, "bottom", hem, depth, along=(0.90, 1.0), caps=(0, 0.1), inflate=1.08)
        return
    shin = figure.limb(knee, ankle, 0.040 * bulk, 0.022 * bulk)
    thigh = figure.limb(hip, knee, 0.060 * bulk, 0.041 * bulk)
    figure.canvas.fill(shin, "skin", wardrobe.skin, depth, caps=(0.9, 0.4), shadow=0.3)
    figure.canvas.fill(thigh, "skin", wardrobe.skin, depth, caps=(0.3, 0.7))
    if bottom == "shorts":
        figure.canvas.fill(
            thigh, "bottom", wardrobe.bottom, depth, along=(0.0, 0.84), caps=(0.4, 0.1), inflate=1.22, shadow=0.4
        )


def _shoe(figure: Figure, wardrobe: Wardrobe, side: int, depth: float) -> None:
    """One foot in its shoe."""
    _, knee, ankle = figure.legs[side]
    kind = figure.identity.shoes
    out = 0.012 if side == 0 else -0.012
    floor = max(ankle[1] - 0.030, 0.010)
    heel = (ankle[0] - out * 0.3, floor + 0.006, ankle[2] - 0.018)
    toe = (ankle[0] + out, floor, ankle[2] + (0.096 if kind == "dress shoes" else 0.084))
    colour = wardrobe.shoes
    leather = Fabric(colour, gloss=0.8 if kind == "dress shoes" else 0.15, folds=0.2)
    canvas = figure.canvas
    nearer = depth + (0.004 if figure.depth(toe) > figure.depth(heel) else -0.012)
    foot = figure.limb(heel, toe, 0.024, 0.027 if kind != "dress shoes" else 0.018)
    if kind == "sandals":
        canvas.fill(foot, "skin", wardrobe.skin, nearer, caps=(1, 1), inflate=0.9)
        for first in (0.22, 0.62):
            canvas.fill(foot, "shoes", leather, nearer, along=(first, first + 0.22), inflate=1.08)
        sole = figure.limb((heel[0], heel[1] - 0.017, heel[2]), (toe[0], toe[1] - 0.017, toe[2]), 0.011, 0.011)
        canvas.fill(sole, "shoes", leather, nearer - 0.001, caps=(1, 1), inflate=1.3)
        return
    collar = beyond(knee, ankle, -0.115 / 0.225) if kind == "boots" else (ankle[0], ankle[1] + 0.012, ankle[2])
    shaft = figure.limb(
        collar,
        (ankle[0], floor + 0.004, ankle[2]),
        0.043 if kind == "boots" else 0.027,
        0.031 if kind == "boots" else 0.027,
    )
    canvas.fill(foot, "shoes", leather, nearer, caps=(1, 1))
    canvas.fill(shaft, "shoes", leather, depth + 0.001, caps=(0.1, 0.6), shadow=0.25)
    if kind == "boots":
        canvas.fill(
            shaft, "shoes", leather._replace(colour=shaded(colour, 0.7)), depth + 0.001, along=(0, 0.16), inflate=1.06
        )
    if kind == "sneakers":
        _rubber(figure, (heel, toe), foot, (depth, nearer))
    if kind == "dress shoes":
        heel_block = figure.limb((heel[0], heel[1] - 0.008, heel[2]), (heel[0], heel[1] - 0.024, heel[2]), 0.016, 0.016)
        canvas.fill(heel_block, "shoes", leather._replace(colour=shaded(colour, 0.5)), nearer)


def _rubber(figure: Figure, ends: tuple[Point, Point], foot: int, depths: tuple[float, float]) -> None:
    """The white sole and stripe of a sneaker, or its white rim when seen from the front or from behind."""
    canvas, (heel, toe), (depth, nearer) = figure.canvas, ends, depths
    white = Fabric((236, 236, 232), folds=0.0)
    if 35 < abs(figure.turned) < 145:
        sole = figure.limb((heel[0], heel[1] - 0.019, heel[2]), (toe[0], toe[1] - 0.020, toe[2]), 0.010, 0.010)
        canvas.fill(sole, "shoes", white, nearer, caps=(1, 1), inflate=1.25)
        canvas.fill(foot, "shoes", white, nearer, along=(0.45, 0.62), across=(-0.75, 0.55))
    else:
        rim = (toe[0], toe[1] - 0.012, toe[2]) if abs(figure.turned) <= 35 else (heel[0], heel[1] - 0.012, heel[2])
        x, y = figure.project(rim)
        sole = canvas.tube((x - 0.020 * figure.scale, y), (x + 0.020 * figure.scale, y), [0.010 * figure.scale] * 2)
        canvas.fill(sole, "shoes", white, depth + 0.006, caps=(1, 1))


def dress_torso(figure: Figure, wardrobe: Wardrobe) -> None:
    """Draw the upper body: skin, top, outer garment."""
    person = figure.identity
    canvas = figure.canvas
    neck = figure.limb(figure.bent((0, 0.895, 0.004)), figure.bent((0, 0.825, -0.004)), 0.028, 0.034)
    canvas.fill(neck, "skin", wardrobe.skin, -0.02, caps=(0, 0.4))
    canvas.fill(figure.torso, "skin", wardrobe.skin, -0.021, along=(0.0, 0.5))
    _top(figure, wardrobe)
    if person.outer != "none":
        _outer(figure, wardrobe)


def _top(figure: Figure, wardrobe: Wardrobe) -> None:
    """Draw the trunk of the top, its neckline and its front."""
    person, canvas = figure.identity, figure.canvas
    loose = 1.05 if person.top in ("sweater", "shirt") else 1.0
    low = {"sweater": 0.455, "shirt": 0.440, "t-shirt": 0.465, "tank top": 0.475}[person.top]
    tube = figure.shell(low, [loose] * STATIONS)
    if person.top == "tank top":
        canvas.fill(tube, "top", wardrobe.top, 0.0, along=(0.24, 1.0), caps=(0, 0.12), inflate=1.02, shadow=0.3)
        straps = ((-0.95, -0.25, -0.68, -0.40), (0.25, 0.95, 0.40, 0.68))
        for across in straps if abs(figure.turned) < 60 or abs(figure.turned) > 120 else ((-0.5, 0.5, -0.34, 0.34),):
            canvas.fill(tube, "top", wardrobe.sleeve, 0.0, along=(0.03, 0.27), across=across, inflate=1.03)
        return
    canvas.fill(tube, "top", wardrobe.top, 0.0, along=(0.015, 1.0), caps=(0, 0.12), inflate=1.05, shadow=0.4)
    front = figure.span(-40, 40)
    dark = wardrobe.sleeve._replace(colour=shaded(wardrobe.sleeve.colour, 0.72), pattern="plain")
    if person.top == "t-shirt" and front:
        middle = (front[0] + front[1]) / 2
        canvas.fill(
            tube,
            "skin",
            wardrobe.skin,
            0.0,
            along=(0.0, 0.10),
            across=(front[0], front[1], middle - 0.12, middle + 0.12),
        )
    if person.top == "sweater":
        canvas.fill(tube, "top", dark._replace(weave="rib"), 0.0, along=(0.92, 1.0), caps=(0, 0.12), inflate=1.03)
        canvas.fill(tube, "top", dark._replace(weave="rib"), 0.0, along=(-0.03, 0.055), inflate=1.05)
    if person.top == "shirt":
        _shirt_front(figure, wardrobe, tube)


def _shirt_front(figure: Figure, wardrobe: Wardrobe, tube: int) -> None:
    """Collar, placket and buttons of a shirt."""
    canvas = figure.canvas
    collar = Fabric(lightened(wardrobe.top.colour), folds=0.2)
    dark = Fabric(wardrobe.top.second, folds=0.0)
    for first, last, lean in ((-75.0, -4.0, 1.0), (4.0, 75.0, -1.0)):
        seen = figure.span(first, last)
        if seen:
            shift = 0.10 * lean
            canvas.fill(
                tube,
                "top",
                collar,
                0.0,
                along=(-0.03, 0.13),
                across=(*seen, seen[0] + max(shift, 0) * 2, seen[1] + min(shift, 0) * 2),
                inflate=1.06,
            )
    back = figure.span(75, 285)
    if back:
        canvas.fill(tube, "top", collar, 0.0, along=(-0.03, 0.05), across=back, inflate=1.10)
    placket = figure.span(-5, 5)
    if placket:
        canvas.fill(
            tube, "top", Fabric(shaded(wardrobe.top.colour, 0.78), folds=0.0), 0.0, along=(0.1, 0.99), across=placket
        )
        middle = (placket[0] + placket[1]) / 2
        for level in (0.22, 0.40, 0.58, 0.76):
            canvas.fill(tube, "top", dark, 0.0, along=(level, level + 0.028), across=(middle - 0.035, middle + 0.035))


def _outer(figure: Figure, wardrobe: Wardrobe) -> None:
    """Draw the trunk of the outer garment; open fronts show the top in a strip."""
    person, canvas = figure.identity, figure.canvas
    low = {"jacket": 0.450, "coat": 0.270, "hoodie": 0.440, "vest": 0.460}[person.outer]
    loose = {"jacket": 1.09, "coat": 1.11, "hoodie": 1.12, "vest": 1.16}[person.outer]
    widths = [loose if index else 1.3 for index in range(STATIONS)]
    tube = figure.shell(low, widths, flare=0.02 if person.outer == "coat" else 0.0)
    cloth, dark = wardrobe.outer, Fabric(shaded(wardrobe.outer.colour, 0.66), folds=0.2)
    if person.outer_front == "closed":
        canvas.fill(tube, "outer", cloth, 0.01, along=(0.0, 1.0), caps=(0, 0.10), shadow=0.5)
    else:
        for first, last in _flaps(figure):
            seen = figure.span(first, last)
            if seen:
                canvas.fill(tube, "outer", cloth, 0.01, across=seen, caps=(0, 0.04), shadow=0.5)
    line = figure.span(-3, 3)
    middle = (line[0] + line[1]) / 2 if line else None
    if person.outer in ("jacket", "vest") and person.outer_front == "closed" and middle is not None:
        zipper = Fabric((205.0, 205.0, 205.0), folds=0.0)
        canvas.fill(tube, "outer", zipper, 0.011, along=(0.04, 0.97), across=(middle - 0.03, middle + 0.03))
    if person.outer == "jacket":
        _jacket(figure, tube, dark)
    elif person.outer == "coat":
        _coat(figure, tube, dark, middle)
    elif person.outer == "hoodie":
        _hoodie(figure, wardrobe, tube, dark, middle)


def _flaps(figure: Figure) -> tuple[tuple[float, float], ...]:
    """The angles that an open outer garment covers: one stretch from behind, two from the front."""
    return ((24.0, 336.0),) if abs(figure.turned) > 90 else ((-180.0, -24.0), (24.0, 180.0))


def _jacket(figure: Figure, tube: int, dark: Fabric) -> None:
    """The collar and the waistband of a jacket."""
    canvas = figure.canvas
    if figure.identity.outer_front == "closed":
        canvas.fill(tube, "outer", dark, 0.011, along=(-0.04, 0.055), inflate=1.02)
        canvas.fill(tube, "outer", dark._replace(weave="rib"), 0.011, along=(0.92, 1.0), caps=(0, 0.1))
        return
    for first, last in _flaps(figure):
        seen = figure.span(first, last)
        if seen:
            canvas.fill(tube, "outer", dark, 0.011, along=(0.93, 1.0), across=seen, caps=(0, 0.04))


def _coat(figure: Figure, tube: int, dark: Fabric, middle: float | None) -> None:
    """The lapels, the two rows of buttons and the half belt of a coat."""
    canvas = figure.canvas
    for first, last, left in ((-62.0, -16.0, True), (16.0, 62.0, False)):
        seen = figure.span(first, last)
        if seen:
            tip = seen[1] if left else seen[0]
            canvas.fill(tube, "outer", dark, 0.011, along=(0.0, 0.30), across=(*seen, tip - 0.04, tip + 0.04))
    if figure.identity.outer_front == "closed" and middle is not None:
        button = Fabric((26.0, 24.0, 24.0), gloss=0.6, folds=0.0)
        for level in (0.36, 0.48, 0.60):
            for side in (middle - 0.16, middle + 0.12):
                canvas.fill(tube, "outer", button, 0.011, along=(level, level + 0.022), across=(side, side + 0.10))
    back = figure.span(110, 250)
    if back:
        canvas.fill(tube, "outer", dark, 0.011, along=(0.42, 0.47), across=back)


def _hoodie(figure: Figure, wardrobe: Wardrobe, tube: int, dark: Fabric, middle: float | None) -> None:
    """The hood on the back, and on a closed front the strings and the pouch."""
    canvas = figure.canvas
    hood = figure.limb(figure.bent((0, 0.875, -0.045)), figure.bent((0, 0.800, -0.060)), 0.062, 0.066)
    depth = 0.012 if abs(figure.turned) > 85 else -0.03
    canvas.fill(hood, "outer", wardrobe.outer, depth, caps=(0.7, 0.9), shadow=0.4)
    if figure.identity.outer_front == "open" or middle is None:
        return
    string = Fabric((240.0, 240.0, 236.0), folds=0.0)
    for side in (middle - 0.20, middle + 0.14):
        canvas.fill(tube, "outer", string, 0.011, along=(0.08, 0.30), across=(side, side + 0.06))
    pouch = figure.span(-38, 38)
    if pouch:
        upper = (pouch[0] * 0.75 + middle * 0.25, pouch[1] * 0.75 + middle * 0.25)
        canvas.fill(tube, "outer", dark, 0.011, along=(0.66, 0.88), across=(*upper, *pouch))


def dress_arms(figure: Figure, wardrobe: Wardrobe) -> None:
    """Draw both arms with their sleeves, the far one behind the body."""
    for side in (0, 1):
        top, elbow, wrist = figure.arms[side]
        depth = 0.05 if figure.depth(top) > -0.045 else -0.5
        if abs(figure.depth(top)) <= 0.045 and figure.depth(wrist) < -0.05:
            depth = -0.5
        hand_depth = -0.5 if abs(figure.turned) > 90 and figure.depth(wrist) < -0.06 else depth
        _arm(figure, wardrobe, (top, elbow, wrist), (depth, hand_depth))


def _arm(figure: Figure, wardrobe: Wardrobe, joints: tuple[Point, Point, Point], depths: tuple[float, float]) -> None:
    """One arm: skin, the sleeve of the top, the sleeve of the outer garment, the hand."""
    top, elbow, wrist = joints
    depth, hand_depth = depths
    canvas, person, bulk = figure.canvas, figure.identity, 0.55 + 0.45 * figure.bulk
    man = 1.0 if person.gender == "man" else 0.88
    hand = figure.limb(wrist, beyond(elbow, wrist, 0.36), 0.019, 0.016)
    upper = figure.limb(top, elbow, 0.036 * bulk * man, 0.032 * bulk * man)
    lower = figure.limb(elbow, wrist, 0.031 * bulk * man, 0.022 * bulk * man)
    canvas.fill(hand, "skin", wardrobe.skin, hand_depth, caps=(0.6, 0.9), shadow=0.3)
    inner = figure.bent((top[0] * 0.30, 0.826, -0.006))
    slope = figure.limb(inner, (top[0], top[1] + 0.004, top[2]), 0.026, 0.034 * bulk * man)
    sleeved = person.outer in ("jacket", "coat", "hoodie")
    if sleeved:
        layers = [("outer", wardrobe.outer, 1.20)]
    elif person.top in ("shirt", "sweater"):
        layers = [("top", wardrobe.sleeve, 1.14)]
    else:
        layers = []
    bare = person.top == "tank top" and person.outer == "none"
    part, cloth = ("outer", wardrobe.outer) if person.outer != "none" else ("top", wardrobe.sleeve)
    canvas.fill(slope, "skin" if bare else part, wardrobe.skin if bare else cloth, min(depth, -0.022), caps=(0, 0.6))
    for part, cloth, loose in layers:
        canvas.fill(lower, part, cloth, hand_depth, along=(0, 0.97), caps=(0.8, 0.1), inflate=loose * 1.08, shadow=0.4)
        canvas.fill(upper, part, cloth, depth, caps=(0.85, 0.7), inflate=loose, shadow=0.3)
        if person.top == "sweater" or sleeved:
            cuff = Fabric(shaded(cloth.colour, 0.7), folds=0.0, weave="rib")
            canvas.fill(lower, part, cuff, hand_depth, along=(0.86, 1.0), inflate=loose * 1.12)
        elif person.top == "shirt":
            canvas.fill(
                lower,
                part,
                Fabric(lightened(cloth.colour), folds=0.0),
                hand_depth,
                along=(0.88, 1.0),
                inflate=loose * 1.12,
            )
    if layers:
        return
    canvas.fill(lower, "skin", wardrobe.skin, hand_depth, caps=(0.8, 0.5), shadow=0.35)
    canvas.fill(upper, "skin", wardrobe.skin, depth, caps=(0.9, 0.7))
    if person.top == "t-shirt":
        canvas.fill(upper, "top", wardrobe.sleeve, depth, along=(0.0, 0.60), caps=(0.9, 0.1), inflate=1.18, shadow=0.3)
