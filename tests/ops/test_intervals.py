import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.ops.intervals import join, overlaps, runs

INTERVALS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)).map(lambda pair: (pair[0], sum(pair))))


@pytest.mark.parametrize(
    ("label", "expected"),
    [([], []), ([0, 0], []), ([1], [(0, 1)]), ([0, 1, 1, 0, 1], [(1, 3), (4, 5)]), ([1, 1, 1], [(0, 3)])],
)
def test_runs(label, expected):
    assert runs(np.array(label, bool)) == expected


@pytest.mark.parametrize(
    ("intervals", "joined", "is_overlapping"),
    [
        ([], [], False),
        ([(5, 7), (0, 2)], [(0, 2), (5, 7)], False),
        ([(0, 2), (2, 4)], [(0, 4)], False),
        ([(0, 5), (4, 6)], [(0, 6)], True),
        ([(0, 9), (3, 4), (8, 10)], [(0, 10)], True),
    ],
)
def test_join_and_overlaps(intervals, joined, is_overlapping):
    assert join(intervals) == joined
    assert overlaps(intervals) is is_overlapping


@given(INTERVALS)
def test_joined_intervals_hold_the_same_frames_once(intervals):
    frames = [frame for interval in intervals for frame in range(*interval)]
    label = np.zeros(50, bool)
    label[frames] = True
    assert join(intervals) == runs(label)
    assert overlaps(intervals) == (len(set(frames)) < len(frames))
