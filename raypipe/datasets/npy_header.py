"""Checking that an NPY file is as long as its header says, before memory is taken for it."""

import math
import zipfile
from typing import IO

from numpy.lib import format as npy_format

from raypipe.errors import UserError

# Deflate, with which NPZ archives are packed, makes no more of a byte.
DEFLATE_RATIO = 1032


def require_whole(file: IO[bytes], num_bytes: int, where: str) -> None:
    """Raise UserError, naming `where`, on an NPY of `num_bytes` whose header promises more than that.

    Files that are not NPY, and pickled objects, whose size no header tells, are left to the reader.
    """
    try:
        version = npy_format.read_magic(file)
        read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    except ValueError:
        return
    promised = file.tell() + math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and promised > num_bytes:
        raise UserError(
            f"{where}: is a damaged .npy: its header promises more than the file holds "
            f"({promised:,} bytes, {num_bytes:,} here)"
        )


def require_whole_member(archive: zipfile.ZipFile, name: str, archive_bytes: int, where: str) -> None:
    """Raise UserError as `require_whole` does for the array `name` of an NPZ of `archive_bytes`.

    Raises BadZipFile or OSError where the archive cannot be read.
    """
    member = name if name in archive.namelist() else f"{name}.npy"
    # The size that an archive tells may itself be untrue.
    num_bytes = min(archive.getinfo(member).file_size, DEFLATE_RATIO * archive_bytes)
    with archive.open(member) as file:
        require_whole(file, num_bytes, where)
