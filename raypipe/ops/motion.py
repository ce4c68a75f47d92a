"""From block motion vectors to one motion histogram per object (Section 3.5 of the paper)."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I16 = NDArray[np.int16]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

Pooling = Literal["mean_per_bin", "area"]
Unit = Literal["source_frame", "second"]

NUM_BINS = 8
BLOCK_PIXELS = 8
VECTOR_UNITS_PER_PIXEL = 4

# Magnitudes are summed as integers of 2**-18 quarter pixels, and edges of boxes lie on 16ths of a pixel: exact, so a
# box without motion has a histogram of exact zeros however large the sums around it are, and the order of summation
# cannot show. 2**15 quarter pixels x 2**16 blocks x the 2**14 parts of a block still fit 63 bits.
_FIXED_POINT = 2.0**18
_PARTS_PER_PIXEL = 16
_PARTS_PER_BLOCK = BLOCK_PIXELS * _PARTS_PER_PIXEL
# A stream of 30 frames/s from a camera of 5 repeats each frame five times.
MAX_REPEATS = 5
# A repeated frame has been encoded again and is not the same to the pixel. In nine of ten repeats, the most changed
# block changes by at most 0.13 (H.264) or 0.40 (HEVC, MPEG-4) of what it does in new frames. Of 17 real clips, 14
# have no frame below 0.41. The other three have 1, 9 and 10 below 0.3; nobody has looked whether these are repeats.
_REPEAT_SHARE = 0.3
# Frames whose sums are held at once: memory stays flat, and the tables stay near the caches.
_CHUNK_FRAMES = 64


def pool_histograms(
    vectors: I16,
    inter: Bools,
    boxes_N4: NDArray[np.floating],
    frame_offset_N: NDArray[np.integer],
    *,
    pooling: Pooling,
    window_frames: int,
    stride: int,
    scale: tuple[float, float] = (1.0, 1.0),
    spans_T: NDArray[np.number] | None = None,
    starts: NDArray[np.integer] | None = None,
) -> F32:
    """Return the motion histogram of every object, float32 (N, 8), in pixels per source frame.

    `vectors`, (T, h, w, 2), are quarter-pel x and y of every 8x8 block, `inter`, (T, h, w), says which blocks have a
    vector; the others are left out. `boxes_N4` are x1 y1 x2 y2 in pixels of the decoded frames, `frame_offset_N` the
    frame of each in 0..T-1. Bin b covers orientations atan2(dy, dx) in [45 b, 45 (b+1)) degrees, y pointing down.

    The vectors of frames t - `window_frames` .. t + `window_frames`, as far as there are such, inside the box of frame
    t are pooled. A block counts by the share of its area that lies inside the box: pedestrians are two blocks wide, so
    taking a block whole or not at all, by its centre, is noise (Ped2, nearest neighbour, micro-AUC: 0.949 so, 0.983 by
    area). `mean_per_bin` is the paper's mean magnitude of a bin's vectors, `area` the sum of a bin's magnitudes over
    the number of all inter blocks pooled. Zero vectors belong to no bin but count in that number. An empty bin is 0,
    and so is the histogram of a box outside the picture.

    `stride` is the number of source frames between decoded frames; `scale` (x, y) source pixels per decoded pixel.
    `spans_T` are the steps between decoded frames that the vectors of each frame are the motion of, 1 by default.
    `starts` are the frames that follow a pause: no window reaches across one.
    """
    num_frames, rows, columns = inter.shape
    histograms = np.zeros((len(boxes_N4), NUM_BINS), np.float32)
    if not len(boxes_N4):
        return histograms
    x0, x1 = _edges(boxes_N4[:, 0], columns), _edges(boxes_N4[:, 2], columns)
    y0, y1 = _edges(boxes_N4[:, 1], rows), _edges(boxes_N4[:, 3], rows)
    offsets = frame_offset_N.astype(np.int64)
    borders = np.array([0, *(() if starts is None else starts), num_frames], np.int64)
    part = np.searchsorted(borders[1:-1], offsets, side="right")
    t0 = np.maximum(offsets - window_frames, borders[part])
    t1 = np.minimum(offsets + window_frames + 1, borders[part + 1])
    spans = np.ones(num_frames) if spans_T is None else spans_T.astype(np.float64)
    for start in range(0, num_frames, _CHUNK_FRAMES):
        objects = np.flatnonzero((offsets >= start) & (offsets < start + _CHUNK_FRAMES))
        if not len(objects):
            continue
        first = max(0, start - window_frames)
        last = min(num_frames, start + _CHUNK_FRAMES + window_frames)
        table = _summed_volumes(vectors[first:last], inter[first:last], spans[first:last], pooling, scale)
        corners = (t0 - first, t1 - first, y0, y1, x0, x1)
        sums = _box_sums(table, *(corner[objects] for corner in corners))
        # The denominator is one count of all inter blocks, or one count for each bin.
        total, count = sums[:, :NUM_BINS], sums[:, NUM_BINS:]
        histograms[objects] = total / (_FIXED_POINT * VECTOR_UNITS_PER_PIXEL * stride * np.maximum(count, 1))
    return histograms


def find_repeats(luma_THW: NDArray[np.uint8]) -> Bools:
    """Return which gray frames repeat the one before, bool (T,), while others before and after them do not.

    The change of a frame is that of its most changed block. A repeat has a small share of the largest change among the
    frames before it, and among those after it, as far as repeats in a row may reach. With nothing to compare at the
    start, a repeat must be exact.
    """
    count = len(luma_THW)
    change = np.zeros(count)
    for frame in range(1, count):
        change[frame] = _largest_change(luma_THW[frame - 1], luma_THW[frame])
    found = np.zeros(count, bool)
    for frame in range(1, count):
        before = change[max(1, frame - MAX_REPEATS - 1) : frame].max(initial=0)
        after = change[frame + 1 : frame + MAX_REPEATS + 2].max(initial=0)
        level = after if frame == 1 and change[frame] == 0 else min(before, after)
        # Below, not at: where nothing changes, nothing is repeated.
        found[frame] = change[frame] < _REPEAT_SHARE * level
    return found


def _largest_change(before_HW: NDArray[np.uint8], after_HW: NDArray[np.uint8]) -> float:
    """Return the largest sum of differences in a block; a border that makes no whole block is left out."""
    rows, columns = (size // BLOCK_PIXELS for size in before_HW.shape)
    if not rows or not columns:
        return 0.0
    whole = np.s_[: rows * BLOCK_PIXELS, : columns * BLOCK_PIXELS]
    before, after = before_HW[whole], after_HW[whole]
    differences = np.maximum(before, after) - np.minimum(before, after)
    # Rows first: whole lines are added at once.
    lines = differences.reshape(rows, BLOCK_PIXELS, -1).sum(axis=1, dtype=np.uint16)
    return float(lines.reshape(rows, columns, BLOCK_PIXELS).sum(axis=2).max())


def spread_over_repeats(vectors: I16, inter: Bools, is_repeat_T: Bools) -> I16:
    """Give repeated frames the motion of the next new one, in place, and return the steps that vectors span, (T,).

    A camera that repeats frames shows nothing moving, and then twice the motion: both are the motion of two steps. So
    the vectors of a new frame count for all steps since the new frame before, and are their motion together. Where
    nothing moves before the repeats, or after them, the scene is still, and nothing is spread. More than `MAX_REPEATS`
    in a row are a still scene, too, or a camera that hangs. What frame 0 repeats, or the last frame, is not known.
    """
    spans = np.ones(len(is_repeat_T), np.int16)
    new = np.flatnonzero(~is_repeat_T)
    counts = np.diff(new)
    for position in np.flatnonzero((counts > 1) & (counts <= MAX_REPEATS + 1)):
        before, after = new[position], new[position + 1]
        # Of a frame without any vectors, the first one, nothing is known.
        if vectors[after].any() and (vectors[before].any() or not inter[before].any()):
            vectors[before + 1 : after] = vectors[after]
            inter[before + 1 : after] = inter[after]
            spans[before + 1 : after + 1] = counts[position]
    return spans


def orientation_bins(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return floor(atan2(y, x) / 45 degrees) of the angle in [0, 360), exact on the bins' edges."""
    is_lower = (y < 0) | ((y == 0) & (x < 0))
    x, y = np.where(is_lower, -x, x), np.where(is_lower, -y, y)
    is_left = x <= 0
    x, y = np.where(is_left, y, x), np.where(is_left, -x, y)
    bins: I64 = 4 * is_lower + 2 * is_left + 1 * (y >= x)
    return bins


def _summed_volumes(
    vectors: I16, inter: Bools, spans_T: NDArray[np.float64], pooling: Pooling, scale: tuple[float, float]
) -> I64:
    """Return running sums over time, rows and columns, (T+1, h+1, channels, w+1): 8 sums, then the counts."""
    frames, rows, columns = inter.shape
    num_channels = NUM_BINS + (1 if pooling == "area" else NUM_BINS)
    table = np.zeros((frames + 1, rows + 1, num_channels, columns + 1), np.int64)
    t, y, x = np.nonzero(inter & ((vectors[..., 0] | vectors[..., 1]) != 0))
    moved_x = vectors[t, y, x, 0].astype(np.float64) * scale[0]
    moved_y = vectors[t, y, x, 1].astype(np.float64) * scale[1]
    bins = orientation_bins(moved_x, moved_y)
    length = np.sqrt(moved_x**2 + moved_y**2) * _FIXED_POINT / spans_T[t]
    table[t + 1, y + 1, bins, x + 1] = np.rint(length).astype(np.int64)
    if pooling == "area":
        table[1:, 1:, NUM_BINS, 1:] = inter
    else:
        table[t + 1, y + 1, NUM_BINS + bins, x + 1] = 1
    np.cumsum(table, axis=3, out=table)
    # Whole slices at a time: np.cumsum over an outer axis walks it element by element, ten times slower.
    for row in range(1, rows + 1):
        table[:, row] += table[:, row - 1]
    for frame in range(1, frames + 1):
        table[frame] += table[frame - 1]
    return table


def _box_sums(table: I64, t0: I64, t1: I64, y0: I64, y1: I64, x0: I64, x1: I64) -> I64:
    """Return the sums over frames [t0, t1) and the area [y0, y1) x [x0, x1), int64 (N, channels).

    Edges are in parts of a block, and so are the sums, in parts of its area.
    """

    def upto(t: I64, y: I64, x: I64) -> I64:
        # Between its corners a running sum of blocks grows evenly along each axis.
        row, below = y // _PARTS_PER_BLOCK, (y % _PARTS_PER_BLOCK)[:, None]
        column, right = x // _PARTS_PER_BLOCK, (x % _PARTS_PER_BLOCK)[:, None]
        next_row, next_column = np.minimum(row + 1, table.shape[1] - 1), np.minimum(column + 1, table.shape[3] - 1)
        left = _PARTS_PER_BLOCK - right
        upper = left * table[t, row, :, column] + right * table[t, row, :, next_column]
        lower = left * table[t, next_row, :, column] + right * table[t, next_row, :, next_column]
        total: I64 = (_PARTS_PER_BLOCK - below) * upper + below * lower
        return total

    late = upto(t1, y1, x1) - upto(t1, y0, x1) - upto(t1, y1, x0) + upto(t1, y0, x0)
    early = upto(t0, y1, x1) - upto(t0, y0, x1) - upto(t0, y1, x0) + upto(t0, y0, x0)
    sums: I64 = late - early
    return sums


def _edges(pixels: NDArray[np.floating], num_blocks: int) -> I64:
    """Return edges of boxes along one axis in parts of a block, cut at the picture's edges."""
    parts = np.rint(pixels.astype(np.float64) * _PARTS_PER_PIXEL)
    return np.clip(parts, 0, num_blocks * _PARTS_PER_BLOCK).astype(np.int64)
