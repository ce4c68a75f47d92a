import numpy as np
import pytest

from raypipe.errors import SchemaError
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import read_segment
from raypipe.schema import FEATURE
from raypipe.stages.commit import CommitFeatures, feature_table
from tests.stages.test_motion import decoded_row, with_objects

OFFSETS = [0, 1, 1, 2, 2, 4]


@pytest.fixture
def folder(tmp_path):
    return RunFolder(str(tmp_path))


def segment(offsets=OFFSETS, *, has_motion=True):
    """Source frames 4, 6 | 8, 10, 12 | 14 of a video: two of warm-up, three of body, one of look-ahead."""
    row = decoded_row(np.zeros((6, 8, 8, 3), np.uint8), width=8, height=8, stride=2)
    row |= {"frame_indices": np.arange(4, 16, 2), "time_seconds": np.arange(4, 16, 2) / 10.0, "num_frames": 20}
    row |= {"segment_index": 1, "num_segments": 3, "start_frame": 8, "stop_frame": 14}
    row |= {"num_warmup": 2, "num_lookahead": 1}
    count = len(offsets)
    row = with_objects(row, np.arange(count * 4).reshape(count, 4), offsets)
    row["track_id"] = np.arange(count) + 10
    return row | ({"motion": np.arange(count * 8, dtype=np.float32).reshape(count, 8)} if has_motion else {})


def test_rows_of_the_body_are_written(folder):
    done = CommitFeatures(folder, "hash")(segment() | {"num_unparsed": 2})
    expected = {"video_id": "a", "segment_index": 1, "start_frame": 8, "stop_frame": 14}
    assert done == expected | {"num_frames": 3, "num_objects": 3, "num_unparsed": 2}
    record, table = read_segment(folder, "a", 1)
    rows = table.to_pylist()
    assert [row["frame_index"] for row in rows] == [8, 8, 12]
    assert [row["time_seconds"] for row in rows] == [0.8, 0.8, 1.2]
    assert [row["track_id"] for row in rows] == [13, 14, 15]
    assert [rows[0][side] for side in ("x1", "y1", "x2", "y2")] == [12, 13, 14, 15]
    assert rows[2]["motion"] == list(range(40, 48))
    assert [rows[0][name] for name in ("caption", "sentence", "sentence_is_carried")] == [None] * 3
    assert (record.config_hash, record.num_segments, record.num_frames, record.num_objects) == ("hash", 3, 3, 3)
    assert (record.start_frame, record.stop_frame, record.stride) == (8, 14, 2)


def test_what_the_warm_up_boxes_were_called_is_recorded(folder):
    CommitFeatures(folder, "hash")(segment())
    # Source frame, position in the frame, track id.
    assert read_segment(folder, "a", 1)[0].warmup == ((4, 0, 10), (6, 0, 11), (6, 1, 12))


@pytest.mark.parametrize("has_motion", [True, False])
@pytest.mark.parametrize(("offsets", "num_warmup"), [([], 0), ([0, 1], 2)])
def test_a_body_without_objects_is_an_empty_table(folder, offsets, num_warmup, has_motion):
    done = CommitFeatures(folder, "hash")(segment(offsets, has_motion=has_motion))
    assert (done["num_frames"], done["num_objects"]) == (3, 0)
    record, table = read_segment(folder, "a", 1)
    assert (table.schema, table.num_rows, len(record.warmup)) == (FEATURE, 0, num_warmup)


def test_motion_that_was_not_computed_is_null(folder):
    CommitFeatures(folder, "hash")(segment(has_motion=False))
    assert read_segment(folder, "a", 1)[1]["motion"].null_count == 3
    assert feature_table(segment(has_motion=False))["motion"].null_count == 3


def test_repeating_a_segment_changes_no_byte(folder):
    contents = []
    for _ in range(2):
        CommitFeatures(folder, "hash")(segment())
        contents.append(folder.filesystem.cat_file(folder.feature_path("a", 1)))
    assert contents[0] == contents[1]
    assert folder.committed() == {"a": {1}}


def test_what_is_committed_is_found_by_those_of_the_same_config(folder):
    commit = CommitFeatures(folder, "hash")
    assert commit.find_committed(segment()) is None
    done = commit(segment())
    assert commit.find_committed(segment()) == done
    assert CommitFeatures(folder, "other").find_committed(segment()) is None


def test_rows_are_checked(folder):
    with pytest.raises(SchemaError, match="commit: the row has no field 'frame_offset'"):
        CommitFeatures(folder, "hash")({})
    assert folder.committed() == {}
