"""Alarms that frame scores raise at a threshold: how many are false, and how soon events are found.

A frame is alarmed where its score is at or above the threshold; one without a score (NaN) never is. An *alarm* is a
span from one alarmed frame to another, in which no more than `gap_frames` quiet frames follow one another. An *event*
is a longest run of abnormal frames. An alarm that holds no abnormal frame is *false*; an event is *detected* where an
alarm holds one of its frames, with the delay from its first frame to the alarm's first, 0 where the alarm came before.
Spans are half-open pairs of frame indices of one video.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]
Spans = NDArray[np.int64]


class Levels(NamedTuple):
    """False alarms at every threshold: the one of position i is there at thresholds in (low[i], high[i]]."""

    low: F64
    high: F64


def events_of(label_T: ArrayLike) -> Spans:
    """Return the events of a video, (E, 2), in the order of time."""
    edges = np.diff(np.asarray(label_T).astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(edges).reshape(-1, 2)


def alarm_spans(score_T: ArrayLike, threshold: float, gap_frames: int) -> Spans:
    """Return the alarms of a video, (A, 2), in the order of time."""
    # A comparison with NaN is false.
    alarmed = np.flatnonzero(np.asarray(score_T, np.float64) >= threshold)
    if not alarmed.size:
        return np.empty((0, 2), np.int64)
    breaks = np.flatnonzero(np.diff(alarmed) > gap_frames + 1)
    firsts = alarmed[np.append(0, breaks + 1)]
    lasts = alarmed[np.append(breaks, len(alarmed) - 1)]
    return np.stack((firsts, lasts + 1), axis=1)


def is_false(alarms: Spans, label_T: ArrayLike) -> NDArray[np.bool_]:
    """Return for each alarm whether it holds no abnormal frame, (A,)."""
    before = np.concatenate(([0], np.cumsum(np.asarray(label_T).astype(np.int64))))
    return np.asarray(before[alarms[:, 1]] == before[alarms[:, 0]])


def delays_of(events: Spans, alarms: Spans) -> NDArray[np.int64]:
    """Return each event's delay in frames, (E,), -1 where it was missed."""
    if not len(alarms):
        return np.full(len(events), -1)
    # The first alarm that is not over when the event starts.
    position = np.searchsorted(alarms[:, 1], events[:, 0], side="right")
    start = np.append(alarms[:, 0], np.iinfo(np.int64).max)[position]
    return np.where(start < events[:, 1], np.maximum(start - events[:, 0], 0), -1)


def false_alarm_levels(score_T: ArrayLike, label_T: ArrayLike, gap_frames: int) -> Levels:
    """Return when each possible false alarm of a video is there, without trying any threshold.

    An alarm begins with a frame i at thresholds up to its score, but above the scores of the `gap_frames` + 1 frames
    before it. It is false unless it goes on to the next event, which it does at thresholds up to the least, over all
    frames between, of the highest of the `gap_frames` + 1 scores that follow.
    """
    score = np.asarray(score_T, np.float64)
    label = np.asarray(label_T).astype(bool)
    score = np.where(np.isnan(score), -np.inf, score)
    before, after = _highest_around(score, gap_frames + 1)
    low = before
    quiet_since = 0
    for start, stop in events_of(label):
        reach = np.minimum.accumulate(after[quiet_since:start][::-1])[::-1]
        low[quiet_since:start] = np.maximum(low[quiet_since:start], reach)
        quiet_since = stop
    possible = ~label & (score > low)
    return Levels(low[possible], score[possible])


def _highest_around(score_T: F64, size: int) -> tuple[F64, F64]:
    """Return the highest of the `size` scores before each frame, and of those after it, (T,) each."""
    from scipy.ndimage import maximum_filter1d

    # The filter's window of position c begins at c - size // 2.
    padded = np.pad(score_T, size, constant_values=-np.inf)
    highest = maximum_filter1d(padded, size, mode="constant", cval=-np.inf)
    count = len(score_T)
    first = size // 2
    return highest[first : first + count].copy(), highest[size + first + 1 : size + first + 1 + count]


def count_at(levels: Levels, thresholds: ArrayLike) -> NDArray[np.int64]:
    """Return the number of false alarms at each threshold."""
    at = np.asarray(thresholds, np.float64)
    return (len(levels.high) - np.searchsorted(np.sort(levels.high), at)) - (
        len(levels.low) - np.searchsorted(np.sort(levels.low), at)
    )


def threshold_at(levels: Levels, score_N: ArrayLike, max_false_alarms: float) -> float | None:
    """Return the lowest score that, as a threshold, gives at most so many false alarms, as do all above it.

    `score_N` are the scores that may be a threshold. At low thresholds alarms grow together, so that there are fewer
    while ever more time is alarmed: where there are never too many, the threshold is the highest that has the most.
    None where the highest score already gives too many.
    """
    score = np.asarray(score_N, np.float64)
    # The number of false alarms only grows, on the way down, where an alarm begins.
    highs = np.sort(levels.high)
    counts = count_at(levels, highs)
    too_many = highs[counts > max_false_alarms]
    if too_many.size:
        allowed = score[score > too_many[-1]]
    elif counts.size:
        return float(highs[counts == counts.max()][-1])
    else:
        allowed = score[~np.isnan(score)]
    return float(allowed.min()) if allowed.size else None
