import numpy as np
import pyarrow as pa
import pytest

from raypipe.errors import SchemaError
from raypipe.schema import DETECTED, FEATURE, SCORE, ArrayField, check_row, conform

SCORES = {
    "video_id": ["a", "a"],
    "frame_index": [0, 1],
    "time_seconds": [0.0, 0.1],
    "score": [1.0, None],
    "num_objects": [2, 0],
    "top_track_id": [3, None],
    "top_sentence": [None, None],
}


def test_conform_orders_and_casts():
    shuffled = pa.table(dict(reversed(SCORES.items())))
    table = conform(shuffled, SCORE, "here")
    assert table.schema == SCORE
    assert table["num_objects"].to_pylist() == [2, 0]
    assert table["top_sentence"].type == pa.string()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": None}, r"here: missing columns \['score'\], extra columns \[\]"),
        ({"colour": [1, 2]}, r"here: missing columns \[\], extra columns \['colour'\]"),
        ({"frame_index": [0, None]}, "here: column 'frame_index' holds 1 nulls"),
        ({"num_objects": [2**40, 0]}, "here: .*1099511627776"),
        ({"score": ["high", "low"]}, "here: .*low"),
        ({"top_track_id": [[1], [2]]}, "here: .*list"),
    ],
)
def test_conform_refuses(change, message):
    columns = {name: column for name, column in (SCORES | change).items() if column is not None}
    with pytest.raises(SchemaError, match=message):
        conform(pa.table(columns), SCORE, "here")


def test_conform_refuses_motion_of_another_length():
    columns = {field.name: pa.nulls(1, field.type) for field in FEATURE} | {"motion": pa.array([[1.0] * 7])}
    filled = {"video_id": ["a"], "segment_index": [0], "frame_index": [0], "time_seconds": [0.0], "track_id": [0]}
    filled |= {side: [0.0] for side in ("x1", "y1", "x2", "y2", "confidence")} | {"class_name": ["person"]}
    with pytest.raises(SchemaError, match="here"):
        conform(pa.table(columns | filled), FEATURE, "here")


def detected(**changes):
    row = {
        "frame_offset": np.zeros(3, np.int32),
        "boxes": np.zeros((3, 4), np.float32),
        "confidence": np.ones(3, np.float32),
        "class_name": np.array(["a", "b", "c"], object),
        "track_id": np.arange(3),
    }
    return row | changes


def test_a_row_may_hold_more_than_the_fields():
    check_row(detected(extra=1), DETECTED, "here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": np.zeros((3, 5), np.float32)}, r"'boxes' has shape \(3, 5\), expected \(N 4\)"),
        ({"boxes": np.zeros((2, 4), np.float32)}, r"'boxes' has shape \(2, 4\).*'N': 3"),
        ({"boxes": np.zeros((3, 4))}, "'boxes' has dtype float64, expected float32"),
        ({"track_id": [1, 2, 3]}, "'track_id' is list, expected an array"),
        ({"track_id": np.zeros((3, 1), np.int64)}, "'track_id' has shape"),
    ],
)
def test_check_row_refuses_arrays(change, message):
    with pytest.raises(SchemaError, match=f"here: {message}"):
        check_row(detected(**change), DETECTED, "here")


def test_check_row_refuses_missing_fields_and_other_types():
    with pytest.raises(SchemaError, match="the row has no field 'fps'"):
        check_row({}, {"fps": float}, "here")
    with pytest.raises(SchemaError, match="'fps' is str, expected float"):
        check_row({"fps": "25"}, {"fps": float}, "here")
    with pytest.raises(SchemaError, match="'count' is bool, expected int"):
        check_row({"count": True}, {"count": int}, "here")


def test_dimensions_bind_across_fields():
    fields = {"a": ArrayField("int64", "T"), "b": ArrayField("int64", "T 2")}
    check_row({"a": np.zeros(4, np.int64), "b": np.zeros((4, 2), np.int64)}, fields, "here")
    with pytest.raises(SchemaError, match="'b' has shape"):
        check_row({"a": np.zeros(4, np.int64), "b": np.zeros((5, 2), np.int64)}, fields, "here")
