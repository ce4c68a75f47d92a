"""Intervals of frames: 0-based and half open, as in `range`."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Interval = tuple[int, int]


def runs(label_T: NDArray[np.bool_]) -> list[Interval]:
    """Return the intervals in which frame labels, bool (T,), are true."""
    edges = np.flatnonzero(np.diff(label_T.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def join(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same frames as ascending intervals that neither overlap nor touch."""
    joined: list[Interval] = []
    for start, stop in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


def overlaps(intervals: Iterable[Interval]) -> bool:
    """Tell whether any frame is in two of the intervals."""
    ordered = sorted(intervals)
    return any(later[0] < earlier[1] for earlier, later in pairwise(ordered))
