import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.ops.findings import (
    find_peaks,
    frame_ends,
    motion_words,
    nearest_true,
    step_maxima,
    strongest_tracks,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("score", "gap", "count", "expected"),
    [
        ([0, 3, 0, 2, 0], 1, 9, [1, 3]),
        ([0, 2, 0, 3, 0], 1, 9, [3, 1]),
        ([0, 3, 0, 2, 0], 1, 1, [1]),
        ([0, 3, 0, 2, 0], 3, 9, [1]),  # two seconds apart
        ([0, 2, 0, 2, 0], 1, 9, [1, 3]),  # of equal ones the earlier
        ([5, 1, 1, 4], 1, 9, [0, 3]),  # the ends count
        ([0, 4, 4, 4, 0], 1, 9, [2]),  # the middle of a plateau
        ([1, 1, 1], 1, 9, []),  # nothing stands out
        ([NAN, 2, 1, NAN], 1, 9, [1]),
        ([NAN, NAN], 1, 9, []),
        ([7], 1, 9, []),
        ([], 1, 9, []),
    ],
)
def test_find_peaks(score, gap, count, expected):
    found = find_peaks(score, np.arange(len(score)), min_gap_seconds=gap, max_peaks=count)
    assert found.tolist() == expected


def test_the_gap_between_peaks_is_in_seconds():
    score = [0, 3, 0, 2, 0]
    assert find_peaks(score, np.arange(5) / 10, min_gap_seconds=0.3, max_peaks=9).tolist() == [1]
    assert find_peaks(score, [0, 1, 2, 9, 10], min_gap_seconds=3, max_peaks=9).tolist() == [1, 3]


@given(st.lists(st.floats(-9, 9) | st.just(NAN), max_size=40), st.integers(1, 5))
def test_peaks_are_apart_and_no_neighbour_is_higher(score, gap):
    found = find_peaks(score, np.arange(len(score)), min_gap_seconds=gap, max_peaks=3).tolist()
    assert len(found) <= 3
    assert [score[frame] for frame in found] == sorted((score[frame] for frame in found), reverse=True)
    for frame in found:
        assert all(abs(frame - other) >= gap for other in found if other != frame)
        assert not any(score[other] > score[frame] for other in (frame - 1, frame + 1) if 0 <= other < len(score))


@pytest.mark.parametrize(
    ("mask", "frame", "expected"),
    [([0, 1, 0], 1, 1), ([1, 0, 0, 0, 1], 3, 4), ([1, 0, 1], 1, 0), ([0, 0], 0, None), ([], 0, None)],
)
def test_nearest_true(mask, frame, expected):
    assert nearest_true(mask, frame) == expected


@pytest.mark.parametrize(
    ("time", "expected"),
    [([], [0]), ([0], [0, 1]), ([0, 0.5, 1], [0, 0.5, 1, 1.5]), ([0, 1, 4], [0, 1, 4, 6]), ([2, 2], [2, 2, 3])],
)
def test_frame_ends(time, expected):
    assert frame_ends(time).tolist() == expected


@pytest.mark.parametrize(
    ("score", "time", "steps", "expected"),
    [
        ([1, 2, 3], [0, 0.04, 0.08], 9, [0, 1, 2]),  # a frame each
        ([1, 3, 5, 2], [0, 1, 2, 3], 2, [1, 2]),
        ([1, 1, 5, 5], [0, 1, 2, 3], 2, [0, 2]),  # of equal ones the first
        ([NAN, 1, NAN, NAN], [0, 1, 2, 3], 2, [1, 2]),
        ([1, 2, 3, 4], [0, 1, 2, 9], 4, [1, 2, 2, 3]),  # steps of 3 s; the third frame is shown from 2 to 9
        ([7], [0], 9, [0]),
        ([], [], 9, []),
    ],
)
def test_step_maxima(score, time, steps, expected):
    assert step_maxima(score, time, steps).tolist() == expected


@given(st.integers(1, 900), st.sampled_from([10.0, 25.0, 30000 / 1001]))
def test_frames_of_a_short_video_are_its_steps(num_frames, rate):
    score = np.random.default_rng(num_frames).random(num_frames)
    assert step_maxima(score, np.arange(num_frames) / rate, 900).tolist() == list(range(num_frames))
    few = step_maxima(score, np.arange(num_frames) / rate, 7)
    assert len(few) == min(7, num_frames)
    assert score[few].max() == score.max()
    assert (np.diff(few) > 0).all()


def test_strongest_tracks():
    # Track 5 at rows 0 and 3, highest 4; track 2 at rows 1 and 4, highest 9 at the first; track 7 at row 2.
    found = strongest_tracks([5, 2, 7, 5, 2], [4, 9, 1, 3, 9], 2)
    assert found == [(2, 1, 1, 4), (5, 0, 0, 3)]
    assert strongest_tracks([5, 2, 7, 5, 2], [4, 9, 1, 3, 9], 9)[2] == (7, 2, 2, 2)
    assert strongest_tracks([], [], 3) == []


def histogram(**bins):
    found = np.zeros(8)
    for name, value in bins.items():
        found[int(name[1:])] = value
    return found


@pytest.mark.parametrize(
    ("motion", "pooling", "expected"),
    [
        (histogram(), "area", "hardly moves"),
        (histogram(b0=0.09), "area", "hardly moves"),
        # Bins 0 and 7 lie on either side of the right, 3 and 4 of the left; y points down.
        (histogram(b0=1, b7=1), "area", "moves right at 2.0 px/frame"),
        (histogram(b3=2.1, b4=2.1), "area", "moves left at 4.2 px/frame"),
        (histogram(b3=2.1, b4=2.1), "mean_per_bin", "moves left at 2.1 px/frame"),
        (histogram(b1=1, b2=1), "area", "moves down at 2.0 px/frame"),
        (histogram(b5=1, b6=1), "area", "moves up at 2.0 px/frame"),
        # Bin 2 alone is between down and down-left, at 112.5 degrees: nearer to neither, and told as the lower one.
        (histogram(b4=1, b5=2, b6=1), "area", "moves up-left at 4.0 px/frame"),
        (histogram(b0=1, b4=1), "area", "moves in several directions at 2.0 px/frame"),
        (np.full(8, 0.5), "area", "moves in several directions at 4.0 px/frame"),
    ],
)
def test_motion_words(motion, pooling, expected):
    assert motion_words(motion, pooling, "source_frame") == expected


@pytest.mark.parametrize(
    ("motion", "expected"), [(histogram(b0=2.4), "hardly moves"), (histogram(b3=50, b4=55), "moves left at 105 px/s")]
)
def test_motion_words_by_time(motion, expected):
    assert motion_words(motion, "area", "second") == expected
