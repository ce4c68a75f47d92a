"""Frames of a video by their exact numbers, and the motion vectors that HEVC coding finds in frames."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import UserError
from raypipe.ops.segments import decoded_size
from raypipe.video.decode import decode_frames
from raypipe.video.folder import is_frame_folder, probe_folder
from raypipe.video.hevc_encoder import encode_motion, to_luma
from raypipe.video.index import VideoIndex, seek_point
from raypipe.video.probe import DEFAULT_FPS, probe_video

U8 = NDArray[np.uint8]

# Decoded bytes of a segment, unless its length is given; a run's default (`segment_bytes`).
SEGMENT_BYTES = 128 * 2**20


class Segment(NamedTuple):
    """Consecutive frames of a video: `frames`, uint8 (T, H, W, 3), are `start` to `stop` (exclusive)."""

    start: int
    stop: int
    frames: U8


class MotionVectors(NamedTuple):
    """The motion of 8x8 blocks since the frame before, of T frames of H x W pixels, with h = ceil(H/8), w = ceil(W/8).

    `vectors`, int16 (T, h, w, 2), say where the content of a block has moved: x and y in quarter pixels. `inter`, bool
    (T, h, w), is False where a block has no motion vector (intra coded), which is not zero motion; frame 0 has none.
    """

    vectors: NDArray[np.int16]
    inter: NDArray[np.bool_]


@dataclass(frozen=True, eq=False, repr=False)
class Video:
    """A video whose frames are read by number, as `read_video` gives it; small, whatever the video's length.

    `len(video)` is the number of frames. `video[7]` is a frame, uint8 (H, W, 3) RGB, and `video[100:200]` are frames,
    (T, H, W, 3): exactly those that are shown as the 100th to 199th, counted from 0. A loop over the video yields frame
    after frame, and `segments` yields them in pieces: memory holds two pieces at most. Frames that cannot be decoded,
    or depend on some that cannot, raise CorruptVideoError.
    """

    uri: str
    index: VideoIndex
    size: tuple[int, int]

    @property
    def fps(self) -> float:
        """The average frame rate in Hz."""
        return self.index.fps

    @property
    def times(self) -> NDArray[np.float64]:
        """The time of each frame in seconds from the first one, shape (T,)."""
        return self.index.time_seconds

    @property
    def codec(self) -> str:
        """The codec's name; "frames" where the video is a folder of images."""
        return self.index.codec

    @property
    def damage(self) -> str | None:
        """What is wrong with the file as far as its packets tell, None where nothing was found."""
        return self.index.damage

    def __len__(self) -> int:
        return self.index.num_frames

    @overload
    def __getitem__(self, key: int) -> U8: ...
    @overload
    def __getitem__(self, key: slice) -> U8: ...
    def __getitem__(self, key: int | slice) -> U8:
        if isinstance(key, slice):
            numbers = np.arange(len(self))[key]
            return self._decode(numbers) if key.step is None or key.step > 0 else self._decode(numbers[::-1])[::-1]
        number = range(len(self))[key]
        return np.asarray(self._decode(np.array([number]))[0])

    def segments(self, num_frames: int | None = None) -> Iterator[Segment]:
        """Yield the video in segments of `num_frames`; by default of as many as fit in 128 MiB."""
        if num_frames is None:
            num_frames = max(1, SEGMENT_BYTES // (3 * self.size[0] * self.size[1]))
        if num_frames < 1:
            raise UserError(f"num_frames: {num_frames} is not a length of segments")
        for start in range(0, len(self), num_frames):
            stop = min(start + num_frames, len(self))
            yield Segment(start, stop, self[start:stop])

    def __iter__(self) -> Iterator[U8]:
        for segment in self.segments():
            yield from segment.frames

    def __repr__(self) -> str:
        width, height = self.size
        return f"<Video {self.uri}: {len(self):,} frames of {width}x{height} at {self.fps:.4g} Hz, {self.codec}>"

    def _decode(self, numbers: NDArray[np.int64]) -> U8:
        first = int(numbers[0]) if len(numbers) else 0
        seek_dts, seek_pts = seek_point(self.index, first)
        return decode_frames(
            self.uri,
            frame_indices=numbers,
            frame_pts=self.index.ticks().at(numbers),
            seek_dts=seek_dts,
            seek_pts=seek_pts,
            size=self.size,
            is_numbered=self.index.is_numbered,
            stream=self.index.stream,
        )


def read_video(uri: str | os.PathLike[str], *, max_side: int | None = None, frames_fps: float = DEFAULT_FPS) -> Video:
    """Open a video; see `Video`. All its packets are read once. Only a file whose index is in doubt is decoded for it.

    `uri` is a path, any fsspec URI, or a folder of images, which are shown at `frames_fps`. Frames come in the video's
    own size, upright, or scaled down so that the longer side has `max_side` pixels. Raises CorruptVideoError, naming
    the file and what was found, where there is no video.
    """
    uri = os.fspath(uri)
    if max_side is not None and max_side < 1:
        raise UserError(f"max_side: {max_side} is not a size in pixels")
    if not 0 < frames_fps < float("inf"):
        raise UserError(f"frames_fps: {frames_fps} is not a frame rate")
    index = probe_folder(uri, frames_fps) if is_frame_folder(uri) else probe_video(uri)
    size = (index.width, index.height)
    return Video(uri, index, size if max_side is None else decoded_size(*size, max_side))


def motion_vectors(frames: U8) -> MotionVectors:
    """Return the motion that HEVC coding finds between consecutive frames, in quarter pixels; see `MotionVectors`.

    `frames` are RGB, uint8 (T, H, W, 3), or gray, (T, H, W). Vectors are those of libx265, which encodes the frames for
    it. Raises UserError on arrays of another kind, and MotionError where the installed libx265 does not give its
    vectors as expected.
    """
    frames = np.asarray(frames)
    is_rgb = frames.ndim == 4 and frames.shape[3] == 3
    if frames.dtype != np.uint8 or not (is_rgb or frames.ndim == 3) or 0 in frames.shape[1:]:
        raise UserError(
            f"frames: expected uint8 of shape (T, H, W, 3) or (T, H, W), not {frames.dtype} of shape {frames.shape}"
        )
    return MotionVectors(*encode_motion(to_luma(frames) if is_rgb else frames))
