from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from raypipe.anomaly_model import score
from raypipe.anomaly_model.score import object_scores, score_parts, score_table
from raypipe.anomaly_model.trained_model import MODEL_FILE, TrainedModel
from raypipe.config.workflow import ScoreConfig
from raypipe.errors import UserError
from raypipe.models.density import GmmConfig, KnnConfig, make_density
from raypipe.models.reconstruction import ReconstructionModule, ReconstructionShape, serialise
from raypipe.run_folder.tables import SegmentRecord, VideoFeatures
from raypipe.schema import FEATURE, SCORE
from raypipe.video.index import VideoIndex

RAW = ScoreConfig(smoothing_seconds=0)


def index_of(num_frames, fps=10):
    return VideoIndex(
        width=8,
        height=8,
        rotation=0,
        fps=float(fps),
        codec="h264",
        time_base=Fraction(1, fps),
        pts=np.arange(num_frames) + 5,
        keyframe_dts=np.zeros(1, np.int64),
        keyframe_pts=np.zeros(1, np.int64),
    )


def features_of(objects, segments, num_segments=None):
    """Features of objects given as (frame, track id, sentence), in segments given as (index, start, stop)."""
    columns = {field.name: pa.nulls(len(objects), field.type) for field in FEATURE}
    numbers = ("segment_index", "time_seconds", "x1", "y1", "x2", "y2", "confidence")
    columns |= {name: [0] * len(objects) for name in numbers}
    columns |= {name: ["v"] * len(objects) for name in ("video_id", "class_name")}
    for position, name in enumerate(("frame_index", "track_id", "sentence")):
        columns[name] = pa.array([entry[position] for entry in objects], FEATURE.field(name).type)
    count = num_segments or len(segments)
    records = (SegmentRecord("hash", "v", *segment[:1], count, *segment[1:], 1, 0, 0, ()) for segment in segments)
    return VideoFeatures(pa.table(columns).cast(FEATURE), tuple(records))


def table_of(num_frames, objects, scores, segments, *, stride=1, floor=0.25, config=RAW):
    features = features_of(objects, segments)
    scores = np.array(scores, float)
    table = score_table("v", index_of(num_frames), features, scores, stride=stride, floor=floor, config=config)
    assert table.schema == SCORE
    assert table.num_rows == num_frames
    return table


def test_the_most_abnormal_object_gives_the_frame_its_score():
    objects = [(0, 7, "stands"), (0, 3, "runs"), (1, 7, "walks"), (3, 3, None)]
    table = table_of(4, objects, [1, 4, 2, 3], [(0, 0, 4)])
    assert table["video_id"].to_pylist() == ["v"] * 4
    assert table["frame_index"].to_pylist() == [0, 1, 2, 3]
    np.testing.assert_allclose(table["time_seconds"], [0, 0.1, 0.2, 0.3])
    # Frame 2 has no object and takes the least score of the video.
    assert table["score"].to_pylist() == [4, 2, 1, 3]
    assert table["num_objects"].to_pylist() == [2, 1, 0, 1]
    assert table["top_track_id"].to_pylist() == [3, 7, None, 3]
    assert table["top_sentence"].to_pylist() == ["runs", "walks", None, None]


@pytest.mark.parametrize(
    ("num_frames", "stride", "expected", "tracks"),
    [
        # Sampled frames 0 2 4 (6) hold scores 1 2 3 (4); of two equally near ones the earlier is taken.
        (5, 2, [1, 1, 2, 2, 3], [0, 0, 1, 1, 2]),
        (6, 2, [1, 1, 2, 2, 3, 3], [0, 0, 1, 1, 2, 2]),
        (7, 2, [1, 1, 2, 2, 3, 3, 4], [0, 0, 1, 1, 2, 2, 3]),
        (7, 3, [1, 1, 2, 2, 2, 3, 3], [0, 0, 1, 1, 1, 2, 2]),
        (2, 5, [1, 1], [0, 0]),
    ],
)
def test_frames_between_samples_take_the_nearest(num_frames, stride, expected, tracks):
    objects = [(frame, number, "s") for number, frame in enumerate(range(0, num_frames, stride))]
    scores = [number + 1 for number in range(len(objects))]
    table = table_of(num_frames, objects, scores, [(0, 0, num_frames)], stride=stride)
    assert table["score"].to_pylist() == expected
    assert table["top_track_id"].to_pylist() == tracks
    assert table["num_objects"].to_pylist() == [1] * num_frames


@pytest.mark.parametrize(
    ("segments", "objects", "scores", "expected"),
    [
        ([(0, 0, 2), (2, 4, 6)], [(0, 0, "s"), (5, 1, "s")], [1, 2], [1, 1, None, None, 1, 2]),
        ([(1, 2, 4)], [(2, 0, "s")], [3], [None, None, 3, 3, None, None]),
        ([], [], [], [None] * 6),
    ],
)
def test_frames_of_missing_segments_have_no_score(segments, objects, scores, expected):
    table = table_of(6, objects, scores, segments)
    assert table["score"].to_pylist() == expected
    assert table["top_track_id"].null_count == 6 - len(objects)


def test_a_missing_segment_between_samples():
    # Samples 0 2 4 6; frames 0..4 are there, 4..7 are not. Frame 3 is as near to 2 as to 4 and goes with 2.
    table = table_of(7, [(0, 0, "s"), (2, 0, "s")], [1, 2], [(0, 0, 4)], stride=2)
    assert table["score"].to_pylist() == [1, 1, 2, 2, None, None, None]


def test_a_video_without_objects_takes_the_floor():
    assert table_of(3, [], [], [(0, 0, 3)])["score"].to_pylist() == [0.25] * 3
    table = table_of(3, [], [], [(0, 0, 2)], config=ScoreConfig(smoothing_seconds=0.3))
    assert table["score"].to_pylist() == [0.25, 0.25, None]
    assert table["top_sentence"].null_count == table["top_track_id"].null_count == 3


@pytest.mark.parametrize(("stride", "seconds"), [(1, 0.1), (2, 0.2)])
def test_smoothing_is_in_seconds(stride, seconds):
    # Sigma is one sample either way: weights exp(-d^2 / 2) over d = -4..4, normalised.
    weights = np.exp(-(np.arange(-4.0, 5) ** 2) / 2)
    weights /= weights.sum()
    num_samples = 11
    objects = [(sample * stride, 0, "s") for sample in range(num_samples)]
    scores = [float(sample == 5) for sample in range(num_samples)]
    config = ScoreConfig(smoothing_seconds=seconds)
    table = table_of(
        num_samples * stride, objects, scores, [(0, 0, num_samples * stride)], stride=stride, config=config
    )
    np.testing.assert_allclose(table["score"].to_numpy()[::stride], [0, *weights, 0], atol=1e-12)


def test_smoothing_does_not_cross_into_what_is_missing():
    config = ScoreConfig(smoothing_seconds=0.1)
    objects = [(frame, 0, "s") for frame in (0, 1, 4, 5)]
    table = table_of(6, objects, [2, 2, 2, 2], [(0, 0, 2), (2, 4, 6)], config=config)
    found = table["score"].to_pylist()
    assert found[2:4] == [None, None]
    np.testing.assert_allclose([found[frame] for frame in (0, 1, 4, 5)], 2)


def test_min_max_scales_the_scored_frames():
    config = ScoreConfig(smoothing_seconds=0, min_max=True)
    objects = [(frame, 0, "s") for frame in range(3)]
    assert table_of(4, objects, [2, 6, 3], [(0, 0, 3)], config=config)["score"].to_pylist() == [0, 1, 0.25, None]


def trained(kind, dims=(0, 8), held_out_means=(0.0, 4.0), ways=("joint", "balanced")):
    columns = tuple(name for name, size in zip(("cross", "motion"), dims, strict=True) if size)
    floors = dict.fromkeys(ways, 1.0)
    return TrainedModel(kind, "train", "feature", columns, dims, held_out_means, floors, 10, [])


def files_of(density, tmp_path, part="motion"):
    density.save(tmp_path / part)
    return {f"{part}/{file.name}": file.read_bytes() for file in (tmp_path / part).iterdir()}


def zero_module(shape=None):
    """A module whose reconstruction is 0, so that an error is the mean square of the standardised features."""
    module = ReconstructionModule(shape or ReconstructionShape(0, 8, num_layers=2, hidden_size=3))
    for layer in module.layers:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    size = module.shape.num_features
    module.set_statistics(torch.full((size,), 1.0), torch.full((size,), 2.0))
    return {MODEL_FILE: serialise(module)}


def test_scores_of_the_reconstruction_module(monkeypatch):
    # Standardised: 3 in all, 0 in all, 4 in one of eight.
    features = np.array([[7] * 8, [1] * 8, [9, *[1] * 7]], np.float32)
    for batch_rows in (2, 65536):
        monkeypatch.setattr(score, "BATCH_ROWS", batch_rows)
        joint = object_scores(features, trained("rm"), zero_module(), "joint")
        np.testing.assert_allclose(joint, [9, 0, 2])
        # In units of the mean error of held-out objects, which is 4.
        balanced = object_scores(features, trained("rm"), zero_module(), "balanced")
        np.testing.assert_allclose(balanced, [9 / 4, 0, 2 / 4])
        assert (joint.dtype, balanced.dtype) == (np.float64, np.float64)


@pytest.mark.parametrize(
    ("weighting", "expected"),
    # Standardised: 4 and 0 in space, 1 and 9 in motion, squared. By 2 + 6 dimensions; in units of 2 and 3.
    [("joint", [(4 * 2 + 1 * 6) / 8, 9 * 6 / 8]), ("balanced", [(4 / 2 + 1 / 3) / 2, (9 / 3) / 2])],
)
def test_space_and_motion_are_weighed(weighting, expected):
    features = np.array([[5, 5, *[3] * 6], [1, 1, *[7] * 6]], np.float32)
    model = trained("rm", (2, 6), (2.0, 3.0))
    module = zero_module(ReconstructionShape(2, 6, num_layers=2, hidden_size=3))
    np.testing.assert_allclose(object_scores(features, model, module, weighting), expected)
    parts = score_parts(features, model, module, weighting)
    np.testing.assert_array_equal(parts[0] + parts[1], object_scores(features, model, module, weighting))
    # The second object stands still in space: all of its score is motion's.
    np.testing.assert_allclose([parts[0][1], parts[1][1]], [0, expected[1]])


def test_a_part_that_is_not_there_adds_nothing():
    features = np.array([[7] * 8], np.float32)
    spatial, motion = score_parts(features, trained("rm"), zero_module(), "balanced")
    assert spatial is None
    np.testing.assert_allclose(motion, [9 / 4])


def test_neighbours_in_space_and_in_motion_are_two_models(tmp_path):
    # One reference each, at 0, and one at 2 in the first dimension: scales 1 (of one dimension) and sqrt(1 / 4).
    space = make_density(KnnConfig(num_neighbours=1)).fit(np.array([[0.0], [2.0]]))
    motion = make_density(KnnConfig(num_neighbours=1)).fit(np.array([[0.0] * 4, [2.0, 0, 0, 0]]))
    files = files_of(space, tmp_path, "spatial") | files_of(motion, tmp_path)
    features = np.array([[5, 0, 0, 0, 0], [0, 3, 0, 0, 0]], np.float32)
    model = trained("knn", (1, 4), (2.0, 4.0))
    # Distances 3 and 0 in space, 0 and 2 in motion.
    np.testing.assert_allclose(object_scores(features, model, files, "balanced"), [3 / 2 / 2, 2 / 4 / 2])
    np.testing.assert_allclose(object_scores(features, model, files, "joint"), [3 / 5, 2 * 4 / 5])


def test_errors_of_zero_cannot_be_weighed_by():
    model = trained("rm", held_out_means=(0.0, 0.0), ways=("joint",))
    with pytest.raises(UserError, match=r"score.weighting 'balanced': .* use joint"):
        object_scores(np.zeros((1, 8), np.float32), model, zero_module(), "balanced")


@pytest.mark.parametrize(
    ("kind", "config"), [("knn", KnnConfig(num_neighbours=1)), ("gmm", GmmConfig(num_components=1))]
)
@pytest.mark.parametrize("weighting", ["joint", "balanced"])
def test_scores_of_a_density_model_are_its_own(tmp_path, kind, config, weighting):
    rng = np.random.default_rng(0)
    density = make_density(config).fit(rng.normal(size=(30, 8)))
    files = files_of(density, tmp_path)
    features = rng.normal(size=(5, 8)).astype(np.float32)
    found = object_scores(features, trained(kind), files, weighting)
    np.testing.assert_array_equal(found, density.score(features))


def test_nearest_neighbour_by_hand(tmp_path):
    # Two references, 0 and 2 in one dimension and 0 in the others: the common scale is sqrt(1 / 8).
    references = np.zeros((2, 8))
    references[1, 0] = 2
    files = files_of(make_density(KnnConfig(num_neighbours=1)).fit(references), tmp_path)
    features = np.zeros((2, 8), np.float32)
    features[:, 0] = [2, 5]
    np.testing.assert_allclose(object_scores(features, trained("knn"), files, "balanced"), [0, 3 * np.sqrt(8)])


def test_no_objects_have_no_scores(tmp_path):
    files = files_of(make_density(KnnConfig(num_neighbours=1)).fit(np.eye(8)), tmp_path)
    empty = np.zeros((0, 8), np.float32)
    assert object_scores(empty, trained("knn"), files, "balanced").shape == (0,)
    assert object_scores(empty, trained("rm"), zero_module(), "balanced").shape == (0,)


def test_a_damaged_module_is_named():
    with pytest.raises(UserError, match=r"models/rm/model\.safetensors is not a reconstruction module"):
        object_scores(np.zeros((1, 8), np.float32), trained("rm"), {MODEL_FILE: b"?"}, "balanced")


@pytest.mark.parametrize(
    "fields", [{"model": "svm"}, {"smoothing_seconds": -1}, {"smoothing_seconds": float("inf")}, {"weighting": "sum"}]
)
def test_bad_configs_are_refused(fields):
    with pytest.raises(ValidationError):
        ScoreConfig(**fields)
