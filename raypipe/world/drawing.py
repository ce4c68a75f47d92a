"""Outlines onto pictures and masks, by OpenCV's anti-aliased polygons."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from raypipe.world.camera import F64
from raypipe.world.shapes import FRACTION_BITS, I32, Outline

U8 = NDArray[np.uint8]


def draw_outlines(canvas: U8, outlines: Sequence[Outline], gain_3: F64) -> None:
    """Draw outlines in their order on a picture, uint8 (H, W, 3), in place; `gain_3` is the light's colour."""
    red, green, blue = gain_3.tolist()
    for outline in outlines:
        first, second, third = outline.colour
        colour = (min(first * red, 255.0), min(second * green, 255.0), min(third * blue, 255.0))
        if outline.line_pixels:
            cv2.polylines(canvas, [outline.points], True, colour, outline.line_pixels, cv2.LINE_AA, FRACTION_BITS)
        else:
            cv2.fillConvexPoly(canvas, outline.points, colour, cv2.LINE_AA, FRACTION_BITS)


def fill_polygons(mask: U8, polygons: Sequence[I32]) -> None:
    """Set a mask to 255 inside convex polygons, in place."""
    for points in polygons:
        cv2.fillConvexPoly(mask, points, 255, cv2.LINE_8, FRACTION_BITS)


def mask_of(outlines: Sequence[Outline], left: int, top: int, width: int, height: int) -> U8:
    """Return what outlines cover of a window of the picture, uint8 (height, width), 255 where they do."""
    mask = np.zeros((height, width), np.uint8)
    corner = np.array([left << FRACTION_BITS, top << FRACTION_BITS], dtype=np.int32)
    fill_polygons(mask, [line.points - corner for line in outlines if not line.line_pixels and not line.is_inner])
    for outline in outlines:
        if outline.line_pixels:
            points = [outline.points - corner]
            cv2.polylines(mask, points, True, 255, outline.line_pixels, cv2.LINE_8, FRACTION_BITS)
    return mask


def bounds(outlines: Sequence[Outline]) -> tuple[int, int, int, int]:
    """Return whole pixels x1 y1 x2 y2 outside which outlines draw nothing."""
    points = np.concatenate([outline.points for outline in outlines])
    margin = 2 + max(outline.line_pixels for outline in outlines)
    (x1, y1), (x2, y2) = (points.min(axis=0) >> FRACTION_BITS).tolist(), (points.max(axis=0) >> FRACTION_BITS).tolist()
    return x1 - margin, y1 - margin, x2 + margin, y2 + margin
