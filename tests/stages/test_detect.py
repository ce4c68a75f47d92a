import itertools

import numpy as np
import pytest
from pydantic import ValidationError

from raypipe.config.stages import DetectorConfig, TracksConfig
from raypipe.errors import AnnotationError, SchemaError, UserError
from raypipe.models.detection.yolo import YoloDetector
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import read_features
from raypipe.stages.commit import CommitFeatures
from raypipe.stages.detect import DetectObjects
from raypipe.weights.identity import require_weights
from tests.helpers.vlm_folder import write_tiny_qwen2_vl
from tests.helpers.yolo_checkpoints import NAMES, save_pt, tiny_yolo
from tests.stages.test_motion import decoded_row


def row_of(num_frames, *, num_lookahead=0, start=0, stride=1, width=100, height=80, video_frames=None):
    row = decoded_row(np.zeros((num_frames, 8, 10, 3), np.uint8), width=width, height=height, stride=stride)
    row |= {"frame_indices": start + np.arange(num_frames) * stride, "num_lookahead": num_lookahead}
    return row | {"num_frames": video_frames or start + num_frames * stride, "video_id": "test/v"}


def detect(tmp_path, text, row, *, tracks=None, **config):
    path = tmp_path / "test" / "v.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
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
    ("fields", "message"),
    [
        ({}, "boxes_root is needed where kind is 'boxes'"),
        ({"boxes_root": ""}, "boxes_root is needed"),
        ({"kind": "yolo"}, "yolo.weights is needed where kind is 'yolo'"),
        ({"kind": "vlm"}, "vlm.model is needed where kind is 'vlm'"),
        ({"kind": "sliding_window", "window_pixels": 7}, "greater than or equal to 8"),
        (
            {"boxes_root": "b", "window_pixels": 60},
            "window_pixels belongs to kind 'sliding_window', but kind is 'boxes'",
        ),
        ({"boxes_root": "b", "yolo": {"weights": "x.pt"}}, "yolo belongs to kind 'yolo', but kind is 'boxes'"),
        ({"kind": "sliding_window", "vlm": {"model": "m"}}, "vlm belongs to kind 'vlm'"),
        ({"kind": "yolo", "yolo": {"weights": "x.pt", "sha256": "abc"}}, "pattern"),
        ({"kind": "yolo", "yolo": {"weights": "x.pt"}, "min_confidence": 25}, "those of yolo lie between 0 and 1"),
        ({"kind": "yolo", "yolo": {"weights": "x.pt", "conf": 0.1}}, "Extra inputs"),
    ],
)
def test_bad_configs_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        DetectorConfig.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "sort"}, "'iou', 'bytetrack' or 'botsort'"),
        ({"kind": "bytetrack", "min_iou": 0.5}, "min_iou belongs to iou, but kind is 'bytetrack'"),
        ({"kind": "botsort", "matching": "greedy"}, "matching belongs to iou"),
        ({"high_confidence": 0.5}, "high_confidence belongs to bytetrack and botsort, but kind is 'iou'"),
        ({"kind": "bytetrack", "low_confidence": 0.5}, "low_confidence 0.5 exceeds high_confidence 0.25"),
    ],
)
def test_bad_track_configs_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        TracksConfig.model_validate(fields)


@pytest.mark.parametrize(
    ("kind", "min_confidence", "threshold"),
    [("boxes", None, -np.inf), ("yolo", None, 0.25), ("yolo", 0.1, 0.1), ("boxes", -2.0, -2.0)],
)
def test_what_null_means_as_least_confidence(kind, min_confidence, threshold):
    config = DetectorConfig(
        kind=kind, boxes_root="b", yolo={"weights": "w"} if kind == "yolo" else {}, min_confidence=min_confidence
    )
    assert config.confidence_threshold == threshold


def textured_row(num_frames, **options):
    row = row_of(num_frames, **options)
    return row | {"frames": np.random.default_rng(0).integers(0, 256, (num_frames, 90, 120, 3), dtype=np.uint8)}


def test_yolo_finds_objects_in_pixels_of_the_source(tmp_path):
    checkpoint = save_pt(tiny_yolo(), tmp_path / "tiny.pt")
    yolo = {"weights": str(checkpoint), "trust_pickle": True, "image_size": 160, "device": "cpu"}
    row = textured_row(3, num_lookahead=1, width=240, height=180)
    found = DetectObjects(DetectorConfig(kind="yolo", yolo=yolo), TracksConfig())(row)
    direct = YoloDetector.load(checkpoint, trust_pickle=True, image_size=160)(row["frames"][:2], (240, 180))
    large = (direct.boxes[:, 2:] - direct.boxes[:, :2] >= 4).all(axis=1)
    np.testing.assert_array_equal(found["boxes"], direct.boxes[large])
    assert set(found["frame_offset"]) == {0, 1}
    assert found["confidence"].min() >= 0.25
    assert set(found["class_name"]) <= set(NAMES)
    assert found["num_unparsed"] == 0
    few = DetectorConfig(kind="yolo", yolo=yolo | {"classes": ["car"]}, min_confidence=0.5)
    found = DetectObjects(few, TracksConfig(kind="botsort"))(row)
    assert set(found["class_name"]) == {"car"}
    assert found["confidence"].min() >= 0.5


def test_a_model_that_cannot_be_used_is_told_when_the_stage_is_made(tmp_path):
    with pytest.raises(UserError, match="weights are never downloaded"):
        DetectObjects(DetectorConfig(kind="yolo", yolo={"weights": str(tmp_path / "yolo11n.pt")}), TracksConfig())
    with pytest.raises(UserError, match="no model here"):
        DetectObjects(DetectorConfig(kind="vlm", vlm={"model": str(tmp_path)}), TracksConfig())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "yolo", "yolo": {"weights": "gone.pt"}}, r"gone\.pt: No such file or directory; weights are never"),
        ({"kind": "yolo", "yolo": {"weights": "here.pt"}}, r"here\.pt: a \.pt is a pickle"),
        ({"kind": "yolo", "yolo": {"weights": "here.pt", "sha256": "0" * 64}}, "not the pinned 0000"),
        ({"kind": "yolo", "yolo": {"weights": "yolo11n"}}, r"is neither a \.pt of Ultralytics nor a folder"),
        ({"kind": "yolo", "yolo": {"weights": "converted", "classes": ["dog"]}}, "has no class 'dog'; it has: cat"),
        ({"kind": "yolo", "yolo": {"weights": "."}}, "metadata.json cannot be read"),
        (
            {"kind": "vlm", "vlm": {"model": "Qwen/Qwen2-VL-2B"}},
            "No such file or directory; models are never downloaded",
        ),
        ({"kind": "vlm", "vlm": {"model": "llava"}}, "auto knows .* not 'llava'"),
        ({"kind": "vlm", "vlm": {"model": "converted"}}, "names no model_type"),
        ({"kind": "yolo", "yolo": {"weights": "here.pt", "trust_pickle": True}}, None),
        ({"kind": "yolo", "yolo": {"weights": "converted", "classes": ["cat"]}}, None),
        ({"kind": "vlm", "vlm": {"model": "llava", "coordinates": "pixels"}}, None),
        ({"kind": "sliding_window"}, None),
    ],
)
def test_missing_weights_are_told_before_any_work(tmp_path, monkeypatch, fields, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.pt").write_bytes(b"anything")
    for name, file, content in (
        ("converted", "metadata.json", '{"class_names": ["cat"]}'),
        ("converted", "config.json", "[]"),
        ("llava", "config.json", '{"model_type": "llava"}'),
    ):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / file).write_text(content)
    config = DetectorConfig.model_validate(fields)
    if message is None:
        require_weights(config)
    else:
        with pytest.raises(UserError, match=message):
            require_weights(config)


def test_paths_are_made_absolute():
    config = DetectorConfig(boxes_root="b").with_paths(lambda path: f"/at/{path}")
    assert (config.boxes_root, config.yolo.weights, config.vlm.model) == ("/at/b", None, None)
    config = DetectorConfig(kind="yolo", yolo={"weights": "w.pt"}).with_paths(lambda path: f"/at/{path}")
    assert (config.boxes_root, config.yolo.weights) == (None, "/at/w.pt")


def test_answers_in_prose_are_counted_in_the_row(tmp_path):
    write_tiny_qwen2_vl(tmp_path)
    config = DetectorConfig(kind="vlm", vlm={"model": str(tmp_path), "device": "cpu"})
    found = DetectObjects(config, TracksConfig())(textured_row(3, num_lookahead=1))
    assert (found["num_unparsed"], len(found["boxes"])) == (2, 0)


@pytest.mark.parametrize("kind", ["bytetrack", "botsort"])
def test_ids_are_unique_in_a_video_that_is_cut(tmp_path, kind):
    # Three walkers on lanes of their own; one comes late, one is hidden for two frames around a border.
    total, warmup, borders = 40, 8, [0, 11, 23, 40]
    lines = []
    for frame in range(total):
        walkers = [(10 + 2 * frame, 5, 0.9), (150 - 2 * frame, 45, 0.8)]
        walkers += [(5 + 3 * (frame - 15), 85, 0.7)] * (frame >= 15)
        if frame in (22, 23):
            del walkers[1]
        lines += [f"{frame + 1},-1,{x},{y},16,30,{confidence}" for x, y, confidence in walkers]
    root = tmp_path / "boxes"
    (root / "test").mkdir(parents=True)
    (root / "test" / "v.txt").write_text("\n".join(lines))
    stage = DetectObjects(DetectorConfig(boxes_root=str(root)), TracksConfig(kind=kind))
    texture = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).repeat(5, axis=0).repeat(5, axis=1)
    frames = np.broadcast_to(texture.astype(np.uint8), (total, 120, 200, 3))

    def run(name, cuts):
        folder = RunFolder(str(tmp_path / name))
        commit = CommitFeatures(folder, "hash")
        for index, (start, stop) in enumerate(itertools.pairwise(cuts)):
            first = max(0, start - warmup)
            row = row_of(stop - first, start=first, width=200, height=120, video_frames=total)
            row |= {"num_warmup": start - first, "start_frame": start, "stop_frame": stop, "segment_index": index}
            row |= {"num_segments": len(cuts) - 1, "frames": frames[first:stop]}
            row["time_seconds"] = row["frame_indices"] / 10
            commit(stage(row))
        table = read_features(folder, "test/v", set(range(len(cuts) - 1)), "hash").table
        return table.select(["frame_index", "y1", "track_id"]).to_pylist()

    whole, cut = run("whole", [0, total]), run("cut", borders)
    assert cut == whole
    # One id per walker.
    assert {(row["y1"], row["track_id"]) for row in whole} == {(5, 0), (45, 1), (85, 2)}
