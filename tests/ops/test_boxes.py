import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.ops.boxes import clip, expand, iou, keep, sliding_windows


@pytest.mark.parametrize(
    ("box", "fraction", "expected"),
    [
        ([10, 20, 30, 60], 0.5, [0, 0, 40, 80]),
        ([10, 20, 30, 60], 0.0, [10, 20, 30, 60]),
        ([0, 0, 4, 8], 0.25, [-1, -2, 5, 10]),
    ],
)
def test_expand_grows_every_side(box, fraction, expected):
    assert expand(np.array([box]), fraction).tolist() == [expected]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([-5, -5, 10, 10], [0, 0, 10, 10]),
        ([90, 40, 120, 60], [90, 40, 100, 50]),
        ([200, 200, 220, 220], [100, 50, 100, 50]),
    ],
)
def test_clip_to_a_frame_of_100_by_50(box, expected):
    assert clip(np.array([box]), 100, 50).tolist() == [expected]


@pytest.mark.parametrize(
    ("box", "confidence", "kept"),
    [
        ([0, 0, 10, 10], 0.5, True),
        ([0, 0, 10, 10], 0.49, False),
        ([0, 0, 3.9, 10], 0.9, False),
        ([0, 0, 10, 3.9], 0.9, False),
        ([0, 0, 4, 4], 0.9, True),
        ([5, 5, 5, 20], 0.9, False),
    ],
)
def test_keep_confident_and_large(box, confidence, kept):
    result = keep(np.array([box], np.float32), np.array([confidence]), min_confidence=0.5, min_side_pixels=4)
    assert result.tolist() == [kept]


def test_boxes_without_area_are_never_kept():
    boxes = np.array([[5, 5, 5, 20], [7, 7, 6, 9]], np.float32)
    assert not keep(boxes, np.ones(2), min_confidence=0, min_side_pixels=0).any()


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0, 0, 10, 10], [0, 0, 10, 10], 1.0),
        ([0, 0, 10, 10], [5, 0, 15, 10], 1 / 3),
        ([0, 0, 10, 10], [10, 0, 20, 10], 0.0),
        ([0, 0, 10, 10], [2, 2, 4, 4], 0.04),
        ([3, 3, 3, 3], [3, 3, 3, 3], 0.0),
    ],
)
def test_iou(first, second, expected):
    assert iou(np.array([first]), np.array([second]))[0, 0] == pytest.approx(expected)


boxes = st.lists(st.tuples(*[st.integers(0, 50)] * 2, *[st.integers(1, 50)] * 2), min_size=1, max_size=8).map(
    lambda sides: np.array([[x, y, x + w, y + h] for x, y, w, h in sides], np.float32)
)


@given(boxes, boxes)
def test_iou_is_symmetric_and_within_0_and_1(first, second):
    forth, back = iou(first, second), iou(second, first)
    assert np.array_equal(forth, back.T)
    assert ((forth >= 0) & (forth <= 1)).all()
    assert iou(first, first).diagonal() == pytest.approx(np.ones(len(first)))


@pytest.mark.parametrize(
    ("size", "window", "step", "expected"),
    [
        ((100, 60), 60, 30, [[0, 0, 60, 60], [30, 0, 90, 60], [40, 0, 100, 60]]),
        ((60, 60), 60, 30, [[0, 0, 60, 60]]),
        ((40, 100), 60, 60, [[0, 0, 40, 60], [0, 40, 40, 100]]),
    ],
)
def test_sliding_windows(size, window, step, expected):
    assert sliding_windows(*size, window, step).tolist() == expected


@given(st.integers(1, 200), st.integers(1, 200), st.integers(8, 120), st.integers(1, 60))
def test_sliding_windows_cover_the_frame_where_steps_do_not_jump(width, height, window, step):
    covered = np.zeros((height, width), bool)
    for x1, y1, x2, y2 in sliding_windows(width, height, window, min(step, window)).astype(int):
        assert (x2 - x1, y2 - y1) == (min(window, width), min(window, height))
        covered[y1:y2, x1:x2] = True
    assert covered.all()
