"""The walking figure: joints of a person in space and how a camera sees them.

Lengths are in body heights (an adult is 1 tall, 7.5 heads). The person's own axes are left, up and forward; `Figure`
turns them by the yaw, tilts them by the camera's height and projects them, and knows how wide and how deep the body
is at every level, so that garments can be cut to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from passerby.data.world.attributes import Identity
from passerby.data.world.canvas import STATIONS, Canvas

Point = tuple[float, float, float]  # left, up, forward

#: Level of the top and the bottom of the torso, and the torso's half breadth, half depth and middle at STATIONS levels.
TORSO_TOP, TORSO_BOTTOM = 0.845, 0.455
_BREADTH = {
    "man": (0.042, 0.086, 0.107, 0.111, 0.108, 0.102, 0.096, 0.092, 0.092, 0.094, 0.095, 0.087),
    "woman": (0.037, 0.074, 0.091, 0.095, 0.091, 0.083, 0.076, 0.078, 0.089, 0.100, 0.102, 0.095),
}
_DEPTH = {
    "man": (0.046, 0.058, 0.070, 0.077, 0.076, 0.071, 0.067, 0.066, 0.069, 0.073, 0.074, 0.066),
    "woman": (0.040, 0.052, 0.064, 0.076, 0.073, 0.061, 0.055, 0.058, 0.067, 0.076, 0.077, 0.068),
}
_FRONT = {
    "man": (-0.008, -0.004, 0.002, 0.006, 0.006, 0.004, 0.003, 0.001, -0.002, -0.008, -0.010, -0.008),
    "woman": (-0.006, -0.002, 0.006, 0.020, 0.014, 0.004, 0.003, 0.002, -0.004, -0.014, -0.017, -0.012),
}
_BELLY = (0, 0, 0.004, 0.008, 0.016, 0.024, 0.030, 0.032, 0.028, 0.020, 0.012, 0.006)
_BULK = {"slim": 0.87, "average": 1.0, "heavy": 1.24}
_RAISED = {"umbrella": 118.0, "phone": 112.0, "book": 84.0}  # where the right forearm points, 0 hanging, 90 ahead
_HEAD = (0.30, 0.64, 0.81, 0.91, 0.97, 1.0, 1.0, 0.97, 0.92, 0.83, 0.69, 0.48)


def beyond(start: Point, end: Point, share: float) -> Point:
    """The point that lies past `end` by a share of the way from `start`."""
    left, up, forward = (b + (b - a) * share for a, b in zip(start, end, strict=True))
    return left, up, forward


@dataclass(slots=True)
class Figure:
    """A person in a pose, seen by a camera.

    Attributes:
        canvas: where the figure is drawn.
        identity: who it is.
        yaw: degrees; 0 faces the camera, 90 shows the person's left side (walking to the picture's left), 180 the back.
        phase: walking phase in [0, 1).
        tilt: how far the camera looks down, degrees.
        scale: canvas pixels per body height.
        ground: where the point between the feet lies on the canvas, (x, y).
        turn: cosine and sine of the yaw.
        lift: by how much the hips were lowered so that a foot touches the ground.
        bulk: factor of the build on widths.
        torso: the tube of the bare torso.
        head: the tube of the head.
        head_size: factor on the head; young people have larger ones.
        legs: (hip, knee, ankle) of the left and of the right leg.
        arms: (shoulder, elbow, wrist) of the left and of the right arm.
    """

    canvas: Canvas
    identity: Identity
    yaw: float
    phase: float
    tilt: float
    scale: float
    ground: tuple[float, float]
    turn: tuple[float, float] = (1.0, 0.0)
    _look: tuple[float, float] = (1.0, 0.0)
    _stoop: tuple[float, float] = (1.0, 0.0)
    _girths: list[tuple[float, float]] = field(default_factory=list)
    lift: float = 0.0
    bulk: float = 1.0
    torso: int = -1
    head: int = -1
    legs: tuple[tuple[Point, Point, Point], ...] = ()
    arms: tuple[tuple[Point, Point, Point], ...] = ()
    head_size: float = 1.0

    def __post_init__(self) -> None:
        yaw, tilt = math.radians(self.yaw), math.radians(self.tilt)
        self.turn = (math.cos(yaw), math.sin(yaw))
        self._look = (math.cos(tilt), math.sin(tilt))
        person = self.identity
        stoop = math.radians({"young": 0.0, "adult": 2.5, "elderly": 10.0}[person.age])
        self._stoop = (math.cos(stoop), math.sin(stoop))
        self.bulk = _BULK[person.build] * (0.93 if person.age == "young" else 1.0)
        self.head_size = 1.10 if person.age == "young" else 1.0
        self._girths = [self._girth(level) for level in range(STATIONS)]
        self._walk()
        self._body()

    @property
    def turned(self) -> float:
        """The yaw as -180..180 degrees."""
        return (self.yaw + 180.0) % 360.0 - 180.0

    def project(self, point: Point) -> tuple[float, float]:
        """Return the canvas position (x, y) of a point in the person's axes."""
        left, up, forward = point
        (cos, sin), (flat, down) = self.turn, self._look
        right, nearer = left * cos - forward * sin, left * sin + forward * cos
        zoom = self.zoom(point)
        return (
            self.ground[0] + right * self.scale * zoom,
            self.ground[1] - (up * flat - nearer * down) * self.scale * zoom,
        )

    def zoom(self, point: Point) -> float:
        """How much larger than the middle of the body a point appears, for what is nearer to the camera."""
        nearer = self.depth(point) * self._look[0] + (point[1] - 0.5) * self._look[1]
        return 6.0 / (6.0 - nearer)

    def depth(self, point: Point) -> float:
        """How much nearer to the camera than the body's axis a point is, in body heights."""
        return point[0] * self.turn[1] + point[2] * self.turn[0]

    def bent(self, point: Point) -> Point:
        """Apply the stoop of the upper body to a point given for an upright person."""
        left, up, forward = point
        cos, sin = self._stoop
        over = max(0.0, up - 0.5)
        extra = 0.30 * sin * max(0.0, up - 0.80)  # the head leads
        return left, up - over * (1 - cos) - self.lift, forward + over * sin + extra

    def limb(self, start: Point, end: Point, first: float, last: float) -> int:
        """Add a round limb with a linear taper and return its tube."""
        length = math.dist(start, end)
        wide = self.scale * self.zoom(start)
        return self.canvas.tube(
            self.project(start),
            self.project(end),
            (first * wide, last * wide),
            length=length,
            radius=(first + last) / 2,
            yaw=self.yaw,
        )

    def span(self, first: float, last: float) -> tuple[float, float] | None:
        """Return the stretch across a tube, in [-1, 1], on which the body angles first..last degrees are seen.

        Angle 0 is the front, positive angles lie to the person's left. None where they are turned away.
        """
        best = None
        for turn in (-360.0, 0.0, 360.0):
            low, high = max(first - self.yaw + turn, -90.0), min(last - self.yaw + turn, 90.0)
            if high - low > 1.0 and (best is None or high - low > best[1] - best[0]):
                best = (low, high)
        return None if best is None else (math.sin(math.radians(best[0])), math.sin(math.radians(best[1])))

    def _girth(self, level: int) -> tuple[float, float]:
        """Half-widths (picture left, picture right) of the torso at a station, in body heights."""
        gender, (cos, sin) = self.identity.gender, self.turn
        belly = _BELLY[level] if self.identity.build == "heavy" else 0.0
        broad = _BREADTH[gender][level] * self.bulk
        deep = _DEPTH[gender][level] * self.bulk + belly * 0.6
        middle = -(_FRONT[gender][level] + belly * 0.5) * sin
        half = math.hypot(broad * cos, deep * sin)
        return half - middle, half + middle

    def _walk(self) -> None:
        """Place the joints of legs and arms for the walking phase, the lower foot on the ground."""
        person = self.identity
        reach = {"young": 24.0, "adult": 22.0, "elderly": 13.0}[person.age]
        spread = (0.047 if person.gender == "woman" else 0.050) * (1 + 0.5 * (self.bulk - 1))
        shoulder = (0.085 if person.gender == "woman" else 0.099) * (1 + 0.85 * (self.bulk - 1))
        legs, arms = [], []
        for side in (1.0, -1.0):
            swing, out = math.sin(2 * math.pi * self.phase) * side, 0.004
            rise = math.cos(2 * math.pi * self.phase) * side  # positive while the leg moves forward
            thigh = math.radians(reach * swing + (6.0 if person.age == "elderly" else 1.5))
            shin = thigh - math.radians(6 + 34 * max(0.0, rise) * reach / 22 + (6 if person.age == "elderly" else 0))
            hip = (spread * side, 0.500, 0.0)
            knee = (hip[0] * 0.97, hip[1] - 0.235 * math.cos(thigh), 0.235 * math.sin(thigh))
            ankle = (hip[0] * 0.90, knee[1] - 0.225 * math.cos(shin), knee[2] + 0.225 * math.sin(shin))
            legs.append((hip, knee, ankle))
            upper = math.radians(-0.8 * reach * swing)
            lower = upper + math.radians(16 + 12 * max(0.0, -swing))
            if side < 0 and person.carried in ("umbrella", "phone", "book"):
                upper, lower = math.radians(4 - 4 * swing), math.radians(_RAISED[person.carried])
                out = 0.010
            top = (shoulder * side, 0.779, -0.004)
            elbow = (top[0] + 0.030 * side * self.bulk, top[1] - 0.172 * math.cos(upper), 0.172 * math.sin(upper))
            wrist = (elbow[0] + out * side, elbow[1] - 0.148 * math.cos(lower), elbow[2] + 0.148 * math.sin(lower))
            arms.append((top, elbow, wrist))
        self.lift = min(leg[2][1] for leg in legs) - 0.042
        self.legs = tuple((self._landed(hip), self._landed(knee), self._landed(ankle)) for hip, knee, ankle in legs)
        self.arms = tuple((self.bent(top), self.bent(elbow), self.bent(wrist)) for top, elbow, wrist in arms)

    def _landed(self, joint: Point) -> Point:
        """A joint of the leg after the lower foot was set on the ground."""
        return joint[0], joint[1] - self.lift, joint[2]

    def _body(self) -> None:
        """Add the tubes of torso and head, to which garments, hair and face are cut."""
        self.torso = self.shell(TORSO_BOTTOM, [1.0] * STATIONS)
        size = 0.068 * self.head_size
        top, chin = self.bent((0, 0.932 + size, 0.010)), self.bent((0, 0.932 - size, 0.016))
        broad = (0.047 if self.identity.gender == "woman" else 0.050) * self.head_size
        broad *= 1.06 if self.identity.build == "heavy" else 1.0
        half = math.hypot(broad * self.turn[0], 0.058 * self.head_size * self.turn[1])
        pixels = half * self.scale * self.zoom(top)
        profile = [pixels * share for share in _HEAD]
        self.head = self.canvas.tube(
            self.project(top), self.project(chin), profile, length=2 * size, radius=half, yaw=self.yaw
        )

    def shell(self, bottom: float, looseness: list[float], flare: float = 0.0) -> int:
        """Add a tube that follows the torso from the neck down to a level: the cut of a garment.

        Args:
            bottom: level of the lower edge; below the hips the shell hangs straight and covers the legs.
            looseness: factor on the body's half-widths at each station.
            flare: extra half-width at the lower edge.
        """
        top, end = self.bent((0, TORSO_TOP, 0)), self.bent((0, bottom, 0))
        left, right = [], []
        for index in range(STATIONS):
            share = index / (STATIONS - 1)
            level = TORSO_TOP + (bottom - TORSO_TOP) * share
            place = (TORSO_TOP - level) / (TORSO_TOP - TORSO_BOTTOM) * (STATIONS - 1)
            low = min(int(place), STATIONS - 2)
            part = min(place - low, 1.0)
            one, other = self._girths[low], self._girths[low + 1]
            wide = [a + (b - a) * part for a, b in zip(one, other, strict=True)]
            if level < TORSO_BOTTOM + 0.06:
                reach = self._leg_reach(level)
                wide = [max(a, b) for a, b in zip(wide, reach, strict=True)]
            extra = flare * max(0.0, share - 0.4) / 0.6
            pixels = self.scale * self.zoom((0, level, 0)) * looseness[index]
            left.append((wide[0] + extra) * pixels)
            right.append((wide[1] + extra) * pixels)
        return self.canvas.tube(
            self.project(top), self.project(end), left, right, length=TORSO_TOP - bottom, radius=0.1, yaw=self.yaw
        )

    def _leg_reach(self, level: float) -> tuple[float, float]:
        """How far the legs stand out to the picture's left and right of the body's axis at a level."""
        left = right = 0.0
        for hip, knee, ankle in self.legs:
            above, below = (hip, knee) if level > knee[1] else (knee, ankle)
            share = min(max((above[1] - level) / max(above[1] - below[1], 1e-6), 0.0), 1.0)
            side = above[0] + (below[0] - above[0]) * share
            ahead = above[2] + (below[2] - above[2]) * share
            right_of = side * self.turn[0] - ahead * self.turn[1]
            thick = (0.058 if level > knee[1] else 0.044) * self.bulk
            left, right = max(left, thick - right_of), max(right, thick + right_of)
        return left, right
