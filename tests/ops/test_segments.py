import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.ops.segments import decoded_size, plan_segments


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        ((640, 480), None, (640, 480)),
        ((640, 480), 640, (640, 480)),
        ((640, 480), 320, (320, 240)),
        ((480, 640), 320, (240, 320)),
        ((101, 50), 50, (50, 25)),
        ((1000, 1), 100, (100, 1)),
    ],
)
def test_decoded_size(size, max_side, expected):
    assert decoded_size(*size, max_side) == expected


def test_segments_by_hand():
    # 20 frames of 10 bytes, stride 2: 10 sampled frames; 80 bytes hold 8, of which 2 + 1 overlap.
    segments = plan_segments(20, 10, segment_bytes=80, stride=2, warmup_frames=2, lookahead_frames=1)
    assert [(s.start_frame, s.stop_frame, s.num_warmup, s.num_lookahead) for s in segments] == [
        (0, 10, 0, 1),
        (10, 20, 2, 0),
    ]
    assert [s.frame_indices.tolist() for s in segments] == [[0, 2, 4, 6, 8, 10], [6, 8, 10, 12, 14, 16, 18]]
    assert [s.num_body for s in segments] == [5, 5]


@pytest.mark.parametrize(
    ("num_frames", "segment_bytes", "count"), [(0, 100, 0), (1, 100, 1), (10, 100, 1), (11, 100, 2), (999, None, 1)]
)
def test_number_of_segments_of_ten_frames(num_frames, segment_bytes, count):
    assert len(plan_segments(num_frames, 10, segment_bytes=segment_bytes)) == count


def test_a_budget_below_the_overlap_still_gives_bodies_as_long_as_the_overlap():
    segments = plan_segments(100, 1000, segment_bytes=1, warmup_frames=16, lookahead_frames=4)
    assert [s.num_body for s in segments] == [20] * 5


@given(
    num_frames=st.integers(1, 300),
    stride=st.integers(1, 7),
    budget=st.one_of(st.none(), st.integers(1, 400)),
    warmup=st.integers(0, 20),
    lookahead=st.integers(0, 8),
)
def test_bodies_tile_the_video_and_fit_the_budget(num_frames, stride, budget, warmup, lookahead):
    segments = plan_segments(
        num_frames, 1, segment_bytes=budget, stride=stride, warmup_frames=warmup, lookahead_frames=lookahead
    )
    bodies = [s.frame_indices[s.num_warmup : len(s.frame_indices) - s.num_lookahead] for s in segments]
    assert np.concatenate(bodies).tolist() == list(range(0, num_frames, stride))
    assert [s.start_frame for s in segments] == [0, *(s.stop_frame for s in segments[:-1])]
    assert segments[-1].stop_frame == num_frames
    assert max(map(len, bodies)) - min(map(len, bodies)) <= 1
    if budget is not None and budget >= 2 * (warmup + lookahead) + 1:
        assert max(len(s.frame_indices) for s in segments) <= budget
    for segment in segments:
        assert (np.diff(segment.frame_indices) == stride).all()
