"""The layout of x265's analysis file, read without trusting it.

The layout belongs to x265 and no version of it promises to keep it, so every record's size, order and tiling is
checked against what the encoder's settings imply.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

I16 = NDArray[np.int16]
Bools = NDArray[np.bool_]

BLOCK = 8
CTU = 16
REUSE_LEVEL = 10

_PARTS_PER_CTU = 16  # 4x4 pixels each
_HEADER_FIELDS = (
    "right_offset bottom_offset intra_refresh refs keyint_max keyint_min open_gop bframes b_pyramid min_cu lookahead "
    "chunk_start chunk_end ctu_distortion frame_dup reuse_level cu_tree width height ctu"
)
_HEADER = np.dtype([(name, "<i4") for name in _HEADER_FIELDS.split()])
_RECORD = np.dtype(
    [
        ("size", "<u4"),
        ("num_entries", "<u4"),
        ("poc", "<i4"),
        ("slice_type", "<i4"),
        ("scenecut", "<i4"),
        ("satd", "<i8"),
        ("num_ctu", "<i4"),
        ("parts_per_ctu", "<i4"),
    ]
)
_IDR, _I, _P = 1, 2, 3
_INTER, _SKIP = 1, 5
# Prediction weights of three planes lead a P record.
_WEIGHTS_BYTES = 3 * 16
# An I entry: depth, chroma mode, part size. A P entry: depth, mode, part size, merge flag, inter direction, chroma
# mode, predictor index, reference index, then two int32 of vector.
_I_ENTRY_BYTES = 3
_P_ENTRY_BYTES = 16
_P_VECTORS_AT = 8


class MotionError(RuntimeError):
    """x265 does not give its motion vectors as expected: the installation is at fault, not the video."""


def padded_size(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) that x265 takes for frames of that size: even, at least one coding tree unit."""
    return max(CTU, height + height % 2), max(CTU, width + width % 2)


def largest_file(num_frames: int, height: int, width: int) -> int:
    """Return the bytes of the largest analysis file that frames of that size can give."""
    num_ctu = _num_ctu(height, width)
    per_frame = _RECORD.itemsize + _WEIGHTS_BYTES + num_ctu * (4 * _P_ENTRY_BYTES + _PARTS_PER_CTU)
    return _HEADER.itemsize + num_frames * per_frame


def parse_analysis(data: bytes, num_frames: int, height: int, width: int) -> tuple[I16, Bools]:
    """Return vectors (T, h, w, 2) and inter (T, h, w) of x265's analysis file of frames of that (unpadded) size.

    Vectors are the picture's motion in quarter pixels: the stored ones, which point back to the source, negated.
    Raises MotionError unless every record has exactly the size, order and tiling that the settings imply.
    """
    num_ctu = _num_ctu(height, width)
    _check_header(data, *padded_size(height, width))
    vectors = np.zeros((num_frames, num_ctu, 4, 2), np.int16)
    inter = np.zeros((num_frames, num_ctu, 4), np.bool_)
    position = _HEADER.itemsize
    for frame in range(num_frames):
        _require(len(data) >= position + _RECORD.itemsize, f"ends before frame {frame}")
        record = np.frombuffer(data, _RECORD, 1, position)[0]
        _check_record(record, frame, num_ctu)
        _require(len(data) >= position + int(record["size"]), f"ends inside frame {frame}")
        if frame:
            entries = position + _RECORD.itemsize + _WEIGHTS_BYTES
            vectors[frame], inter[frame] = _parse_p_entries(data, entries, int(record["num_entries"]), num_ctu)
        position += int(record["size"])
    _require(position == len(data), f"has {len(data) - position} bytes after its last frame")
    return _to_raster(vectors, height, width), _to_raster(inter[..., None], height, width)[..., 0]


def _num_ctu(height: int, width: int) -> int:
    return -(-height // CTU) * -(-width // CTU)


def _to_raster(blocks: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Return (T, h, w, C) of blocks (T, CTU, 4, C) in raster-ordered CTUs and z-order inside, without the padding."""
    num_frames, _, _, channels = blocks.shape
    high, wide = -(-height // CTU), -(-width // CTU)
    raster = blocks.reshape(num_frames, high, wide, 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    raster = raster.reshape(num_frames, high * 2, wide * 2, channels)
    return np.ascontiguousarray(raster[:, : -(-height // BLOCK), : -(-width // BLOCK)])


def _parse_p_entries(data: bytes, start: int, num_entries: int, num_ctu: int) -> tuple[I16, Bools]:
    """Return one P frame's picture motion (num_ctu, 4, 2) and inter flags (num_ctu, 4)."""
    depth = np.frombuffer(data, np.uint8, num_entries, start)
    modes = np.frombuffer(data, np.uint8, num_entries, start + num_entries)
    stored = np.frombuffer(data, "<i4", 2 * num_entries, start + _P_VECTORS_AT * num_entries).reshape(-1, 2)
    _require(int(depth.max(initial=0)) <= 1, "holds coding units below 8x8")
    # An entry covers a CTU of four 8x8 blocks at depth 0, one block at depth 1.
    blocks = np.where(depth == 0, 4, 1)
    ends = np.cumsum(blocks)
    ctu_ends = np.arange(4, 4 * num_ctu + 1, 4)
    is_tiled = num_entries > 0 and ends[-1] == 4 * num_ctu and np.isin(ctu_ends, ends).all()
    _require(bool(is_tiled), "holds coding units that do not tile the picture")
    is_inter = (modes == _INTER) | (modes == _SKIP)
    moved = np.where(is_inter[:, None], -stored, 0)
    _require(int(np.abs(moved).max(initial=0)) < 2**15, "holds vectors beyond 16 bits")
    vectors = np.repeat(moved.astype(np.int16), blocks, axis=0).reshape(num_ctu, 4, 2)
    return vectors, np.repeat(is_inter, blocks).reshape(num_ctu, 4)


def _check_header(data: bytes, height: int, width: int) -> None:
    _require(len(data) >= _HEADER.itemsize, "is shorter than its header")
    header = np.frombuffer(data, _HEADER, 1)[0]
    expected = {"height": height, "width": width, "ctu": CTU, "min_cu": BLOCK, "bframes": 0, "refs": 1}
    expected |= {"reuse_level": REUSE_LEVEL, "cu_tree": 0}
    for name, value in expected.items():
        _require(int(header[name]) == value, f"says {name}={int(header[name])}, expected {value}")


def _check_record(record: Any, frame: int, num_ctu: int) -> None:
    entry_bytes, weights_bytes = (_P_ENTRY_BYTES, _WEIGHTS_BYTES) if frame else (_I_ENTRY_BYTES, 0)
    size = _RECORD.itemsize + weights_bytes + entry_bytes * int(record["num_entries"]) + num_ctu * _PARTS_PER_CTU
    slice_types = (_P,) if frame else (_IDR, _I)
    _require(int(record["poc"]) == frame, f"numbers frame {frame} as {int(record['poc'])}")
    _require(int(record["slice_type"]) in slice_types, f"codes frame {frame} as slice type {record['slice_type']}")
    _require(int(record["num_ctu"]) == num_ctu, f"says {record['num_ctu']} CTUs, expected {num_ctu}")
    _require(int(record["parts_per_ctu"]) == _PARTS_PER_CTU, f"says {record['parts_per_ctu']} parts in a CTU")
    _require(int(record["size"]) == size, f"gives frame {frame} {record['size']} bytes, expected {size}")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise MotionError(f"x265's analysis file {what}")
