import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypipe.models.detection.trackers import in_order_of_appearance, track

KINDS = ["bytetrack", "botsort"]


def follow(kind, rows, *, num_frames=None, frames=None, source_size=(320, 240), **options):
    """Track rows of (frame, x, confidence) as 20 x 40 boxes at (x, 50)."""
    rows = np.array(rows, np.float64).reshape(-1, 3)
    boxes = np.stack([rows[:, 1], np.full(len(rows), 50.0), rows[:, 1] + 20, np.full(len(rows), 90.0)], axis=1)
    count = num_frames or int(rows[:, 0].max(initial=0)) + 1
    frames = np.zeros((count, 60, 80, 3), np.uint8) if frames is None else frames
    return track(
        kind,
        boxes.astype(np.float32),
        rows[:, 2].astype(np.float32),
        rows[:, 0].astype(np.int64),
        frames,
        source_size=source_size,
        **({"high_confidence": 0.25, "low_confidence": 0.1, "max_gap_frames": 2} | options),
    ).tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        ([], []),
        ([(0, 0, 0.9), (1, 2, 0.9), (2, 4, 0.9)], [0, 0, 0]),
        ([(0, 0, 0.9), (0, 100, 0.8), (1, 101, 0.9), (1, 1, 0.8)], [0, 1, 1, 0]),  # order swapped
        ([(0, 0, 0.9), (1, 200, 0.9)], [0, 1]),
        # One that comes later is reported by the tracker one frame late; its first box is its own all the same.
        ([(0, 0, 0.9), (1, 0, 0.9), (1, 100, 0.9), (2, 0, 0.9), (2, 100, 0.9)], [0, 0, 1, 0, 1]),
        ([(0, 0, 0.9), (1, 0, 0.9), (1, 100, 0.9), (2, 0, 0.9)], [0, 0, 1, 0]),  # seen once
        # Two frames unseen are bridged, three are not.
        ([(0, 0, 0.9), (1, 0, 0.9), (4, 0, 0.9)], [0, 0, 0]),
        ([(0, 0, 0.9), (1, 0, 0.9), (5, 0, 0.9)], [0, 0, 1]),
        # A box of middling confidence continues a track and founds none; one of low confidence does neither.
        ([(0, 0, 0.9), (1, 0, 0.2), (2, 0, 0.9)], [0, 0, 0]),
        ([(0, 0, 0.2), (1, 0, 0.2)], [0, 1]),
        ([(0, 0, 0.9), (1, 0, 0.05), (2, 0, 0.9)], [0, 1, 0]),
        ([(0, 0, -1), (1, 0, -1)], [0, 1]),  # files that know no confidence
    ],
)
def test_track(kind, rows, ids):
    assert follow(kind, rows) == ids


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gap", [0, 1, 2, 5])
def test_a_track_may_be_unseen_for_as_long_as_it_says(kind, gap):
    for unseen in range(8):
        rows = [(0, 0, 0.9), (1, 0, 0.9), (2 + unseen, 0, 0.9)]
        assert follow(kind, rows, max_gap_frames=gap) == [0, 0, 0 if unseen <= gap else 1]


@pytest.mark.parametrize("kind", KINDS)
def test_ids_start_anew_with_every_call(kind):
    rows = [(frame, x + frame, 0.9) for frame in range(6) for x in (0, 60, 120)]
    assert follow(kind, rows) == follow(kind, rows) == [0, 1, 2] * 6


@pytest.mark.parametrize("kind", KINDS)
def test_frames_without_boxes_after_the_last_do_not_matter(kind):
    rows = [(0, 0, 0.9), (1, 2, 0.9)]
    assert follow(kind, rows, num_frames=9) == [0, 0]


def panned(step):
    """Six frames of a textured wall, over which the camera moves `step` pixels a frame."""
    wall = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).repeat(4, axis=0).repeat(4, axis=1)
    return np.stack([np.roll(wall, step * number, axis=1) for number in range(6)]).astype(np.uint8)


def test_botsort_follows_the_camera_and_bytetrack_does_not():
    # The wall and the box on it jump by 16 pixels, of the box's 20, in frame 3: IoU 4 / 36.
    wall = panned(0)
    frames = np.stack([np.roll(frame, 16 * (number >= 3), axis=1) for number, frame in enumerate(wall)])
    rows = [(number, 100 + 16 * (number >= 3), 0.9) for number in range(6)]
    assert follow("botsort", rows, frames=frames) == [0] * 6
    assert follow("bytetrack", rows, frames=frames) == [0] * 3 + [1] * 3


def test_boxes_are_brought_to_the_size_of_the_frames():
    # A source of twice the frames' size, with everything in it twice as large, is the same scene.
    wall = panned(0)
    frames = np.stack([np.roll(frame, 16 * (number >= 3), axis=1) for number, frame in enumerate(wall)])
    rows = np.array([(number, 100 + 16 * (number >= 3), 0.9) for number in range(6)])
    boxes = np.stack([rows[:, 1], np.full(6, 50), rows[:, 1] + 20, np.full(6, 90)], axis=1).astype(np.float32)
    options = {"high_confidence": 0.25, "low_confidence": 0.1, "max_gap_frames": 2}
    arguments = (rows[:, 2].astype(np.float32), np.arange(6), frames)
    assert track("botsort", boxes * 2, *arguments, source_size=(640, 480), **options).tolist() == [0] * 6


@settings(max_examples=40)
@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 60), st.sampled_from([0.05, 0.2, 0.6, 0.9])), max_size=25),
)
def test_a_track_has_one_box_a_frame_and_ids_count_from_zero(kind, rows):
    rows = sorted(rows)
    ids = follow(kind, rows)
    assert len(set(zip([frame for frame, _, _ in rows], ids, strict=True))) == len(rows)
    assert list(dict.fromkeys(ids)) == list(range(len(set(ids))))


@pytest.mark.parametrize(("ids", "expected"), [([], []), ([7, -3, 7, 1], [0, 1, 0, 2]), ([-1, -2], [0, 1])])
def test_in_order_of_appearance(ids, expected):
    assert in_order_of_appearance(np.array(ids, np.int64)).tolist() == expected
