import numpy as np
import pytest
from pydantic import ValidationError

from raypipe.api.media import read_video
from raypipe.config.stages import MotionConfig, radius_frames
from raypipe.errors import SchemaError
from raypipe.ops.motion import find_repeats, pool_histograms
from raypipe.stages.motion import ExtractMotion, PoolMotion
from raypipe.video.hevc_encoder import encode_motion, to_luma
from tests.helpers.clips import moving_squares, write_clip


def decoded_row(frames, *, width, height, stride=1, fps=10.0):
    num_frames = len(frames)
    return {
        "video_id": "a",
        "uri": "a.mp4",
        "split": "test",
        "fps": fps,
        "num_frames": num_frames * stride,
        "width": width,
        "height": height,
        "segment_index": 0,
        "num_segments": 1,
        "start_frame": 0,
        "stop_frame": num_frames * stride,
        "num_warmup": 0,
        "num_lookahead": 0,
        "stride": stride,
        "frame_indices": np.arange(num_frames) * stride,
        "frame_pts": np.arange(num_frames) * stride,
        "time_seconds": np.arange(num_frames) * stride / fps,
        "seek_dts": 0,
        "seek_pts": 0,
        "is_numbered": False,
        "stream": 0,
        "frames": frames,
    }


def with_objects(row, boxes, frame_offset):
    count = len(boxes)
    return row | {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "frame_offset": np.array(frame_offset, np.int32),
        "confidence": np.ones(count, np.float32),
        "class_name": np.array(["person"] * count, object),
        "track_id": np.arange(count),
    }


@pytest.mark.parametrize(
    ("window_seconds", "fps", "stride", "expected"),
    [(0.8, 10, 1, 4), (0.8, 25, 1, 10), (0.8, 25, 2, 5), (0, 25, 1, 0), (0.8, 10, 8, 0), (0.1, 30, 1, 2)],
)
def test_window_in_frames(window_seconds, fps, stride, expected):
    assert radius_frames(MotionConfig(window_seconds=window_seconds), fps, stride) == expected


def test_motion_is_that_of_the_luma():
    frames = moving_squares(4, 96, 64)
    row = ExtractMotion()(decoded_row(frames, width=96, height=64))
    vectors, inter = encode_motion(to_luma(frames))
    np.testing.assert_array_equal(row["vectors"], vectors)
    np.testing.assert_array_equal(row["inter"], inter)
    assert row["frames"] is frames


def test_objects_get_histograms_and_the_vectors_go():
    frames = moving_squares(6, 96, 64)
    row = ExtractMotion()(decoded_row(frames, width=96, height=64))
    boxes = [[0, 0, 40, 40], [30, 10, 90, 60], [5, 5, 6, 6]]
    config = MotionConfig(window_seconds=0.4, unit="source_frame")
    pooled = PoolMotion(config)(with_objects(row, boxes, [1, 3, 5]))
    expected = pool_histograms(
        row["vectors"],
        row["inter"],
        np.array(boxes, np.float32),
        np.array([1, 3, 5]),
        pooling="area",
        window_frames=2,
        stride=1,
    )
    np.testing.assert_array_equal(pooled["motion"], expected)
    assert "vectors" not in pooled
    assert "inter" not in pooled
    assert "spans" not in pooled
    assert "vectors" in row


def test_boxes_and_motion_are_in_source_pixels():
    # Decoded at a quarter of the source's size, every second frame: everything moves right by 2 decoded pixels.
    row = decoded_row(np.zeros((3, 16, 24, 3), np.uint8), width=96, height=64, stride=2)
    vectors = np.zeros((3, 2, 3, 2), np.int16)
    vectors[:, :, 2] = [8, 0]
    row |= {"vectors": vectors, "inter": np.ones((3, 2, 3), bool), "spans": np.ones(3, np.int16)}
    # The third column of blocks is x = 64..96 in the source.
    row = with_objects(row, [[64, 0, 96, 64], [0, 0, 64, 64]], [1, 1])
    motion = PoolMotion(MotionConfig(window_seconds=0, unit="source_frame"))(row)["motion"]
    assert motion[0].tolist() == [4, 0, 0, 0, 0, 0, 0, 0]
    assert not motion[1].any()
    # 10 frames a second.
    motion = PoolMotion(MotionConfig(window_seconds=0, unit="second"))(row)["motion"]
    assert motion[0].tolist() == [40, 0, 0, 0, 0, 0, 0, 0]


def sliding(shifts, *, width=64, height=48):
    """A texture that moves right by the given pixels from frame to frame, gray as RGB."""
    texture = np.kron(np.random.default_rng(0).integers(30, 220, (height // 4, 64)), np.ones((4, 4))).astype(np.uint8)
    offsets = 160 - np.cumsum([0, *shifts])
    return np.stack([np.repeat(texture[:, x : x + width, None], 3, axis=2) for x in offsets])


def speeds(frames, unit="source_frame", time_seconds=None, window_seconds=0.0, **changes):
    """The motion to the right of the middle of each frame."""
    row = decoded_row(frames, width=64, height=48, **changes)
    if time_seconds is not None:
        row["time_seconds"] = np.array(time_seconds, float)
    count = len(frames)
    row = with_objects(ExtractMotion()(row), [[16, 16, 48, 32]] * count, range(count))
    return PoolMotion(MotionConfig(window_seconds=window_seconds, unit=unit))(row)["motion"][:, 0].tolist()


REPEATED = [
    # Every second frame is the one before once more: 2 pixels a frame, not 0 and 4. What follows the last is unknown.
    ([0, 4, 0, 4, 0, 4], [0, 2, 2, 2, 2, 2, 2]),
    ([4, 0, 4, 0], [0, 4, 2, 2, 0]),
    # Two repeats in three.
    ([3, 0, 0, 6, 0, 0, 6], [0, 3, 2, 2, 2, 2, 2, 2]),
    ([2, 2, 2, 2], [0, 2, 2, 2, 2]),
    # Nothing moves any more: a still scene.
    ([4, 0, 0, 0], [0, 4, 0, 0, 0]),
    # More than five repeats: it stood still, and moves on.
    ([2, 0, 0, 0, 0, 0, 0, 2], [0, 2, 0, 0, 0, 0, 0, 0, 2]),
]


@pytest.mark.parametrize(
    ("codec", "options"),
    [("libx264", {}), ("libx264", {"bf": "0", "preset": "ultrafast"}), ("mpeg4", {"b": "4000k"})],
)
def test_frames_that_were_repeated_and_encoded_again(tmp_path, codec, options):
    new = sliding([4] * 11, width=96, height=96)
    path = write_clip(tmp_path / "t.mp4", np.repeat(new, 2, axis=0), codec=codec, options=options)
    luma = to_luma(read_video(path)[:])
    # From the third frame on there is a new one before it, and up to the last pair one after it.
    assert find_repeats(luma)[2:-1].tolist() == [False, True] * 10 + [False]
    assert not find_repeats(luma[::2]).any()


@pytest.mark.parametrize(("shifts", "expected"), REPEATED)
def test_repeated_frames_move_as_the_others(shifts, expected):
    assert speeds(sliding(shifts)) == expected


def test_motion_by_time_does_not_depend_on_the_rate():
    # 60 pixels a second at 30, 15 and 10 frames a second, and where every second frame of 30 is repeated.
    assert speeds(sliding([2] * 6), "second", fps=30.0)[1:] == [60] * 6
    assert speeds(sliding([4] * 3), "second", fps=15.0)[1:] == [60] * 3
    assert speeds(sliding([6] * 2), "second", fps=10.0)[1:] == [60] * 2
    assert speeds(sliding([0, 4, 0, 4]), "second", fps=30.0)[1:] == [60] * 4
    assert speeds(sliding([4] * 3), "second", fps=30.0, stride=2)[1:] == [60] * 3


def test_the_step_over_lost_frames_is_as_long_as_it_took():
    times = [0, 0.1, 0.4, 0.5]
    assert speeds(sliding([2, 6, 2]), "second", times) == [0, 20, 20, 20]
    assert speeds(sliding([2, 6, 2]), "source_frame", times) == [0, 2, 6, 2]
    # Times that tremble by less than half a step change nothing.
    assert speeds(sliding([2, 2, 2]), "second", [0, 0.06, 0.2, 0.3]) == [0, 20, 20, 20]


def test_no_window_reaches_across_a_pause_and_no_vector():
    # Twelve pixels lie between the frames before and after an hour.
    times = [0, 0.1, 0.2, 3600.2, 3600.3, 3600.4]
    shifts = [2, 2, 12, 4, 4]
    assert speeds(sliding(shifts), time_seconds=times) == [0, 2, 2, 0, 4, 4]
    assert speeds(sliding(shifts), time_seconds=times, window_seconds=0.2) == [2, 2, 2, 4, 4, 4]
    # Of a repeat behind the pause nothing is known either.
    assert speeds(sliding([2, 2, 0, 4, 4]), time_seconds=times) == [0, 2, 2, 0, 4, 4]


def test_no_objects():
    row = ExtractMotion()(decoded_row(moving_squares(2, 32, 32), width=32, height=32))
    assert PoolMotion(MotionConfig())(with_objects(row, [], []))["motion"].shape == (0, 8)


def test_rows_are_checked():
    row = decoded_row(moving_squares(2, 32, 32), width=32, height=32)
    with pytest.raises(SchemaError, match="motion: the row has no field"):
        ExtractMotion()({})
    with pytest.raises(SchemaError, match="pool_motion: the row has no field 'vectors'"):
        PoolMotion(MotionConfig())(row)


@pytest.mark.parametrize(
    "fields", [{"pooling": "max"}, {"window_seconds": -1}, {"window_seconds": float("inf")}, {"window": 1}]
)
def test_bad_configs_are_refused(fields):
    with pytest.raises(ValidationError):
        MotionConfig(**fields)
