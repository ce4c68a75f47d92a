import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from raypipe.ops import motion
from raypipe.ops.motion import orientation_bins, pool_histograms


def pool(vectors, inter, boxes, frames, *, pooling="area", window_frames=0, stride=1, scale=(1.0, 1.0)):
    return pool_histograms(
        np.asarray(vectors, np.int16),
        np.asarray(inter, bool),
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.asarray(frames, np.int32),
        pooling=pooling,
        window_frames=window_frames,
        stride=stride,
        scale=scale,
    )


def brute_force(vectors, inter, boxes, frames, pooling, window_frames, stride, scale):
    """The definition, block by block."""
    num_frames, rows, columns = inter.shape
    histograms = np.zeros((len(boxes), 8))
    for n, (box, frame) in enumerate(zip(boxes, frames, strict=True)):
        x1, y1, x2, y2 = (round(float(side) * 16) / 16 for side in box)
        sums, counts, num_inter = np.zeros(8), np.zeros(8), 0.0
        for t in range(max(0, frame - window_frames), min(num_frames, frame + window_frames + 1)):
            for i in range(rows):
                for j in range(columns):
                    inside = max(0, min(8 * j + 8, x2) - max(8 * j, x1)) * max(0, min(8 * i + 8, y2) - max(8 * i, y1))
                    share = inside / 64 * bool(inter[t, i, j])
                    num_inter += share
                    dx, dy = (float(vectors[t, i, j, k]) * scale[k] / 4 / stride for k in (0, 1))
                    if dx or dy:
                        b = int(math.degrees(math.atan2(dy, dx)) % 360 // 45) % 8
                        sums[b] += share * math.hypot(dx, dy)
                        counts[b] += share
        denominator = np.full(8, num_inter) if pooling == "area" else counts
        histograms[n] = np.divide(sums, denominator, out=np.zeros(8), where=denominator > 0)
    return histograms


@pytest.mark.parametrize(
    ("dx", "dy", "expected"),
    [
        (4, 0, 0),
        (5, 4, 0),
        (4, 4, 1),
        (1, 9, 1),
        (0, 4, 2),
        (-3, 4, 2),
        (-4, 4, 3),
        (-9, 1, 3),
        (-4, 0, 4),
        (-5, -4, 4),
        (-4, -4, 5),
        (-1, -9, 5),
        (0, -4, 6),
        (3, -4, 6),
        (4, -4, 7),
        (9, -1, 7),
    ],
)
def test_bins_and_their_edges(dx, dy, expected):
    assert orientation_bins(np.array([dx]), np.array([dy])).tolist() == [expected]
    histogram = pool([[[[dx, dy]]]], [[[True]]], [0, 0, 8, 8], [0])[0]
    assert histogram[expected] == pytest.approx(math.hypot(dx, dy) / 4)
    assert np.count_nonzero(histogram) == 1


# One frame of 2 x 3 blocks: right by 1 px, right by 3 px, still; down by 2 px, intra, left by 1 px.
VECTORS = [[[[4, 0], [12, 0], [0, 0]], [[0, 8], [99, 99], [-4, 0]]]]
INTER = [[[True, True, True], [True, False, True]]]
WHOLE = [0, 0, 24, 16]


@pytest.mark.parametrize(
    ("pooling", "box", "expected"),
    [
        # Bin 0: 1 and 3 px; bin 2: 2 px; bin 4: 1 px; five inter blocks.
        ("mean_per_bin", WHOLE, {0: 2, 2: 2, 4: 1}),
        ("area", WHOLE, {0: 4 / 5, 2: 2 / 5, 4: 1 / 5}),
        # Left column: both inter.
        ("mean_per_bin", [0, 0, 8, 16], {0: 1, 2: 2}),
        ("area", [0, 0, 8, 16], {0: 0.5, 2: 1}),
        # Half of each of two blocks; a quarter of one and three quarters of the other.
        ("area", [4, 0, 12, 8], {0: 2}),
        ("area", [6, 0, 14, 8], {0: 0.25 + 2.25}),
        ("mean_per_bin", [6, 0, 14, 8], {0: 0.25 + 2.25}),
        # Half of each: 1 px right, 2 px down, 3 px right; the intra block does not count.
        ("area", [4, 4, 12, 12], {0: 4 / 3, 2: 2 / 3}),
        # The intra block alone, the still block alone: no motion.
        ("area", [8, 8, 16, 16], {}),
        ("mean_per_bin", [8, 8, 16, 16], {}),
        ("area", [16, 0, 24, 8], {}),
        # Inside one block; outside the picture.
        ("area", [13, 1, 15, 3], {0: 3}),
        ("area", [-50, -50, -40, -40], {}),
        ("area", [100, 100, 110, 110], {}),
        # Beyond the picture on every side: the whole picture.
        ("area", [-99, -99, 99, 99], {0: 4 / 5, 2: 2 / 5, 4: 1 / 5}),
    ],
)
def test_hand_computed(pooling, box, expected):
    histogram = pool(VECTORS, INTER, box, [0], pooling=pooling)
    np.testing.assert_allclose(histogram[0], [expected.get(b, 0) for b in range(8)], rtol=1e-6)
    assert histogram.dtype == np.float32


@pytest.mark.parametrize(
    ("frame", "window_frames", "expected"),
    [(0, 0, 1), (2, 0, 3), (0, 1, 1.5), (1, 1, 2), (3, 1, 3.5), (1, 9, 2.5), (3, 2, 3)],
)
def test_window_pools_neighbours_as_far_as_there_are_such(frame, window_frames, expected):
    # Frame t moves right by t + 1 pixels.
    vectors = np.zeros((4, 1, 1, 2))
    vectors[:, 0, 0, 0] = [4, 8, 12, 16]
    for pooling in ("area", "mean_per_bin"):
        histogram = pool(
            vectors, np.ones((4, 1, 1)), [0, 0, 8, 8], [frame], pooling=pooling, window_frames=window_frames
        )
        assert histogram[0, 0] == pytest.approx(expected)


def test_stride_and_scale_give_source_pixels_a_source_frame():
    vectors, inter = [[[[8, 8]]]], [[[True]]]
    # 2 px right and down between frames that are 2 apart: 1 and 1 a frame.
    assert pool(vectors, inter, [0, 0, 8, 8], [0], stride=2)[0, 1] == pytest.approx(math.sqrt(2))
    # Decoded at half the width and a third of the height: 4 and 6 px, which is below 90 but above 45 degrees.
    assert pool(vectors, inter, [0, 0, 8, 8], [0], scale=(2, 3))[0, 1] == pytest.approx(math.hypot(4, 6))
    # Stretched sideways the direction falls below 45 degrees.
    assert pool(vectors, inter, [0, 0, 8, 8], [0], scale=(3, 2))[0, 0] == pytest.approx(math.hypot(6, 4))


def test_no_objects():
    assert pool(VECTORS, INTER, np.empty((0, 4)), []).shape == (0, 8)


def test_no_motion_is_exactly_zero_beside_large_motion():
    vectors = np.full((70, 6, 6, 2), 8191)
    vectors[:, :2, :2] = 0
    histograms = pool(vectors, np.ones((70, 6, 6)), np.tile([0, 0, 16, 16], (70, 1)), np.arange(70), window_frames=4)
    assert not histograms.any()


@st.composite
def scenes(draw):
    num_frames, rows, columns = (draw(st.integers(1, 5)) for _ in range(3))
    shape = (num_frames, rows, columns)
    vectors = draw(arrays.arrays(np.int16, (*shape, 2), elements=st.integers(-9, 9)))
    inter = draw(arrays.arrays(np.bool_, shape))
    num_objects = draw(st.integers(0, 4))
    corners = st.floats(-20, 60, width=32)
    boxes = [
        sorted([draw(corners), draw(corners)]) + sorted([draw(corners), draw(corners)]) for _ in range(num_objects)
    ]
    boxes = np.array(boxes, np.float32).reshape(-1, 4)[:, [0, 2, 1, 3]]
    frames = np.array([draw(st.integers(0, num_frames - 1)) for _ in range(num_objects)], np.int32)
    return vectors, inter, boxes, frames


@settings(max_examples=150, deadline=None)
@given(
    scenes(),
    st.sampled_from(["area", "mean_per_bin"]),
    st.integers(0, 3),
    st.integers(1, 3),
    st.sampled_from([(1.0, 1.0), (2.0, 2.0), (1.5, 3.0)]),
    st.sampled_from([1, 2, 64]),
)
def test_equals_the_definition(scene, pooling, window_frames, stride, scale, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(motion, "_CHUNK_FRAMES", chunk)
        fast = pool(*scene, pooling=pooling, window_frames=window_frames, stride=stride, scale=scale)
    slow = brute_force(*scene, pooling, window_frames, stride, scale)
    np.testing.assert_allclose(fast, slow, rtol=1e-5, atol=1e-7)


@settings(max_examples=50, deadline=None)
@given(scenes(), st.sampled_from(["area", "mean_per_bin"]), st.integers(0, 2))
def test_turning_the_motion_round_turns_the_histogram(scene, pooling, window_frames):
    vectors, inter, boxes, frames = scene
    ahead = pool(vectors, inter, boxes, frames, pooling=pooling, window_frames=window_frames)
    back = pool(-vectors, inter, boxes, frames, pooling=pooling, window_frames=window_frames)
    np.testing.assert_array_equal(back, np.roll(ahead, 4, axis=1))
    assert (ahead >= 0).all()
