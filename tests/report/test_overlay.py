import numpy as np
import pytest

from raypipe.report.overlay import PAPER, RAMP, TRUTH, Canvas, DrawnObject, Timeline, colour, line_width, strength


@pytest.mark.parametrize(
    ("scores", "high", "expected"),
    [
        # Median 2, median distance 1: the logarithm of 1 + distance, over that of the highest.
        ([1, 2, 2, 3, 9], 9, [0, 0, 0, np.log(2) / np.log(8), 1]),
        ([0, 1, 2, 3, 4], 5, [0, 0, 0, np.log(2) / np.log(4), np.log(3) / np.log(4)]),
        # Errors may be negative, as those of a density.
        ([-8, -7, -6, -5, -4], -3, [0, 0, 0, np.log(2) / np.log(4), np.log(3) / np.log(4)]),
    ],
)
def test_strength(scores, high, expected):
    np.testing.assert_allclose(strength(scores, high), expected)


def test_what_is_equal_is_weak_and_what_is_above_the_highest_frame_full():
    assert strength([3, 3, 3], high=3).tolist() == [0, 0, 0]
    assert strength([0, 1, 2, 30], high=8)[3] == 1


@pytest.mark.parametrize(("value", "expected"), [(0, 1), (0.34, 1), (0.35, 2), (0.69, 2), (0.7, 4), (1, 4)])
def test_stronger_boxes_have_thicker_lines(value, expected):
    assert line_width(value) == expected


def test_colours_run_along_the_ramp():
    assert [colour(value) for value in (0, 0.5, 1)] == list(RAMP)
    assert colour(-1) == colour(0)
    assert colour(2) == colour(1)


def timeline(num_frames, *, score=True, label=True):
    time = np.arange(num_frames) / 10
    scores = np.linspace(0, 3, num_frames)
    return Timeline(time, scores if score else None, np.arange(num_frames) >= 5 if label else None)


def drawn(box=(10, 10, 30, 30), score=2.0, words="a man runs", value=1.0):
    return DrawnObject(box, 7, words, score, value)


@pytest.mark.parametrize("size", [(64, 48), (63, 47), (640, 480), (641, 361), (360, 240), (8, 8)])
def test_pictures_have_even_sides_and_are_wide_enough(size):
    canvas = Canvas("test/a", *size, timeline(10))
    width, height = canvas.size
    assert width % 2 == height % 2 == 0
    assert width >= 640
    picture = canvas.draw(0, np.zeros((size[1], size[0], 3), np.uint8), [drawn()])
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8


def test_the_frame_is_enlarged_by_a_whole_factor():
    canvas = Canvas("v", 320, 240, timeline(3))
    image = np.full((240, 320, 3), 200, np.uint8)
    assert (canvas.draw(0, image, [])[:480, :640] == 200).all()


def has_colour(picture, wanted):
    return bool((np.abs(picture.astype(int) - wanted).sum(axis=-1) < 12).any())


def test_a_strong_object_has_a_thick_box_of_its_colour():
    canvas = Canvas("v", 640, 480, timeline(10, label=False))
    image = np.full((480, 640, 3), 90, np.uint8)
    picture = canvas.draw(0, image, [drawn(box=(100, 200, 160, 300))])
    # Left edge at x 100: four pixels of colour outside it, dark ones around them.
    assert [tuple(picture[250, x]) for x in range(96, 100)] == [colour(1)] * 4
    assert tuple(picture[250, 95]) == PAPER
    weak = canvas.draw(0, image, [drawn(box=(100, 200, 160, 300), value=0.0)])
    assert tuple(weak[250, 99]) == colour(0)
    assert tuple(weak[250, 98]) == PAPER
    assert tuple(weak[250, 96]) == (90, 90, 90)


def test_a_label_stays_inside_the_frame():
    canvas = Canvas("v", 640, 480, timeline(10, label=False))
    image = np.full((480, 640, 3), 90, np.uint8)
    for box in ((600, 0, 640, 40), (0, 440, 30, 480), (-20, -20, 10, 10), (0, 0, 640, 480)):
        picture = canvas.draw(0, image, [drawn(box=box, words="long " * 60)])
        assert has_colour(picture[:480], PAPER)


def test_the_truth_marker_is_there_when_a_frame_is_labelled():
    canvas = Canvas("v", 640, 480, timeline(10))
    panel = slice(480, 480 + 46)
    marked, unmarked = (canvas.draw(frame, None, [])[panel] for frame in (7, 2))
    assert has_colour(marked, TRUTH)
    assert not has_colour(unmarked, TRUTH)


def test_the_playhead_moves_with_time():
    canvas = Canvas("v", 640, 480, timeline(10, label=False))
    # Of ten frames over 640 pixels, frame 3 is in the middle of 192..256.
    bright = (canvas.draw(3, None, [])[-20] > 200).all(axis=-1)
    assert np.flatnonzero(bright).tolist() == [224, 225]


@pytest.mark.parametrize(("score", "label"), [(False, False), (True, False), (False, True)])
def test_what_is_missing_is_left_out(score, label):
    canvas = Canvas("v", 64, 48, timeline(1, score=score, label=label))
    canvas.draw(0, None, [drawn(score=None, value=0.0)])
