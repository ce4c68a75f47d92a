"""The tables and rows that cross a boundary, and the checks at each boundary.

Tables that are stored are pyarrow schemas (`FEATURE`, `SCORE`); a row on its way through the
stages is a dict whose array fields are described by `ArrayField` (dtype and named dimensions).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from raypipe.errors import SchemaError

NUM_MOTION_BINS = 8
# What may describe an object in space (Table 3): the mean of the ViT's feature map, the mean of the image tokens, the
# sentence's vector, and the cross-modality attention of the last two, G of Eq. (1).
SPATIAL = ("backbone", "image", "text", "cross")

# Beside these columns come the spatial features that the config keeps, as wide as the weights make them.
FEATURE = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("segment_index", pa.int32(), nullable=False),
        pa.field("frame_index", pa.int64(), nullable=False),
        pa.field("time_seconds", pa.float64(), nullable=False),
        pa.field("track_id", pa.int64(), nullable=False),
        pa.field("x1", pa.float32(), nullable=False),
        pa.field("y1", pa.float32(), nullable=False),
        pa.field("x2", pa.float32(), nullable=False),
        pa.field("y2", pa.float32(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("motion", pa.list_(pa.float32(), NUM_MOTION_BINS)),
        pa.field("caption", pa.string()),
        pa.field("sentence", pa.string()),
        pa.field("sentence_is_carried", pa.bool_()),
    ]
)

SCORE = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("frame_index", pa.int64(), nullable=False),
        pa.field("time_seconds", pa.float64(), nullable=False),
        # Null where the frame's segment is missing (dead letter): not scored is not normal.
        pa.field("score", pa.float64()),
        pa.field("num_objects", pa.int32(), nullable=False),
        pa.field("top_track_id", pa.int64()),
        pa.field("top_sentence", pa.string()),
    ]
)


def feature_schema(columns: pa.Schema) -> pa.Schema:
    """Return the schema of FEATURE rows that hold, of the spatial features, those that `columns` names.

    They are float16 lists of the fixed size that their column has; FEATURE alone where there is none. Raises
    SchemaError where one is no list of a fixed size.
    """
    schema = FEATURE
    for name in SPATIAL:
        if name in columns.names:
            kind = columns.field(name).type
            if not pa.types.is_fixed_size_list(kind):
                raise SchemaError(f"column {name!r} is {kind}, expected a list of fixed size")
            schema = schema.append(pa.field(name, pa.list_(pa.float16(), kind.list_size)))
    return schema


def conform(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """Return `table` with exactly the columns of `schema`, in its order, each cast once.

    Raises SchemaError, naming `where`, on missing or extra columns, on nulls in a column that has none, and
    on values that do not fit the column's type.
    """
    missing = [name for name in schema.names if name not in table.column_names]
    extra = [name for name in table.column_names if name not in schema.names]
    if missing or extra:
        raise SchemaError(f"{where}: missing columns {missing}, extra columns {extra}")
    table = table.select(schema.names)
    for field in schema:
        if not field.nullable and table[field.name].null_count:
            raise SchemaError(f"{where}: column {field.name!r} holds {table[field.name].null_count} nulls")
    try:
        return table.cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise SchemaError(f"{where}: {error}") from error


@dataclass(frozen=True)
class ArrayField:
    """An array field of a row: its dtype and the names (or sizes) of its dimensions, as in "T H W 3"."""

    dtype: str
    dims: str


# A segment as planned. Frame counts: T decoded frames = warm-up + body + look-ahead.
# start_frame and stop_frame (half open) bound the body in source frames; `frame_indices` are source frames.
PLANNED: dict[str, type | ArrayField] = {
    "video_id": str,
    "uri": str,
    "split": str,
    "fps": float,
    "num_frames": int,
    "width": int,
    "height": int,
    "segment_index": int,
    "num_segments": int,
    "start_frame": int,
    "stop_frame": int,
    "num_warmup": int,
    "num_lookahead": int,
    "stride": int,
    "frame_indices": ArrayField("int64", "T"),
    # Presentation timestamps in ticks of the stream; all -1 where frames are counted instead (see video.probe).
    "frame_pts": ArrayField("int64", "T"),
    "time_seconds": ArrayField("float64", "T"),
    # Where to seek: dts and pts of the last keyframe shown at or before the first frame. Where frames are numbered
    # (see video.index), the number of a packet and of its first frame.
    "seek_dts": int,
    "seek_pts": int,
    "is_numbered": bool,
    # Index of the video stream in its file, -1 for the one that `video.container.pick_stream` chooses.
    "stream": int,
}
# The same on its way from the driver, which plans hundreds of thousands; `ops.timestamps.unpack` reads the timestamps.
# `video_pts` is the video's first timestamp; times follow from `fps` where `tick_seconds` is 0.
PACKED: dict[str, type | ArrayField] = {
    **{name: field for name, field in PLANNED.items() if not isinstance(field, ArrayField)},
    "first_frame": int,
    "num_sampled": int,
    "first_pts": int,
    "pts_steps": bytes,
    "pts_type": str,
    "video_pts": int,
    "tick_seconds": float,
}
DECODED = PLANNED | {"frames": ArrayField("uint8", "T H W 3")}
# Quarter-pel vectors of every 8x8 block of the decoded frames, and where a block has one.
# `spans` are the steps between decoded frames that a frame's vectors are the motion of.
MOVED = DECODED | {
    "vectors": ArrayField("int16", "T h w 2"),
    "inter": ArrayField("bool", "T h w"),
    "spans": ArrayField("int16", "T"),
}
# N objects of the warm-up and body frames; frame_offset counts from the first decoded frame; boxes are
# x1 y1 x2 y2 in pixels of the source video, as displayed.
DETECTED = {
    "frame_offset": ArrayField("int32", "N"),
    "boxes": ArrayField("float32", "N 4"),
    "confidence": ArrayField("float32", "N"),
    "class_name": ArrayField("object", "N"),
    "track_id": ArrayField("int64", "N"),
}
POOLED = DETECTED | {"motion": ArrayField("float32", f"N {NUM_MOTION_BINS}")}
# Image tokens F^I and the words that the Q-Former finds for the crop.
ENCODED = DETECTED | {"tokens": ArrayField("float16", "N Q D")}
CAPTIONED = ENCODED | {"caption": ArrayField("object", "N")}
# The sentence that describes the object, whether an earlier frame made it, and its vector F^T[0].
SPOKEN = CAPTIONED | {
    "sentence": ArrayField("object", "N"),
    "sentence_is_carried": ArrayField("bool", "N"),
    "sentence_cls": ArrayField("float16", "N D"),
}


def check_row(row: Mapping[str, Any], fields: Mapping[str, type | ArrayField], where: str) -> None:
    """Check that a row has `fields`, of the right dtype, with dimensions that agree with one another.

    Fields beyond those named are allowed: a row gathers fields on its way. Raises SchemaError naming `where`.
    """
    sizes: dict[str, int] = {}
    for name, field in fields.items():
        if name not in row:
            raise SchemaError(f"{where}: the row has no field {name!r}")
        value = row[name]
        if isinstance(field, ArrayField):
            _check_array(name, value, field, sizes, where)
        elif not isinstance(value, field) or isinstance(value, bool) != (field is bool):
            raise SchemaError(f"{where}: {name!r} is {type(value).__name__}, expected {field.__name__}")


def _check_array(name: str, value: Any, field: ArrayField, sizes: dict[str, int], where: str) -> None:
    if not isinstance(value, np.ndarray):
        raise SchemaError(f"{where}: {name!r} is {type(value).__name__}, expected an array")
    if value.dtype != np.dtype(field.dtype):
        raise SchemaError(f"{where}: {name!r} has dtype {value.dtype}, expected {field.dtype}")
    dims = field.dims.split()
    expected = tuple(int(dim) if dim.isdigit() else sizes.get(dim, -1) for dim in dims)
    matches = value.ndim == len(dims) and all(e in (-1, n) for e, n in zip(expected, value.shape, strict=True))
    if not matches:
        raise SchemaError(f"{where}: {name!r} has shape {value.shape}, expected ({field.dims}) with {sizes}")
    sizes.update({dim: size for dim, size in zip(dims, value.shape, strict=True) if not dim.isdigit()})
