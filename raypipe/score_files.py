"""Files of frame scores and labels that anybody may bring, read without ever unpickling."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.datasets.npy_header import require_whole, require_whole_member
from raypipe.errors import UserError

LABEL_KEYS = ("labels", "video_names", "num_frames")

# What a file that is not NumPy's may be, by its first bytes.
_KINDS = (
    (b"\x80", "a Python pickle, which is never opened because it can run code"),
    (b"\x89HDF", "an HDF5 file"),
    (b"MATLAB", "a MATLAB file"),
    (b"PK", "a damaged .npz or another zip archive"),
    (b"\x93NUMPY", "a damaged .npy"),
)


def read_scores(path: Path) -> NDArray[np.float64] | dict[str, NDArray[np.float64]]:
    """Return frame scores of an .npy or .npz.

    Of an .npy, and of an .npz with one array or the key `scores`, those of all videos, float64 (N,); of an .npz with
    several arrays, those of each video, (T,), by the arrays' names. Raises UserError naming the file on anything else,
    and on scores that are not finite numbers.
    """
    with _Arrays(path) as arrays:
        if not arrays.names:
            return _finite(arrays.read(""), str(path))
        if "scores" in arrays.names or len(arrays.names) == 1:
            return _finite(arrays.read("scores" if "scores" in arrays.names else arrays.names[0]), str(path))
        return {name: _finite(arrays.read(name), f"{path}: {name!r}") for name in arrays.names}


def _finite(scores: NDArray[Any], where: str) -> NDArray[np.float64]:
    if scores.ndim != 1 or scores.dtype.kind not in "fiu":
        raise UserError(f"{where}: scores must be one number per frame, not {_described(scores)}")
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise UserError(f"{where}: {bad.size:,} of {scores.size:,} scores are NaN or infinite, the first is {bad[0]}")
    return scores.astype(np.float64, copy=False)


def read_scores_by_video(path: Path) -> dict[str, NDArray[np.float64]] | None:
    """Return the frame scores, float64 (T,), of an .npz with an array for each video, by the names of its arrays.

    None where the file holds one array for all videos, which is `read_scores`' case. Raises UserError as it does.
    """
    with _Arrays(path) as arrays:
        if len(arrays.names) < 2 or "scores" in arrays.names:
            return None
        return {name: _finite(arrays.read(name), f"{path}: {name!r}") for name in arrays.names}


def read_labels(path: Path) -> tuple[NDArray[np.bool_], list[str], NDArray[np.int64]]:
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
