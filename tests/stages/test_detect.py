import numpy as np
import pytest
from pydantic import ValidationError

from raypipe.datasets.mot import read_mot
from raypipe.errors import AnnotationError, SchemaError
from raypipe.stages.detect import DetectObjects, DetectorConfig, TracksConfig
from tests.stages.test_motion import decoded_row


def row_of(num_frames, *, num_lookahead=0, start=0, stride=1, width=100, height=80, video_frames=None):
    row = decoded_row(np.zeros((num_frames, 8, 10, 3), np.uint8), width=width, height=height, stride=stride)
    row |= {"frame_indices": start + np.arange(num_frames) * stride, "num_lookahead": num_lookahead}
    return row | {"num_frames": video_frames or start + num_frames * stride, "video_id": "test/v"}


def detect(tmp_path, text, row, *, tracks=None, **config):
    path = tmp_path / "test" / "v.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    read_mot.cache_clear()
    return DetectObjects(DetectorConfig(boxes_root=str(tmp_path), **config), tracks or TracksConfig())(row)


def test_boxes_of_the_segments_frames_are_kept(tmp_path):
    # Source frames 10, 12, 14, 16, of which the last is look-ahead; MOT counts from 1.
    text = "".join(f"{frame + 1},-1,{frame},0,20,20,1\n" for frame in range(8, 18))
    found = detect(tmp_path, text, row_of(4, start=10, stride=2, num_lookahead=1))
    assert found["frame_offset"].tolist() == [0, 1, 2]
    assert found["boxes"][:, 0].tolist() == [10, 12, 14]
    assert found["track_id"].tolist() == [0, 0, 0]
    assert found["class_name"].tolist() == ["object"] * 3
    assert "frames" in found


@pytest.mark.parametrize(
    ("line", "config", "boxes"),
    [
        ("1,-1,10,10,20,20,0.4", {"min_confidence": 0.5}, []),
        ("1,-1,10,10,20,20,0.5", {"min_confidence": 0.5}, [[10, 10, 30, 30]]),
        ("1,-1,10,10,3.5,20,1", {}, []),  # the default least side is 4
        ("1,-1,10,10,4,4,1", {}, [[10, 10, 14, 14]]),
        ("1,-1,-10,-10,20,20,1", {}, [[0, 0, 10, 10]]),
        ("1,-1,90,70,50,50,1", {}, [[90, 70, 100, 80]]),
        ("1,-1,-10,10,12,20,1", {}, []),  # 2 pixels are left in the frame
        ("1,-1,200,10,20,20,1", {}, []),  # outside
        ("1,-1,10,10,20,0,1", {"min_side_pixels": 0}, []),  # no area
        ("1,-1,30,30,-20,20,1", {"min_side_pixels": 0}, []),
    ],
)
def test_boxes_are_clipped_then_thresholds_apply(tmp_path, line, config, boxes):
    assert detect(tmp_path, line, row_of(1), **config)["boxes"].tolist() == boxes


@pytest.mark.parametrize("text", ["", "9,-1,1,1,20,20,1\n"])
def test_a_segment_without_boxes_is_empty(tmp_path, text):
    found = detect(tmp_path, text, row_of(3, video_frames=9))
    assert [len(found[name]) for name in ("frame_offset", "boxes", "confidence", "class_name", "track_id")] == [0] * 5


@pytest.mark.parametrize(("frame", "is_refused"), [(10, False), (12, False), (13, True)])
def test_boxes_beyond_the_video_are_of_another_video(tmp_path, frame, is_refused):
    # Ten frames; decoders may disagree by two.
    text = f"{frame},-1,1,1,20,20,1\n"
    if is_refused:
        with pytest.raises(AnnotationError, match=rf"test/v\.txt has boxes in frame {frame}; the video has 10"):
            detect(tmp_path, text, row_of(10))
    else:
        assert len(detect(tmp_path, text, row_of(10))["boxes"]) == (frame <= 10)


def test_tracks_follow_their_config(tmp_path):
    text = "1,-1,10,10,20,20,1\n4,-1,10,10,20,20,1\n"  # two frames unseen
    for gap, ids in ((2, [0, 0]), (1, [0, 1])):
        found = detect(tmp_path, text, row_of(4), tracks=TracksConfig(max_gap_frames=gap))
        assert found["track_id"].tolist() == ids
    text = "1,-1,0,0,20,20,1\n2,-1,10,0,20,20,1\n"  # half of each overlaps: IoU 1/3
    for min_iou, ids in ((0.33, [0, 0]), (0.34, [0, 1])):
        found = detect(tmp_path, text, row_of(2), tracks=TracksConfig(min_iou=min_iou))
        assert found["track_id"].tolist() == ids


def test_sliding_windows_are_the_same_in_every_frame_but_the_look_ahead():
    config = DetectorConfig(kind="sliding_window", window_pixels=50, window_step_pixels=50)
    found = DetectObjects(config, TracksConfig())(row_of(3, num_lookahead=1))
    windows = [[0, 0, 50, 50], [50, 0, 100, 50], [0, 30, 50, 80], [50, 30, 100, 80]]
    assert found["boxes"].tolist() == windows * 2
    assert found["frame_offset"].tolist() == [0] * 4 + [1] * 4
    assert found["track_id"].tolist() == [0, 1, 2, 3] * 2
    assert set(found["class_name"]) == {"window"}
    assert found["confidence"].tolist() == [1] * 8


def test_windows_step_by_half_a_window_unless_told():
    found = DetectObjects(DetectorConfig(kind="sliding_window", window_pixels=80), TracksConfig())(row_of(1, width=160))
    assert found["boxes"][:, 0].tolist() == [0, 40, 80]


def test_rows_are_checked():
    with pytest.raises(SchemaError, match="detect: the row has no field"):
        DetectObjects(DetectorConfig(kind="sliding_window"), TracksConfig())({})


@pytest.mark.parametrize(
    "fields", [{}, {"boxes_root": ""}, {"kind": "yolo"}, {"kind": "sliding_window", "window_pixels": 7}]
)
def test_bad_configs_are_refused(fields):
    with pytest.raises(ValidationError):
        DetectorConfig(**fields)
