"""What stands out in a video: peaks of its frame scores, its strongest tracks, and motion in words."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raypipe.ops.motion import NUM_BINS, Pooling, Unit

I64 = NDArray[np.int64]

# Sectors of 45 degrees around these, y pointing down as in pictures.
DIRECTIONS = ("right", "down-right", "down", "down-left", "left", "up-left", "up", "up-right")
# Slower than this an object stands, but for the noise of block matching; by time, that of 25 frames/s.
STILL_PIXELS: dict[Unit, float] = {"source_frame": 0.1, "second": 2.5}
SHORT_UNITS: dict[Unit, str] = {"source_frame": "px/frame", "second": "px/s"}
# Where opposite vectors cancel to less than this share of their lengths, there is no one direction.
MIN_COHERENCE = 0.4


def find_peaks(
    score_T: ArrayLike, time_seconds_T: ArrayLike, *, min_gap_seconds: float, max_peaks: int
) -> NDArray[np.int64]:
    """Return the frames of the highest local maxima, shape (P,), the highest first.

    A run of equal scores is one maximum, at its middle; the ends of the video count as maxima where they are above
    their neighbour. Of two maxima nearer than `min_gap_seconds` the higher is taken. Unscored frames (NaN) are below
    all others, and a video on one level has no peak.
    """
    score, time = np.asarray(score_T, np.float64), np.asarray(time_seconds_T, np.float64)
    valid = ~np.isnan(score)
    if not valid.any() or score[valid].max() == score[valid].min():
        return np.zeros(0, np.int64)
    # Here, because its half second of import would be paid by every process that only reads a config.
    from scipy.signal import find_peaks as local_maxima

    padded = np.pad(np.where(valid, score, -np.inf), 1, constant_values=-np.inf)
    found = local_maxima(padded)[0] - 1
    found = found[valid[found]]
    chosen: list[int] = []
    for frame in found[np.argsort(-score[found], kind="stable")]:
        if len(chosen) == max_peaks:
            break
        if all(abs(time[frame] - time[other]) >= min_gap_seconds for other in chosen):
            chosen.append(int(frame))
    return np.array(chosen, np.int64)


def nearest_true(mask_T: ArrayLike, frame: int) -> int | None:
    """Return the frame nearest to `frame` at which the mask is true, the earlier of two; None where it nowhere is."""
    true = np.flatnonzero(np.asarray(mask_T, bool))
    return int(true[np.argmin(np.abs(true - frame))]) if true.size else None


def frame_ends(time_seconds_T: ArrayLike) -> NDArray[np.float64]:
    """Return when each frame is shown from and the last one's end, shape (T+1,): the last is shown for the mean time.

    A single frame is shown for a second; without frames it is (0,).
    """
    time = np.asarray(time_seconds_T, np.float64)
    if not len(time):
        return np.zeros(1)
    return np.append(time, time[-1] + ((time[-1] - time[0]) / max(len(time) - 1, 1) or 1.0))


def step_maxima(score_T: ArrayLike, time_seconds_T: ArrayLike, num_steps: int) -> NDArray[np.int64]:
    """Return, for equal steps of time, the frame with the highest score in each, shape (S,), S <= T.

    A frame belongs to the step in which the middle of its time lies. In a step whose frames all have no score (NaN) it
    is the first of them, and in one without a frame (of a video whose frames are unevenly spaced) the last one before.
    """
    score, time = np.asarray(score_T, np.float64), np.asarray(time_seconds_T, np.float64)
    count = min(num_steps, len(score))
    if not count:
        return np.zeros(0, np.int64)
    ends = frame_ends(time)
    # The middle of the time that a frame is shown, so that no evenly spaced frame lies on the border of a step.
    middle = (ends[:-1] + ends[1:]) / 2
    step = np.floor((middle - time[0]) / (ends[-1] - time[0]) * count).astype(np.int64)
    order = np.lexsort((np.arange(len(score)), -np.where(np.isnan(score), -np.inf, score), step))
    firsts = order[np.flatnonzero(np.diff(step[order], prepend=-1))]
    highest = np.full(count, -1, np.int64)
    highest[step[firsts]] = firsts
    filled = np.maximum.accumulate(np.where(highest >= 0, np.arange(count), 0))
    frames: I64 = highest[filled]
    return frames


class Strongest(NamedTuple):
    """A track, the row of its highest score, and its first and last rows."""

    track_id: int
    row: int
    first_row: int
    last_row: int


def strongest_tracks(track_id_N: ArrayLike, score_N: ArrayLike, max_tracks: int) -> list[Strongest]:
    """Return the tracks with the highest object scores, the highest first; rows are in the order of time."""
    track, score = np.asarray(track_id_N, np.int64), np.asarray(score_N, np.float64)
    rows = np.arange(len(track))
    order = np.lexsort((rows, -score, track))
    tops = order[np.flatnonzero(np.diff(track[order], prepend=track.min(initial=0) - 1))]
    chosen = tops[np.argsort(-score[tops], kind="stable")][:max_tracks]
    spans = [rows[track == track[row]] for row in chosen]
    return [
        Strongest(int(track[row]), int(row), int(own[0]), int(own[-1])) for row, own in zip(chosen, spans, strict=True)
    ]


def motion_words(histogram_8: ArrayLike, pooling: Pooling, unit: Unit) -> str:
    """Return what a motion histogram says, as "moves left at 4.2 px/frame" or "moves left at 105 px/s".

    The speed is the mean length of the vectors: over the whole box for `area`, over the strongest bin's for
    `mean_per_bin`. The direction is that of the vectors' sum.
    """
    histogram = np.asarray(histogram_8, np.float64)
    speed = float(histogram.sum() if pooling == "area" else histogram.max())
    if speed < STILL_PIXELS[unit]:
        return "hardly moves"
    at = f"at {speed:.{0 if unit == 'second' else 1}f} {SHORT_UNITS[unit]}"
    angles = (np.arange(NUM_BINS) + 0.5) * 2 * np.pi / NUM_BINS
    x, y = float((histogram * np.cos(angles)).sum()), float((histogram * np.sin(angles)).sum())
    if np.hypot(x, y) < MIN_COHERENCE * histogram.sum():
        return f"moves in several directions {at}"
    sector = round(np.arctan2(y, x) / (2 * np.pi / len(DIRECTIONS))) % len(DIRECTIONS)
    return f"moves {DIRECTIONS[sector]} {at}"
