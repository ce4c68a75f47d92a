"""Feature and score tables in a run folder: what a committed segment holds, and one id per object over a video."""

import hashlib
import json
import os
from collections import ChainMap, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raypipe.errors import UserError
from raypipe.ops.tracks import link
from raypipe.run_folder.folder import RunFolder
from raypipe.schema import FEATURE, SCORE, SPATIAL, conform, feature_schema

METADATA_KEY = b"raypipe"
# The columns by which the tracks of a video's segments are linked.
LINKING = ("frame_index", "track_id")
DIGEST_CHARACTERS = 32
# Threads that read footers, which on a store are waited for.
READERS = 16


@dataclass(frozen=True)
class SegmentRecord:
    """What the metadata of a committed segment says of it.

    `warmup` holds (frame_index, position in the frame, own track id) of every warm-up box. `digest` is the hash of all
    else in the file, by which equal features are known wherever and whenever they were written.
    """

    config_hash: str
    video_id: str
    segment_index: int
    num_segments: int
    start_frame: int
    stop_frame: int
    stride: int
    num_frames: int
    num_objects: int
    warmup: tuple[tuple[int, int, int], ...]
    digest: str = ""


def serialise_table(table: pa.Table, metadata: Mapping[str, Any] | None = None) -> bytes:
    """Return a table as Parquet, with `metadata` as JSON beside the schema."""
    if metadata is not None:
        text = json.dumps(metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        table = table.replace_schema_metadata({METADATA_KEY: text.encode()})
    sink = pa.BufferOutputStream()
    # A dictionary of vectors is as large as the vectors, and takes most of the time.
    scalars = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
    pq.write_table(table, sink, compression="zstd", use_dictionary=scalars)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def commit_features(folder: RunFolder, table: pa.Table, record: SegmentRecord) -> None:
    """Commit a segment's FEATURE rows; an empty table is a segment without objects.

    A vector column that was not computed is left out of the file: Parquet cannot give back a null list of fixed size.
    """
    schema = feature_schema(table.schema)
    table = conform(table, schema, f"features of {record.video_id} segment {record.segment_index}")
    absent = [f.name for f in schema if pa.types.is_fixed_size_list(f.type) and _is_null(table[f.name])]
    table = table.drop_columns(absent)
    content = serialise_table(table, asdict(replace(record, digest=content_digest(table, record))))
    folder.commit(folder.feature_path(record.video_id, record.segment_index), content)


def content_digest(table: pa.Table, record: SegmentRecord) -> str:
    """Return a hash of the rows of a segment and of its record, which does not depend on how they are stored."""
    fields = asdict(replace(record, digest=""))
    content = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    for field in table.schema:
        column = table[field.name]
        content.update(f"{field.name}\0{field.type}\0{len(column)}\0".encode())
        content.update(column.is_valid().to_numpy().tobytes())
        values = column.drop_null().combine_chunks()
        if pa.types.is_string(field.type):
            content.update(json.dumps(values.to_pylist()).encode())
        else:
            flat = values.flatten() if pa.types.is_fixed_size_list(field.type) else values
            content.update(flat.to_numpy(zero_copy_only=False).tobytes())
    return content.hexdigest()[:DIGEST_CHARACTERS]


def _record(schema: pa.Schema, path: str) -> SegmentRecord:
    metadata = (schema.metadata or {}).get(METADATA_KEY)
    if metadata is None:
        raise UserError(f"{path} was not written by raypipe: its metadata lacks {METADATA_KEY.decode()!r}")
    fields = json.loads(metadata)
    fields["warmup"] = tuple(tuple(entry) for entry in fields["warmup"])
    return SegmentRecord(**fields)


def _is_null(column: pa.ChunkedArray) -> bool:
    return bool(len(column)) and bool(column.null_count == len(column))


def _with_absent_columns(table: pa.Table, columns: Collection[str]) -> pa.Table:
    for field in FEATURE:
        is_absent = field.name in columns and field.name not in table.column_names
        if is_absent and pa.types.is_fixed_size_list(field.type):
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table


def read_segment(
    folder: RunFolder, video_id: str, segment_index: int, columns: Collection[str] | None = None
) -> tuple[SegmentRecord, pa.Table]:
    """Return a committed segment as it was written: its record, and FEATURE rows with the segment's own track ids.

    Of the rows all columns are read, or those that are named. Raises UserError where the file is not one of ours.
    """
    path = folder.feature_path(video_id, segment_index)
    with folder.filesystem.open(path, "rb") as file:
        try:
            table = pq.ParquetFile(file).read(None if columns is None else list(columns))
        except pa.ArrowInvalid as error:
            raise UserError(f"{path} is damaged: {error}. Remove it and extract again.") from error
    record = _record(table.schema, path)
    wanted = [*FEATURE.names, *SPATIAL] if columns is None else columns
    table = _with_absent_columns(table.replace_schema_metadata(None), wanted)
    schema = pa.schema([field for field in feature_schema(table.schema) if field.name in wanted])
    return record, conform(table, schema, path)


def commit_scores(folder: RunFolder, video_id: str, table: pa.Table, made_by: Mapping[str, Any]) -> None:
    """Commit a video's SCORE rows with the model and settings that made them."""
    table = conform(table, SCORE, f"scores of {video_id}")
    folder.commit(folder.score_path(video_id), serialise_table(table, made_by))


def read_scores(folder: RunFolder, video_id: str, made_by: Mapping[str, Any]) -> pa.Table:
    """Return a video's SCORE rows. Raises UserError where it has none, or where they were made by something else."""
    try:
        with folder.filesystem.open(folder.score_path(video_id), "rb") as file:
            table = pq.read_table(file)
    except FileNotFoundError as error:
        raise UserError(f"{video_id} has no scores in {folder.root}: run `raypipe score` first") from error
    known = _made_by(table.schema)
    differing = sorted(key for key in made_by if known.get(key) != made_by[key])
    if differing:
        raise UserError(
            f"the scores of {video_id} were made by another model or other settings ({', '.join(differing)}): "
            "run `raypipe score` again"
        )
    return conform(table.replace_schema_metadata(None), SCORE, folder.score_path(video_id))


def read_made_by(folder: RunFolder, video_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what the metadata of each video's scores says, of those that have scores that can be read."""

    def read(video_id: str) -> dict[str, Any] | None:
        try:
            with folder.filesystem.open(folder.score_path(video_id), "rb") as file:
                return _made_by(pq.read_schema(file))
        except (FileNotFoundError, pa.ArrowInvalid):
            return None

    with ThreadPoolExecutor(max_workers=READERS) as pool:
        found = pool.map(read, video_ids)
        return {video: known for video, known in zip(video_ids, found, strict=True) if known is not None}


def _made_by(schema: pa.Schema) -> dict[str, Any]:
    known: dict[str, Any] = json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))
    return known


def read_records(folder: RunFolder, committed: Mapping[str, set[int]]) -> list[SegmentRecord]:
    """Return what the metadata of all committed segments says, in the order of videos and segments."""
    places = [(video, index) for video in sorted(committed) for index in sorted(committed[video])]
    return read_records_at(folder, [folder.feature_path(*place) for place in places])


def read_records_at(folder: RunFolder, paths: Sequence[str]) -> list[SegmentRecord]:
    """Return what the metadata of committed segments says, in the order of their paths.

    A file of version 0.1 holds no digest; it has that of its footer, which tells sizes and limits of every column.
    Raises UserError where a file is damaged, or not one of ours.
    """

    def read(path: str) -> SegmentRecord:
        with folder.filesystem.open(path, "rb") as file:
            try:
                record = _record(pq.read_schema(file), path)
            except pa.ArrowInvalid as error:
                raise UserError(f"{path} is damaged: {error}. Remove it and extract again.") from error
            return record if record.digest else replace(record, digest=_footer_digest(file))

    with ThreadPoolExecutor(max_workers=READERS) as pool:
        return list(pool.map(read, paths))


def _footer_digest(file: Any) -> str:
    # A Parquet file ends with its footer, the footer's length in four bytes, and "PAR1".
    file.seek(-8, os.SEEK_END)
    length = int.from_bytes(file.read(4), "little")
    file.seek(-8 - length, os.SEEK_END)
    return hashlib.sha256(file.read(length)).hexdigest()[:DIGEST_CHARACTERS]


@dataclass(frozen=True)
class VideoFeatures:
    """All committed segments of one video: FEATURE rows with one track id per object over the whole video."""

    table: pa.Table
    records: tuple[SegmentRecord, ...]

    @property
    def missing(self) -> tuple[int, ...]:
        """Indices of the segments that are not there; none are known where there is no record at all."""
        present = {record.segment_index for record in self.records}
        count = self.records[0].num_segments if self.records else 0
        return tuple(index for index in range(count) if index not in present)


def read_features(folder: RunFolder, video_id: str, segments: set[int], config_hash: str) -> VideoFeatures:
    """Return the features of a video from its committed `segments`, which `iterate_features` reads."""
    records, tables = [], []
    for record, table in iterate_features(folder, video_id, segments, config_hash):
        records.append(record)
        tables.append(table)
    merged = pa.concat_tables(tables) if tables else FEATURE.empty_table()
    return VideoFeatures(merged, tuple(records))


def iterate_features(
    folder: RunFolder,
    video_id: str,
    segments: Collection[int],
    config_hash: str,
    columns: Collection[str] | None = None,
) -> Iterator[tuple[SegmentRecord, pa.Table]]:
    """Yield each of a video's committed `segments` in order: its record, and its rows with the video's track ids.

    `columns` names those to read, LINKING among them; None reads all. Files of another config are left out, and count
    as missing. Track ids count from 0 over the whole video; a track that crosses a border keeps its id, told by the
    warm-up boxes that both sides of the border saw.
    """
    # A warm-up reaches back one segment, or two where lengths were rounded; older boxes need not be remembered.
    recent: deque[dict[tuple[int, int], int]] = deque(maxlen=3)
    next_id = 0
    for index in sorted(segments):
        record, table = read_segment(folder, video_id, index, columns)
        if record.config_hash != config_hash:
            continue
        known = dict(ChainMap(*recent))
        mapping = link(known, {(frame, position): own for frame, position, own in record.warmup})
        own_ids = table["track_id"].to_numpy()
        for own in dict.fromkeys(own_ids.tolist()):
            if own not in mapping:
                mapping[own] = next_id
                next_id += 1
        track_ids = np.array([mapping[own] for own in own_ids.tolist()], dtype=np.int64)
        frames = table["frame_index"].to_numpy()
        firsts = np.searchsorted(frames, frames)
        positions = np.arange(len(frames)) - firsts
        boxes = zip(frames.tolist(), positions.tolist(), strict=True)
        recent.append(dict(zip(boxes, track_ids.tolist(), strict=True)))
        column = table.schema.get_field_index("track_id")
        yield record, table.set_column(column, FEATURE.field("track_id"), [track_ids])
