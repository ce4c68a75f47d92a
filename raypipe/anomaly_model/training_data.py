"""What a model is trained on: which videos, and the feature arrays of their objects."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raypipe.datasets.listing import NORMAL_CLASS, Video
from raypipe.errors import UserError
from raypipe.ops.scores import Weighting, combine
from raypipe.run_folder.folder import RunFolder

HELD_OUT_FRACTION = 0.1
# A shard below this stays in memory between epochs; a larger one is streamed and shuffled in pieces of this size.
CHUNK_BYTES = 1 << 30


def training_videos(videos: Iterable[Video]) -> list[str]:
    """Return the ids of the videos that a model of what is normal may be trained on, those of the split "train".

    Abnormal training videos are in another split, "train_abnormal". Raises ValueError where a reader put one here.
    """
    chosen = [video for video in videos if video.split == "train"]
    for video in chosen:
        if video.class_name not in ("", NORMAL_CLASS):
            raise ValueError(f"{video.video_id} is in the split train, but of the class {video.class_name}")
    return [video.video_id for video in chosen]


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


def object_features(table: pa.Table, columns: Sequence[str]) -> NDArray[np.float32]:
    """Return the named vector columns of FEATURE rows side by side, shape (N, F).

    Raises UserError where a column was not computed.
    """
    parts = []
    for name in columns:
        if name not in table.column_names or (table.num_rows and table[name].null_count):
            raise UserError(f"the features hold no {name!r}: name it in features.keep, and extract again")
        column = table[name].combine_chunks()
        flat = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
        values = flat.flatten().to_numpy(zero_copy_only=False)
        parts.append(values.reshape(-1, table.schema.field(name).type.list_size))
    # A copy, because torch takes no read-only memory.
    return np.concatenate(parts, axis=1, dtype=np.float32)


def column_sizes(folder: RunFolder, path: str, columns: Sequence[str]) -> tuple[int, ...]:
    """Return how wide the named vector columns of a file of features are. Raises UserError where it lacks one."""
    with folder.filesystem.open(path, "rb") as file:
        schema = pq.read_schema(file)
    for name in columns:
        if name not in schema.names:
            raise UserError(f"{path} holds no {name!r}: name it in features.keep, and extract again")
    return tuple(schema.field(name).type.list_size for name in columns)


def split_parts(
    features_NF: NDArray[np.float32], dims: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the spatial and the motion part of features, shapes (N, dims[0]) and (N, dims[1])."""
    return features_NF[:, : dims[0]], features_NF[:, dims[0] :]


def held_out_figures(
    spatial_error_N: NDArray[np.float64] | None, motion_error_N: NDArray[np.float64] | None, dims: tuple[int, int]
) -> tuple[tuple[float, float], dict[str, float]]:
    """Return the mean error of each part on held-out objects, and the least score by way of weighting.

    A part that is not there is None and has mean 0. Errors that are 0 throughout give no unit to weigh by: then
    `balanced` has no entry.
    """
    parts = (spatial_error_N, motion_error_N)
    means = tuple(0.0 if part is None else float(part.mean()) for part in parts)
    ways: list[Weighting] = ["joint"]
    if all(part is None or mean > 0 for part, mean in zip(parts, means, strict=True)):
        ways.append("balanced")
    pair = (means[0], means[1])
    return pair, {way: float(combine(*parts, weighting=way, means=pair, dims=dims).min()) for way in ways}


@dataclass(frozen=True)
class ReadFeatures:
    """Reads vector columns of files of features in a Ray Data task: paths in, one file's rows after another's out."""

    folder: RunFolder
    columns: tuple[str, ...]

    def __call__(self, batch: dict[str, Any]) -> Iterator[pa.Table]:
        """Yield a table with the columns for every file that holds objects."""
        for path in batch["path"]:
            table = self.read(str(path))
            if table.num_rows:
                yield table

    def read(self, path: str) -> pa.Table:
        """Return the columns of one file."""
        with self.folder.filesystem.open(path, "rb") as file:
            return pq.read_table(file, columns=list(self.columns))


def sample_features(
    folder: RunFolder, paths: list[str], columns: tuple[str, ...], max_rows: int, seed: int
) -> NDArray[np.float32]:
    """Return about `max_rows` features of the given files at most, the same share of each, shape (N, F).

    Without any object among the files it is (0, 0).
    """
    counts = []
    for path in paths:
        with folder.filesystem.open(path, "rb") as file:
            counts.append(pq.read_metadata(file).num_rows)
    share = min(1.0, max_rows / max(1, sum(counts)))
    generator = np.random.default_rng(seed)
    samples = []
    for path, count in zip(paths, counts, strict=True):
        if count:
            features = object_features(ReadFeatures(folder, columns).read(path), columns)
            chosen = generator.permutation(count)[: int(np.ceil(count * share))]
            samples.append(features[np.sort(chosen)])
    return np.concatenate(samples) if samples else np.zeros((0, 0), np.float32)


def chunk_reader(
    shard: Any, columns: tuple[str, ...], num_features: int, batch_size: int
) -> Callable[[], Iterator[NDArray[np.float32]]]:
    """Return a function that iterates over a Ray Data shard in equal chunks of whole batches, each (N, F).

    The only chunk, if there is one, stays in memory. Equal chunks keep the workers of a run in step.
    """
    rows = max(1, CHUNK_BYTES // (4 * num_features) // batch_size) * batch_size
    kept: list[NDArray[np.float32]] = []

    def chunks() -> Iterator[NDArray[np.float32]]:
        if kept:
            yield kept[0]
            return
        first, number = None, 0
        for batch in shard.iter_batches(batch_size=rows, batch_format="pyarrow", prefetch_batches=0):
            features = object_features(batch, columns)
            first, number = (features, 1) if number == 0 else (None, number + 1)
            yield features
        if first is not None:
            kept.append(first)

    return chunks
