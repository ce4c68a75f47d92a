import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.ops.tracks import associate, link, match


@pytest.mark.parametrize(
    ("overlaps", "matching", "expected"),
    [
        ([[0.9, 0.8], [0.7, 0.0]], "greedy", [[0, 0]]),
        ([[0.9, 0.8], [0.7, 0.0]], "hungarian", [[0, 1], [1, 0]]),
        ([[0.29]], "greedy", []),
        ([[0.29]], "hungarian", []),
        ([[0.3]], "hungarian", [[0, 0]]),
        ([[0.5, 0.5]], "greedy", [[0, 0]]),
        ([[], []], "greedy", []),
    ],
)
def test_match(overlaps, matching, expected):
    assert match(np.array(overlaps, float), 0.3, matching).tolist() == expected


def test_hungarian_keeps_a_pair_that_two_forbidden_ones_outweigh():
    # 0.29 + 0.29 > 0.5, but only 0.5 is a match at all.
    overlaps = np.array([[0.5, 0.29], [0.29, 0.0]])
    assert match(overlaps, 0.3, "hungarian").tolist() == [[0, 0]]


def track(rows, **options):
    """Associate rows of (frame, x) as 10x10 boxes at (x, 0)."""
    boxes = np.array([[x, 0, x + 10, 10] for _, x in rows], np.float32).reshape(-1, 4)
    offsets = np.array([frame for frame, _ in rows], np.int64)
    return associate(boxes, offsets, **({"min_iou": 0.3, "max_gap_frames": 1} | options)).tolist()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([(0, 0), (1, 2), (2, 4)], [0, 0, 0]),
        ([(0, 0), (1, 50)], [0, 1]),
        ([(0, 0), (2, 0)], [0, 0]),
        ([(0, 0), (3, 0)], [0, 1]),
        ([(0, 0), (0, 30), (1, 31), (1, 1)], [0, 1, 1, 0]),
        ([(5, 0), (5, 1)], [0, 1]),
    ],
    ids=["nothing", "moving", "jumping", "gap of one", "gap of two", "two, order swapped", "same frame, same place"],
)
@pytest.mark.parametrize("matching", ["greedy", "hungarian"])
def test_associate(rows, expected, matching):
    assert track(rows, matching=matching) == expected


def test_associate_refuses_frames_out_of_order():
    with pytest.raises(ValueError, match="must not decrease"):
        track([(1, 0), (0, 0)])


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 60)), max_size=25).map(sorted))
def test_a_track_has_one_box_a_frame_and_ids_count_from_zero(rows):
    ids = track(rows)
    frames = [frame for frame, _ in rows]
    assert len(set(zip(frames, ids, strict=True))) == len(rows)
    assert sorted(set(ids)) == list(range(len(set(ids))))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(10, 14)), min_size=1, max_size=4), st.integers(8, 20))
def test_warmup_carries_ids_over_a_border(walkers, border):
    # Walkers on lanes of their own, so that the truth is known: each keeps one id over the border.
    def boxes_of(first, last):
        rows = [
            (frame, [lane * 40, start + frame, lane * 40 + 10, start + frame + 10])
            for frame in range(first, last)
            for lane, (start, _) in enumerate(walkers)
        ]
        offsets = np.array([frame - first for frame, _ in rows])
        boxes = np.array([box for _, box in rows], np.float32)
        ids = associate(boxes, offsets, min_iou=0.3, max_gap_frames=2).tolist()
        places = [(frame, lane) for frame in range(first, last) for lane in range(len(walkers))]
        return dict(zip(places, ids, strict=True))

    before, after = boxes_of(0, border), boxes_of(border - 4, border + 8)
    mapping = link(before, {place: own for place, own in after.items() if place[0] < border})
    joined = {place: mapping[own] for place, own in after.items()}
    assert all(joined[frame, lane] == before[0, lane] for frame, lane in joined)


@pytest.mark.parametrize(
    ("known", "warmup", "expected"),
    [
        ({}, {(3, 0): 0}, {}),
        ({(3, 0): 7}, {(3, 0): 0}, {0: 7}),
        ({(3, 0): 7, (4, 0): 8}, {(3, 0): 0, (4, 0): 0}, {0: 8}),
        ({(3, 0): 7, (4, 0): 7}, {(3, 0): 0, (4, 0): 1}, {1: 7}),
        ({(3, 0): 7, (3, 1): 9}, {(3, 0): 1, (3, 1): 0}, {1: 7, 0: 9}),
    ],
    ids=["nothing known", "one", "the latest frame decides", "two never become one", "crossed"],
)
def test_link(known, warmup, expected):
    assert link(known, warmup) == expected
