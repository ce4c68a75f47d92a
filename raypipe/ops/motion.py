"""From block motion vectors to one motion histogram per object (Section 3.5 of the paper)."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I16 = NDArray[np.int16]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

Pooling = Literal["mean_per_bin", "area"]

NUM_BINS = 8
BLOCK_PIXELS = 8
VECTOR_UNITS_PER_PIXEL = 4

# Magnitudes are summed as integers of 2**-24 pixels: exact, so a box without motion has a histogram of exact zeros
# however large the sums around it are, and the order of summation cannot show. 2**13 pixels x 2**26 blocks still fit.
_FIXED_POINT = 2.0**24
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
) -> F32:
    """Return the motion histogram of every object, float32 (N, 8), in pixels per source frame.

    `vectors`, (T, h, w, 2), are quarter-pel x and y of every 8x8 block, `inter`, (T, h, w), says which blocks have a
    vector; the others are left out. `boxes_N4` are x1 y1 x2 y2 in pixels of the decoded frames, `frame_offset_N` the
    frame of each in 0..T-1. Bin b covers orientations atan2(dy, dx) in [45 b, 45 (b+1)) degrees, y pointing down.

    The vectors of frames t - `window_frames` .. t + `window_frames`, as far as there are such, inside the box of frame
    t are pooled. A block is inside where its centre is; where no centre is between two opposite sides of a box, the
    blocks nearest the box's centre are taken. `mean_per_bin` is the paper's mean magnitude of a bin's vectors, `area`
    the sum of a bin's magnitudes over the number of all inter blocks pooled. Zero vectors belong to no bin but count
    in that number. An empty bin is 0.

    `stride` is the number of source frames between decoded frames; `scale` (x, y) source pixels per decoded pixel.
    """
    num_frames, rows, columns = inter.shape
    histograms = np.zeros((len(boxes_N4), NUM_BINS), np.float32)
    if not len(boxes_N4):
        return histograms
    x0, x1 = _block_range(boxes_N4[:, 0], boxes_N4[:, 2], columns)
    y0, y1 = _block_range(boxes_N4[:, 1], boxes_N4[:, 3], rows)
    offsets = frame_offset_N.astype(np.int64)
    t0, t1 = np.maximum(offsets - window_frames, 0), np.minimum(offsets + window_frames + 1, num_frames)
    for start in range(0, num_frames, _CHUNK_FRAMES):
        objects = np.flatnonzero((offsets >= start) & (offsets < start + _CHUNK_FRAMES))
        if not len(objects):
            continue
        first = max(0, start - window_frames)
        last = min(num_frames, start + _CHUNK_FRAMES + window_frames)
        table = _summed_volumes(vectors[first:last], inter[first:last], pooling, scale)
        corners = (t0 - first, t1 - first, y0, y1, x0, x1)
        sums = _box_sums(table, *(corner[objects] for corner in corners))
        # The denominator is one count of all inter blocks, or one count for each bin.
        total, count = sums[:, :NUM_BINS], sums[:, NUM_BINS:]
        histograms[objects] = total / (_FIXED_POINT * VECTOR_UNITS_PER_PIXEL * stride * np.maximum(count, 1))
    return histograms


def orientation_bins(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return floor(atan2(y, x) / 45 degrees) of the angle in [0, 360), exact on the bins' edges."""
    is_lower = (y < 0) | ((y == 0) & (x < 0))
    x, y = np.where(is_lower, -x, x), np.where(is_lower, -y, y)
    is_left = x <= 0
    x, y = np.where(is_left, y, x), np.where(is_left, -x, y)
    bins: I64 = 4 * is_lower + 2 * is_left + 1 * (y >= x)
    return bins


def _summed_volumes(vectors: I16, inter: Bools, pooling: Pooling, scale: tuple[float, float]) -> I64:
    """Return running sums over time, rows and columns, (T+1, h+1, channels, w+1): 8 sums, then the counts."""
    frames, rows, columns = inter.shape
    num_channels = NUM_BINS + (1 if pooling == "area" else NUM_BINS)
    table = np.zeros((frames + 1, rows + 1, num_channels, columns + 1), np.int64)
    t, y, x = np.nonzero(inter & ((vectors[..., 0] | vectors[..., 1]) != 0))
    moved_x = vectors[t, y, x, 0].astype(np.float64) * scale[0]
    moved_y = vectors[t, y, x, 1].astype(np.float64) * scale[1]
    bins = orientation_bins(moved_x, moved_y)
    table[t + 1, y + 1, bins, x + 1] = np.rint(np.sqrt(moved_x**2 + moved_y**2) * _FIXED_POINT).astype(np.int64)
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
    """Return the sums over [t0, t1) x [y0, y1) x [x0, x1), int64 (N, channels)."""
    late = table[t1, y1, :, x1] - table[t1, y0, :, x1] - table[t1, y1, :, x0] + table[t1, y0, :, x0]
    early = table[t0, y1, :, x1] - table[t0, y0, :, x1] - table[t0, y1, :, x0] + table[t0, y0, :, x0]
    sums: I64 = late - early
    return sums


def _block_range(low: NDArray[np.floating], high: NDArray[np.floating], num_blocks: int) -> tuple[I64, I64]:
    """Return the half-open ranges of blocks along one axis whose centres are in [low, high), never empty."""
    low, high = low.astype(np.float64), high.astype(np.float64)
    half = BLOCK_PIXELS / 2
    first = np.clip(np.ceil((low - half) / BLOCK_PIXELS), 0, num_blocks).astype(np.int64)
    stop = np.clip(np.ceil((high - half) / BLOCK_PIXELS), 0, num_blocks).astype(np.int64)
    nearest = np.clip(np.floor((low + high) / 2 / BLOCK_PIXELS), 0, num_blocks - 1).astype(np.int64)
    is_empty = stop <= first
    return np.where(is_empty, nearest, first), np.where(is_empty, nearest + 1, stop)
