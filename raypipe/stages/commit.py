"""The end of a segment: its rows become one committed Parquet file."""

from typing import Any

import numpy as np
import pyarrow as pa

from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import SegmentRecord, commit_features, read_records
from raypipe.schema import DETECTED, FEATURE, NUM_MOTION_BINS, SPATIAL, check_row


def feature_table(row: dict[str, Any]) -> pa.Table:
    """Return the FEATURE rows of a segment's body, one object in one frame each, with the spatial features it has.

    Columns not computed are null.
    """
    kept = row["frame_offset"] >= row["num_warmup"]
    offset, boxes = row["frame_offset"][kept], row["boxes"][kept]
    count = len(offset)
    motion = pa.nulls(count, FEATURE.field("motion").type)
    if "motion" in row:
        motion = pa.FixedSizeListArray.from_arrays(pa.array(row["motion"][kept].reshape(-1)), NUM_MOTION_BINS)
    columns = {
        "video_id": pa.array([row["video_id"]] * count, pa.string()),
        "segment_index": np.full(count, row["segment_index"], np.int32),
        "frame_index": row["frame_indices"][offset],
        "time_seconds": row["time_seconds"][offset],
        "track_id": row["track_id"][kept],
        "x1": boxes[:, 0],
        "y1": boxes[:, 1],
        "x2": boxes[:, 2],
        "y2": boxes[:, 3],
        "confidence": row["confidence"][kept],
        "class_name": pa.array(row["class_name"][kept].tolist(), pa.string()),
        "motion": motion,
    }
    for name in ("caption", "sentence"):
        if name in row:
            columns[name] = pa.array(row[name][kept].tolist(), pa.string())
    if "sentence_is_carried" in row:
        columns["sentence_is_carried"] = row["sentence_is_carried"][kept]
    for name in SPATIAL:
        if name in row:
            values = row[name][kept]
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    for name in FEATURE.names:
        columns.setdefault(name, pa.nulls(count, FEATURE.field(name).type))
    return pa.table(columns)


class CommitFeatures:
    """Write a segment's features, exactly once however often it is tried, and return what was done."""

    def __init__(self, folder: RunFolder, config_hash: str) -> None:
        self.folder = folder
        self.config_hash = config_hash

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the segment's place and its numbers of frames, objects and unread answers."""
        check_row(row, DETECTED, "commit")
        table = feature_table(row)
        in_warmup = row["frame_offset"] < row["num_warmup"]
        offset = row["frame_offset"][in_warmup]
        position = np.arange(len(offset)) - np.searchsorted(offset, offset)
        num_frames = len(row["frame_indices"]) - row["num_warmup"] - row["num_lookahead"]
        names = (row["frame_indices"][offset].tolist(), position.tolist(), row["track_id"][in_warmup].tolist())
        record = SegmentRecord(
            config_hash=self.config_hash,
            video_id=row["video_id"],
            segment_index=row["segment_index"],
            num_segments=row["num_segments"],
            start_frame=row["start_frame"],
            stop_frame=row["stop_frame"],
            stride=row["stride"],
            num_frames=num_frames,
            num_objects=table.num_rows,
            warmup=tuple(zip(*names, strict=True)),
        )
        commit_features(self.folder, table, record)
        return _done(row, record, row.get("num_unparsed", 0))

    def find_committed(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Return what `__call__` returned where an earlier attempt got as far as the commit, None where none did.

        Answers that could not be read are not counted again: the file does not tell them.
        """
        place = (row["video_id"], row["segment_index"])
        if not self.folder.filesystem.exists(self.folder.feature_path(*place)):
            return None
        (record,) = read_records(self.folder, {place[0]: {place[1]}})
        return _done(row, record, 0) if record.config_hash == self.config_hash else None


def _done(row: dict[str, Any], record: SegmentRecord, num_unparsed: int) -> dict[str, Any]:
    place = {name: row[name] for name in ("video_id", "segment_index", "start_frame", "stop_frame")}
    counts = {"num_frames": record.num_frames, "num_objects": record.num_objects}
    return place | counts | {"num_unparsed": num_unparsed}
