"""What people ride, push and drive, as parts in world coordinates; lengths in metres, forward is local x."""

from dataclasses import dataclass
from math import cos, sin

import numpy as np

from raypipe.world.camera import F64
from raypipe.world.shapes import Body, Colour
from raypipe.world.skeleton import place

TYRE: Colour = (30, 30, 32)
METAL: Colour = (150, 152, 158)
GLASS: Colour = (70, 88, 104)

# The bicycle, by the joints of its frame: (forward, left, up).
WHEEL_RADIUS = 0.34
REAR, FRONT = (-0.52, 0.0, WHEEL_RADIUS), (0.54, 0.0, WHEEL_RADIUS)
PEDAL_AXLE = np.array([-0.06, 0.0, 0.3])
SADDLE = np.array([-0.24, 0.0, 0.86])
STEM = (0.38, 0.0, 0.98)
GRIPS = np.array([0.4, 0.24, 1.03])

DECK_METRES = 0.13
STROLLER_HANDLE = (0.5, 0.2, 1.0)
STROLLER_AHEAD = 0.95


@dataclass(frozen=True)
class Spot:
    """Where a thing stands and where it heads."""

    at: tuple[float, float]
    heading: float

    def point(self, *local: float) -> F64:
        """Return a local point in the world."""
        found: F64 = place(np.array([local]), self.at, self.heading)[0]
        return found

    def points(self, local_N3: F64) -> F64:
        """Return local points in the world."""
        return place(local_N3, self.at, self.heading)

    @property
    def axis(self) -> F64:
        """The unit vector to the left, in which axles lie."""
        return np.array([-sin(self.heading), cos(self.heading), 0.0])


def add_bicycle(body: Body, spot: Spot, paint: Colour, crank: float) -> None:
    """Add a bicycle: two wheels, frame, fork, handlebars, saddle and cranks."""
    nodes = [REAR, FRONT, tuple(PEDAL_AXLE), tuple(SADDLE), STEM, (0.34, 0.0, 0.82)]
    rear, front, axle, saddle, stem, crown = spot.points(np.array(nodes))
    for centre in (rear, front):
        body.hoop(centre, spot.axis, WHEEL_RADIUS, 0.055, TYRE)
        body.hull(METAL, (centre, 0.04))
    for first, second in ((rear, axle), (rear, saddle), (axle, saddle), (axle, crown), (saddle, crown), (crown, stem)):
        body.hull(paint, (first, 0.024), (second, 0.024))
    body.hull(METAL, (crown, 0.022), (front, 0.02))
    left, right = spot.points(np.array([GRIPS, GRIPS * [1, -1, 1]]))
    body.hull(TYRE, (left, 0.025), (right, 0.025))
    body.hull(TYRE, (spot.point(SADDLE[0] - 0.1, 0, SADDLE[2] + 0.03), 0.05), (saddle, 0.03))
    for side in (1, -1):
        pedal = PEDAL_AXLE + side * 0.17 * np.array([cos(crank), 0.0, -sin(crank)])
        axle_end = spot.point(PEDAL_AXLE[0], 0.05 * side, PEDAL_AXLE[2])
        body.hull(METAL, (axle_end, 0.018), (spot.point(pedal[0], 0.1 * side, pedal[2]), 0.03))


def add_skateboard(body: Body, spot: Spot, paint: Colour) -> None:
    """Add a skateboard: a deck with raised ends and four wheels."""
    half, wide, top = 0.34, 0.1, DECK_METRES - 0.03
    for side in (1, -1):
        body.hull(
            paint,
            (spot.point(half * side, wide - 0.03, top), 0.03),
            (spot.point(half * side, 0.03 - wide, top), 0.03),
            (spot.point((half + 0.14) * side, 0, top + 0.07), 0.03),
        )
        for edge in (1, -1):
            body.hull((226, 220, 200), (spot.point(0.26 * side, wide * edge * 0.8, 0.04), 0.045))
    corners = [spot.point(half * x, (wide - 0.03) * y, top) for x in (1, -1) for y in (1, -1)]
    body.hull(paint, *((corner, 0.035) for corner in corners))


def add_stroller(body: Body, spot: Spot, paint: Colour) -> None:
    """Add a stroller ahead of the one who pushes it: tub, hood, frame and four wheels."""
    x = STROLLER_AHEAD
    dark = (paint[0] * 0.65, paint[1] * 0.65, paint[2] * 0.65)
    for forward in (-0.25, 0.32):
        for side in (1, -1):
            wheel = spot.point(x + forward, 0.22 * side, 0.12)
            body.hoop(wheel, spot.axis, 0.11, 0.06, TYRE)
            body.hull(METAL, (wheel, 0.018), (spot.point(x, 0.2 * side, 0.5), 0.018))
    for side in (1, -1):
        grip = spot.point(STROLLER_HANDLE[0], STROLLER_HANDLE[1] * side, STROLLER_HANDLE[2])
        body.hull(METAL, (grip, 0.02), (spot.point(x + 0.1, 0.2 * side, 0.45), 0.02))
    body.hull(TYRE, (spot.point(0.5, 0.2, 1.0), 0.024), (spot.point(0.5, -0.2, 1.0), 0.024))
    body.hull(
        paint, *((spot.point(x + forward, 0.13 * side, 0.55), 0.12) for forward in (-0.2, 0.28) for side in (1, -1))
    )
    # The hood stands at the parent's end.
    body.hull(dark, *((spot.point(x - 0.16, 0.1 * side, up), 0.15) for up in (0.72, 0.85) for side in (1, -1)))
    body.hull((232, 190, 160), (spot.point(x + 0.1, 0, 0.72), 0.08))


def _extrude(
    body: Body, spot: Spot, profile: F64, half: float, paint: Colour, sun: F64, *, glass: bool = False
) -> None:
    """Add a profile (N, 2) in the plane of travel, made as wide as the vehicle: two sides, and a strip per edge."""
    sides = [
        spot.points(np.column_stack([profile[:, 0], np.full(len(profile), half * side), profile[:, 1]]))
        for side in (1, -1)
    ]
    middle = (sides[0].mean(axis=0) + sides[1].mean(axis=0)) / 2
    quads = [np.stack([sides[0][i], sides[0][i - 1], sides[1][i - 1], sides[1][i]]) for i in range(len(profile))]
    for number, points in enumerate([*sides, *quads]):
        normal = np.cross(points[1] - points[0], points[2] - points[0])
        normal = normal / (np.linalg.norm(normal) + 1e-9)
        normal = normal if normal @ (points.mean(axis=0) - middle) > 0 else -normal
        gain = 0.62 + 0.45 * max(0.0, float(normal @ sun))
        colour = GLASS if glass and number >= 2 and 0.15 < abs(normal[2]) < 0.9 else paint
        body.face(points, (colour[0] * gain, colour[1] * gain, colour[2] * gain))


def add_car(body: Body, spot: Spot, paint: Colour, sun: F64) -> None:
    """Add a car of 4.2 m with a driver's cabin, windows, lamps and wheels."""
    half = 0.86
    lower = np.array([(-2.1, 0.32), (-2.1, 0.85), (-1.9, 0.95), (1.1, 0.95), (2.0, 0.78), (2.1, 0.5), (2.05, 0.32)])
    cabin = np.array([(-1.85, 0.93), (-1.4, 1.42), (0.25, 1.45), (1.0, 0.93)])
    _extrude(body, spot, lower, half, paint, sun)
    _extrude(body, spot, cabin, half * 0.88, paint, sun, glass=True)
    for side in (1, -1):
        across = half * 0.89 * side
        for window in (
            [(-1.55, 1.0), (-1.28, 1.34), (-0.5, 1.36), (-0.5, 1.0)],
            [(-0.4, 1.0), (-0.4, 1.36), (0.2, 1.36), (0.75, 1.0)],
        ):
            body.face(spot.points(np.array([(x, across, z) for x, z in window])), GLASS, nearer=0.3)
        for x in (-1.3, 1.3):
            _car_wheel(body, spot, x, half * side, 0.34)
        for x, colour in ((2.09, (250, 244, 200)), (-2.11, (190, 30, 30))):
            lamp = np.array(
                [
                    (x, half * side * 0.9, 0.75),
                    (x, half * side * 0.55, 0.75),
                    (x, half * side * 0.55, 0.6),
                    (x, half * side * 0.9, 0.6),
                ]
            )
            body.face(spot.points(lamp), colour, nearer=0.7)


def _car_wheel(body: Body, spot: Spot, x: float, y: float, radius: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    for scale, colour, nearer in ((1.0, TYRE, 0.35), (0.55, METAL, 0.4)):
        ring = np.column_stack(
            [x + radius * scale * np.cos(angles), np.full(16, y), radius + radius * scale * np.sin(angles)]
        )
        body.face(spot.points(ring), colour, nearer=nearer)


def add_cart(body: Body, spot: Spot, paint: Colour, sun: F64) -> None:
    """Add an open cart of 2.4 m: a low body, a bench, four posts and a roof. The driver is a person of its own."""
    half = 0.6
    floor = np.array(
        [(-1.2, 0.25), (-1.2, 0.85), (-0.45, 0.85), (-0.4, 0.42), (0.7, 0.42), (0.85, 0.95), (1.2, 0.75), (1.25, 0.3)]
    )
    for piece in (floor[[0, 1, 2, 3]], floor[[0, 3, 4, 7]], floor[[4, 5, 6, 7]]):
        _extrude(body, spot, piece, half, paint, sun)
    roof = np.array([(-1.15, 1.82), (-1.1, 1.9), (0.95, 1.9), (1.0, 1.82)])
    _extrude(body, spot, roof, half * 1.05, (232, 230, 222), sun)
    for x in (-1.1, 0.9):
        for side in (1, -1):
            body.hull(
                METAL, (spot.point(x, half * 0.9 * side, 0.8), 0.03), (spot.point(x, half * 0.9 * side, 1.82), 0.03)
            )
    for side in (1, -1):
        for x in (-0.8, 0.85):
            _car_wheel(body, spot, x, half * side * 1.02, 0.27)


def bench_of_cart(height: float) -> tuple[F64, F64, F64]:
    """Return where a cart's driver sits, holds the wheel, and has the feet, local, for a person of that height."""
    return np.array([-0.35, 0.0, 0.78]), np.array([0.3, 0.16, 1.08]), np.array([0.35, 0.0, 0.36 + 0.02 * height])
