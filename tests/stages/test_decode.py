import numpy as np
import pytest
from pydantic import ValidationError

from raypipe.config.stages import DecodeConfig
from raypipe.errors import CorruptVideoError, SchemaError
from raypipe.ops.segments import decoded_size, plan_segments
from raypipe.stages.decode import DecodeFrames
from raypipe.video.folder import probe_folder
from raypipe.video.probe import probe_video, seek_point
from tests.helpers.clips import moving_squares, write_clip
from tests.video.test_folder import write_frames


def planned_rows(uri, index, *, stride=1, segment_bytes=None, warmup_frames=0):
    """Rows as the planner makes them."""
    frame_bytes = 3 * index.width * index.height
    segments = plan_segments(
        index.num_frames, frame_bytes, segment_bytes=segment_bytes, stride=stride, warmup_frames=warmup_frames
    )
    rows = []
    for segment in segments:
        seek_dts, seek_pts = seek_point(index, int(segment.frame_indices[0]))
        rows.append(
            {
                "video_id": "a",
                "uri": uri,
                "split": "test",
                "fps": index.fps,
                "num_frames": index.num_frames,
                "width": index.width,
                "height": index.height,
                "segment_index": segment.segment_index,
                "num_segments": len(segments),
                "start_frame": segment.start_frame,
                "stop_frame": segment.stop_frame,
                "num_warmup": segment.num_warmup,
                "num_lookahead": segment.num_lookahead,
                "stride": stride,
                "frame_indices": segment.frame_indices,
                "frame_pts": index.pts[segment.frame_indices],
                "time_seconds": index.time_seconds[segment.frame_indices],
                "seek_dts": seek_dts,
                "seek_pts": seek_pts,
                "is_numbered": index.is_numbered,
                "stream": index.stream if index.stream is not None else -1,
            }
        )
    return rows


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("max_side", [None, 32])
def test_segments_of_a_video_together_are_the_video(tmp_path, stride, max_side):
    path = write_clip(tmp_path / "v.mp4", moving_squares(40, 64, 48), options={"g": "9", "bf": "2"})
    index = probe_video(str(path))
    stage = DecodeFrames(DecodeConfig(stride=stride, max_side=max_side))
    (whole,) = planned_rows(str(path), index, stride=stride)
    expected = stage(whole)["frames"]
    width, height = decoded_size(64, 48, max_side)
    assert expected.shape == (-(-40 // stride), height, width, 3)
    rows = planned_rows(str(path), index, stride=stride, segment_bytes=8 * 64 * 48 * 3, warmup_frames=2)
    assert len(rows) > 2
    for row in rows:
        decoded = stage(row)
        assert decoded["segment_index"] == row["segment_index"]
        np.testing.assert_array_equal(decoded["frames"], expected[row["frame_indices"] // stride])


def test_a_frame_folder_is_decoded_alike(tmp_path):
    clip = moving_squares(10, 64, 48)
    write_frames(tmp_path / "frames", clip)
    index = probe_folder(tmp_path / "frames", 5)
    for row in planned_rows(str(tmp_path / "frames"), index, segment_bytes=4 * 64 * 48 * 3):
        frames = DecodeFrames(DecodeConfig())(row)["frames"]
        np.testing.assert_array_equal(frames, clip[row["frame_indices"]])


def test_corrupt_video_is_a_data_error(tmp_path):
    path = write_clip(tmp_path / "v.mp4", moving_squares(4, 64, 48))
    (row,) = planned_rows(str(path), probe_video(str(path)))
    path.write_bytes(b"")
    with pytest.raises(CorruptVideoError, match=r"v\.mp4: the file is empty"):
        DecodeFrames(DecodeConfig())(row)


def test_rows_are_checked():
    with pytest.raises(SchemaError, match="decode: the row has no field 'video_id'"):
        DecodeFrames(DecodeConfig())({})


@pytest.mark.parametrize("fields", [{"stride": 0}, {"max_side": 8}, {"max_size": 320}, {"stride": "many"}])
def test_bad_configs_are_refused(fields):
    with pytest.raises(ValidationError):
        DecodeConfig(**fields)
