"""Digests of committed segments: equal for equal content, whenever and wherever it was written."""

import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raypipe.errors import UserError
from raypipe.run_folder import digests as module
from raypipe.run_folder.digests import DIGESTS_NAME, feature_digests
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import (
    SegmentRecord,
    commit_features,
    content_digest,
    read_records,
    read_segment,
    serialise_table,
)
from raypipe.schema import FEATURE, SCORE

RECORD = SegmentRecord("hash", "v", 0, 1, 0, 4, 1, 4, 2, ((0, 1, 2),))
MOTION = [[0.1 * number for number in range(8)], [0.0] * 8]


def table_of(**changes):
    columns = {
        "video_id": ["v", "v"],
        "segment_index": [0, 0],
        "frame_index": [0, 1],
        "time_seconds": [0.0, 0.04],
        "track_id": [0, 0],
        **{name: [1.0, 2.0] for name in ("x1", "y1", "x2", "y2", "confidence")},
        "class_name": ["person", "person"],
        "motion": MOTION,
        "sentence": ["a man walks", None],
    } | changes
    arrays = {field.name: pa.array(columns.get(field.name, [None, None]), field.type) for field in FEATURE}
    return pa.table(arrays, schema=FEATURE)


def digest_of(table=None, record=RECORD):
    return content_digest(table if table is not None else table_of(), record)


def test_it_does_not_depend_on_how_the_rows_are_stored():
    table = table_of()
    halves = pa.concat_tables([table.slice(0, 1), table.slice(1, 1)])
    padded = pa.concat_tables([table, table]).slice(2, 2)
    assert digest_of(table) == digest_of(halves) == digest_of(padded) == digest_of(record=replace(RECORD, digest="x"))
    assert len(digest_of()) == 32


@pytest.mark.parametrize(
    "other",
    [
        {"table": table_of(x1=[1.0, 2.5])},
        {"table": table_of(motion=[MOTION[0], [*[0.0] * 7, 1e-6]])},
        {"table": table_of(motion=MOTION[::-1])},
        {"table": table_of(sentence=[None, "a man walks"])},
        {"table": table_of(sentence=["", None])},
        {"table": table_of(class_name=["per", "sonperson"])},
        {"table": table_of().slice(0, 1)},
        {"table": table_of().drop_columns(["caption"])},
        {"record": replace(RECORD, config_hash="other")},
        {"record": replace(RECORD, warmup=((0, 1, 3),))},
    ],
)
def test_whatever_else_is_in_the_file_counts(other):
    assert digest_of(**other) != digest_of()


def test_it_stands_in_the_metadata_and_leaves_the_table_as_it_was(tmp_path):
    folder = RunFolder(str(tmp_path))
    commit_features(folder, table_of(), RECORD)
    record, table = read_segment(folder, "v", 0)
    assert record == replace(RECORD, digest=digest_of())
    assert read_records(folder, {"v": {0}}) == [record]
    assert table.column("x1").to_pylist() == [1.0, 2.0]
    assert feature_digests(folder) == {"v/00000.parquet": record.digest}


def write_as_0_1(folder, table=None):
    """Write a segment as version 0.1 did, whose metadata holds no digest."""
    fields = {name: value for name, value in asdict(RECORD).items() if name != "digest"}
    folder.commit(folder.feature_path("v", 0), serialise_table(table if table is not None else table_of(), fields))


def test_a_file_of_0_1_has_that_of_its_footer(tmp_path):
    first, again, other = (RunFolder(str(tmp_path / name)) for name in ("first", "again", "other"))
    write_as_0_1(first)
    write_as_0_1(again)
    write_as_0_1(other, table_of(x1=[1.0, 2.5]))
    (known,) = feature_digests(first).values()
    assert len(known) == 32
    assert list(feature_digests(again).values()) == [known]
    assert list(feature_digests(other).values()) != [known]


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(str(tmp_path / "run"))
    for index in range(3):
        commit_features(folder, table_of(), replace(RECORD, segment_index=index, num_segments=3))
    return folder


@pytest.fixture
def asked(monkeypatch):
    """The files whose footers are read."""
    read = module.read_records_at
    paths = []

    def counted(folder, asked):
        paths.extend(Path(path).name for path in asked)
        return read(folder, asked)

    monkeypatch.setattr(module, "read_records_at", counted)
    return paths


def test_footers_are_read_once(folder, asked):
    first = feature_digests(folder)
    assert sorted(asked) == ["00000.parquet", "00001.parquet", "00002.parquet"]
    asked.clear()
    assert feature_digests(folder) == first
    assert asked == []
    # Written again, whatever its time: looked at again, and found to be the same.
    os.utime(folder.feature_path("v", 1), (0, 0))
    assert feature_digests(folder) == first
    assert asked == ["00001.parquet"]
    asked.clear()
    folder.remove(folder.feature_path("v", 2))
    commit_features(folder, table_of(x1=[1.0, 9.0]), replace(RECORD, num_segments=3))
    changed = feature_digests(folder)
    assert asked == ["00000.parquet"]
    assert set(changed) == {"v/00000.parquet", "v/00001.parquet"}
    assert changed["v/00000.parquet"] != first["v/00000.parquet"]
    assert changed["v/00001.parquet"] == first["v/00001.parquet"]


def test_a_copy_has_the_same(folder, tmp_path):
    first = feature_digests(folder)
    shutil.copytree(folder.root, tmp_path / "copy", copy_function=shutil.copy)
    assert feature_digests(RunFolder(str(tmp_path / "copy"))) == first


@pytest.mark.parametrize("content", ["", "[]", "{", '{"v/00000.parquet": 3}', '{"v/00000.parquet": ["a"]}', "\xff"])
def test_what_was_kept_may_be_lost(folder, content):
    first = feature_digests(folder)
    Path(folder.path(DIGESTS_NAME)).write_bytes(content.encode("latin-1"))
    assert feature_digests(folder) == first
    assert set(json.loads(Path(folder.path(DIGESTS_NAME)).read_text())) == set(first)


@pytest.mark.parametrize(("content", "message"), [(b"PAR1", "is damaged"), (b"", "is damaged")])
def test_a_damaged_file_is_named(folder, content, message):
    path = Path(folder.feature_path("v", 1))
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"00001\.parquet {message}"):
        feature_digests(folder)


def test_a_file_of_others_is_named(folder):
    pq.write_table(SCORE.empty_table(), folder.feature_path("v", 1))
    with pytest.raises(UserError, match="was not written by raypipe"):
        feature_digests(folder)
