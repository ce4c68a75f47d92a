"""Features read back: one id per object over a video, the same by every way of reading."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import raypipe
from raypipe.run_folder.storage import RunFolder
from raypipe.run_folder.tables import read_features
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
