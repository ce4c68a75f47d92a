"""What the probe knows of a video: its size, its frames' timestamps and where decoding can begin."""

import base64
import zlib
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Never, overload

import numpy as np
from numpy.typing import NDArray

from raypipe.ops.timestamps import Ticks, unpack

I64 = NDArray[np.int64]

# Timestamp of every frame of a video whose frames are counted; a video may have a true timestamp of -1, but
# never the same one on all of its frames.
COUNTED_PTS = -1
# Seek point that means "no seek: decode from the start of the file". Older than any true timestamp.
FILE_START = int(np.iinfo(np.int64).min)
FRAME_FOLDER_CODEC = "frames"
_ARRAYS = ("pts", "keyframe_dts", "keyframe_pts")


class _Packed:
    """A field that is given and read as an array, int64 (N,), and kept as `Ticks`: a catalogue has many millions."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Never: ...
    @overload
    def __get__(self, instance: object, owner: type) -> I64: ...
    def __get__(self, instance: object, owner: type) -> I64:
        if instance is None:
            # What tells a dataclass that the field has no default.
            raise AttributeError(self._name)
        ticks: Ticks = instance.__dict__[self._name]
        return ticks.values()

    def __set__(self, instance: object, values: I64 | Ticks) -> None:
        instance.__dict__[self._name] = values if isinstance(values, Ticks) else Ticks.pack(values)


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """The index of one video.

    `width` and `height` are in pixels as displayed, after `rotation` (0, 90, 180 or 270 degrees, counter-clockwise)
    is applied; `fps` is the rate of most frames. `pts` (num_frames,) are the presentation timestamps in ticks of
    `time_base` seconds, ascending, all -1 where the file has none that can be used. `keyframe_dts` and `keyframe_pts`
    (K,) are where decoding can begin, times of keyframes. Where `is_numbered`, frames are not found by their
    timestamps but by counting what the decoder gives out, and these are numbers: of a packet of the file, and of the
    first frame that comes out when decoding begins there. `stream` is the stream's index in the file, None if an
    earlier version did not keep it. `damage` says what is wrong with the file and `note` what a reader should know of
    it, each None if nothing was found. Where `is_rate_assumed`, timestamps find frames but do not tell their times.
    Arrays are unpacked anew each time they are read.
    """

    width: int
    height: int
    rotation: int
    fps: float
    codec: str
    time_base: Fraction
    pts: _Packed = _Packed()
    keyframe_dts: _Packed = _Packed()
    keyframe_pts: _Packed = _Packed()
    damage: str | None = None
    is_numbered: bool = False
    stream: int | None = None
    note: str | None = None
    is_rate_assumed: bool = False

    def __post_init__(self) -> None:
        """Let frames without timestamps be numbered, as those of earlier versions' records are."""
        if self.is_counted:
            object.__setattr__(self, "is_numbered", True)

    @property
    def num_frames(self) -> int:
        """Number of frames that are there (not: that the container declares)."""
        return self.ticks().count

    @property
    def is_counted(self) -> bool:
        """True where frames have no timestamps that can be used."""
        ticks = self.ticks()
        return ticks.first == COUNTED_PTS and not ticks.steps.any()

    @property
    def is_timed_by_rate(self) -> bool:
        """True where the times of frames follow from `fps`, because there are no timestamps that tell them."""
        return self.is_rate_assumed or self.is_counted

    def ticks(self) -> Ticks:
        """Return the presentation timestamps as they are kept, without unpacking them."""
        ticks: Ticks = self.__dict__["pts"]
        return ticks

    @property
    def time_seconds(self) -> NDArray[np.float64]:
        """Time of every frame in seconds from the first one, float64 (num_frames,)."""
        if self.is_timed_by_rate:
            return np.arange(self.num_frames) / self.fps
        pts = self.pts
        seconds: NDArray[np.float64] = (pts - pts[0]) * float(self.time_base)
        return seconds

    @property
    def uneven_times(self) -> NDArray[np.float64] | None:
        """The frames' `time_seconds` where they do not come at a constant rate, None where they do."""
        return None if self.is_timed_by_rate or self.ticks().is_constant else self.time_seconds

    def to_record(self) -> dict[str, Any]:
        """Return the index as JSON values: of timestamps at a constant rate three numbers, of others the steps."""
        return {
            "width": self.width,
            "height": self.height,
            "rotation": self.rotation,
            "fps": self.fps,
            "codec": self.codec,
            "time_base": [self.time_base.numerator, self.time_base.denominator],
            **{name: _to_record(self.__dict__[name]) for name in _ARRAYS},
            "damage": self.damage,
            "is_numbered": self.is_numbered,
            "stream": self.stream,
            "note": self.note,
            "is_rate_assumed": self.is_rate_assumed,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "VideoIndex":
        """Return the index that `to_record` wrote. Raises ValueError or KeyError where a record is damaged."""
        numerator, denominator = record["time_base"]
        arrays = {name: _from_record(record[name]) for name in _ARRAYS}
        return cls(**{**record, **arrays, "time_base": Fraction(numerator, denominator)})


def seek_point(index: VideoIndex, first_frame: int) -> tuple[int, int]:
    """Return where to begin decoding for `first_frame`; see `seek_points`."""
    dts, pts = seek_points(index, np.array([first_frame]))
    return int(dts[0]), int(pts[0])


def seek_points(index: VideoIndex, first_frames_K: I64) -> tuple[I64, I64]:
    """Return dts and pts (K,) of the last keyframes shown at or before frames, both FILE_START for "do not seek".

    The keyframe's pts decides, not its dts: with B-frames a keyframe is stored before frames that are shown
    before it, and these cannot be decoded from it. Where frames are numbered, a packet's number stands for the dts,
    and the number of the first frame that comes out from there for the pts.
    """
    starts = np.full(len(first_frames_K), FILE_START)
    keyframe_pts = index.keyframe_pts
    if not len(keyframe_pts):
        return starts, starts
    wanted = first_frames_K if index.is_numbered else index.ticks().at(first_frames_K)
    position = np.searchsorted(keyframe_pts, wanted, side="right") - 1
    # Decoding from the first keyframe is decoding from the start, unless packets before it are to be left out.
    is_seek = position >= 0 if index.is_numbered else position > 0
    return (
        np.where(is_seek, index.keyframe_dts[position], starts),
        np.where(is_seek, keyframe_pts[position], starts),
    )


def _to_record(ticks: Ticks) -> dict[str, Any]:
    if ticks.is_constant:
        counts = [ticks.count - 1] if len(ticks.steps) else []
        return {"start": ticks.first if ticks.count else None, "steps": ticks.steps.tolist(), "counts": counts}
    steps = ticks.steps.astype(ticks.steps.dtype.newbyteorder("<"))
    packed = base64.b64encode(zlib.compress(steps.tobytes(), level=1)).decode()
    return {"start": ticks.first, "type": steps.dtype.str, "packed": packed}


def _from_record(record: dict[str, Any]) -> Ticks:
    if "packed" in record:
        try:
            steps = np.frombuffer(zlib.decompress(base64.b64decode(record["packed"], validate=True)), record["type"])
        except zlib.error as error:
            raise ValueError(str(error)) from error
        return Ticks(len(steps) + 1, int(record["start"]), steps)
    if record["start"] is None:
        return Ticks.pack(np.empty(0, np.int64))
    # Several runs of equal steps are how earlier versions wrote what does not come at a constant rate.
    steps = np.repeat(np.array(record["steps"], np.int64), record["counts"])
    return Ticks.pack(unpack(len(steps) + 1, record["start"], steps))
