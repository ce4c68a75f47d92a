"""What a model is trained on: which videos, and the feature arrays of their objects."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raypipe.schema import NUM_MOTION_BINS
from raypipe.storage import RunFolder

HELD_OUT_FRACTION = 0.1
# A shard below this stays in memory between epochs; a larger one is streamed and shuffled in pieces of this size.
CHUNK_BYTES = 1 << 30


def split_held_out(video_ids: list[str]) -> tuple[list[str], list[str]]:
    """Split training videos into those to fit and those held out: every tenth, at least one.

    A single video serves as both.
    """
    ordered = sorted(video_ids)
    if len(ordered) == 1:
        return ordered, ordered
    step = min(round(1 / HELD_OUT_FRACTION), len(ordered))
    held_out = ordered[step - 1 :: step]
    return [video for video in ordered if video not in set(held_out)], held_out


def motion_features(table: pa.Table) -> NDArray[np.float32]:
    """Return the motion column of FEATURE rows, shape (N, 8)."""
    column = table["motion"].combine_chunks()
    flat = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    values = flat.flatten().to_numpy(zero_copy_only=False)
    # A copy, because torch takes no read-only memory.
    return np.array(values, dtype=np.float32).reshape(-1, NUM_MOTION_BINS)


@dataclass(frozen=True)
class ReadMotion:
    """Reads files of features in a Ray Data task: paths in, the motion of one file after another out."""

    folder: RunFolder

    def __call__(self, batch: dict[str, Any]) -> Iterator[pa.Table]:
        """Yield a table with the column `motion` for every file that holds objects."""
        for path in batch["path"]:
            with self.folder.filesystem.open(str(path), "rb") as file:
                table = pq.read_table(file, columns=["motion"])
            if table.num_rows:
                yield table


def sample_motion(folder: RunFolder, paths: list[str], max_rows: int, seed: int) -> NDArray[np.float32]:
    """Return about `max_rows` motion features of the given files at most, the same share of each, shape (N, 8)."""
    counts = []
    for path in paths:
        with folder.filesystem.open(path, "rb") as file:
            counts.append(pq.read_metadata(file).num_rows)
    share = min(1.0, max_rows / max(1, sum(counts)))
    generator = np.random.default_rng(seed)
    samples = [np.zeros((0, NUM_MOTION_BINS), np.float32)]
    for path, count in zip(paths, counts, strict=True):
        if count:
            with folder.filesystem.open(path, "rb") as file:
                features = motion_features(pq.read_table(file, columns=["motion"]))
            chosen = generator.permutation(count)[: int(np.ceil(count * share))]
            samples.append(features[np.sort(chosen)])
    return np.concatenate(samples)


def chunk_reader(shard: Any, batch_size: int) -> Callable[[], Iterator[NDArray[np.float32]]]:
    """Return a function that iterates over a Ray Data shard in equal chunks of whole batches, each (N, 8).

    The only chunk, if there is one, stays in memory. Equal chunks keep the workers of a run in step.
    """
    rows = max(1, CHUNK_BYTES // (4 * NUM_MOTION_BINS) // batch_size) * batch_size
    kept: list[NDArray[np.float32]] = []

    def chunks() -> Iterator[NDArray[np.float32]]:
        if kept:
            yield kept[0]
            return
        first, number = None, 0
        for batch in shard.iter_batches(batch_size=rows, batch_format="pyarrow", prefetch_batches=0):
            features = motion_features(batch)
            first, number = (features, 1) if number == 0 else (None, number + 1)
            yield features
        if first is not None:
            kept.append(first)

    return chunks
