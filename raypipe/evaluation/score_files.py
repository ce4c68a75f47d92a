"""Files of frame scores and labels that anybody may bring, read without ever unpickling."""

import csv
import itertools
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raypipe.datasets.npy_header import require_whole, require_whole_member
from raypipe.errors import UserError
from raypipe.ops.rates import after_pauses, frame_rate

# The names that a column may have.
COLUMNS = {
    "video": ("video_id", "video"),
    "frame": ("frame_index", "frame"),
    "score": ("score",),
    "time": ("time_seconds",),
}
TYPES = {
    "video": pa.dictionary(pa.int32(), pa.string()),
    "frame": pa.int64(),
    "score": pa.float64(),
    "time": pa.float64(),
}


# Names of columns, what may separate those of a CSV file, and the lines in which its header must end.
KNOWN = frozenset(name for names in COLUMNS.values() for name in names)
SEPARATORS = (",", ";", "\t")
MAX_HEADER_LINES = 50
# A table of which fewer frames have a row is rather one whose frames are counted in something else.
MAX_SPARSENESS = 1000


# Names of the array of an .npz that holds the scores of all videos; one of another name is of the video of that name.
OF_ALL = ("scores", "score", "arr_0", "pred", "preds", "prediction", "predictions", "anomaly_score", "anomaly_scores")


LABEL_KEYS = ("labels", "video_names", "num_frames")

# What a file that is not NumPy's may be, by its first bytes.
_KINDS = (
    (b"\x80", "a Python pickle, which is never opened because it can run code"),
    (b"\x89HDF", "an HDF5 file"),
    (b"MATLAB", "a MATLAB file"),
    (b"PK", "a damaged .npz or another zip archive"),
    (b"\x93NUMPY", "a damaged .npy"),
)


def read_score_arrays(path: Path) -> NDArray[np.float64] | dict[str, NDArray[np.float64]]:
    """Return frame scores of an .npy or .npz.

    Of an .npy, and of an .npz with the key `scores` or with one array called as in `OF_ALL`, those of all videos,
    float64 (N,); of another .npz those of each video, (T,), by the arrays' names. Raises UserError naming the file on
    anything else, and on scores that are not finite numbers.
    """
    with _Arrays(path) as arrays:
        if not arrays.names:
            return _finite(arrays.read(""), str(path))
        name = "scores" if "scores" in arrays.names else arrays.names[0]
        if name == "scores" or (len(arrays.names) == 1 and name in OF_ALL):
            return _finite(arrays.read(name), str(path))
        return {name: _finite(arrays.read(name), f"{path}: {name!r}") for name in arrays.names}


def _finite(scores: NDArray[Any], where: str) -> NDArray[np.float64]:
    if scores.ndim != 1 or scores.dtype.kind not in "fiu":
        raise UserError(f"{where}: scores must be one number per frame, not {_described(scores)}")
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise UserError(f"{where}: {bad.size:,} of {scores.size:,} scores are NaN or infinite, the first is {bad[0]}")
    return scores.astype(np.float64, copy=False)


def read_label_arrays(path: Path) -> tuple[NDArray[np.bool_], list[str], NDArray[np.int64]]:
    """Return labels (N,), video names and frames per video (V,) of an .npz with the keys `LABEL_KEYS`.

    Raises UserError naming the file where it is not such a file or its arrays do not fit one another.
    """
    with _Arrays(path) as arrays:
        missing = [key for key in LABEL_KEYS if key not in arrays.names]
        if missing:
            found = _listed(arrays.names) if arrays.names else "a single array (.npy)"
            raise UserError(f"{path}: needs the keys {_listed(LABEL_KEYS)}; {_listed(missing)} missing, found {found}")
        labels, names, num_frames = (arrays.read(key) for key in LABEL_KEYS)
    if labels.ndim != 1 or labels.dtype.kind not in "biuf":
        raise UserError(f"{path}: 'labels' must be 0 or 1 per frame, not {_described(labels)}")
    bad = np.flatnonzero(~np.isin(labels, (0, 1)))
    if bad.size:
        raise UserError(f"{path}: 'labels' must be 0 or 1, but label {bad[0]} is {labels[bad[0]]}")
    if names.ndim != 1 or names.dtype.kind != "U":
        raise UserError(f"{path}: 'video_names' must be text, one per video, not {_described(names)}")
    if num_frames.ndim != 1 or num_frames.dtype.kind not in "iu" or (num_frames < 0).any():
        raise UserError(f"{path}: 'num_frames' must be whole numbers, one per video, not {_described(num_frames)}")
    if len(names) != len(num_frames):
        raise UserError(f"{path}: {len(names)} 'video_names', but {len(num_frames)} 'num_frames'")
    if len(set(names.tolist())) < len(names):
        raise UserError(f"{path}: 'video_names' holds a name twice")
    if int(num_frames.sum()) != len(labels):
        raise UserError(f"{path}: 'num_frames' add up to {int(num_frames.sum())}, but there are {len(labels)} labels")
    return labels.astype(bool), names.tolist(), num_frames.astype(np.int64)


class _Arrays:
    """An opened .npy (no names) or .npz; whatever goes wrong in it is a UserError naming the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: Sequence[str] = ()
        self._loaded: Any = None

    def __enter__(self) -> "_Arrays":
        try:
            with self.path.open("rb") as file:
                require_whole(file, self.path.stat().st_size, str(self.path))
            self._loaded = np.load(self.path, allow_pickle=False)
        except FileNotFoundError as error:
            raise UserError(f"{self.path}: no such file") from error
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror or error})") from error
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise self._refused(error) from error
        if not isinstance(self._loaded, np.ndarray):
            self.names = self._loaded.files
            if not self.names:
                raise UserError(f"{self.path}: holds no arrays")
        return self

    def __exit__(self, *_: object) -> None:
        if not isinstance(self._loaded, np.ndarray):
            self._loaded.close()

    def read(self, name: str) -> NDArray[Any]:
        if not self.names:
            return np.asarray(self._loaded)
        try:
            where = f"{self.path}: {name!r}"
            require_whole_member(self._loaded.zip, name, self.path.stat().st_size, where)
            array = self._loaded[name]
        except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise self._refused(error, name) from error
        if not isinstance(array, np.ndarray):
            raise UserError(f"{self.path}: {name!r} is not a NumPy array")
        return array

    def _refused(self, error: Exception, name: str = "") -> UserError:
        where = f"{self.path}: {name!r}" if name else str(self.path)
        if "Object arrays" in str(error):
            return UserError(f"{where} holds Python objects (a pickle), which are never opened; save plain numbers")
        return UserError(f"{where}: not a readable NumPy file (.npy or .npz) but {kind_of(self.path)}")


def kind_of(path: Path) -> str:
    """Return what a file seems to be, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "an empty file"
    for start, kind in _KINDS:
        if head.startswith(start):
            return kind
    return "a text file" if head.isascii() and b"\0" not in head else "something else"


def _described(array: NDArray[Any]) -> str:
    return f"{array.dtype} of shape {array.shape}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


@dataclass(frozen=True)
class ScoreTable:
    """The scores of each video, float64 (T,) with NaN in frames without a score, and frame rates where they are told.

    T is the last frame that has a row, plus one. `times` are the seconds of all frames of videos that pause.
    """

    scores: Mapping[str, NDArray[np.float64]]
    fps: Mapping[str, float] = field(default_factory=dict)
    times: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def times_of(self, name: str) -> NDArray[np.float64] | None:
        """Return the times of the frames that have scores in a video that pauses, None of any other."""
        return self.times[name][: len(self.scores[name])] if name in self.times else None


def read_score_table(path: Path) -> ScoreTable:
    """Return the scores of a .csv, a .parquet, or of all .parquet files below a folder.

    Raises UserError naming the file where it has no such columns, and where a frame has no video or index, has two
    rows, or a score that is NaN or infinite.
    """
    if path.is_dir():
        files = sorted(path.rglob("*.parquet"))
        if not files:
            raise UserError(f"{path}: no .parquet files in this folder")
        tables = [_read_parquet(file) for file in files]
        has_time = all("time" in table.column_names for table in tables)
        names = [name for name in COLUMNS if name != "time" or has_time]
        return _by_video([table.select(names) for table in tables], path)
    return _by_video([_read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)], path)


def _read_csv(path: Path) -> pa.Table:
    try:
        names, delimiter, num_lines = _read_header(path)
        chosen = _columns(names, path)
        try:
            table = _read_rows(path, names, chosen, delimiter, num_lines, ".")
        except pa.ArrowInvalid as error:
            # Decimal commas, where they make sense of all that points do not.
            try:
                table = _read_rows(path, names, chosen, delimiter, num_lines, ",")
            except pa.ArrowInvalid:
                raise error from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, pa.ArrowInvalid, csv.Error) as error:
        raise UserError(f"{path}: {error}") from error
    return table.rename_columns(list(chosen))


def _read_header(path: Path) -> tuple[list[str], str, int]:
    """Return the names of the columns, what separates them, and how many lines they take."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = itertools.islice(file, MAX_HEADER_LINES)
        first = next(lines, "")
        num_skipped = 0
        if re.fullmatch(r'"?sep=.?"?', first.strip()):
            # Of a spreadsheet: it says what the separator is, which is found out anyway.
            first, num_skipped = next(lines, ""), 1
        rest = list(lines)
    found: dict[str, tuple[list[str], int]] = {}
    for delimiter in SEPARATORS:
        reader = csv.reader([first, *rest], delimiter=delimiter)
        names = [name.strip() for name in next(reader, [""])]
        found[delimiter] = names, num_skipped + reader.line_num
    # Where none has them, the message is about the commonest.
    best = max(SEPARATORS, key=lambda delimiter: sum(name in KNOWN for name in found[delimiter][0]))
    names, num_lines = found[best]
    return names or [""], best, max(num_lines, 1)


def _read_rows(
    path: Path, names: list[str], chosen: dict[str, str], delimiter: str, num_lines: int, decimal_point: str
) -> pa.Table:
    options = pa.csv.ConvertOptions(
        column_types={name: TYPES[key] for key, name in chosen.items()},
        include_columns=list(chosen.values()),
        null_values=[""],
        decimal_point=decimal_point,
    )
    reading = pa.csv.ReadOptions(column_names=names, skip_rows=num_lines)
    return pa.csv.read_csv(
        path, read_options=reading, convert_options=options, parse_options=pa.csv.ParseOptions(delimiter=delimiter)
    )


def _read_parquet(path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            chosen = _columns(file.schema_arrow.names, path)
            table = file.read(list(chosen.values())).select(list(chosen.values())).rename_columns(list(chosen))
        if not pa.types.is_dictionary(table.schema.field("video").type):
            # A view of strings cannot be cast to a dictionary at once.
            table = table.set_column(
                table.schema.get_field_index("video"), "video", table["video"].cast(pa.string()).dictionary_encode()
            )
        return table.cast(pa.schema([pa.field(key, TYPES[key]) for key in chosen]))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError, pa.ArrowNotImplementedError) as error:
        # pyarrow's ArrowInvalid is a ValueError.
        what = f"not readable as Parquet but {kind_of(path)}" if "magic" in str(error).lower() else str(error)
        raise UserError(f"{path}: {what}") from error


def _columns(names: Sequence[str], path: Path) -> dict[str, str]:
    """Return the file's name of each of our columns; the time may be absent."""
    found = {key: [name for name in names if name in known] for key, known in COLUMNS.items()}
    for key, same in found.items():
        if len(same) > 1:
            raise UserError(f"{path}: {len(same)} columns may be the {key}: {', '.join(map(repr, same))}")
    chosen = {key: same[0] for key, same in found.items() if same}
    missing = [" or ".join(repr(name) for name in COLUMNS[key]) for key in COLUMNS if key not in chosen]
    if [name for name in missing if "time" not in name]:
        listed = ", ".join(repr(name) for name in names)
        raise UserError(f"{path}: needs a column {missing[0]}; found {listed}")
    return chosen


def _by_video(tables: list[pa.Table], path: Path) -> ScoreTable:
    # Emptied, and columns dropped once they are arrays: a file may have tens of millions of rows.
    table = pa.concat_tables(tables).unify_dictionaries()
    tables.clear()
    for key in ("video", "frame"):
        if table[key].null_count:
            raise UserError(f"{path}: {table[key].null_count:,} rows without a {key}")
    if not table.num_rows:
        raise UserError(f"{path}: holds no rows")
    chunks = table["video"].chunks
    names: list[str] = chunks[0].dictionary.to_pylist()
    video = np.concatenate([chunk.indices.to_numpy() for chunk in chunks])
    del chunks
    frame = table["frame"].to_numpy()
    table = table.drop_columns(["video", "frame"])
    score = _checked(table["score"], video, frame, names, path)
    time = table["time"].to_numpy() if "time" in table.column_names else None
    del table
    is_new = np.diff(video) > 0
    if not (is_new | ((np.diff(video) == 0) & (np.diff(frame) > 0))).all():
        order = np.lexsort((frame, video))
        video, frame, score = video[order], frame[order], score[order]
        time = None if time is None else time[order]
        twice = np.flatnonzero((np.diff(video) == 0) & (np.diff(frame) == 0))
        if twice.size:
            first = twice[0]
            raise UserError(
                f"{path}: {twice.size:,} frames have two rows, the first is {names[video[first]]} frame {frame[first]}"
            )
    if frame.min() < 0:
        first = int(np.argmin(frame))
        raise UserError(f"{path}: {names[video[first]]} has a frame {frame[first]}; frames are counted from 0")
    stops = np.append(np.flatnonzero(np.diff(video)) + 1, len(video))
    scores, fps, times = {}, {}, {}
    for start, stop in zip(np.append(0, stops[:-1]), stops, strict=True):
        name, length = names[video[start]], int(frame[stop - 1]) + 1
        if length > MAX_SPARSENESS * (stop - start):
            raise UserError(f"{path}: {name} has {stop - start:,} rows, but a frame {length - 1:,}: is it an index?")
        scores[name] = np.full(length, np.nan)
        scores[name][frame[start:stop]] = score[start:stop]
        if time is not None and time[stop - 1] > time[start]:
            fps[name], times[name] = _timed(frame[start:stop], time[start:stop])
    # Arrow keeps the memory of what it has read for what it may read next: 0.5 GiB at 13.8 million rows.
    pa.default_memory_pool().release_unused()
    return ScoreTable(scores, fps, {name: known for name, known in times.items() if known is not None})


def _timed(frame_N: NDArray[np.int64], time_N: NDArray[Any]) -> tuple[float, NDArray[np.float64] | None]:
    """Return a video's frame rate, and the times of all its frames where there is a pause between them."""
    time = np.asarray(time_N, np.float64)
    rate = frame_rate(time, 1.0, frame_N)
    # Times that jump back, or a NaN among them.
    if rate is None or not (np.diff(time) >= 0).all():
        return float((frame_N[-1] - frame_N[0]) / (time[-1] - time[0])), None
    every = np.interp(np.arange(frame_N[-1] + 1), frame_N, time)
    every[: frame_N[0]] -= np.arange(frame_N[0], 0, -1) / rate
    return rate, every if after_pauses(every, rate).size else None


def _checked(column: Any, video: NDArray[Any], frame: NDArray[Any], names: list[str], path: Path) -> NDArray[Any]:
    """Return the scores, NaN where they are null. Raises UserError on those that are NaN or infinite themselves."""
    score: NDArray[np.float64] = column.to_numpy()
    bad = np.flatnonzero(~np.isfinite(score))
    if bad.size > column.null_count:
        bad = bad[column.take(bad).is_valid().to_numpy(zero_copy_only=False)]
        raise UserError(
            f"{path}: {bad.size:,} of {score.size:,} scores are NaN or infinite, the first is {names[video[bad[0]]]} "
            f"frame {frame[bad[0]]}; where a frame has no score, leave its cell empty"
        )
    return score
