"""Motion vectors of real HEVC coding, from the libx265 that PyAV bundles.

FFmpeg's HEVC decoder exports no vectors, but x265 writes its own decisions to a file (`analysis-save`). Once per
process a clip of known shift must come back as that shift, and there is no falling back to another codec.
"""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from raypipe.video.hevc_analysis import (
    BLOCK,
    CTU,
    REUSE_LEVEL,
    MotionError,
    largest_file,
    padded_size,
    parse_analysis,
)

__all__ = ["BLOCK", "MotionError", "encode_analysis", "encode_motion", "pad_luma", "to_luma", "versions"]

U8 = NDArray[np.uint8]
I16 = NDArray[np.int16]
Bools = NDArray[np.bool_]

KNOWN_TO_WORK = "PyAV 18.1 with x265 4.2 (build 216)"

# One reference frame and no B-frames: every vector points to the frame before. No threads: as many encoders as there
# are cores run side by side, and the result stays the same.
_SETTINGS = (
    f"bframes=0:ref=1:keyint=-1:scenecut=0:ctu={CTU}:min-cu-size={BLOCK}:rect=0:amp=0:me=hex:subme=2:merange=32:crf=24:"
    "psy-rd=0:no-deblock=1:rc-lookahead=0:lookahead-slices=0:cutree=0:weightp=0:b-adapt=0:aq-mode=0:"
    f"pools=none:frame-threads=1:wpp=0:log-level=none:analysis-save-reuse-level={REUSE_LEVEL}"
)
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private folder inside
_FOLDER_PREFIX = "raypipe-x265-"
# A killed process leaves its folder behind. By this age no encode of one segment is still running.
_STALE_SECONDS = 3600
_GUARD_SHIFT = (3, -2)  # x and y, in pixels per frame

_is_guarded = False


def encode_motion(luma_THW: U8) -> tuple[I16, Bools]:
    """Return the motion that HEVC coding finds between consecutive frames of gray pictures, uint8 (T, H, W).

    Vectors, int16 (T, h, w, 2), say where the content of each 8x8 block has moved since the frame before, x and y in
    quarter pixels, with h = ceil(H/8) and w = ceil(W/8). `inter`, bool (T, h, w), is False where a block is intra
    coded and so has no motion, which is not zero motion; its vector is 0. Frame 0 has none at all.

    Raises MotionError where x265 does not give its vectors as expected.
    """
    _check_installation()
    return _encode_motion(luma_THW)


def to_luma(frames_THW3: U8) -> U8:
    """Return the luma of RGB frames, uint8 (T, H, W), in swscale's arithmetic."""
    luma = np.empty(frames_THW3.shape[:3], np.uint8)
    reformatter = VideoReformatter()
    for picture, gray in zip(frames_THW3, luma, strict=True):
        plane = reformatter.reformat(av.VideoFrame.from_ndarray(picture, format="rgb24"), format="gray").planes[0]
        gray[...] = _rows(plane, *gray.shape)
    return luma


def pad_luma(luma_THW: U8) -> U8:
    """Return the frames with edges repeated to a size that x265 takes (see `padded_size`)."""
    _, height, width = luma_THW.shape
    high, wide = padded_size(height, width)
    if (high, wide) == (height, width):
        return luma_THW
    return np.pad(luma_THW, ((0, 0), (0, high - height), (0, wide - width)), mode="edge")


def encode_analysis(padded_THW: U8) -> bytes:
    """Encode padded gray frames (see `pad_luma`) with x265 and return the analysis file that it wrote.

    Raises MotionError where libx265 is missing or writes no file.
    """
    num_frames, height, width = padded_THW.shape
    with _private_folder(largest_file(num_frames, height, width)) as folder:
        path = folder / "analysis"
        _encode(padded_THW, path)
        # x265 renames the file into place only when the codec context is freed, which has happened by now.
        if not path.exists():
            raise MotionError("x265 wrote no analysis file")
        return path.read_bytes()


def versions() -> str:
    """Return the x265 build, as it signs its streams, and PyAV's version. Raises MotionError without libx265."""
    context = _open_context(64, 64, "info=1:log-level=none:pools=none:frame-threads=1")
    frame = av.VideoFrame(64, 64, "yuv420p")
    frame.pts = 0
    stream = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
    found = re.search(rb"x265 \(build (\d+)\) - ([^\s:]+)", stream)
    build = f"x265 {found[2].decode()} (build {found[1].decode()})" if found else "an x265 that does not say its build"
    return f"{build}, PyAV {av.__version__}"


def _check_installation() -> None:
    """Demand a known shift back, once per process."""
    global _is_guarded
    if _is_guarded:
        return
    _remove_stale_folders()
    dx, dy = _GUARD_SHIFT
    # Smooth noise: any block of it can be told from its neighbours.
    noise = np.kron(np.random.default_rng(0).integers(0, 256, (24, 24)), np.ones((4, 4)))
    smooth = np.mean([np.roll(noise, (y, x), (0, 1)) for y in range(4) for x in range(4)], axis=0)
    clip = np.stack([smooth[16 - dy * t : 80 - dy * t, 16 - dx * t : 80 - dx * t] for t in range(4)]).astype(np.uint8)
    try:
        vectors, inter = _encode_motion(clip)
    except MotionError as error:
        raise MotionError(f"{error}. Here: {versions()}. Known to work: {KNOWN_TO_WORK}") from error
    # Blocks at the border have no source inside the picture.
    is_right = (vectors == (4 * dx, 4 * dy)).all(-1) & inter
    share = float(is_right[1:, 1:-1, 1:-1].mean())
    if share < 0.9:
        raise MotionError(
            f"a clip that moves by {_GUARD_SHIFT} pixels a frame came back so in only {share:.0%} of its blocks. "
            f"Here: {versions()}. Known to work: {KNOWN_TO_WORK}"
        )
    _is_guarded = True


def _encode_motion(luma_THW: U8) -> tuple[I16, Bools]:
    num_frames, height, width = luma_THW.shape
    if not num_frames:
        grid = (0, -(-height // BLOCK), -(-width // BLOCK))
        return np.zeros((*grid, 2), np.int16), np.zeros(grid, np.bool_)
    return parse_analysis(encode_analysis(pad_luma(luma_THW)), num_frames, height, width)


def _encode(padded_THW: U8, path: Path) -> None:
    _, height, width = padded_THW.shape
    context = _open_context(width, height, f"{_SETTINGS}:analysis-save={path}")
    # A frame of our own: one that was decoded carries its picture type and forces it on the encoder. It serves for all
    # pictures, as x265 copies what it is given.
    frame = av.VideoFrame(width, height, "yuv420p")
    luma, *chroma = (_rows(plane, plane.height, plane.width) for plane in frame.planes)
    for plane in chroma:
        plane[...] = 128
    try:
        for index, picture in enumerate(padded_THW):
            luma[...] = picture
            frame.pts = index
            context.encode(frame)
        context.encode(None)
    except av.FFmpegError as error:
        raise MotionError(f"x265 failed: {error}") from error


def _open_context(width: int, height: int, x265_params: str) -> Any:
    try:
        context: Any = av.CodecContext.create("libx265", "w")
    except (av.FFmpegError, ValueError) as error:
        raise MotionError(f"PyAV {av.__version__} has no libx265. Known to work: {KNOWN_TO_WORK}") from error
    context.width, context.height = width, height
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, 25)
    context.framerate = Fraction(25)
    context.thread_count = 1
    context.options = {"preset": "ultrafast", "x265-params": x265_params}
    return context


def _rows(plane: Any, height: int, width: int) -> U8:
    """Return a writable view of a plane without the padding at the end of its rows."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, :width]


@contextmanager
def _private_folder(num_bytes: int) -> Iterator[Path]:
    """Yield a private folder for a file of that size, in shared memory where there is room, and remove it."""
    # Containers often give shared memory little room, and Ray's object store wants most of it.
    has_room = _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free > 8 * num_bytes
    prefix = f"{_FOLDER_PREFIX}{os.getpid()}-"
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_SHARED_MEMORY if has_room else None))
    try:
        if ":" in str(folder):
            raise MotionError(f"x265 cannot write to {folder}: it takes the ':' for the end of the path; set TMPDIR")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_stale_folders() -> None:
    """Remove what processes that were killed have left in shared memory."""
    for folder in _SHARED_MEMORY.glob(f"{_FOLDER_PREFIX}*"):
        try:
            status = folder.stat()
        except FileNotFoundError:
            continue
        if status.st_uid == os.getuid() and time.time() - status.st_mtime > _STALE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
