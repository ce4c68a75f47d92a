"""Boxes as float arrays of shape (N, 4): x1 y1 x2 y2 in pixels, x2 and y2 exclusive."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Detections:
    """What a detector finds in frames: N boxes in the order of their frames, in pixels of the source video.

    `frame_offset` int64 (N,) counts from the first frame given, `boxes` is float32 (N, 4), `confidence` float32 (N,),
    `class_name` text (N,). `num_unparsed` counts answers of a language model in which nothing could be read.
    """

    frame_offset: NDArray[np.int64]
    boxes: F32
    confidence: F32
    class_name: NDArray[np.object_]
    num_unparsed: int = 0


def expand(boxes_N4: NDArray[np.floating], fraction: float) -> F32:
    """Grow each box by `fraction` of its width and height on every side (Section 4.1: 0.5), shape (N, 4)."""
    boxes = np.asarray(boxes_N4, dtype=np.float64)
    margins = (boxes[:, 2:] - boxes[:, :2]) * fraction
    return np.concatenate([boxes[:, :2] - margins, boxes[:, 2:] + margins], axis=1).astype(np.float32)


def clip(boxes_N4: NDArray[np.floating], width: int, height: int) -> F32:
    """Cut boxes at the frame's edges, shape (N, 4); a box outside the frame is left without area."""
    limits = np.array([width, height, width, height], dtype=np.float32)
    return np.clip(np.asarray(boxes_N4, dtype=np.float32), np.float32(0), limits)


def keep(
    boxes_N4: NDArray[np.floating], confidence_N: NDArray[np.floating], *, min_confidence: float, min_side_pixels: float
) -> NDArray[np.bool_]:
    """Return which boxes are confident and large enough, shape (N,): both sides at least `min_side_pixels`.

    Boxes without area are never kept.
    """
    sides = boxes_N4[:, 2:] - boxes_N4[:, :2]
    large = (sides >= min_side_pixels) & (sides > 0)
    kept: NDArray[np.bool_] = np.logical_and(large.all(axis=1), confidence_N >= min_confidence)
    return kept


def iou(first_N4: NDArray[np.floating], second_M4: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the intersection over union of every pair, shape (N, M); pairs without a union have 0."""
    first = np.asarray(first_N4, dtype=np.float64)[:, None]
    second = np.asarray(second_M4, dtype=np.float64)[None]
    overlap = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    intersection = overlap.clip(min=0).prod(axis=-1)
    areas = [(box[..., 2:] - box[..., :2]).clip(min=0).prod(axis=-1) for box in (first, second)]
    union = areas[0] + areas[1] - intersection
    ratio: NDArray[np.float64] = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return ratio


def sliding_windows(width: int, height: int, window_pixels: int, step_pixels: int) -> F32:
    """Return square windows that cover the frame row by row, shape (N, 4) (Section D, Table 4).

    The last window of a row or column is moved inwards to end at the edge, so that every window has the full
    size; a frame smaller than the window gives one window of the frame's size along that side.
    """

    def starts(length: int) -> list[int]:
        last = max(length - window_pixels, 0)
        return [*range(0, last, step_pixels), last]

    return np.array(
        [
            [x, y, min(x + window_pixels, width), min(y + window_pixels, height)]
            for y in starts(height)
            for x in starts(width)
        ],
        dtype=np.float32,
    )
