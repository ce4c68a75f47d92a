import numpy as np
import pytest

from raypipe.ops.snippets import add_objects, means, num_snippets


@pytest.mark.parametrize(("num_frames", "expected"), [(0, 0), (1, 1), (16, 1), (17, 2), (32, 2), (33, 3)])
def test_a_shorter_snippet_at_the_end_counts(num_frames, expected):
    assert num_snippets(num_frames, 16) == expected


def test_objects_of_a_snippet_are_averaged_whatever_frame_they_are_in():
    sums, counts = np.zeros((3, 2)), np.zeros(3, np.int64)
    # Snippets of 4 frames; two objects in frame 1, one in frame 3; nothing in 4..7; one in frame 8.
    features = np.array([[9, 0], [1, 10], [2, 20], [6, 60]], np.float32)
    add_objects(sums, counts, [8, 1, 1, 3], features, 4)
    np.testing.assert_array_equal(counts, [3, 0, 1])
    np.testing.assert_array_equal(means(sums, counts), [[3, 30], [0, 0], [9, 0]])
    assert means(sums, counts).dtype == np.float32
    # Another segment of the video, in which frame 3 has one object more.
    add_objects(sums, counts, [3], np.array([[7, 6]], np.float32), 4)
    np.testing.assert_array_equal(means(sums, counts)[0], [4, 24])
    add_objects(sums, counts, [], np.zeros((0, 2), np.float32), 4)
    assert counts.sum() == 5


@pytest.mark.parametrize("frame", [-1, 12])
def test_frames_outside_the_video_are_refused(frame):
    with pytest.raises(ValueError, match="outside 3 snippets of 4"):
        add_objects(np.zeros((3, 1)), np.zeros(3, np.int64), [frame], np.ones((1, 1), np.float32), 4)
