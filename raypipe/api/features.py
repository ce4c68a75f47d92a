"""The features of a run: one row per object and frame, with one id per object over the whole video."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from raypipe.distributed.in_notebook import own_display_only
from raypipe.text import counted

if TYPE_CHECKING:
    import pandas as pd

    from raypipe.config.runtime import RayConfig
    from raypipe.extraction.committed_features import CommittedFeatures


class Features:
    """The features of a run, read when they are asked for.

    Each row is an object in a frame (columns: `schema`). `track_id` is the object's id: it is one over the whole
    video, and starts from 0 in every video. `to_batches` and `to_ray` hold a segment at a time in memory, `to_table`
    and `to_pandas` hold all rows.
    """

    def __init__(self, committed: "CommittedFeatures", ray: "RayConfig") -> None:
        self._committed = committed
        self._ray = ray

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        return self._committed.schema

    def count_rows(self) -> int:
        """Return the number of rows, as the files' own records tell it."""
        from raypipe.run_folder.tables import read_records

        committed = self._committed
        segments = {video: set(indices) for video, indices in committed.segments.items()}
        records = read_records(committed.folder, segments)
        return sum(record.num_objects for record in records if record.config_hash == committed.config_hash)

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the order of videos, frames and objects; a batch is of one segment."""
        for table in self._committed.tables():
            yield from table.to_batches()

    def to_table(self) -> pa.Table:
        """Return all rows as a pyarrow table."""
        return pa.Table.from_batches(self.to_batches(), self.schema)

    def to_pandas(self) -> "pd.DataFrame":
        """Return all rows as a pandas data frame."""
        frame: pd.DataFrame = self.to_table().to_pandas()
        return frame

    def to_ray(self) -> Any:
        """Return the rows as a lazy Ray dataset (`ray.data.Dataset`), whose tasks read the files.

        Ray is started on this machine where it is not running. The rows of a video keep their order, videos need not.
        """
        with own_display_only():
            from raypipe.distributed.cluster import connect

            connect(self._ray)
            return self._committed.ray_dataset()

    @property
    def files(self) -> Any:
        """The Parquet files themselves as a pyarrow dataset, for filters and other readers.

        In a file, `track_id` counts from 0 in each segment: an object is (`video_id`, `segment_index`, `track_id`), and
        has another id in the next segment.
        """
        import pyarrow.dataset

        committed = self._committed
        return pyarrow.dataset.dataset(
            committed.paths(), schema=self.schema, format="parquet", filesystem=committed.folder.filesystem
        )

    def __repr__(self) -> str:
        videos = counted(len(self._committed.segments), "video")
        segments = counted(sum(map(len, self._committed.segments.values())), "segment")
        return f"<Features of {videos} in {segments}: {', '.join(self.schema.names)}>"
