"""Solid bodies of simple parts, and the outlines that a camera sees of them.

A part is the convex hull of up to four balls (limbs, trunks, heads), a flat face, or a hoop (wheels). Hulls of balls
are projected all at once: in each direction of the picture the outline is the farthest point of any of the balls.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from raypipe.world.camera import F64, Camera

I32 = NDArray[np.int32]
Colour = tuple[float, float, float]
Vector = F64 | Sequence[float]

FRACTION_BITS = 4
# Points this far outside a picture are cut, in pixels.
_LIMIT = 6000.0

NUM_BALLS = 4
NUM_DIRECTIONS = 14
_ANGLES = np.arange(NUM_DIRECTIONS) * (2 * np.pi / NUM_DIRECTIONS)
_DIRECTIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_HOOP_ANGLES = np.linspace(0, 2 * np.pi, 20, endpoint=False)
# Lit parts are drawn twice: the whole in shade, then a smaller, brighter form that is moved towards the light.
SHADE, LIT, LIT_SIZE, LIT_SHIFT = 0.76, 1.1, 0.66, 0.3


@dataclass(frozen=True, slots=True)
class Outline:
    """What is drawn of a part: a polygon, filled, or a closed line of a width in pixels; its depth in metres.

    Points are int32 (K, 2), in 1 / 2**FRACTION_BITS pixels from the centre of the first pixel, as OpenCV takes them.
    `is_inner` says that another outline covers it wholly, as the lit side of a ball.
    """

    depth: float
    points: I32
    colour: Colour
    line_pixels: int = 0
    is_inner: bool = False


@dataclass
class Body:
    """The parts of one actor or one static object, in world coordinates."""

    balls: list[list[tuple[Vector, float]]] = field(default_factory=list)
    ball_colours: list[Colour] = field(default_factory=list)
    ball_nearer: list[float] = field(default_factory=list)
    faces: list[tuple[F64, Colour, float]] = field(default_factory=list)
    hoops: list[tuple[F64, Colour, float]] = field(default_factory=list)

    def hull(self, colour: Colour, *balls: tuple[Vector, float], nearer: float = 0.0) -> None:
        """Add the convex hull of one to four balls, (centre, radius in metres).

        `nearer` metres are taken off its depth where parts are sorted: what is worn lies over the body.
        """
        self.balls.append([*balls] + [balls[-1]] * (NUM_BALLS - len(balls)))
        self.ball_colours.append(colour)
        self.ball_nearer.append(nearer)

    def face(self, points_K3: F64, colour: Colour, *, nearer: float = 0.0) -> None:
        """Add a flat polygon, seen from both sides."""
        self.faces.append((np.asarray(points_K3, float), colour, nearer))

    def hoop(self, centre: Vector, axis: Vector, radius: float, thickness: float, colour: Colour) -> None:
        """Add a ring around a horizontal axis, radius and thickness in metres."""
        level = np.asarray(axis, float) / np.linalg.norm(np.asarray(axis, float))
        forward = np.array([-level[1], level[0], 0.0])
        around = np.cos(_HOOP_ANGLES)[:, None] * forward + np.sin(_HOOP_ANGLES)[:, None] * np.array([0.0, 0.0, 1.0])
        self.hoops.append((np.asarray(centre, float) + radius * around, colour, thickness))

    def outlines(self, camera: Camera, light_xy: tuple[float, float]) -> list[Outline]:
        """Return the outlines, farthest first; `light_xy` is where in the picture the light comes from."""
        found = self._ball_outlines(camera, light_xy) if self.balls else []
        flat = [*self.faces, *self.hoops]
        if flat:
            pixels, depth = camera.project(np.concatenate([part[0] for part in flat]))
            ends = np.cumsum([len(part[0]) for part in flat])
            starts = ends - [len(part[0]) for part in flat]
            depths = (np.add.reduceat(depth, starts) / (ends - starts)).tolist()
            fixed = to_fixed(pixels)
            for number, (_, colour, amount) in enumerate(flat):
                points, mean = fixed[starts[number] : ends[number]], depths[number]
                if number < len(self.faces):
                    found.append(Outline(mean - amount, points, colour))
                else:
                    width = max(1, round(amount * camera.focal_pixels / mean))
                    found.append(Outline(mean, points, colour, line_pixels=width))
        return sorted(found, key=attrgetter("depth"), reverse=True)

    def _arrays(self) -> tuple[F64, F64]:
        centres = np.array([[ball[0] for ball in part] for part in self.balls], dtype=np.float64)
        radii = np.array([[ball[1] for ball in part] for part in self.balls], dtype=np.float64)
        return centres, radii

    def _ball_outlines(self, camera: Camera, light_xy: tuple[float, float]) -> list[Outline]:
        centres_PM3, radii_PM = self._arrays()
        pixels, depth = camera.project(centres_PM3.reshape(-1, 3))
        depths_P = depth.reshape(radii_PM.shape).mean(axis=1) - self.ball_nearer
        pixels_PM2 = pixels.reshape(*radii_PM.shape, 2)
        radii_pixels = radii_PM * camera.focal_pixels / depth.reshape(radii_PM.shape)
        whole = support(pixels_PM2, radii_pixels)
        shift = radii_pixels[..., None] * np.asarray(light_xy) * LIT_SHIFT
        lit = support(pixels_PM2 + shift, radii_pixels * LIT_SIZE)
        # What lies behind the middle of the body is darker, so that far limbs differ from near ones.
        behind = np.where(depths_P > depths_P.mean() + 0.04, 0.86, 1.0)
        depths: list[float] = depths_P.tolist()
        whole_PK2, lit_PK2 = to_fixed(whole), to_fixed(lit)
        colours = np.array(self.ball_colours) * behind[:, None]
        shaded, bright = (colours * SHADE).tolist(), (colours * LIT).tolist()
        found = []
        for number, far in enumerate(depths):
            found.append(Outline(far, whole_PK2[number], shaded[number]))
            found.append(Outline(far, lit_PK2[number], bright[number], is_inner=True))
        return found

    def shadows(self, camera: Camera, sun_3: F64) -> list[I32]:
        """Return the polygons of the shadow on the ground, as `Outline` has them; `sun_3` points to the sun."""
        found: list[I32] = []
        slope = sun_3[:2] / sun_3[2]
        if self.balls:
            centres, radii = self._arrays()
            pixels, depth = camera.project(_on_ground(centres.reshape(-1, 3), slope))
            sizes = (radii.reshape(-1) * camera.focal_pixels / depth).reshape(radii.shape)
            # A ball's shadow lies flat on the ground, which the camera sees from the side.
            found += list(to_fixed(support(pixels.reshape(*radii.shape, 2), sizes, flatness=0.45)))
        flat = [part[0] for part in (*self.faces, *self.hoops)]
        if flat:
            pixels, _ = camera.project(_on_ground(np.concatenate(flat), slope))
            found += np.split(to_fixed(pixels), np.cumsum([len(points) for points in flat[:-1]]))
        return found


def to_fixed(pixels: F64) -> I32:
    """Return pixels, whose centres lie at halves, as OpenCV takes them: int32, in 1 / 2**FRACTION_BITS pixels."""
    scaled = (pixels - 0.5) * (1 << FRACTION_BITS)
    limit = _LIMIT * (1 << FRACTION_BITS)
    found: I32 = np.rint(np.minimum(np.maximum(scaled, -limit), limit)).astype(np.int32)
    return found


def _on_ground(points_N3: F64, slope: F64) -> F64:
    """Return where on the ground the shadows of points fall."""
    flat = np.zeros_like(points_N3)
    flat[:, :2] = points_N3[:, :2] - slope * points_N3[:, 2:]
    return flat


def support(centres_PM2: F64, radii_PM: F64, flatness: float = 1.0) -> F64:
    """Return the outlines of hulls of discs, shape (P, K, 2): per direction, the farthest point of any disc."""
    squash = np.array([1.0, flatness])
    reach_PMK = centres_PM2 @ _DIRECTIONS.T + radii_PM[..., None] * np.linalg.norm(_DIRECTIONS * squash, axis=1)
    best_PK: NDArray[np.int64] = reach_PMK.argmax(axis=1)
    rows = np.arange(len(best_PK))[:, None]
    found: F64 = centres_PM2[rows, best_PK] + radii_PM[rows, best_PK][..., None] * _DIRECTIONS * squash
    return found
