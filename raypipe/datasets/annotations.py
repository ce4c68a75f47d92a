"""Reading the files in which public data sets keep their labels: text, NPY and NPZ, none of them ever unpickled.

Each error names the file, what was expected, and what is there instead.
"""

import io
import re
import zipfile
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.datasets.npy_header import require_whole, require_whole_member
from raypipe.datasets.tree import Tree
from raypipe.errors import UserError

# The first bytes of files that people name like label files.
_MAGIC = (
    (b"\x93NUMPY", "a NumPy array (NPY)"),
    (b"PK\x03\x04", "a ZIP archive, as NPZ is"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"MATLAB 5.0 MAT-file", "a MATLAB file"),
    (b"MATLAB 7.3 MAT-file", "a MATLAB 7.3 file"),
    (b"\x89HDF\r\n", "an HDF5 file, as MATLAB 7.3 writes"),
    (b"<", "a page, perhaps of a download that failed"),
)


def describe(content: bytes) -> str:
    """Return what kind of file this is, by its first bytes."""
    if not content:
        return "empty"
    for magic, name in _MAGIC:
        if content.lstrip(b"\xef\xbb\xbf \r\n").startswith(magic):
            return name
    return "binary data of another kind" if b"\0" in content[:4096] else "text"


def read_lines(tree: Tree, relative: str, notes: list[str]) -> list[tuple[int, str]]:
    """Return (line number, line) of a text file, without surrounding white space and empty lines.

    Line ends may be any system's, a byte order mark is skipped. What is not UTF-8 is read as Latin-1, and noted. Raises
    UserError where the file is not text, or holds nothing.
    """
    content = tree.read(relative)
    if describe(content) != "text":
        raise UserError(f"{tree.place(relative)}: expected text, but it is {describe(content)}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
        notes.append(f"{tree.place(relative)} is not UTF-8 and was read as Latin-1")
    lines = [(number, line.strip()) for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1)]
    return [(number, line) for number, line in lines if line]


def whole_numbers(fields: list[str], where: str) -> list[int]:
    """Return whole numbers as text may write them ("8", "8.000e+00"). Raises UserError, naming `where`."""
    numbers = []
    for field in fields:
        try:
            number = float(field)
        except ValueError as error:
            raise UserError(f"{where}: {field!r} is not a frame number") from error
        if not number.is_integer():
            raise UserError(f"{where}: {field!r} is not a frame number")
        numbers.append(int(number))
    return numbers


def read_npy(tree: Tree, relative: str) -> NDArray[np.bool_]:
    """Return frame labels, bool (T,), of an NPY file of zeros and ones. Raises UserError on anything else."""
    place, content = tree.place(relative), tree.read(relative)
    if not content.startswith(b"\x93NUMPY"):
        raise UserError(f"{place}: expected an NPY file of frame labels, but it is {describe(content)}")
    require_whole(io.BytesIO(content), len(content), place)
    return frame_labels(partial(np.load, io.BytesIO(content), allow_pickle=False), place)


def read_npz(tree: Tree, relative: str) -> dict[str, NDArray[np.bool_]]:
    """Return the frame labels, bool (T,), in each array of an NPZ file. Raises UserError on anything else."""
    place, content = tree.place(relative), tree.read(relative)
    if not content.startswith(b"PK\x03\x04"):
        raise UserError(f"{place}: expected an NPZ file of frame labels, but it is {describe(content)}")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            for name in arrays.files:
                require_whole_member(arrays.zip, name, len(content), f"{place}[{name}]")
            return {name: frame_labels(partial(arrays.__getitem__, name), f"{place}[{name}]") for name in arrays.files}
    except zipfile.BadZipFile as error:
        raise UserError(f"{place}: the NPZ file is damaged ({error})") from error


def frame_labels(load: Callable[[], Any], where: str) -> NDArray[np.bool_]:
    """Return what `load` gives as frame labels, bool (T,). Raises UserError, naming `where`, if they are not labels."""
    try:
        array = np.asarray(load())
    except ValueError as error:
        if "allow_pickle" in str(error) or "pickled" in str(error):
            raise UserError(
                f"{where}: holds pickled objects, which can run code, so it is not read; save it as plain numbers"
            ) from error
        raise UserError(f"{where}: is damaged ({error})") from error
    except (OSError, EOFError, SyntaxError, zipfile.BadZipFile) as error:
        raise UserError(f"{where}: is damaged ({error})") from error
    if array.dtype.kind not in "buif" or array.ndim == 0 or array.size != max(array.shape):
        raise UserError(f"{where}: expected one 0 or 1 per frame, found {array.dtype} of shape {array.shape}")
    if not np.isin(array, (0, 1)).all():
        raise UserError(f"{where}: frame labels are 0 and 1, found {np.setdiff1d(array, (0, 1))[:3].tolist()}")
    return array.reshape(-1).astype(bool)
