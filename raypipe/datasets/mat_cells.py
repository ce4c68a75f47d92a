"""Which masks of a MATLAB cell array have a pixel set, with one mask in memory at a time.

Avenue's labels unpack to 3.5 GB: `scipy.io.loadmat` takes a minute for them and holds all masks of a video at once.
This walks the same files ("MAT-File Format", The MathWorks, level 5) and keeps a bool of each mask.
"""

import struct
import zlib
from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import UserError

_HEADER_BYTES = 128
_VERSION = 0x0100
_BITE_BYTES = 4096
_MAX_FRAMES = 10**7
_MATRIX, _COMPRESSED = 14, 15
_CELLS = 1
# Classes of plain numbers, double to uint64; not sparse arrays, text, structures and objects.
_NUMBERS = range(6, 16)
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}


# Every step of a run lists its data set, and reading the masks of 21 videos takes seconds.
@lru_cache(maxsize=32)
def any_pixel(content: bytes, variable: str, where: str) -> NDArray[np.bool_]:
    """Return whether each mask of the cell array `variable` has a pixel set, bool (T,), of a MAT file's content.

    Raises UserError, naming `where`, where the file is damaged, holds other variables, or something else than masks.
    """
    order = {b"IM": "<", b"MI": ">"}.get(content[126:_HEADER_BYTES], "")
    if not order:
        raise UserError(f"{where}: is not a MATLAB file of version 5 to 7")
    if content[124:126] != struct.pack(f"{order}H", _VERSION):
        raise UserError(f"{where}: is a MATLAB file of another version, perhaps 7.3 (HDF5); save it again as version 7")
    others = []
    position = _HEADER_BYTES
    try:
        while position < len(content):
            kind, size = struct.unpack_from(f"{order}II", content, position)
            start, stop = position + 8, position + 8 + size
            position = stop
            if kind not in (_MATRIX, _COMPRESSED):
                continue
            stream = _Stream(content[start:stop], order, is_compressed=kind == _COMPRESSED)
            if kind == _COMPRESSED:
                stream.tag()
            array_class, dims, name = stream.matrix_header()
            if name == variable:
                return _flags(stream, array_class, dims, f"{where}: {variable}")
            others.append(name)
    except (EOFError, ValueError, struct.error, zlib.error) as error:
        raise UserError(f"{where}: the MATLAB file is damaged ({error})") from error
    raise UserError(f"{where}: expected the variable {variable}, found {', '.join(others) or 'none'}")


def _flags(cells: "_Stream", array_class: int, dims: tuple[int, ...], where: str) -> NDArray[np.bool_]:
    if array_class != _CELLS or prod(dims) != max(dims) or not 0 <= prod(dims) < _MAX_FRAMES:
        raise UserError(f"{where} is not a row of masks (a cell array), but class {array_class} of size {dims}")
    flags = np.zeros(prod(dims), bool)
    for number in range(len(flags)):
        kind, body = cells.element()
        if kind != _MATRIX:
            raise EOFError("a mask is missing")
        if not body:
            continue  # an empty mask is written as nothing
        mask = _Stream(body, cells.order)
        mask_class, _, _ = mask.matrix_header()
        if mask_class not in _NUMBERS:
            raise UserError(f"{where} holds something other than masks: class {mask_class} for frame {number}")
        kind, data = mask.element()
        if kind not in _DTYPES:
            raise EOFError(f"the mask of frame {number} is not made of numbers")
        flags[number] = np.frombuffer(data, cells.order + _DTYPES[kind]).any()
    return flags


class _Stream:
    """The elements of a matrix one after another, unpacked as they are read."""

    def __init__(self, content: bytes, order: str, *, is_compressed: bool = False) -> None:
        self.order = order
        self._content = memoryview(content)
        self._position = 0
        self._unpacker = zlib.decompressobj() if is_compressed else None
        self._packed = b""

    def _read(self, size: int) -> bytes:
        if self._unpacker is None:
            data = bytes(self._take(size))
            if len(data) < size:
                raise EOFError("it ends too early")
            return data
        parts = []
        while size:
            # In small bites, because the unused rest of each bite is copied.
            bite = self._packed or self._take(_BITE_BYTES)
            part = self._unpacker.decompress(bite, size)
            self._packed = self._unpacker.unconsumed_tail
            if not part and not bite:
                raise EOFError("it ends too early")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _take(self, size: int) -> memoryview:
        taken = self._content[self._position : self._position + size]
        self._position += len(taken)
        return taken

    def tag(self) -> tuple[int, int, bytes | None]:
        """Return the next element's type and size, and its data if it is small enough to stand in the tag."""
        head = self._read(8)
        kind, size = struct.unpack(f"{self.order}II", head)
        if kind >> 16:
            return kind & 0xFFFF, kind >> 16, head[4 : 4 + (kind >> 16)]
        return kind, size, None

    def element(self) -> tuple[int, bytes]:
        """Return the next element's type and data."""
        kind, size, data = self.tag()
        if data is None:
            data = self._read(size)
            self._read(-size % 8)
        return kind, data

    def matrix_header(self) -> tuple[int, tuple[int, ...], str]:
        """Return the class, size and name of the matrix whose data comes next in the stream."""
        _, flags = self.element()
        _, dims = self.element()
        _, name = self.element()
        sizes = struct.unpack_from(f"{self.order}{max(2, len(dims) // 4)}i", dims)
        return struct.unpack_from(f"{self.order}I", flags)[0] & 0xFF, sizes, name.decode("latin-1")
