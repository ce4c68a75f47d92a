"""Actors in a scene to pictures, and what can be seen of each: boxes and the share that is not hidden."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from raypipe.world.actions import Actor, body_of
from raypipe.world.drawing import bounds, draw_outlines, fill_polygons, mask_of
from raypipe.world.scene import SUPERSAMPLING, Scene, light_direction
from raypipe.world.shapes import Body, Outline

U8 = NDArray[np.uint8]
Box = tuple[float, float, float, float]

NUM_NOISE_TILES, NOISE_MARGIN, NOISE_DEVIATION, BLUR_PIXELS = 3, 64, 2.0, 0.45
# Actors whose box is larger than this many supersampled pixels are nearer than any scene puts them.
MAX_SIDE = 4000


@dataclass(frozen=True)
class Drawn:
    """What a frame shows of an actor, in pixels x1 y1 x2 y2 of the frame.

    `box` holds the visible pixels, `whole_box` the actor as if nothing hid it and the picture went on;
    `visible` is the share of the actor's pixels that can be seen.
    """

    track_id: int
    box: Box
    whole_box: Box
    visible: float


class Renderer:
    """Draws the frames of one scene; the noise of a frame depends on the seed and the frame's number alone."""

    def __init__(self, scene: Scene, noise_seed: int) -> None:
        self.scene = scene
        self._camera = scene.large_camera
        self._light = light_direction(scene.light)
        rng = np.random.default_rng([noise_seed, 2])
        # Frames cut their noise out of tiles at random places.
        shape = (NUM_NOISE_TILES, scene.camera.height + NOISE_MARGIN, scene.camera.width + NOISE_MARGIN, 3)
        gray = rng.normal(0, NOISE_DEVIATION, (*shape[:3], 1))
        colour = rng.normal(0, NOISE_DEVIATION * 0.4, shape)
        self._noise = np.round(gray + colour).astype(np.int16)
        self._order = rng.integers(0, [NUM_NOISE_TILES, NOISE_MARGIN, NOISE_MARGIN], (4096, 3))

    def render(self, actors: Sequence[Actor], frame: int) -> tuple[U8, list[Drawn]]:
        """Return a frame, uint8 (H, W, 3), and what is seen of the actors that are, farthest first."""
        canvas = self.scene.background.copy()
        owners = np.zeros(canvas.shape[:2], np.uint8)
        there = [actor for actor in actors if actor.is_there(frame)]
        bodies = [body_of(actor, frame, self.scene.light.sun) for actor in there]
        self._draw_shadows(canvas, bodies)
        steps: list[tuple[float, int]] = [(float(actor.xy[frame, 1]), i) for i, actor in enumerate(there)]
        steps += [(occluder.y, -1 - i) for i, occluder in enumerate(self.scene.occluders)]
        masks: dict[int, tuple[U8, int, int, Box]] = {}
        for _, number in sorted(steps, reverse=True):
            if number < 0:
                self._draw_occluder(canvas, owners, -1 - number)
                continue
            outlines = bodies[number].outlines(self._camera, self._light)
            drawn = self._draw_actor(canvas, owners, outlines, number + 1)
            if drawn is not None:
                masks[number] = drawn
        found = [self._seen(there[number].track_id, owners, number + 1, *mask) for number, mask in masks.items()]
        return self._develop(canvas, frame), [seen for seen in found if seen is not None]

    def _draw_shadows(self, canvas: U8, bodies: Sequence[Body]) -> None:
        mask = np.zeros(canvas.shape[:2], np.uint8)
        for body in bodies:
            fill_polygons(mask, body.shadows(self._camera, self.scene.light.sun))
        cv2.copyTo(self.scene.shadowed, mask, canvas)

    def _draw_occluder(self, canvas: U8, owners: U8, number: int) -> None:
        occluder = self.scene.occluders[number]
        height, width = occluder.mask.shape
        area = np.s_[occluder.top : occluder.top + height, occluder.left : occluder.left + width]
        # The background shows it already: giving it back hides whoever stands behind.
        cv2.copyTo(self.scene.background[area], occluder.mask, canvas[area])
        owners[area][occluder.mask > 0] = 0

    def _draw_actor(
        self, canvas: U8, owners: U8, outlines: list[Outline], owner: int
    ) -> tuple[U8, int, int, Box] | None:
        """Draw an actor; return its whole mask, the mask's corner, and the box around it, or None where out of view."""
        height, width = owners.shape
        left, top, right, bottom = bounds(outlines)
        if right <= 0 or bottom <= 0 or left >= width or top >= height or max(right - left, bottom - top) > MAX_SIDE:
            return None
        mask = mask_of(outlines, left, top, right - left, bottom - top)
        x, y, wide, tall = cv2.boundingRect(mask)
        if wide == 0:
            return None
        draw_outlines(canvas, outlines, self.scene.light.gain)
        inside = np.s_[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
        cut = mask[max(-top, 0) : min(bottom, height) - top, max(-left, 0) : min(right, width) - left]
        owners[inside][cut > 0] = owner
        return mask, left, top, _scaled(left + x, top + y, wide, tall)

    def _seen(self, track_id: int, owners: U8, owner: int, mask: U8, left: int, top: int, whole: Box) -> Drawn | None:
        first_x, first_y = max(left, 0), max(top, 0)
        area = owners[first_y : max(top + mask.shape[0], 0), first_x : max(left + mask.shape[1], 0)]
        own = (area == owner).astype(np.uint8)
        count = cv2.countNonZero(own)
        if count == 0:
            return None
        x, y, wide, tall = cv2.boundingRect(own)
        box = _scaled(first_x + x, first_y + y, wide, tall)
        return Drawn(track_id, box, whole, count / cv2.countNonZero(mask))

    def _develop(self, canvas: U8, frame: int) -> U8:
        """Return what the sensor makes of the picture: smaller, a little blurred, and noisy."""
        camera = self.scene.camera
        picture = cv2.resize(canvas, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        picture = cv2.GaussianBlur(picture, (0, 0), BLUR_PIXELS)
        tile, down, right = self._order[frame % len(self._order)].tolist()
        noise = self._noise[tile, down : down + camera.height, right : right + camera.width]
        return cv2.add(picture, noise, dtype=cv2.CV_8U).astype(np.uint8, copy=False)


def _scaled(left: float, top: float, width: float, height: float) -> Box:
    scale = SUPERSAMPLING
    return left / scale, top / scale, (left + width) / scale, (top + height) / scale
