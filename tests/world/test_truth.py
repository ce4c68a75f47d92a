import numpy as np
import pytest

from raypipe.world.clips import Seen
from raypipe.world.folder import truth_text
from raypipe.world.truth import match, read_truth


def seen(track_id, box, visible=1.0, class_name="person", action="walking", whole=None):
    return Seen(track_id, box, whole or box, visible, class_name, action, f"a man is {action}", action != "walking")


def test_truth_reads_back(tmp_path):
    shown = [
        [seen(2, (1.0, 2.0, 11.0, 32.0), whole=(1.0, 2.0, 11.0, 92.0)), seen(1, (0.0, 0.0, 3.9, 20.0))],
        [],
        [seen(1, (5.0, 5.0, 15.0, 35.0), 0.249), seen(3, (0.0, 0.0, 8.0, 9.0), 1.0, "vehicle", "driving")],
    ]
    (tmp_path / "a.csv").write_text(truth_text(shown))
    truth = read_truth(tmp_path / "a.csv")
    assert truth.frame.tolist() == [0, 0, 2, 2]
    assert truth.boxes[1].tolist() == [1, 2, 11, 32]
    assert truth.height.tolist() == [20, 30, 30, 9]
    assert truth.whole_height.tolist() == [20, 90, 30, 9]
    assert truth.visible.tolist() == [1, 1, 0.249, 1]
    assert truth.class_name.tolist() == ["person", "person", "person", "vehicle"]
    assert truth.action.tolist() == ["walking", "walking", "walking", "driving"]
    # Too narrow; clear; too hidden; too small.
    assert truth.is_clear.tolist() == [False, True, False, False]
    assert truth.of_frames(np.array([1, 2])).frame.tolist() == [2, 2]


BOX, NEAR, FAR = (0, 0, 10, 10), (0, 0, 10, 8), (40, 40, 50, 50)


@pytest.mark.parametrize(
    ("frames", "boxes", "found_frames", "found", "expected"),
    [
        ([], [], [0], [BOX], []),
        ([0], [BOX], [], [], [-1]),
        ([0, 0], [BOX, FAR], [0, 0], [FAR, BOX], [1, 0]),
        # Of another frame, and less than half of it.
        ([0], [BOX], [1], [BOX], [-1]),
        ([0], [BOX], [0], [(0, 0, 10, 4.9)], [-1]),
        ([0], [BOX], [0], [(0, 0, 10, 5)], [0]),
        # One found box is of one true one: the better fit.
        ([3, 3], [NEAR, BOX], [3], [BOX], [-1, 0]),
        ([0, 1], [BOX, BOX], [0, 1, 1], [FAR, FAR, BOX], [-1, 2]),
    ],
)
def test_match(frames, boxes, found_frames, found, expected):
    arrays = [np.array(frames, np.int64), np.array(boxes, float).reshape(-1, 4)]
    arrays += [np.array(found_frames, np.int64), np.array(found, float).reshape(-1, 4)]
    assert match(*arrays).tolist() == expected
