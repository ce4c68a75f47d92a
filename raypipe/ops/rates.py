"""How fast a video's frames follow one another, and where its recording pauses.

Rates are taken from most of the steps between frames, not from the first and the last time: one pause of an hour, or a
step of one tick, must change nothing elsewhere.
"""

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

# Beyond these it is not the rate of a camera: timestamps in a wrong unit, or pictures that nothing connects.
MAX_PLAUSIBLE_FPS = 1000.0
MIN_PLAUSIBLE_FPS = 0.1

# A step is a pause where it is longer than both. Dropped frames and uneven timestamps are no pause.
_PAUSE_STEPS = 5.0
_PAUSE_SECONDS = 1.0


def frame_rate(times_N: NDArray[np.integer] | F64, tick_seconds: float, frames_N: I64 | None = None) -> float | None:
    """Return the frames per second of times in ticks, (N,), that rise; None where they do not tell.

    It is the mean over the steps that are like the median one, more than half and less than twice as long. Rounded
    timestamps so still give the rate that they were rounded from. `frames_N` are the numbers of the frames where not
    all of them are given.
    """
    if len(times_N) < 2:
        return None
    counts = np.ones(len(times_N) - 1, np.int64) if frames_N is None else np.diff(frames_N)
    durations = np.diff(times_N)
    is_later = durations > 0
    steps = durations[is_later] / counts[is_later]
    if not steps.size:
        return None
    # The lower one of two middle steps, because a mean of both may be like none of them.
    middle = (len(steps) - 1) // 2
    median = np.partition(steps, middle)[middle]
    is_like = (durations > 0.5 * median * counts) & (durations < 2 * median * counts)
    if is_like.all():
        return float(counts.sum() / ((times_N[-1] - times_N[0]) * tick_seconds))
    return float(counts[is_like].sum() / (durations[is_like].sum() * tick_seconds))


def pause_seconds(fps: float) -> float:
    """Return the longest step between frames that is not a pause, at a rate."""
    return max(_PAUSE_STEPS / fps, _PAUSE_SECONDS)


def after_pauses(time_seconds_N: F64, fps: float, stride: int = 1) -> I64:
    """Return the positions of the times that follow a pause, of every `stride`-th frame of a video of that rate."""
    longest = pause_seconds(fps) + (stride - 1) / fps
    return np.flatnonzero(np.diff(time_seconds_N) > longest) + 1


def covered_seconds(time_seconds_T: F64, fps: float) -> F64:
    """Return how long each frame is shown, (T,): until the next one, at the rate before a pause and at the end."""
    if not len(time_seconds_T):
        return np.empty(0)
    covered = np.append(np.diff(time_seconds_T), 1 / fps)
    covered[after_pauses(time_seconds_T, fps) - 1] = 1 / fps
    return covered


def describe_pauses(time_seconds_T: F64, fps: float) -> str | None:
    """Return in words where a video's recording pauses, None where it does not."""
    after = after_pauses(time_seconds_T, fps)
    if not after.size:
        return None
    lengths = time_seconds_T[after] - time_seconds_T[after - 1]
    longest = int(np.argmax(lengths))
    where = f"{lengths[longest]:,.1f} s after frame {after[longest] - 1}"
    count = f"a pause of {where}" if len(after) == 1 else f"{len(after):,} pauses, the longest of {where}"
    return f"{count}: motion and smoothing do not reach across"
