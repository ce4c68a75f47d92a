import numpy as np
import pytest
from pydantic import ValidationError

from raypipe.config.stages import MotionConfig, radius_frames
from raypipe.errors import SchemaError
from raypipe.ops.motion import pool_histograms
from raypipe.stages.motion import ExtractMotion, PoolMotion
from raypipe.video.hevc import encode_motion, to_luma
from tests.helpers.clips import moving_squares


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
    pooled = PoolMotion(MotionConfig(window_seconds=0.4))(with_objects(row, boxes, [1, 3, 5]))
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
    assert "vectors" in row


def test_boxes_and_motion_are_in_source_pixels():
    # Decoded at a quarter of the source's size, every second frame: everything moves right by 2 decoded pixels.
    row = decoded_row(np.zeros((3, 16, 24, 3), np.uint8), width=96, height=64, stride=2)
    vectors = np.zeros((3, 2, 3, 2), np.int16)
    vectors[:, :, 2] = [8, 0]
    row |= {"vectors": vectors, "inter": np.ones((3, 2, 3), bool)}
    # The third column of blocks is x = 64..96 in the source.
    row = with_objects(row, [[64, 0, 96, 64], [0, 0, 64, 64]], [1, 1])
    motion = PoolMotion(MotionConfig(window_seconds=0))(row)["motion"]
    assert motion[0].tolist() == [4, 0, 0, 0, 0, 0, 0, 0]
    assert not motion[1].any()


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
