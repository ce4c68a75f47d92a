import numpy as np
import pyarrow as pa
import pytest

from raypipe.anomaly_model import training_data
from raypipe.anomaly_model.training_data import (
    ReadFeatures,
    chunk_reader,
    column_sizes,
    held_out_figures,
    object_features,
    sample_features,
    split_held_out,
    training_videos,
)
from raypipe.datasets.listing import Video
from raypipe.errors import UserError
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import SegmentRecord, commit_features
from raypipe.schema import FEATURE

COLUMNS = ("motion",)


def motion(count, start=0):
    """Rows of eight numbers, each row starting with its own."""
    return (start + np.arange(count))[:, None] + np.arange(8, dtype=np.float32) / 8


def table_of(values):
    array = pa.array(values.tolist(), FEATURE.field("motion").type)
    return pa.table({"motion": array})


def spatial(values, width=3):
    """Spatial rows that are told from motion by their sign."""
    numbers = -np.repeat(values[:, :1], width, axis=1).astype(np.float16)
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), width)


def commit(folder, index, values, names=()):
    count = len(values)
    columns = {field.name: pa.nulls(count, field.type) for field in FEATURE}
    numbers = ("frame_index", "track_id", "time_seconds", "x1", "y1", "x2", "y2", "confidence", "segment_index")
    columns |= {name: [0] * count for name in numbers}
    columns |= {"video_id": ["v"] * count, "class_name": ["person"] * count, "motion": table_of(values)["motion"]}
    record = SegmentRecord("hash", "v", index, 3, 0, 4, 1, 4, count, ())
    table = pa.table(columns).cast(FEATURE)
    for name in names:
        table = table.append_column(name, spatial(values))
    commit_features(folder, table, record)
    return folder.feature_path("v", index)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(str(tmp_path))


@pytest.mark.parametrize(
    ("count", "held_out"),
    [
        (1, [0]),  # serves as both
        (2, [1]),
        (3, [2]),
        (9, [8]),
        (10, [9]),
        (11, [9]),
        (19, [9]),
        (20, [9, 19]),
        (34, [9, 19, 29]),
    ],
)
def test_a_tenth_of_the_videos_is_held_out(count, held_out):
    videos = [f"{number:02d}" for number in range(count)]
    fit, kept_back = split_held_out(videos[::-1])  # in any order
    assert kept_back == [videos[number] for number in held_out]
    assert fit == (videos if count == 1 else [video for video in videos if video not in kept_back])


@pytest.mark.parametrize("sizes", [[3], [2, 1], [0, 2, 0, 3], [0], []])
def test_features_of_any_chunks(sizes):
    values = motion(sum(sizes))
    parts = np.split(values, np.cumsum(sizes)[:-1]) if sizes else []
    chunks = [table_of(part)["motion"].combine_chunks() for part in parts]
    column = pa.chunked_array(chunks, FEATURE.field("motion").type)
    found = object_features(pa.table({"other": range(sum(sizes)), "motion": column}), COLUMNS)
    np.testing.assert_array_equal(found, values)
    assert (found.shape, found.dtype, found.flags.writeable) == ((sum(sizes), 8), np.float32, True)


def test_features_of_a_slice():
    np.testing.assert_array_equal(object_features(table_of(motion(5)).slice(1, 3), COLUMNS), motion(3, start=1))


def test_spatial_features_stand_before_motion(folder):
    path = commit(folder, 0, motion(2, 5), names=("image", "cross"))
    columns = ("cross", "motion")
    assert column_sizes(folder, path, columns) == (3, 8)
    found = object_features(ReadFeatures(folder, columns).read(path), columns)
    np.testing.assert_array_equal(found, np.concatenate([-motion(2, 5)[:, [0, 0, 0]], motion(2, 5)], axis=1))
    assert sample_features(folder, [path], ("image",), 10, 0).tolist() == [[-5] * 3, [-6] * 3]


def test_a_feature_that_was_not_kept_is_named(folder):
    path = commit(folder, 0, motion(2), names=("image",))
    with pytest.raises(UserError, match="holds no 'cross': name it"):
        column_sizes(folder, path, ("cross", "motion"))
    with pytest.raises(UserError, match="hold no 'text'"):
        object_features(pa.table({"motion": table_of(motion(1))["motion"]}), ("text",))


@pytest.mark.parametrize(
    ("spatial_error", "motion_error", "dims", "means", "floors"),
    [
        ([2, 4], [8, 4], (3, 1), (3, 6), {"joint": (2 * 3 + 8) / 4, "balanced": (2 / 3 + 8 / 6) / 2}),
        (None, [1, 3], (0, 8), (0, 2), {"joint": 1, "balanced": 0.5}),
        ([1, 3], None, (8, 0), (2, 0), {"joint": 1, "balanced": 0.5}),
        # Nothing to divide by.
        ([2, 4], [0, 0], (3, 1), (3, 0), {"joint": 1.5}),
    ],
)
def test_figures_of_held_out_objects(spatial_error, motion_error, dims, means, floors):
    parts = [None if part is None else np.array(part, float) for part in (spatial_error, motion_error)]
    found_means, found_floors = held_out_figures(*parts, dims)
    assert found_means == means
    assert found_floors == pytest.approx(floors)


def test_files_without_objects_yield_nothing(folder):
    paths = [commit(folder, 0, motion(2)), commit(folder, 1, motion(0)), commit(folder, 2, motion(3, 10))]
    tables = list(ReadFeatures(folder, COLUMNS)({"path": np.array(paths)}))
    assert [table.column_names for table in tables] == [["motion"]] * 2
    assert [object_features(table, COLUMNS)[:, 0].tolist() for table in tables] == [[0, 1], [10, 11, 12]]


@pytest.mark.parametrize("max_rows", [9, 100])
def test_a_sample_below_the_cap_is_everything(folder, max_rows):
    paths = [commit(folder, 0, motion(4)), commit(folder, 1, motion(0)), commit(folder, 2, motion(5, 10))]
    found = sample_features(folder, paths, COLUMNS, max_rows, seed=0)
    np.testing.assert_array_equal(found, np.concatenate([motion(4), motion(5, 10)]))
    assert found.dtype == np.float32


@pytest.mark.parametrize(("max_rows", "first", "second"), [(15, 10, 5), (14, 10, 5), (3, 2, 1), (1, 1, 1)])
def test_a_sample_takes_the_same_share_of_each_file(folder, max_rows, first, second):
    # 20 and 10 rows; a share that is not whole is rounded up, so that no file goes without.
    paths = [commit(folder, 0, motion(20)), commit(folder, 1, motion(10, 100))]
    rows = sample_features(folder, paths, COLUMNS, max_rows, seed=3)
    number = rows[:, 0]
    assert (np.count_nonzero(number < 100), np.count_nonzero(number >= 100)) == (first, second)
    # No row twice, in the files' order, and whole rows.
    assert (np.diff(number) > 0).all()
    np.testing.assert_array_equal(rows, number[:, None] + np.arange(8) / 8)
    np.testing.assert_array_equal(sample_features(folder, paths, COLUMNS, max_rows, seed=3), rows)


def test_another_seed_is_another_sample(folder):
    paths = [commit(folder, 0, motion(100))]
    samples = {tuple(sample_features(folder, paths, COLUMNS, 10, seed)[:, 0]) for seed in range(3)}
    assert len(samples) == 3


def test_a_sample_of_no_objects_is_empty(folder):
    assert sample_features(folder, [commit(folder, 0, motion(0))], COLUMNS, 10, seed=0).shape == (0, 0)
    assert sample_features(folder, [], COLUMNS, 10, seed=0).shape == (0, 0)


class Shard:
    """What of a Ray Data shard is used; it counts how often it is read."""

    def __init__(self, values):
        self.values = values
        self.batch_sizes = []

    def iter_batches(self, *, batch_size, batch_format, prefetch_batches):
        assert (batch_format, prefetch_batches) == ("pyarrow", 0)
        self.batch_sizes.append(batch_size)
        for start in range(0, len(self.values), batch_size):
            yield table_of(self.values[start : start + batch_size])


def read(chunks):
    return [chunk[:, 0].tolist() for chunk in chunks()]


@pytest.mark.parametrize(
    ("chunk_rows", "batch_size", "expected"),
    [(8, 4, 8), (11, 4, 8), (8, 8, 8), (3, 4, 4), (1, 1, 1)],  # whole batches, one at least
)
def test_chunks_are_whole_batches(monkeypatch, chunk_rows, batch_size, expected):
    monkeypatch.setattr(training_data, "CHUNK_BYTES", chunk_rows * 8 * 4)
    shard = Shard(motion(3))
    read(chunk_reader(shard, COLUMNS, 8, batch_size))
    assert shard.batch_sizes == [expected]


@pytest.mark.parametrize("count", [1, 7, 8])
def test_the_only_chunk_is_read_once_and_kept(monkeypatch, count):
    monkeypatch.setattr(training_data, "CHUNK_BYTES", 8 * 8 * 4)
    shard = Shard(motion(count))
    chunks = chunk_reader(shard, COLUMNS, 8, 4)
    assert [read(chunks) for _ in range(3)] == [[list(range(count))]] * 3
    assert len(shard.batch_sizes) == 1


def test_several_chunks_are_streamed_each_time(monkeypatch):
    monkeypatch.setattr(training_data, "CHUNK_BYTES", 8 * 8 * 4)
    shard = Shard(motion(19))
    chunks = chunk_reader(shard, COLUMNS, 8, 4)
    expected = [list(range(8)), list(range(8, 16)), [16, 17, 18]]
    assert [read(chunks) for _ in range(2)] == [expected] * 2
    assert len(shard.batch_sizes) == 2


def test_a_reader_that_is_stopped_early_keeps_nothing(monkeypatch):
    monkeypatch.setattr(training_data, "CHUNK_BYTES", 8 * 8 * 4)
    chunks = chunk_reader(Shard(motion(12)), COLUMNS, 8, 4)
    assert next(chunks()).shape == (8, 8)
    assert [len(chunk) for chunk in read(chunks)] == [8, 4]


def test_an_empty_shard_has_no_chunks():
    chunks = chunk_reader(Shard(motion(0)), COLUMNS, 8, 4)
    assert [read(chunks), read(chunks)] == [[], []]


def video_of(video_id, split, class_name=""):
    return Video(video_id, f"/data/{video_id}", split, 1, False, class_name=class_name)


def test_models_are_trained_on_normal_videos_alone():
    videos = [
        video_of("a", "train"),
        video_of("b", "train_abnormal", "Abuse"),
        video_of("c", "train", "normal"),
        video_of("d", "test"),
        video_of("e", "validation"),
    ]
    assert training_videos(videos) == ["a", "c"]


def test_a_reader_that_puts_an_abnormal_video_into_training_is_caught():
    with pytest.raises(ValueError, match="b is in the split train, but of the class Abuse"):
        training_videos([video_of("a", "train"), video_of("b", "train", "Abuse")])
