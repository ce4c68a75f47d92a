"""Places before the camera: ground, backdrop, light, and what stands in the way."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from raypipe.world.camera import F64, Camera
from raypipe.world.drawing import draw_outlines, fill_polygons, mask_of
from raypipe.world.shapes import Body, Colour

U8 = NDArray[np.uint8]
Place = Literal["street", "path", "square", "park"]
PLACES: tuple[Place, ...] = ("street", "path", "square", "park")

# Pictures are drawn this much larger and averaged down, so that edges are smooth.
SUPERSAMPLING = 2
BACKDROP_METRES = 34.0


@dataclass(frozen=True)
class Light:
    """The light of a scene: where the sun is (a unit vector), what it does to colours, and how dark shadows are."""

    name: Literal["sun", "shade", "dusk"]
    sun: F64
    gain: F64
    shadow: float


@dataclass(frozen=True)
class Occluder:
    """Something still that people walk behind: its distance, its place in the background, and its mask there."""

    y: float
    top: int
    left: int
    mask: U8


@dataclass(frozen=True)
class Scene:
    """A place seen by its camera: the empty picture in light and in shadow (supersampled), and what stands in it."""

    place: Place
    camera: Camera
    light: Light
    background: U8
    shadowed: U8
    occluders: tuple[Occluder, ...]

    @property
    def large_camera(self) -> Camera:
        """The camera of the supersampled picture."""
        return enlarge(self.camera)


def enlarge(camera: Camera) -> Camera:
    """Return the camera that sees the same with `SUPERSAMPLING` times the pixels."""
    return Camera(
        camera.width * SUPERSAMPLING,
        camera.height * SUPERSAMPLING,
        camera.focal_pixels * SUPERSAMPLING,
        camera.height_metres,
        camera.pitch,
    )


def light_direction(light: Light) -> tuple[float, float]:
    """Return where in the picture the light comes from, as a unit vector (right, down)."""
    direction = np.array([light.sun[0], -light.sun[2]])
    direction = direction / np.linalg.norm(direction)
    return float(direction[0]), float(direction[1])


def make_scene(seed: int, width: int, height: int, places: tuple[Place, ...] = PLACES) -> Scene:
    """Return the scene of a seed in one of the places; the same seed gives the same picture."""
    rng = np.random.default_rng([seed, 1])
    place = places[rng.integers(len(places))]
    camera = Camera(
        width,
        height,
        float(height * rng.uniform(1.3, 1.42)),
        float(rng.uniform(2.7, 3.3)),
        float(rng.uniform(0.17, 0.22)),
    )
    light = _draw_light(rng)
    large = enlarge(camera)
    picture = _ground(rng, large, place)
    _backdrop(rng, picture, large, place, light)
    shadow_mask = np.zeros(picture.shape[:2], np.uint8)
    standing: list[tuple[float, U8]] = []
    bodies = sorted(_standing_things(rng, large, place), key=lambda thing: -thing[0])
    for _, body in bodies:
        fill_polygons(shadow_mask, body.shadows(large, light.sun))
    shaded = picture * (1 - (1 - light.shadow) * (cv2.GaussianBlur(shadow_mask, (0, 0), 1.5) / 255.0)[..., None])
    lit = np.clip(shaded * light.gain, 0, 255).astype(np.uint8)
    for y, body in bodies:
        outlines = body.outlines(large, light_direction(light))
        draw_outlines(lit, outlines, light.gain)
        standing.append((y, mask_of(outlines, 0, 0, lit.shape[1], lit.shape[0])))
    dark = np.clip(lit * light.shadow, 0, 255).astype(np.uint8)
    return Scene(place, camera, light, lit, dark, tuple(_occluder(y, mask) for y, mask in standing if mask.any()))


def _draw_light(rng: np.random.Generator) -> Light:
    name: Literal["sun", "shade", "dusk"] = ("sun", "shade", "dusk")[rng.choice(3, p=[0.5, 0.32, 0.18])]
    azimuth = rng.uniform(0.15, np.pi - 0.15) + (np.pi if rng.random() < 0.7 else 0)  # mostly from the camera's side
    elevation = {"sun": rng.uniform(0.7, 1.1), "shade": 1.45, "dusk": 1.4}[name]
    sun = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    gains = {"sun": (1.04, 1.0, 0.94), "shade": (0.86, 0.88, 0.92), "dusk": (0.66, 0.58, 0.62)}
    shadow = {"sun": 0.55, "shade": 0.78, "dusk": 0.8}[name]
    return Light(name, sun, np.array(gains[name]) * rng.uniform(0.94, 1.04), shadow)


def _noise(rng: np.random.Generator, cells: int) -> NDArray[np.float32]:
    """Return smooth noise of mean 0 and deviation 1 that repeats at its borders, shape (256, 256)."""
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    smooth = cv2.resize(np.tile(coarse, (3, 3)), (768, 768), interpolation=cv2.INTER_CUBIC)[256:512, 256:512]
    found: NDArray[np.float32] = (smooth - smooth.mean()) / smooth.std()
    return found


def _sample(noise: NDArray[np.float32], x: F64, y: F64, metres: float) -> NDArray[np.float32]:
    """Return noise that repeats after so many metres, at places on the ground."""
    size = noise.shape[0]
    columns, rows = (np.mod(axis / metres, 1).astype(np.float32) * (size - 1) for axis in (x, y))
    found = cv2.remap(noise, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return found.astype(np.float32, copy=False)


def _ground(rng: np.random.Generator, camera: Camera, place: Place) -> F64:
    """Return the picture of sky and ground, float (H, W, 3), before light."""
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width].astype(np.float64) + 0.5
    xy = camera.ground(np.stack([columns.ravel(), rows.ravel()], axis=1)).reshape(camera.height, camera.width, 2)
    is_ground = np.isfinite(xy[..., 1]) & (xy[..., 1] < 200)
    x, y = (np.where(is_ground, xy[..., axis], 0.0) for axis in (0, 1))
    sky = np.array([188.0, 206.0, 226.0]) - (rows / camera.height)[..., None] * np.array([-60.0, -36.0, -20.0])
    grain = 0.55 * _sample(_noise(rng, 64), x, y, 4.0) + 0.45 * _sample(_noise(rng, 16), x, y, 11.0)
    fade = np.clip(1.4 - y / 26, 0.25, 1)
    colour = _surface(rng, place, x, y, fade) + (grain * 7 * fade)[..., None] * np.array([1.0, 1.0, 0.92])
    found: F64 = np.where(is_ground[..., None], colour, np.clip(sky, 0, 250))
    return found


def _surface(rng: np.random.Generator, place: Place, x: F64, y: F64, fade: F64) -> F64:
    """Return the colour of the ground at places, before its grain."""
    jitter = rng.uniform(-10, 10)
    if place == "square":
        tile = rng.uniform(0.8, 1.5)
        ground = np.array([168.0, 160.0, 148.0]) + jitter
        odd = (np.floor(x / tile) + np.floor(y / tile)) % 2
        seam = (np.mod(x / tile, 1) < 0.04) | (np.mod(y / tile, 1) < 0.06)
        shade = odd * rng.uniform(4, 16) + seam * 26
        return ground - (shade * fade)[..., None]
    if place == "street":
        kerb, far_kerb = rng.uniform(7.5, 9.0), rng.uniform(15.0, 18.0)
        asphalt, pavement = np.array([104.0, 106.0, 110.0]) + jitter, np.array([160.0, 156.0, 150.0]) + jitter
        is_road = (y > kerb) & (y < far_kerb)
        colour = np.where(is_road[..., None], asphalt, pavement)
        middle = (kerb + far_kerb) / 2
        dash = is_road & (np.abs(y - middle) < 0.1) & (np.mod(x, 3.0) < 1.6)
        colour = np.where(dash[..., None], np.array([206.0, 206.0, 198.0]), colour)
        edge = (np.abs(y - kerb) < 0.1) | (np.abs(y - far_kerb) < 0.12)
        seam = ~is_road & (np.mod(x / 1.2, 1) < 0.03)
        return colour - ((edge * 40 + seam * 18) * fade)[..., None]
    grass = np.array([92.0, 124.0, 66.0]) + jitter
    if place == "path":
        near, far = rng.uniform(6.0, 7.5), rng.uniform(13.0, 16.0)
        bend = 0.5 * np.sin(x / rng.uniform(5, 9) + rng.uniform(0, 6))
        on_path = (y > near + bend) & (y < far + bend)
        return np.where(on_path[..., None], np.array([182.0, 162.0, 130.0]) + jitter, grass)
    # A park: a wide way that leads away from the camera, crossed by another.
    half, slant = rng.uniform(3.2, 4.5), rng.uniform(-0.15, 0.15)
    crossing = rng.uniform(9, 12)
    on_way = (np.abs(x - slant * y) < half) | (np.abs(y - crossing) < 2.4)
    return np.where(on_way[..., None], np.array([150.0, 146.0, 142.0]) + jitter, grass)


def _backdrop(rng: np.random.Generator, picture: F64, camera: Camera, place: Place, light: Light) -> None:
    """Draw what closes the view: houses behind streets and squares, woods behind paths and parks."""
    half = camera.half_width(BACKDROP_METRES) * 1.1
    canvas = np.clip(picture, 0, 255).astype(np.uint8)
    unlit = np.ones(3)
    body = Body()
    left = -half
    if place in ("street", "square"):
        while left < half:
            wide, tall = float(rng.uniform(6, 11)), float(rng.uniform(6.5, 11))
            _house(rng, body, left, wide, tall)
            left += wide
    else:
        body.face(_wall(-half, 2 * half, 0.0, 2.0, BACKDROP_METRES + 1.5), (52, 76, 44))
        while left < half + 2:
            for _ in range(20):
                radius = float(rng.uniform(0.45, 1.1))
                centre = (left + rng.normal(0, 1.2), BACKDROP_METRES + rng.uniform(1, 2), rng.uniform(0.4, 6.0))
                green = rng.uniform(0.75, 1.15)
                body.hull((62 * green, 92 * green, 48 * green), (centre, radius))
            left += float(rng.uniform(1.0, 1.8))
    draw_outlines(canvas, body.outlines(camera, light_direction(light)), unlit)
    picture[:] = cv2.GaussianBlur(canvas, (0, 0), 0.8)


def _wall(left: float, wide: float, low: float, high: float, y: float) -> F64:
    return np.array([(left, y, low), (left + wide, y, low), (left + wide, y, high), (left, y, high)])


def _house(rng: np.random.Generator, body: Body, left: float, wide: float, tall: float) -> None:
    tone = rng.uniform(-14, 14, 3)
    plaster: Colour = (186 + tone[0], 168 + tone[1], 146 + tone[2])
    if rng.random() < 0.35:
        plaster = (150 + tone[0], 104 + tone[1], 86 + tone[2])
    body.face(_wall(left, wide, 0, tall, BACKDROP_METRES), plaster)
    body.face(_wall(left, wide, 0, 0.5, BACKDROP_METRES), (96, 92, 88), nearer=0.02)
    columns = int(wide // 2.2)
    for column in range(columns):
        x = left + (column + 0.5) * wide / columns - 0.5
        for floor in range(int(tall // 2.9)):
            glass = (88, 98, 108) if rng.random() < 0.8 else (150, 142, 116)
            body.face(_wall(x, 1.0, 0.9 + 2.9 * floor, 2.4 + 2.9 * floor, BACKDROP_METRES), glass, nearer=0.04)


def _standing_things(rng: np.random.Generator, camera: Camera, place: Place) -> list[tuple[float, Body]]:
    """Return trees and posts with their distances in metres."""
    found = []
    count = int(rng.integers(1, 4))
    for side in rng.permutation([-0.78, -0.3, 0.25, 0.8])[:count]:
        y = float(rng.uniform(7.2, 15.0))
        x = float(side) * camera.half_width(y) + float(rng.normal(0, 0.4))
        is_tree = rng.random() < (0.75 if place in ("path", "park") else 0.4)
        found.append((y, _tree(rng, x, y) if is_tree else _post(x, y)))
    return found


def _tree(rng: np.random.Generator, x: float, y: float) -> Body:
    body = Body()
    bark = (92, 72, 54)
    body.hull(bark, ((x, y, 0), 0.24), ((x, y, 0.5), 0.17), ((x + 0.05, y, 2.6), 0.13))
    for _ in range(70):
        green = rng.uniform(0.7, 1.25)
        centre = (x + rng.normal(0, 0.7), y + rng.normal(0, 0.6), 3.7 + rng.normal(0, 0.6))
        body.hull((70 * green, 106 * green, 50 * green), (centre, float(rng.uniform(0.18, 0.42))))
    return body


def _post(x: float, y: float) -> Body:
    body = Body()
    body.hull((70, 74, 78), ((x, y, 0), 0.12), ((x, y, 0.5), 0.07))
    body.hull((70, 74, 78), ((x, y, 0.3), 0.06), ((x, y, 4.4), 0.05))
    body.hull((226, 222, 200), ((x, y, 4.5), 0.2))
    return body


def _occluder(y: float, mask: U8) -> Occluder:
    left, top, width, height = cv2.boundingRect(mask)
    return Occluder(y, top, left, mask[top : top + height, left : left + width].copy())
