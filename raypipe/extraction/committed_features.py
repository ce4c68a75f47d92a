"""The committed features of a run, read back with one id per object over a whole video."""

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raypipe.config.run import RunConfig
from raypipe.errors import UserError
from raypipe.extraction.catalog import read_catalogue
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import LINKING, iterate_features
from raypipe.schema import FEATURE, SPATIAL, feature_schema


@dataclass(frozen=True)
class CommittedFeatures:
    """The FEATURE rows of videos, of which `segments` names those that are committed, in the columns of `schema`.

    Segments are read one after another, and those of several videos at once by Ray, so memory stays flat.
    """

    folder: RunFolder
    config_hash: str
    segments: dict[str, tuple[int, ...]]
    schema: pa.Schema

    def paths(self) -> list[str]:
        """Return the paths of the files, in the order of videos and segments."""
        return [self.folder.feature_path(video, index) for video in self.segments for index in self.segments[video]]

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows of each segment that has any, in the order of videos and segments."""
        reader = ReadVideos(self.folder, self.config_hash, self.schema)
        for video_id, indices in self.segments.items():
            yield from reader.tables_of(video_id, indices)

    def ray_dataset(self) -> Any:
        """Return a lazy Ray dataset of the rows: its tasks read the files, a video each, and the driver reads none."""
        import ray

        videos = [{"video_id": video_id, "segments": list(indices)} for video_id, indices in self.segments.items()]
        if not videos:
            return ray.data.from_arrow(self.schema.empty_table())
        reader = ReadVideos(self.folder, self.config_hash, self.schema)
        return ray.data.from_items(videos, override_num_blocks=len(videos)).map_batches(
            reader, batch_size=1, batch_format="pyarrow"
        )


@dataclass(frozen=True)
class ReadVideos:
    """Reads the features of videos in a Ray Data task: names and segments in, one segment's rows after another out."""

    folder: RunFolder
    config_hash: str
    schema: pa.Schema

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Yield the rows of the videos' segments; of a video without any an empty table, which tells the columns."""
        for row in batch.to_pylist():
            yield self.schema.empty_table()
            yield from self.tables_of(row["video_id"], row["segments"])

    def tables_of(self, video_id: str, segments: Collection[int]) -> Iterator[pa.Table]:
        """Yield the rows of each of a video's segments that has any."""
        columns = {*self.schema.names, *LINKING}
        for _, table in iterate_features(self.folder, video_id, segments, self.config_hash, columns):
            if table.num_rows:
                yield table.select(self.schema.names)


def committed_features(config: RunConfig, columns: Collection[str] | None, split: str | None) -> CommittedFeatures:
    """Return the features that a run has committed, of all splits or of one, in all columns or those named.

    Raises UserError on a column or a split that the run does not have.
    """
    folder = RunFolder(config.output)
    entries = read_catalogue(folder)
    splits = sorted({entry.video.split for entry in entries.values()})
    if split is not None and split not in splits:
        raise UserError(unknown("split", split, splits))
    chosen = [name for name in sorted(entries) if split in (None, entries[name].video.split)]
    committed = folder.committed()
    segments = {name: tuple(sorted(committed[name])) for name in chosen if name in committed}
    schema = _schema_of(config, folder, segments)
    for name in columns or ():
        if name not in schema.names:
            raise UserError(unknown("column", name, schema.names))
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in dict.fromkeys(columns)])
    return CommittedFeatures(folder, config.feature_hash(), segments, schema)


def unknown(kind: str, name: str, known: Collection[str]) -> str:
    """Return what is said of a name that is not among those known."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {kind} {name!r}; {hint}there are: {', '.join(known) or 'none'}"


def _schema_of(config: RunConfig, folder: RunFolder, segments: Mapping[str, Collection[int]]) -> pa.Schema:
    """Return the columns of the run's features; the widths of spatial ones are known from a file that has them."""
    spatial = {name for name in config.features.extracted if name in SPATIAL}
    for video_id, indices in segments.items():
        for index in indices:
            if not spatial:
                return FEATURE
            with folder.filesystem.open(folder.feature_path(video_id, index), "rb") as file:
                columns = pq.read_schema(file)
            # A segment without objects may have no such columns.
            if spatial <= set(columns.names):
                return feature_schema(columns)
    return FEATURE
