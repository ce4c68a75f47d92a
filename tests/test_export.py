import csv
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from raypipe.cli.main import main
from raypipe.config.workflow import EvaluateConfig
from raypipe.datasets.readers import read_dataset
from raypipe.errors import UserError
from raypipe.evaluation.evaluate_files import evaluate_labelled
from raypipe.export import export
from raypipe.extraction.catalog import list_videos, require_features, write_catalogue
from raypipe.extraction.probing import probe
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.record import claim_run_folder
from raypipe.run_folder.tables import SegmentRecord, commit_features
from raypipe.schema import FEATURE
from tests.helpers.small_data import make_config, write_data

# Frames of each video; a snippet is 16 of them.
LENGTHS = {"train/a": 40, "train/b": 16, "test/a": 33, "test/b": 20}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), LENGTHS)


@pytest.fixture
def run(tmp_path, data, monkeypatch):
    """A function that commits features, by video {frame: values of its objects}, and returns the config of the run."""

    def make(objects, classes=(), num_segments=1):
        config = make_config(data, tmp_path / "run")
        folder = RunFolder(config.output)
        if classes:
            listing = read_dataset(config.dataset.name, config.dataset.root)
            named = tuple(replace(v, class_name=dict(classes).get(v.video_id, "")) for v in listing.videos)
            monkeypatch.setattr(
                "raypipe.extraction.catalog.read_dataset", lambda *_, **__: replace(listing, videos=named)
            )
        write_catalogue(folder, [probe(video, 25.0) for video in list_videos(config).videos])
        claim_run_folder(
            folder,
            config=config.model_dump(mode="json"),
            feature_keys=config.flat_features(),
            config_hash=config.feature_hash(),
            versions={},
            catalogue_hash="",
        )
        for video_id, frames in objects.items():
            rows = [(frame, value) for frame, values in frames.items() for value in values]
            record = SegmentRecord(
                config.feature_hash(),
                video_id,
                0,
                num_segments,
                0,
                LENGTHS[video_id],
                1,
                LENGTHS[video_id],
                len(rows),
                (),
            )
            commit_features(folder, feature_rows(video_id, rows), record)
        return config

    return make


def feature_rows(video_id, rows):
    count = len(rows)
    columns = {field.name: pa.nulls(count, field.type) for field in FEATURE}
    columns |= dict.fromkeys(("time_seconds", "x1", "y1", "x2", "y2", "confidence"), [0.5] * count)
    columns |= {"video_id": [video_id] * count, "class_name": ["person"] * count, "segment_index": [0] * count}
    columns |= {"frame_index": [frame for frame, _ in rows], "track_id": list(range(count))}
    columns |= {"motion": pa.array([[value] * 8 for _, value in rows], FEATURE.field("motion").type)}
    return pa.table(columns).cast(FEATURE)


OBJECTS = {
    # Two objects in frame 3 and one in frame 5; none in the second snippet; one in the last, of 8 frames.
    "train/a": {3: [1.0, 2.0], 5: [6.0], 39: [5.0]},
    "train/b": {0: [1.0]},
    "test/a": {32: [4.0]},
    "test/b": {},
}


def load(tmp_path, video_id):
    return np.load(tmp_path / "out" / "features" / f"{video_id}.npy", allow_pickle=False)


def test_snippets_are_means_of_their_objects(tmp_path, run):
    lines = export(run(OBJECTS), str(tmp_path / "out"))
    array = load(tmp_path, "train/a")
    assert (array.dtype, array.shape) == (np.float32, (3, 8))
    np.testing.assert_array_equal(array[:, 0], [3, 0, 5])
    assert load(tmp_path, "train/b").shape == (1, 8)
    np.testing.assert_array_equal(load(tmp_path, "test/a")[:, 7], [0, 0, 4])
    np.testing.assert_array_equal(load(tmp_path, "test/b"), np.zeros((2, 8)))
    assert lines == [
        "train: 2 videos (0 abnormal), 4 snippets, 1 of them without objects (zeros)",
        "test: 2 videos (2 abnormal), 5 snippets, 4 of them without objects (zeros)",
        f"8 features a snippet (motion), 16 frames each, in {tmp_path}/out",
    ]


def test_lists_name_every_file_with_its_label_abnormal_ones_first(tmp_path, run):
    classes = {"train/a": "normal", "train/b": "Abuse"}
    export(run(OBJECTS, classes), str(tmp_path / "out"))
    paths = (tmp_path / "out" / "train.list").read_text().splitlines()
    assert paths == [f"{tmp_path}/out/features/train/{name}.npy" for name in ("b", "a")]
    with (tmp_path / "out" / "train.csv").open(newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == [
            ("path", "label"),
            (paths[0], "Abuse"),
            (paths[1], "Normal"),
        ]
    with (tmp_path / "out" / "test.csv").open(newline="") as file:
        assert [row[1] for row in csv.reader(file)] == ["label", "Abnormal", "Abnormal"]
    for path in paths:
        assert np.load(path).ndim == 2


def test_labels_of_the_test_videos_fit_frames_and_snippets(tmp_path, run):
    export(run(OBJECTS), str(tmp_path / "out"))
    # The second halves, from frames 16 of 33 and 10 of 20, are abnormal.
    gt = np.load(tmp_path / "out" / "test_gt.npy")
    assert len(gt) == 16 * (3 + 2)
    np.testing.assert_array_equal(np.flatnonzero(gt), [*range(16, 33), *range(48 + 10, 48 + 20)])
    # Scores that a trainer gives snippets, repeated for each frame, are evaluated against the labels.
    scores = [
        np.repeat(snippets, 16)[:count] for snippets, count in ((np.array([0, 1, 1]), 33), (np.array([0, 1]), 20))
    ]
    np.savez(tmp_path / "scores.npz", **dict(zip(("test/a", "test/b"), scores, strict=True)))
    config = EvaluateConfig(bootstrap_samples=0)
    result = evaluate_labelled(tmp_path / "scores.npz", tmp_path / "out" / "test_labels.npz", config, seed=0).evaluation
    assert result.videos[0].auc == 1.0
    assert (result.num_frames, result.num_abnormal) == (53, 27)


def test_snippets_of_another_length_and_one_split(tmp_path, run):
    export(run(OBJECTS), str(tmp_path / "out"), snippet_frames=4, split="train")
    assert load(tmp_path, "train/a").shape == (10, 8)
    np.testing.assert_array_equal(load(tmp_path, "train/a")[:, 0], [1.5, 6, 0, 0, 0, 0, 0, 0, 0, 5])
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name != "tmp") == [
        "features",
        "train.csv",
        "train.list",
    ]


def test_missing_segments_are_told(tmp_path, run):
    lines = export(run({"train/a": OBJECTS["train/a"]}, num_segments=2), str(tmp_path / "out"), split="train")
    assert lines[1] == "  incomplete: 2 videos lack segments, which are zeros here: train/a, train/b"


@pytest.mark.parametrize(
    ("intervals", "label_frames", "abnormal", "told"),
    [
        # 33 frames: of 20..50, 17 lie past the end.
        ([(20, 50)], {}, range(20, 33), ["  labels: 17 labels of frames past the end of the video were cut: test/a"]),
        # 40 labels of 33 frames: 7 too many, of which an interval past these is cut, too.
        (
            [(20, 42)],
            {"test/a": 40},
            range(20, 33),
            ["  labels: 9 labels of frames past the end of the video were cut: test/a"],
        ),
        (
            [(20, 30)],
            {"test/a": 30},
            range(20, 30),
            ["  labels: 3 frames past the end of the labels count as normal: test/a"],
        ),
        ([(20, 33)], {"test/a": 33}, range(20, 33), []),
    ],
)
def test_labels_of_another_length_are_cut_or_padded_and_told(
    tmp_path, run, monkeypatch, intervals, label_frames, abnormal, told
):
    config = run(OBJECTS)
    catalogue = require_features(config, RunFolder(config.output))
    catalogue = replace(catalogue, labels={"test/a": intervals}, label_frames=label_frames)
    monkeypatch.setattr("raypipe.export.require_features", lambda config, folder: catalogue)
    lines = export(config, str(tmp_path / "out"), split="test")
    assert lines[1:-1] == told
    labels = np.load(tmp_path / "out" / "test_labels.npz")
    # test/a is abnormal and so the first.
    assert labels["num_frames"].tolist() == [33, 20]
    np.testing.assert_array_equal(np.flatnonzero(labels["labels"]), [*abnormal])


@pytest.mark.parametrize(
    ("objects", "options", "message"),
    [
        (OBJECTS, {"snippet_frames": 0}, "--snippet: 0 is no number of frames"),
        ({"test/b": {}}, {}, "the features hold no objects"),
    ],
)
def test_mistakes(tmp_path, run, objects, options, message):
    with pytest.raises(UserError, match=message):
        export(run(objects), str(tmp_path / "out"), **options)
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path, capsys, run):
    config = run(OBJECTS)
    path = tmp_path / "run.yaml"
    path.write_text(config.model_dump_json())
    assert main(["export", "--config", str(path), "--out", str(tmp_path / "out"), "--split", "test"]) == 0
    assert "test: 2 videos (2 abnormal), 5 snippets" in capsys.readouterr().out
    assert main(["export", "--config", str(path), "--out", str(tmp_path / "out"), "--set", "output=nowhere"]) == 2
    assert "holds no features: run `raypipe extract` first" in capsys.readouterr().err
