from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raypipe.errors import SchemaError, UserError
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import (
    SegmentRecord,
    commit_features,
    commit_scores,
    read_features,
    read_scores,
    read_segment,
)
from raypipe.schema import FEATURE, SCORE

HASH = "0123"


def rows(segment_index, objects):
    """FEATURE rows of objects given as (frame_index, track_id)."""
    count = len(objects)
    columns = {field.name: pa.nulls(count, field.type) for field in FEATURE}
    numbers = dict.fromkeys(("time_seconds", "x1", "y1", "x2", "y2", "confidence"), [0.5] * count)
    columns |= {"video_id": ["v"] * count, "class_name": ["person"] * count, "segment_index": [segment_index] * count}
    columns |= {"frame_index": [frame for frame, _ in objects], "track_id": [track for _, track in objects]}
    return pa.table(columns | numbers).cast(FEATURE)


def commit(folder, index, objects, warmup=(), config_hash=HASH, frames=4):
    start = index * frames
    record = SegmentRecord(config_hash, "v", index, 3, start, start + frames, 1, frames, len(objects), tuple(warmup))
    commit_features(folder, rows(index, objects), record)
    return record


@pytest.fixture
def folder(tmp_path):
    return RunFolder(str(tmp_path))


def test_a_segment_comes_back_as_it_was_written(folder):
    record = commit(folder, 1, [(4, 0), (4, 1), (5, 0)], warmup=[(3, 0, 1)])
    read_record, table = read_segment(folder, "v", 1)
    assert replace(read_record, digest="") == record
    assert len(read_record.digest) == 32
    assert table.schema == FEATURE
    assert table["track_id"].to_pylist() == [0, 1, 0]


def test_the_same_rows_give_the_same_bytes(folder):
    commit(folder, 0, [(0, 0)])
    path = folder.feature_path("v", 0)
    first = folder.filesystem.cat_file(path)
    commit(folder, 0, [(0, 0)])
    assert folder.filesystem.cat_file(path) == first


def test_an_empty_segment_is_a_file_with_its_frame_count(folder):
    commit(folder, 0, [])
    record, table = read_segment(folder, "v", 0)
    assert (record.num_frames, record.num_objects, table.num_rows) == (4, 0, 0)


def test_tracks_keep_one_id_over_the_whole_video(folder):
    commit(folder, 0, [(2, 0), (3, 0), (3, 1)])
    # Here the walker of id 1 was seen first, and a new one (2) appears.
    commit(folder, 1, [(4, 1), (4, 0), (5, 2)], warmup=[(3, 0, 1), (3, 1, 0)])
    commit(folder, 2, [(8, 0), (9, 1)], warmup=[(5, 0, 0)])
    features = read_features(folder, "v", {0, 1, 2}, HASH)
    assert features.table["track_id"].to_pylist() == [0, 0, 1, 0, 1, 2, 2, 3]
    assert features.missing == ()


def test_a_missing_segment_is_named_and_ids_stay_unique(folder):
    commit(folder, 0, [(0, 0)])
    commit(folder, 2, [(8, 0)], warmup=[(7, 0, 0)])
    features = read_features(folder, "v", {0, 2}, HASH)
    assert features.missing == (1,)
    assert features.table["track_id"].to_pylist() == [0, 1]


def test_files_of_another_config_do_not_count(folder):
    commit(folder, 0, [(0, 0)])
    commit(folder, 1, [(4, 0)], config_hash="another")
    features = read_features(folder, "v", {0, 1}, HASH)
    assert features.table.num_rows == 1
    assert features.missing == (1, 2)
    nothing = read_features(folder, "v", set(), HASH)
    assert (nothing.table.schema, nothing.table.num_rows, nothing.missing) == (FEATURE, 0, ())


@pytest.mark.parametrize(("content", "message"), [(b"no parquet", "is damaged"), (None, "was not written by raypipe")])
def test_foreign_files_are_refused(folder, content, message):
    path = folder.feature_path("v", 0)
    folder.commit(path, content or b"")
    if content is None:
        pq.write_table(rows(0, []), path)
    with pytest.raises(UserError, match=message):
        read_segment(folder, "v", 0)


MADE_BY = {"model": "rm", "smoothing_seconds": 0.5}


def test_scores_come_back_only_for_what_made_them(folder):
    with pytest.raises(UserError, match="v has no scores"):
        read_scores(folder, "v", MADE_BY)
    columns = {"video_id": ["v"], "frame_index": [0], "time_seconds": [0.0], "score": [None], "num_objects": [0]}
    table = pa.table(columns | {"top_track_id": [None], "top_sentence": [None]})
    commit_scores(folder, "v", table, MADE_BY)
    assert read_scores(folder, "v", MADE_BY).schema == SCORE
    with pytest.raises(
        UserError, match=r"made by another model or other settings \(model\): run `raypipe score` again"
    ):
        read_scores(folder, "v", MADE_BY | {"model": "knn"})
    with pytest.raises(SchemaError, match="scores of v"):
        commit_scores(folder, "v", table.drop_columns(["score"]), MADE_BY)
