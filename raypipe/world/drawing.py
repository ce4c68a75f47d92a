"""Outlines onto pictures and masks, by OpenCV's anti-aliased polygons."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from raypipe.world.camera import F64
from raypipe.world.shapes import Outline

U8 = NDArray[np.uint8]

# OpenCV takes coordinates in sixteenths of a pixel; beyond this they are cut, far outside any picture.
_BITS, _LIMIT = 4, 6000.0


def _fixed(points_K2: F64) -> NDArray[np.int32]:
    return np.round(np.clip(points_K2 - 0.5, -_LIMIT, _LIMIT) * (1 << _BITS)).astype(np.int32)


def draw_outlines(canvas: U8, outlines: Sequence[Outline], gain_3: F64) -> None:
    """Draw outlines in their order on a picture, uint8 (H, W, 3), in place; `gain_3` is the light's colour."""
    red, green, blue = gain_3.tolist()
    for outline in outlines:
        first, second, third = outline.colour
        colour = (min(first * red, 255.0), min(second * green, 255.0), min(third * blue, 255.0))
        points = _fixed(outline.points_K2)
        if outline.line_pixels > 0:
            width = max(1, round(outline.line_pixels))
            cv2.polylines(canvas, [points], True, colour, width, cv2.LINE_AA, _BITS)
        else:
            cv2.fillConvexPoly(canvas, points, colour, cv2.LINE_AA, _BITS)


def mask_of(outlines: Sequence[Outline], left: int, top: int, width: int, height: int) -> U8:
    """Return what outlines cover of a window of the picture, uint8 (height, width), 255 where they do."""
    mask = np.zeros((height, width), np.uint8)
    corner = np.array([left, top], dtype=np.float64)
    for outline in outlines:
        points = _fixed(outline.points_K2 - corner)
        if outline.line_pixels > 0:
            cv2.polylines(mask, [points], True, 255, max(1, round(outline.line_pixels)), cv2.LINE_8, _BITS)
        elif not outline.is_inner:
            cv2.fillConvexPoly(mask, points, 255, cv2.LINE_8, _BITS)
    return mask


def bounds(outlines: Sequence[Outline]) -> tuple[float, float, float, float]:
    """Return the box x1 y1 x2 y2 around outlines, in pixels."""
    lows = [outline.points_K2.min(axis=0) - outline.line_pixels / 2 for outline in outlines]
    highs = [outline.points_K2.max(axis=0) + outline.line_pixels / 2 for outline in outlines]
    (x1, y1), (x2, y2) = np.min(lows, axis=0).tolist(), np.max(highs, axis=0).tolist()
    return x1, y1, x2, y2
