"""Features read back: one id per object over a video, the same by every way of reading."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import raypipe
from raypipe.config.runtime import RayConfig
from raypipe.datasets.listing import Video
from raypipe.extraction.catalog import Entry, write_catalogue
from raypipe.extraction.committed_features import CommittedFeatures, committed_features
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import SegmentRecord, commit_features, read_features
from raypipe.schema import FEATURE
from tests.helpers.finished_run import STRIDE

# Two boxes in each sampled frame; see `finished_run.LENGTHS`.
ROWS = {"test/0": 260 // STRIDE * 2, "test/1": 40 // STRIDE * 2, "train/0": 60 // STRIDE * 2}


@pytest.fixture(scope="module")
def opened(finished_run):
    return raypipe.open_run(finished_run.output)


def by_video(table):
    counts = table.group_by("video_id").aggregate([("track_id", "count")]).to_pylist()
    return {row["video_id"]: row["track_id_count"] for row in counts}


@pytest.mark.parametrize(
    ("split", "videos"),
    [(None, ["test/0", "test/1", "train/0"]), ("test", ["test/0", "test/1"]), ("train", ["train/0"])],
)
def test_rows_of_a_split(opened, split, videos):
    features = opened.features(split=split)
    table = features.to_table()
    assert by_video(table) == {name: ROWS[name] for name in videos}
    assert features.count_rows() == table.num_rows
    assert table.schema == features.schema == FEATURE


def test_an_object_keeps_its_id_over_segments(opened):
    features = opened.features(["video_id", "segment_index", "track_id"], split="test").to_table()
    long = features.filter(pc.field("video_id") == "test/0")
    assert len(long["segment_index"].unique()) > 1
    # Each of the two boxes is there from the first to the last frame.
    counts = long.group_by("track_id").aggregate([("segment_index", "count_distinct"), ("track_id", "count")])
    assert sorted(counts["track_id"].to_pylist()) == [0, 1]
    assert counts["track_id_count"].to_pylist() == [130, 130]
    assert set(counts["segment_index_count_distinct"].to_pylist()) == {len(long["segment_index"].unique())}


@pytest.mark.parametrize(
    "columns", [None, ["motion", "video_id"], ["class_name"], ["x1", "x1", "track_id"], ["motion"], ["sentence"]]
)
def test_every_way_of_reading_gives_the_same_rows(opened, columns):
    features = opened.features(columns)
    names = FEATURE.names if columns is None else list(dict.fromkeys(columns))
    folder, config_hash = RunFolder(opened.path), opened.config.feature_hash()
    read = [read_features(folder, video, folder.committed()[video], config_hash).table for video in sorted(ROWS)]
    expected = pa.concat_tables(read).select(names)
    assert features.to_table().equals(expected)
    assert pa.Table.from_batches(features.to_batches()).equals(expected)
    assert pa.Table.from_pandas(features.to_pandas(), features.schema, preserve_index=False).equals(expected)


def test_spatial_features_are_there_as_wide_as_they_were_made(tmp_path):
    folder = RunFolder(str(tmp_path))
    video = Video("a", "a.mp4", "train", num_bytes=1, is_frames=False)
    write_catalogue(folder, [Entry(video, None)])
    # A segment without objects has no such column.
    commit_features(folder, FEATURE.empty_table(), SegmentRecord("hash", "a", 0, 2, 0, 9, 1, 9, 0, ()))
    row = dict.fromkeys(FEATURE.names) | {name: 0 for name in FEATURE.names if not FEATURE.field(name).nullable}
    backbone = pa.FixedSizeListArray.from_arrays(pa.array(np.array([1, 2, 3], np.float16)), 3)
    rows = pa.Table.from_pylist([row | {"video_id": "a", "class_name": "person"}], schema=FEATURE)
    table = rows.append_column("backbone", backbone)
    commit_features(folder, table, SegmentRecord("hash", "a", 1, 2, 9, 18, 1, 9, 1, ()))
    extracted = SimpleNamespace(extracted=("backbone",))
    config = SimpleNamespace(output=str(tmp_path), features=extracted, feature_hash=lambda: "hash")
    features = raypipe.Features(committed_features(config, ["backbone", "motion"], "train"), RayConfig())
    assert features.schema.field("backbone").type == pa.list_(pa.float16(), 3)
    assert features.to_table().to_pylist() == [{"backbone": [1, 2, 3], "motion": None}]
    assert features.files.to_table().to_pylist() == [{"backbone": [1, 2, 3], "motion": None}]


def test_memory_does_not_grow_with_the_run(tmp_path):
    folder, rows, num_segments = RunFolder(str(tmp_path)), 20_000, 12
    table = pa.table(
        {
            **{field.name: pa.array([None] * rows, field.type) for field in FEATURE if field.nullable},
            **{field.name: np.zeros(rows) for field in FEATURE if not field.nullable},
            "video_id": ["a"] * rows,
            "class_name": ["person"] * rows,
            "motion": pa.FixedSizeListArray.from_arrays(np.random.default_rng(0).random(rows * 8, np.float32), 8),
        }
    )
    for index in range(num_segments):
        commit_features(folder, table, SegmentRecord("hash", "a", index, num_segments, 0, 1, 1, 1, rows, ()))
    segment_bytes = table.select(FEATURE.names).cast(FEATURE).nbytes
    del table
    committed = CommittedFeatures(folder, "hash", {"a": tuple(range(num_segments))}, FEATURE)
    before, held, count = pa.total_allocated_bytes(), [], 0
    for batch in raypipe.Features(committed, RayConfig()).to_batches():
        count += batch.num_rows
        held.append(pa.total_allocated_bytes() - before)
    assert count == num_segments * rows
    assert max(held) < 4 * segment_bytes < num_segments * segment_bytes / 2


def test_the_files_have_ids_of_their_own(opened):
    files = opened.features(split="test").files
    rows = files.to_table(columns=["video_id", "segment_index", "track_id", "sentence"])
    assert by_video(rows) == {name: ROWS[name] for name in ("test/0", "test/1")}
    assert files.schema == FEATURE


def test_ray_reads_the_same_rows(opened):
    features = opened.features(["video_id", "frame_index", "track_id", "x1", "motion"])
    rows = pa.concat_tables(
        pa.table(batch) for batch in features.to_ray().iter_batches(batch_format="pyarrow", batch_size=None)
    )
    order = [("video_id", "ascending"), ("frame_index", "ascending"), ("track_id", "ascending")]
    assert rows.select(features.schema.names).sort_by(order).equals(features.to_table().sort_by(order))


def test_ray_of_nothing_has_the_columns(run_copy):
    run = raypipe.Run(run_copy)
    for path in RunFolder(run.path).filesystem.find(f"{run.path}/features"):
        RunFolder(run.path).filesystem.rm(path)
    features = run.features(["track_id"])
    assert (features.count_rows(), features.to_table().schema.names) == (0, ["track_id"])
    assert features.to_ray().count() == 0
    assert len(features.to_pandas()) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"columns": ["trak_id"]}, "unknown column 'trak_id'; did you mean 'track_id'\\? there are: video_id, segment"),
        ({"columns": ["cross"]}, "unknown column 'cross'; .*there are: video_id"),
        ({"split": "tset"}, "unknown split 'tset'; did you mean 'test'\\? there are: test, train"),
    ],
)
def test_what_is_not_there(opened, options, words):
    with pytest.raises(raypipe.UserError, match=words):
        opened.features(**options)


def test_what_is_shown(opened):
    assert repr(opened.features(["track_id"], split="train")) == "<Features of 1 video in 1 segment: track_id>"
